import Fabric
import Logging
import NIOCore
import Transport
import Wire

/// What happens when a reader does not read.
///
/// A channel has no back pressure but to stop reading all of it, which stops everybody who shares it. So bytes for a
/// connection that takes no more wait here, each circuit's in a queue of its own, while the other circuits of the
/// channel go on. A circuit that leads where all others of its channel lead needs no queue: then the channel is not
/// read, for as long as it takes. When a queue is full the channel is not read either, but then others wait for a
/// stranger's reader: after a grace without progress that circuit is cut. The next such circuit of the channel has no
/// more grace than the channel was read since then, so that many who do not read are not waited for one after the
/// other.
extension EdgeConnection {
  /// Circuits of this connection whose bytes wait for one other connection.
  final class Backlog {
    let target: ConnectionHandle
    /// Ends with waiting bytes, in the order in which they began to wait. One that was disconnected meanwhile has none.
    var ends = CircularBuffer<CircuitEnd>()
    /// How many of them have a full queue.
    var full = 0
    /// The target has been asked to say when it takes more.
    var isAsked = false
    /// Ends the patience with full queues.
    var grace: Scheduled<Void>?
    /// Bytes that went on since then.
    var progress = 0

    init(target: ConnectionHandle) { self.target = target }
  }

  /// The end of a circuit that an SDK hears of when it has read what came before.
  struct Farewell {
    let connID: UInt32
    let circuit: String
    let text: String
    let sendFIN: Bool
    let rest: ByteBuffer

    /// Bytes that it holds beside those of the rest, with the connection id that stays taken.
    private static let overhead = 512
    var cost: Int { rest.readableBytes + Self.overhead }
  }

  /// Small writes that the SDK has not read. TLS holds each with a page, which the channel's own watermark of bytes
  /// does not see.
  struct Crumbs {
    /// Bytes of a page; a write of more is worth its page.
    static let page = 4096
    /// A megabyte of pages.
    static let limit = 256
    /// Writes from one look at what is held to the next.
    static let interval = 64

    var unflushed = 0
    var count = 0
    var isOverLimit = false
  }

  // MARK: The sender's side

  /// Adds frames to what waits of an end. Copied: a slice would keep the whole read buffer that it came in.
  func wait(_ frames: UnsafeRawBufferPointer, _ end: CircuitEnd, _ share: IdentityShare) {
    end.waiting.writeBytes(frames)
    end.waitingShare = share
    share.addWaiting(frames.count)
  }

  /// What waits of an end, which counts as waiting no longer.
  func takeWaiting(_ end: CircuitEnd) -> ByteBuffer {
    let bytes = end.waiting
    end.waiting = ByteBuffer()
    end.waitingShare?.addWaiting(-bytes.readableBytes)
    end.waitingShare = nil
    if end.isFull {
      end.isFull = false
      if let target = end.far?.handle { backlogs[target.id]?.full -= 1 }
    }
    return bytes
  }

  /// Lets readdressed frames wait for the connection they go to.
  func queue(_ frames: UnsafeRawBufferPointer, _ end: CircuitEnd, _ target: ConnectionHandle) {
    let isFirst = end.waiting.readableBytes == 0
    wait(frames, end, target.share)
    let backlog = waitFor(target)
    if isFirst { backlog.ends.append(end) }
    guard !end.isFull, end.waiting.readableBytes >= core.circuitQueue || target.share.isFull else { return }
    end.isFull = true
    backlog.full += 1
    settle()
  }

  /// Notes that a connection takes no more, and asks it to say when it does.
  @discardableResult
  func waitFor(_ target: ConnectionHandle) -> Backlog {
    let backlog = backlogs[target.id] ?? Backlog(target: target)
    if backlogs[target.id] == nil {
      backlogs[target.id] = backlog
      settle()
    }
    guard !backlog.isAsked else { return backlog }
    backlog.isAsked = true
    let source = handle
    // Behind whatever is on its way to the target's loop. Never at once: the caller is about to use the backlog.
    target.loop.execute {
      if let connection = target.connection { connection.stall(source) } else { source.run { $0.resume(target) } }
    }
    return backlog
  }

  /// A connection takes more: what waits goes, a queue at a time.
  func resume(_ target: ConnectionHandle) {
    guard let backlog = backlogs[target.id] else { return }
    backlog.isAsked = false
    while let end = backlog.ends.popFirst() {
      let bytes = takeWaiting(end)
      guard bytes.readableBytes > 0 else { continue }
      pass(bytes, to: target)
      flushBurst()
      backlog.progress += bytes.readableBytes
      if backlog.progress >= core.circuitQueue / 2 { endGrace(backlog) }
      if target.isBlocked(from: handle.loop) {
        waitFor(target)
        return settle()
      }
    }
    endGrace(backlog)
    backlogs[target.id] = nil
    settle()
  }

  func dropBacklogs() {
    for backlog in backlogs.values { endGrace(backlog) }
    backlogs = [:]
  }

  /// Decides, after anything that matters to it changed, whether the channel is read.
  func settle() {
    var isFull = false
    let othersWait = self.othersWait
    for backlog in backlogs.values {
      if backlog.full > 0 { isFull = true }
      if !othersWait {
        endGrace(backlog)
      } else if backlog.full > 0, backlog.grace == nil {
        beginGrace(backlog)
      }
    }
    let shouldPause = !backlogs.isEmpty && (isFull || !othersWait)
    guard shouldPause != isPaused else { return }
    isPaused = shouldPause
    if !shouldPause { lostDial = false }
    underlay.setReading(!shouldPause)
  }

  /// Whether somebody shares the channel with the circuits that cannot go on: an open circuit to another connection, or
  /// a dialler who waits for this host's answer, or waited in vain.
  private var othersWait: Bool {
    !pendingDials.isEmpty || lostDial || openCircuits > backlogs.keys.reduce(0) { $0 + (routes[$1] ?? 0) }
  }

  // MARK: Grace

  private func beginGrace(_ backlog: Backlog) {
    let (source, target) = (handle, backlog.target)
    let grace = target.share.grace(core.circuitGrace, sinceLastCut: lastCut.map { .now() - $0 })
    backlog.progress = 0
    backlog.grace = handle.loop.scheduleTask(in: grace) { () -> Void in source.connection?.graceEnded(target, grace) }
  }

  private func endGrace(_ backlog: Backlog) {
    backlog.grace?.cancel()
    backlog.grace = nil
    backlog.progress = 0
  }

  private func graceEnded(_ target: ConnectionHandle, _ grace: TimeAmount) {
    guard let backlog = backlogs[target.id] else { return }
    backlog.grace = nil
    let full = backlog.ends.filter(\.isFull)
    guard !full.isEmpty else { return }
    target.share.wasCut()
    lastCut = .now()
    for end in full {
      let seconds =
        grace.nanoseconds % 1_000_000_000 == 0
        ? "\(grace.nanoseconds / 1_000_000_000)" : "\((Double(grace.nanoseconds) / 1e8).rounded() / 10)"
      let (reader, writer) = end.isInitiator ? ("host", "dialler") : ("dialler", "host")
      core.cutCircuit(
        end.circuit, "the \(reader) did not read for \(seconds) s while others on the \(writer)'s channel waited",
        isReported: true,
        metadata: ["reader": "\(target.session.identityID)", "writer": "\(handle.session.identityID)"])
    }
  }

  // MARK: The reader's side

  /// The SDK does not read what was written.
  var isStuck: Bool { (!underlay.isWritable || crumbs.isOverLimit) && underlay.isOpen }

  func put(_ frames: ByteBuffer) {
    underlay.write(frames)
    crumbs.unflushed += frames.readableBytes
  }

  /// Sends payload of others. - Returns: whether those others have to wait.
  func flushPayload() -> Bool {
    underlay.flush()
    if crumbs.unflushed < Crumbs.page, crumbs.unflushed > 0 { countCrumb() }
    crumbs.unflushed = 0
    guard isStuck else { return false }
    handle.setBlocked(true)
    return true
  }

  private func countCrumb() {
    crumbs.count += 1
    // The question costs as much as sending: it is not asked for each answer of a lively conversation.
    guard crumbs.count.isMultiple(of: Crumbs.interval) else { return }
    let channel = underlay.channel
    guard let held = try? channel.syncOptions?.getOption(.bufferedWritableBytes), held > 0 else {
      crumbs.count = 0
      return
    }
    guard crumbs.count >= Crumbs.limit, !crumbs.isOverLimit else { return }
    crumbs.isOverLimit = true
    let handle = self.handle
    channel.writeAndFlush(ByteBuffer()).assumeIsolated().whenComplete { _ in
      guard let connection = handle.connection else { return }
      connection.crumbs = Crumbs()
      if !connection.isStuck { connection.readsAgain() }
    }
  }

  private func stall(_ source: ConnectionHandle) {
    stalled[source.id] = source
    if !isStuck { readsAgain() }
  }

  func readsAgain() {
    handle.setBlocked(false)
    sayFarewells()
    release()
  }

  /// Tells those who wait that this connection takes more, or never will.
  func release() {
    let senders = stalled
    stalled = [:]
    let target = handle
    for sender in senders.values { sender.run { $0.resume(target) } }
  }

  func postpone(_ farewell: Farewell) {
    handle.share.addWaiting(farewell.cost)
    farewells.append(farewell)
  }

  func sayFarewells() {
    while !isStuck, let next = farewells.popFirst() {
      handle.share.addWaiting(-next.cost)
      finish(next.connID, circuit: next.circuit, text: next.text, sendFIN: next.sendFIN, after: next.rest)
      _ = flushPayload()
    }
  }

  func dropFarewells() {
    for farewell in farewells { handle.share.addWaiting(-farewell.cost) }
    farewells = []
  }
}
