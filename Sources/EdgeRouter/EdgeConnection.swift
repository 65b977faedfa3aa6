import Fabric
import Logging
import NIOCore
import Transport
import Wire

/// The channel of one SDK: its connection ids and the way of their payload. Bound to its event loop, no locks.
///
/// Payload is not decoded: a run of Data frames for one destination is readdressed in place and passed on as one slice,
/// flushed once a burst. Everything else is copied out and handled as a message (`EdgeConnection+Messages`,
/// `+Hosting`); what its reader does not take waits circuit by circuit (`+Backlog`).
final class EdgeConnection: FrameReceiver {
  typealias Job = @Sendable () async -> Void

  /// What a connection id of the channel stands for.
  enum Slot {
    /// A Connect that waits for its circuit.
    case dialing(ticket: UInt64, request: EdgeMessages.Connect, sequence: Int32, place: IdentityShare.Ticket)
    case circuit(CircuitEnd)
    case bind(BoundListener)
  }

  /// An open circuit as this connection sees it.
  final class CircuitEnd {
    let circuit: String
    let connID: UInt32
    /// Among the circuits that the identity dialled; nil at the host's end.
    let place: IdentityShare.Ticket?
    var isInitiator: Bool { place != nil }
    /// Where payload goes; nil until the other side may get it, and when it may no longer.
    fileprivate(set) var far: CircuitEndpoint?
    /// Set before payload flows.
    var usage: CircuitUsage?
    /// Frames that wait: as they came before there was a `far`, readdressed when it does not read.
    var waiting = ByteBuffer()
    /// Who the waiting bytes are counted for.
    var waitingShare: IdentityShare?
    /// Its queue is full, so the channel does not read.
    var isFull = false
    var sentFIN = false
    /// The SDK closed before its payload could go.
    var closesWhenOpen = false
    /// The other side left; its last bytes are on their way.
    var isOver = false

    /// - Parameter place: of the dialler's end.
    init(circuit: String, connID: UInt32, place: IdentityShare.Ticket?) {
      self.circuit = circuit
      self.connID = connID
      self.place = place
    }
  }

  /// A service hosted on this channel.
  struct BoundListener {
    let terminatorID: String
    let bind: EdgeMessages.Bind
  }

  /// Bytes an SDK may send before its circuit is open on the other side.
  static let heldLimit = 4 * 1024 * 1024
  static let slotLimit = 65_536
  private static let jobLimit = 512

  let underlay: Underlay
  let handle: ConnectionHandle
  let core: RouterCore
  private(set) var slots: [UInt32: Slot] = [:]
  var pendingDials = PendingDials()
  var pendingInspects: [Int32: UInt32] = [:]
  var pendingTraces: [UInt32: PendingTrace] = [:]
  var strayAnswers = StrayAnswers()
  var lastProvidedConnID = EdgeMessages.Dial.firstRouterProvidedConnID
  var lastBindRefusal: NIODeadline?
  /// By the id of the listener.
  var hostNews: [UInt32: HostNews] = [:]
  var isReporting = false
  var hosting = HostingQueue()
  let jobs: AsyncStream<Job>.Continuation
  private var openJobs = 0
  private var isEnding = false

  /// Connections on this loop that got payload in this burst.
  private var dirty: [EdgeConnection] = []
  private var outbox: [(target: ConnectionHandle, slices: [ByteBuffer], bytes: Int)] = []
  /// Senders that wait until this connection can be written again.
  var stalled: [UInt64: ConnectionHandle] = [:]
  /// Last bytes of circuits whose other side left, until this connection can be written again.
  var farewells = CircularBuffer<Farewell>()
  var crumbs = Crumbs()
  /// What waits here for connections that do not take more, by connection.
  var backlogs: [UInt64: Backlog] = [:]
  var isPaused = false
  /// When a circuit was cut last because those of this channel waited for its reader.
  var lastCut: NIODeadline?
  /// A dial ran out of time while the channel was not read.
  var lostDial = false
  /// Open circuits, and how many of them lead to which connection.
  private(set) var openCircuits = 0
  private(set) var routes: [UInt64: Int] = [:]

  init(underlay: Underlay, handle: ConnectionHandle, core: RouterCore, jobs: AsyncStream<Job>.Continuation) {
    self.underlay = underlay
    self.handle = handle
    self.core = core
    self.jobs = jobs
  }

  // MARK: FrameReceiver

  func receive(_ frames: inout ByteBuffer, from underlay: Underlay) {
    let burst = frames
    let limits = underlay.limits
    burst.withBurstBytes { bytes in
      var offset = 0
      var start = 0
      var target: ConnectionHandle?
      while bytes.count - offset >= FrameHeader.size, !isEnding {
        let rest = UnsafeMutableRawBufferPointer(rebasing: bytes[offset...])
        guard let header = try? FrameHeader.parse(UnsafeRawBufferPointer(rest), limits: limits),
          header.frameLength <= rest.count
        else { break }
        let frame = UnsafeMutableRawBufferPointer(rebasing: rest[..<header.frameLength])
        let next = header.contentType == .data ? readdress(frame, header) : nil
        if next == nil || next !== target {
          if let target { pass(burst, start, offset, to: target) }
          start = offset
          target = next
        }
        if next == nil {
          if header.contentType == .data {
            copyOut(frame, header)
          } else {
            handle(UnsafeRawBufferPointer(frame), header)
          }
          start = offset + header.frameLength
        }
        offset += header.frameLength
      }
      if let target { pass(burst, start, offset, to: target) }
    }
  }

  func readBurstEnded(on underlay: Underlay) { flushBurst() }

  func writabilityChanged(on underlay: Underlay) {
    if !isStuck { readsAgain() }
  }

  func closed(_ underlay: Underlay, error: (any Error)?) {
    isEnding = true
    handle.connection = nil
    handle.ticket.giveBack()
    handle.setBlocked(false)
    dropFarewells()
    release()
    let open = slots
    slots = [:]
    for slot in open.values {
      if case .circuit(let end) = slot { leave(end, graceful: false, text: "channel closed") }
    }
    for dial in pendingDials.takeAll() {
      dial.deadline.cancel()
      dial.promise.succeed(.failure(DialFailure(text: "channel closed", code: .generic)))
    }
    dropBacklogs()
    dropBinds()
    hostNews = [:]
    core.unregister(handle)
    jobs.finish()
  }

  /// Ends the channel of an SDK that broke the protocol.
  func giveUp(_ reason: String) {
    guard !isEnding else { return }
    isEnding = true
    core.logger.notice("channel closed", metadata: ["identity": "\(handle.session.identityID)", "reason": "\(reason)"])
    underlay.close()
  }

  // MARK: Payload

  /// Gives a Data frame the id and sequence of its destination. - Returns: nil when it cannot be passed on as it is, at
  /// once.
  private func readdress(_ frame: UnsafeMutableRawBufferPointer, _ header: FrameHeader) -> ConnectionHandle? {
    guard let fields = try? EdgeFields.scan(Self.headers(of: frame, header)), fields.isPlain,
      let connID = fields.connID,
      case .circuit(let end)? = slots[connID], let far = end.far, end.waiting.readableBytes == 0,
      !far.handle.isBlocked(from: handle.loop),
      readdress(frame, header, fields, end, far)
    else { return nil }
    return far.handle
  }

  private func readdress(
    _ frame: UnsafeMutableRawBufferPointer, _ header: FrameHeader, _ fields: EdgeFields, _ end: CircuitEnd,
    _ far: CircuitEndpoint
  ) -> Bool {
    guard frame.readdressFrame(fields, connID: far.connID, sequence: far.handle.nextSequence()) else { return false }
    if fields.flags.contains(.fin) { end.sentFIN = true }
    end.usage?.add(header.bodyLength, fromClient: end.isInitiator)
    return true
  }

  private static func headers(of frame: UnsafeMutableRawBufferPointer, _ header: FrameHeader) -> UnsafeRawBufferPointer
  {
    UnsafeRawBufferPointer(rebasing: frame[FrameHeader.size..<FrameHeader.size + header.headersLength])
  }

  /// Payload that is not passed on where it lies: it waits, or is not plain, or belongs to nobody.
  private func copyOut(_ frame: UnsafeMutableRawBufferPointer, _ header: FrameHeader) {
    do {
      let fields = try EdgeFields.scan(Self.headers(of: frame, header))
      guard let connID = fields.connID else { return }
      switch slots[connID] {
      case .circuit(let end)?:
        guard !end.isOver else { return }
        guard fields.isPlain else {
          // Anew, with what a Data message has and nothing else.
          let message = try Message.parse(UnsafeRawBufferPointer(frame), limits: underlay.limits)
          var bytes = try EdgeMessages.Data(parsing: message).message().encoded()
          return bytes.withUnsafeMutableBytes { forward($0, end) }
        }
        forward(frame, end)
      case .dialing?, .bind?: return
      case nil:
        guard strayAnswers.allows(connID, now: .now()) else { return }
        answer(EdgeMessages.StateClosed(connID: connID, text: "unknown connection id \(connID)").message())
      }
    } catch {
      giveUp("unreadable data: \(error)")
    }
  }

  /// Copies plain frames out: on to where they go, behind those that wait, or until the circuit is open on the other
  /// side.
  private func forward(_ frames: UnsafeMutableRawBufferPointer, _ end: CircuitEnd) {
    guard let far = end.far else { return hold(UnsafeRawBufferPointer(frames), end) }
    let limits = underlay.limits
    var offset = 0
    while frames.count - offset >= FrameHeader.size {
      let rest = UnsafeMutableRawBufferPointer(rebasing: frames[offset...])
      guard let header = try? FrameHeader.parse(UnsafeRawBufferPointer(rest), limits: limits),
        header.frameLength <= rest.count
      else { break }
      let frame = UnsafeMutableRawBufferPointer(rebasing: rest[..<header.frameLength])
      if let fields = try? EdgeFields.scan(Self.headers(of: frame, header)) {
        _ = readdress(frame, header, fields, end, far)
      }
      offset += header.frameLength
    }
    if end.waiting.readableBytes > 0 || far.handle.isBlocked(from: handle.loop) {
      queue(UnsafeRawBufferPointer(frames), end, far.handle)
    } else {
      var copy = underlay.allocator.buffer(capacity: frames.count)
      copy.writeBytes(frames)
      pass(copy, to: far.handle)
    }
  }

  /// Keeps payload of a circuit that is not open on the other side.
  private func hold(_ frames: UnsafeRawBufferPointer, _ end: CircuitEnd) {
    guard end.waiting.readableBytes + frames.count <= Self.heldLimit, !handle.share.isFull else {
      let text = "too much data before the connection was open"
      answer(EdgeMessages.StateClosed(connID: end.connID, text: text).message())
      return leave(end, graceful: false, text: text)
    }
    wait(frames, end, handle.share)
  }

  private func pass(_ burst: ByteBuffer, _ start: Int, _ end: Int, to target: ConnectionHandle) {
    guard end > start, let slice = burst.getSlice(at: burst.readerIndex + start, length: end - start) else { return }
    pass(slice, to: target)
  }

  func pass(_ slice: ByteBuffer, to target: ConnectionHandle) {
    guard target.loop !== handle.loop else {
      guard let connection = target.connection else { return }
      connection.put(slice)
      if !dirty.contains(where: { $0 === connection }) { dirty.append(connection) }
      return
    }
    if let index = outbox.firstIndex(where: { $0.target === target }) {
      outbox[index].slices.append(slice)
      outbox[index].bytes += slice.readableBytes
    } else {
      outbox.append((target, [slice], slice.readableBytes))
    }
  }

  /// Sends what the burst produced: one flush a destination here, one hop a destination on another loop.
  func flushBurst() {
    if !dirty.isEmpty {
      let connections = dirty
      dirty = []
      for connection in connections {
        if connection.flushPayload() { waitFor(connection.handle) }
      }
    }
    guard !outbox.isEmpty else { return }
    let mail = outbox
    outbox = []
    for (target, slices, bytes) in mail {
      let source = handle
      target.addMailed(bytes)
      target.loop.execute {
        target.addMailed(-bytes)
        target.connection?.deliver(slices, from: source)
      }
      if target.isBlocked(from: handle.loop) { waitFor(target) }
    }
  }

  private func deliver(_ slices: [ByteBuffer], from source: ConnectionHandle) {
    for slice in slices { put(slice) }
    guard flushPayload(), stalled[source.id] == nil else { return }
    let target = handle
    source.run { $0.waitFor(target) }
  }

  // MARK: Messages out

  /// Sends a message that this SDK did not ask for.
  func send(_ message: Message) {
    var message = message
    message.sequence = handle.nextSequence()
    underlay.writeAndFlush(message)
  }

  /// Sends a message that this SDK caused. An SDK that asks and does not read is not read either.
  func answer(_ message: Message) {
    var message = message
    message.sequence = handle.nextSequence()
    underlay.writeAnswer(message)
  }

  /// Runs a job in the connection's task. - Returns: false when the SDK has too many requests open.
  func start(_ job: @escaping Job) -> Bool {
    guard openJobs < Self.jobLimit else { return false }
    openJobs += 1
    let handle = self.handle
    jobs.yield {
      await job()
      handle.run {
        $0.openJobs -= 1
        $0.reportNews()
      }
    }
    return true
  }

  // MARK: Circuits

  func occupy(_ connID: UInt32, _ slot: Slot) { slots[connID] = slot }

  func vacate(_ connID: UInt32) {
    guard case .circuit(let end)? = slots.removeValue(forKey: connID) else { return }
    disconnect(end)
  }

  /// Payload of an end may go from now on.
  func connect(_ end: CircuitEnd, to far: CircuitEndpoint) {
    end.far = far
    openCircuits += 1
    routes[far.handle.id, default: 0] += 1
    if !backlogs.isEmpty { settle() }
  }

  /// Nothing of an end goes anywhere any more; what waits is dropped.
  private func disconnect(_ end: CircuitEnd) {
    end.isOver = true
    _ = takeWaiting(end)
    guard let far = end.far else { return }
    end.far = nil
    openCircuits -= 1
    let others = (routes[far.handle.id] ?? 0) - 1
    routes[far.handle.id] = others > 0 ? others : nil
    if !backlogs.isEmpty { settle() }
  }

  /// Opens the way of payload from here to the other end; what was held goes first.
  func open(_ connID: UInt32, circuit: String, far: CircuitEndpoint) {
    guard case .circuit(let end)? = slots[connID], end.circuit == circuit, !end.isOver else {
      return far.handle.run {
        $0.finish(far.connID, circuit: circuit, text: "the host closed the connection", sendFIN: false)
      }
    }
    var held = takeWaiting(end)
    connect(end, to: far)
    if held.readableBytes > 0 { held.withUnsafeMutableReadableBytes { forward($0, end) } }
    if end.closesWhenOpen { leave(end, graceful: true, text: "close called") }
    flushBurst()
  }

  /// The SDK of this connection ended its side: the controller and the other end are told.
  func leave(_ end: CircuitEnd, graceful: Bool, text: String) {
    // Everything that was sent before the end arrives before the end.
    let rest = end.far == nil ? ByteBuffer() : takeWaiting(end)
    slots[end.connID] = nil
    disconnect(end)
    flushBurst()
    guard let entry = core.endCircuit(end.circuit, atIngress: end.isInitiator) else { return }
    let (id, sendFIN) = (end.circuit, graceful && !end.sentFIN)
    for other in entry.attached where !(other.handle === handle && other.connID == end.connID) {
      other.handle.run { $0.finish(other.connID, circuit: id, text: text, sendFIN: sendFIN, after: rest) }
    }
  }

  /// Tells the SDK that a circuit ended elsewhere.
  /// - Parameter rest: what the other side had sent and this one not yet read.
  func finish(_ connID: UInt32, circuit: String, text: String, sendFIN: Bool, after rest: ByteBuffer = ByteBuffer()) {
    guard case .circuit(let end)? = slots[connID], end.circuit == circuit else { return }
    if rest.readableBytes > 0, isStuck, !handle.share.isFull {
      disconnect(end)
      return postpone(Farewell(connID: connID, circuit: circuit, text: text, sendFIN: sendFIN, rest: rest))
    }
    vacate(connID)
    // Beyond what the identity may have waiting the last bytes are lost, and the end is no longer an orderly one.
    let isWhole = rest.readableBytes == 0 || !isStuck
    if rest.readableBytes > 0, isWhole { put(rest) }
    if sendFIN, isWhole {
      var fin = EdgeMessages.Data(connID: connID, flags: .fin, body: []).message()
      fin.sequence = handle.nextSequence()
      underlay.write(fin)
    }
    send(EdgeMessages.StateClosed(connID: connID, text: text).message())
  }

  /// Ends hosting: the SDK is told why.
  func endBind(_ connID: UInt32, terminator: String, error: StructuredError) {
    guard case .bind(let listener)? = slots[connID], listener.terminatorID == terminator else { return }
    vacate(connID)
    failDials(of: connID, text: error.message)
    send(EdgeMessages.StateClosed(connID: connID, text: error.message, error: error).message())
  }

  func failDials(of connID: UInt32, text: String) {
    for dial in pendingDials.take(of: connID) {
      dial.deadline.cancel()
      if let id = dial.newConnID { vacate(id) }
      dial.promise.succeed(.failure(DialFailure(text: text, code: .generic)))
    }
  }
}
