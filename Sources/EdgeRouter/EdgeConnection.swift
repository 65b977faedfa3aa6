import Fabric
import NIOCore
import Synchronization
import Transport
import Wire

/// The channel of one SDK: its connection ids and the way of their payload. Bound to its event loop, no locks.
///
/// Payload is not decoded: a run of Data frames for one destination is readdressed in place and passed on as one slice, flushed once a burst. Everything else
/// is copied out and handled as a message (`EdgeConnection+Messages`).
final class EdgeConnection: FrameReceiver {
  typealias Job = @Sendable () async -> Void

  /// What a connection id of the channel stands for.
  enum Slot {
    /// A Connect that waits for its circuit.
    case dialing(ticket: UInt64, request: EdgeMessages.Connect, sequence: Int32)
    case circuit(CircuitEnd)
    case bind(BoundListener)
  }

  /// An open circuit as this connection sees it.
  final class CircuitEnd {
    let circuit: String
    let connID: UInt32
    let isInitiator: Bool
    /// Where payload goes; nil until the other side may get it.
    var far: CircuitEndpoint?
    /// Set before payload flows.
    var usage: CircuitUsage?
    /// Frames that came before `far`, as they came.
    var held = ByteBuffer()
    var sentFIN = false
    /// The SDK closed before its payload could go.
    var closesWhenOpen = false

    init(circuit: String, connID: UInt32, isInitiator: Bool) {
      self.circuit = circuit
      self.connID = connID
      self.isInitiator = isInitiator
    }
  }

  /// A service hosted on this channel.
  struct BoundListener {
    let terminatorID: String
    let bind: EdgeMessages.Bind
  }

  struct PendingDial {
    let bindConnID: UInt32
    let newConnID: UInt32?
    let order: DialOrder
    let promise: EventLoopPromise<DialOutcome>
    let deadline: Scheduled<Void>
  }

  /// Bytes an SDK may send before its circuit is open on the other side.
  static let heldLimit = 4 * 1024 * 1024
  /// Bytes on their way to another loop before the sender stops reading.
  private static let mailboxLimit = 1024 * 1024
  static let slotLimit = 65_536
  private static let jobLimit = 512

  let underlay: Underlay
  let handle: ConnectionHandle
  let core: RouterCore
  var slots: [UInt32: Slot] = [:]
  var pendingDials: [Int32: PendingDial] = [:]
  var pendingInspects: [Int32: UInt32] = [:]
  var lastProvidedConnID = EdgeMessages.Dial.firstRouterProvidedConnID
  var lastBindRefusal: NIODeadline?
  private let jobs: AsyncStream<Job>.Continuation
  private var openJobs = 0

  /// Connections on this loop that got payload in this burst.
  private var dirty: [EdgeConnection] = []
  private var outbox: [(target: ConnectionHandle, slices: [ByteBuffer], bytes: Int)] = []
  /// Senders that wait until this connection can be written again.
  private var stalled: [UInt64: ConnectionHandle] = [:]
  private var pausedBy: Set<UInt64> = []

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
      while bytes.count - offset >= FrameHeader.size {
        let rest = UnsafeMutableRawBufferPointer(rebasing: bytes[offset...])
        guard let header = try? FrameHeader.parse(UnsafeRawBufferPointer(rest), limits: limits), header.frameLength <= rest.count else { break }
        let frame = UnsafeMutableRawBufferPointer(rebasing: rest[..<header.frameLength])
        let next = header.contentType == .data ? readdress(frame, header) : nil
        if next == nil || next !== target {
          if let target { pass(burst, start, offset, to: target) }
          start = offset
          target = next
        }
        if next == nil {
          handle(UnsafeRawBufferPointer(frame), header)
          start = offset + header.frameLength
        }
        offset += header.frameLength
      }
      if let target { pass(burst, start, offset, to: target) }
    }
  }

  func readBurstEnded(on underlay: Underlay) { flushBurst() }

  func writabilityChanged(on underlay: Underlay) {
    guard underlay.isWritable else { return }
    release()
  }

  func closed(_ underlay: Underlay, error: (any Error)?) {
    handle.connection = nil
    release()
    let open = slots
    slots = [:]
    for slot in open.values {
      if case .circuit(let end) = slot { leave(end, graceful: false, text: "channel closed") }
    }
    let dials = pendingDials
    pendingDials = [:]
    for dial in dials.values {
      dial.deadline.cancel()
      dial.promise.succeed(.failure(DialFailure(text: "channel closed", code: .generic)))
    }
    core.unregister(handle)
    jobs.finish()
  }

  // MARK: Payload

  /// Gives a Data frame the id and sequence of its destination. - Returns: nil when it cannot be passed on as it is.
  private func readdress(_ frame: UnsafeMutableRawBufferPointer, _ header: FrameHeader) -> ConnectionHandle? {
    let section = UnsafeRawBufferPointer(rebasing: frame[FrameHeader.size..<FrameHeader.size + header.headersLength])
    guard let fields = try? EdgeFields.scan(section), let connID = fields.connID, case .circuit(let end)? = slots[connID], let far = end.far,
      frame.readdressFrame(fields, connID: far.connID, sequence: far.handle.nextSequence())
    else { return nil }
    if fields.flags.contains(.fin) { end.sentFIN = true }
    end.usage?.add(header.bodyLength, fromClient: end.isInitiator)
    return far.handle
  }

  private func pass(_ burst: ByteBuffer, _ start: Int, _ end: Int, to target: ConnectionHandle) {
    guard end > start, let slice = burst.getSlice(at: burst.readerIndex + start, length: end - start) else { return }
    pass(slice, to: target)
  }

  func pass(_ slice: ByteBuffer, to target: ConnectionHandle) {
    guard target.loop !== handle.loop else {
      guard let connection = target.connection else { return }
      connection.underlay.write(slice)
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
        connection.underlay.flush()
        if !connection.underlay.isWritable, connection.underlay.isOpen {
          connection.stalled[handle.id] = handle
          pause(by: connection.handle.id)
        }
      }
    }
    guard !outbox.isEmpty else { return }
    let mail = outbox
    outbox = []
    for (target, slices, bytes) in mail {
      let source = handle
      let isFull = target.queued.wrappingAdd(bytes, ordering: .relaxed).newValue > Self.mailboxLimit
      if isFull { pause(by: target.id) }
      target.loop.execute {
        target.queued.wrappingSubtract(bytes, ordering: .relaxed)
        guard let connection = target.connection else { return source.run { $0.resume(by: target.id) } }
        connection.deliver(slices, from: source, wantsWord: isFull)
      }
    }
  }

  private func deliver(_ slices: [ByteBuffer], from source: ConnectionHandle, wantsWord: Bool) {
    for slice in slices { underlay.write(slice) }
    underlay.flush()
    let id = handle.id
    if !underlay.isWritable, underlay.isOpen {
      if stalled.updateValue(source, forKey: source.id) == nil { source.run { $0.pause(by: id) } }
    } else if wantsWord {
      source.run { $0.resume(by: id) }
    }
  }

  private func pause(by target: UInt64) {
    let wasReading = pausedBy.isEmpty
    pausedBy.insert(target)
    if wasReading { underlay.setReading(false) }
  }

  private func resume(by target: UInt64) {
    guard pausedBy.remove(target) != nil, pausedBy.isEmpty else { return }
    underlay.setReading(true)
  }

  private func release() {
    let senders = stalled
    stalled = [:]
    let id = handle.id
    for sender in senders.values { sender.run { $0.resume(by: id) } }
  }

  // MARK: Messages out

  func send(_ message: Message) {
    var message = message
    message.sequence = handle.nextSequence()
    underlay.writeAndFlush(message)
  }

  /// Runs a job in the connection's task. - Returns: false when the SDK has too many requests open.
  func start(_ job: @escaping Job) -> Bool {
    guard openJobs < Self.jobLimit else { return false }
    openJobs += 1
    let handle = self.handle
    jobs.yield {
      await job()
      handle.run { $0.openJobs -= 1 }
    }
    return true
  }

  // MARK: Circuits

  /// Opens the way of payload from here to the other end; what was held goes first.
  func open(_ connID: UInt32, circuit: String, far: CircuitEndpoint) {
    guard case .circuit(let end)? = slots[connID], end.circuit == circuit else {
      return far.handle.run { $0.finish(far.connID, circuit: circuit, text: "the host closed the connection", sendFIN: false) }
    }
    end.far = far
    if end.held.readableBytes > 0 {
      let held = end.held
      end.held = ByteBuffer()
      passHeld(held, end, far)
    }
    if end.closesWhenOpen { leave(end, graceful: true, text: "close called") }
    flushBurst()
  }

  private func passHeld(_ held: ByteBuffer, _ end: CircuitEnd, _ far: CircuitEndpoint) {
    let limits = underlay.limits
    held.withBurstBytes { bytes in
      var offset = 0
      while bytes.count - offset >= FrameHeader.size {
        let rest = UnsafeMutableRawBufferPointer(rebasing: bytes[offset...])
        guard let header = try? FrameHeader.parse(UnsafeRawBufferPointer(rest), limits: limits), header.frameLength <= rest.count else { break }
        _ = readdress(UnsafeMutableRawBufferPointer(rebasing: rest[..<header.frameLength]), header)
        offset += header.frameLength
      }
    }
    pass(held, to: far.handle)
  }

  /// The SDK of this connection ended its side: the controller and the other end are told.
  func leave(_ end: CircuitEnd, graceful: Bool, text: String) {
    slots[end.connID] = nil
    // Everything that was sent before the end arrives before the end.
    flushBurst()
    guard let entry = core.endCircuit(end.circuit, atIngress: end.isInitiator) else { return }
    let (id, sendFIN) = (end.circuit, graceful && !end.sentFIN)
    for other in entry.attached where !(other.handle === handle && other.connID == end.connID) {
      other.handle.run { $0.finish(other.connID, circuit: id, text: text, sendFIN: sendFIN) }
    }
  }

  /// Tells the SDK that a circuit ended elsewhere.
  func finish(_ connID: UInt32, circuit: String, text: String, sendFIN: Bool) {
    guard case .circuit(let end)? = slots[connID], end.circuit == circuit else { return }
    slots[connID] = nil
    if sendFIN {
      var fin = EdgeMessages.Data(connID: connID, flags: .fin, body: []).message()
      fin.sequence = handle.nextSequence()
      underlay.write(fin)
    }
    send(EdgeMessages.StateClosed(connID: connID, text: text).message())
  }

  /// Ends hosting: the SDK is told why.
  func endBind(_ connID: UInt32, terminator: String, error: StructuredError) {
    guard case .bind(let listener)? = slots[connID], listener.terminatorID == terminator else { return }
    slots[connID] = nil
    failDials(of: connID, text: error.message)
    send(EdgeMessages.StateClosed(connID: connID, text: error.message, error: error).message())
  }

  func failDials(of connID: UInt32, text: String) {
    for (sequence, dial) in pendingDials where dial.bindConnID == connID {
      pendingDials[sequence] = nil
      dial.deadline.cancel()
      if let id = dial.newConnID { slots[id] = nil }
      dial.promise.succeed(.failure(DialFailure(text: text, code: .generic)))
    }
  }
}
