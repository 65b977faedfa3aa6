import Dispatch
import NIOConcurrencyHelpers
public import NIOCore
public import Wire

/// A channel of the control plane: typed messages, requests with replies, heartbeats; async on the outside.
///
/// Never used for payload: a message costs an allocation and a hop here, which the data plane does not pay
/// (swift-recipes.md 3).
public final class MessageChannel: Sendable {
  /// Intervals of heartbeats (fabric-planes.md 2.7).
  public struct Heartbeats: Sendable {
    public var interval: TimeAmount = .seconds(10)
    /// Without an answer for this long the channel is closed.
    public var limit: TimeAmount = .seconds(30)
    public init() {}
  }

  private let core: NIOLoopBound<MessageChannelCore>
  private let loop: any EventLoop
  private let channel: any Channel
  /// Headers of the peer's hello (accepting side) or of its hello result (dialling side).
  public let helloHeaders: Headers
  public let peer: PresentedPeer
  /// Messages that are not replies. One consumer; when it lags by megabytes, reading stops until it catches up.
  public let messages: InboundMessages

  /// Takes over an underlay whose hello is done. Call on its event loop.
  public init(underlay: Underlay, helloHeaders: Headers, heartbeats: Heartbeats? = Heartbeats()) {
    let loop = underlay.eventLoop
    let demand = MessageDemand(underlay: NIOLoopBound(underlay, eventLoop: loop), loop: loop)
    let sequence = NIOAsyncSequenceProducer.makeSequence(
      elementType: Message.self, backPressureStrategy: InboundMessages.Strategy(), finishOnDeinit: true,
      delegate: demand)
    let core = MessageChannelCore(underlay: underlay, source: sequence.source, demand: demand, heartbeats: heartbeats)
    underlay.receiver = core
    core.start()
    self.core = NIOLoopBound(core, eventLoop: loop)
    self.loop = loop
    self.channel = underlay.channel
    self.helloHeaders = helloHeaders
    self.peer = underlay.peer
    self.messages = InboundMessages(sequence: sequence.sequence, demand: demand)
  }

  /// Connects to a peer of the control plane.
  ///
  /// - Parameters:
  ///   - hello: content type and sequence are set here.
  ///   - timeout: for connect, handshake and hello, each.
  public static func dial(
    address: PeerAddress, tls: ClientTLS, alpn: String?, hello: Message, group: any EventLoopGroup,
    timeout: TimeAmount = .seconds(5),
    heartbeats: Heartbeats? = Heartbeats()
  ) async throws -> MessageChannel {
    var hello = hello
    hello.contentType = .hello
    hello.sequence = -1
    return try await HelloDialer.dial(address, tls: tls, alpn: alpn, hello: hello, group: group, timeout: timeout) {
      underlay, answer in
      MessageChannel(underlay: underlay, helloHeaders: answer.headers, heartbeats: heartbeats)
    }
  }

  /// Queues a message; never waits. A peer that does not read is closed when its queue passes 64 MiB.
  public func post(_ message: Message) {
    if loop.inEventLoop {
      core.value.send(message, promise: nil)
    } else {
      loop.execute { self.core.value.send(message, promise: nil) }
    }
  }

  /// Sends a message; returns once the socket took it.
  public func send(_ message: Message) async throws {
    let promise = loop.makePromise(of: Void.self)
    loop.execute { self.core.value.send(message, promise: promise) }
    try await promise.futureResult.get()
  }

  /// Sends a request and waits for the message that answers it (header 1).
  /// - Throws: `TransportError.timedOut`, `.closed`.
  public func request(_ message: Message, timeout: TimeAmount) async throws -> Message {
    let promise = loop.makePromise(of: Message.self)
    loop.execute { self.core.value.request(message, timeout: timeout, promise: promise) }
    return try await promise.futureResult.get()
  }

  /// Posts a reply to a message received here.
  public func reply(_ message: Message, to request: Message) {
    var reply = message
    reply.replyFor = request.sequence
    if let reflected = request.headers[.reflected] { reply.headers[.reflected] = reflected }
    post(reply)
  }

  public func close() { channel.close(promise: nil) }

  /// Closes once what was posted before is written, however long the peer takes.
  public func closeAfterFlush() { loop.execute { self.core.value.closeAfterFlush() } }

  /// Returns when the channel is gone.
  public func waitUntilClosed() async { try? await channel.closeFuture.get() }

  public var isOpen: Bool { channel.isActive }
}

/// The loop-bound half: sequence numbers, replies, heartbeats.
final class MessageChannelCore: FrameReceiver {
  /// Bytes queued for a peer that does not read before it is given up.
  private static let queueLimit = 64 * 1024 * 1024

  private let underlay: Underlay
  private let source: InboundMessages.Producer.Source
  private let demand: MessageDemand
  private let heartbeats: MessageChannel.Heartbeats?
  private var sequence: Int32 = 0
  private var waiters: [Int32: (promise: EventLoopPromise<Message>, deadline: Scheduled<Void>)] = [:]
  private var isClosed = false
  private var beat: RepeatedTask?
  private var lastAnswer = NIODeadline.now()

  init(
    underlay: Underlay, source: InboundMessages.Producer.Source, demand: MessageDemand,
    heartbeats: MessageChannel.Heartbeats?
  ) {
    self.underlay = underlay
    underlay.queueLimit = Self.queueLimit
    self.source = source
    self.demand = demand
    self.heartbeats = heartbeats
  }

  func start() {
    guard let heartbeats else { return }
    let bound = NIOLoopBound(self, eventLoop: underlay.eventLoop)
    beat = underlay.eventLoop.scheduleRepeatedTask(initialDelay: heartbeats.interval, delay: heartbeats.interval) { _ in
      bound.value.sendHeartbeat()
    }
  }

  private func sendHeartbeat() {
    guard let heartbeats, !isClosed else { return }
    if NIODeadline.now() - lastAnswer > heartbeats.limit + heartbeats.interval { return underlay.close() }
    var message = Message(contentType: .heartbeat)
    message.headers.set(.heartbeat, DispatchTime.now().uptimeNanoseconds)
    send(message, promise: nil)
  }

  private func nextSequence() -> Int32 {
    sequence = sequence == Int32.max ? 1 : sequence + 1
    return sequence
  }

  func closeAfterFlush() { underlay.closeAfterFlush() }

  func send(_ message: Message, promise: EventLoopPromise<Void>?) {
    guard !isClosed else {
      promise?.fail(TransportError.closed(reason: "cannot send on it"))
      return
    }
    var message = message
    message.sequence = nextSequence()
    underlay.writeAndFlush(message, promise: promise)
  }

  /// Answers what the peer asked without anybody above knowing.
  private func answer(_ message: Message) {
    var message = message
    message.sequence = nextSequence()
    underlay.writeAnswer(message)
  }

  func request(_ message: Message, timeout: TimeAmount, promise: EventLoopPromise<Message>) {
    guard !isClosed else { return promise.fail(TransportError.closed(reason: "cannot send on it")) }
    let key = sequence == Int32.max ? 1 : sequence + 1
    let bound = NIOLoopBound(self, eventLoop: underlay.eventLoop)
    let type = message.contentType.rawValue
    let deadline = underlay.eventLoop.scheduleTask(in: timeout) { () -> Void in
      bound.value.waiters.removeValue(forKey: key)?.promise.fail(
        TransportError.timedOut(what: "the reply to message type \(type)"))
    }
    waiters[key] = (promise, deadline)
    send(message, promise: nil)
  }

  // MARK: FrameReceiver

  func receive(_ frames: inout ByteBuffer, from underlay: Underlay) {
    lastAnswer = .now()
    while frames.readableBytes > 0 {
      do {
        guard let header = try frames.withUnsafeReadableBytes({ try FrameHeader.parse($0, limits: underlay.limits) }),
          let frame = frames.readSlice(length: header.frameLength)
        else { return }
        let message = try frame.withUnsafeReadableBytes { try Message.parse($0, limits: underlay.limits) }
        handle(message)
      } catch {
        return underlay.close()
      }
    }
  }

  private func handle(_ message: Message) {
    if let stamp = message.headers[.heartbeat] {
      var answer = Message(contentType: .heartbeat)
      answer.headers[.heartbeatResponse] = stamp
      self.answer(answer)
    }
    if let replyFor = message.replyFor, let waiter = waiters.removeValue(forKey: replyFor) {
      waiter.deadline.cancel()
      return waiter.promise.succeed(message)
    }
    switch message.contentType {
    case .heartbeat: return
    case .latency, .ping:
      var answer = Message(contentType: .result)
      answer.replyFor = message.sequence
      answer.headers.set(.resultSuccess, true)
      if let reflected = message.headers[.reflected] { answer.headers[.reflected] = reflected }
      self.answer(answer)
    default:
      demand.arrived(message)
      _ = source.yield(contentsOf: CollectionOfOne(message))
    }
  }

  func readBurstEnded(on underlay: Underlay) {}
  func writabilityChanged(on underlay: Underlay) {}

  func closed(_ underlay: Underlay, error: (any Error)?) {
    isClosed = true
    beat?.cancel()
    let pending = waiters
    waiters = [:]
    for waiter in pending.values {
      waiter.deadline.cancel()
      waiter.promise.fail(TransportError.closed(reason: error.map { "\($0)" } ?? "the peer closed it"))
    }
    source.finish()
  }
}
