import NIOCore
import NIOHTTP1

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The client's end of an HTTP/1.1 connection: one exchange at a time and, where the connection is kept, a rest before
/// the next one. Bound to its event loop; others hold a `Reference`.
final class HTTPConnection: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundOut = HTTPClientRequestPart

  /// A request, and how much of an answer is waited for.
  struct Exchange: Sendable {
    let head: HTTPRequestHead
    let body: [UInt8]
    /// From the request to the end of its answer.
    let timeout: TimeAmount
    /// Bytes of the answer's body; nil: the head is all that is wanted.
    let limit: Int?

    /// Whether it changes nothing.
    var isSafe: Bool { [.GET, .HEAD, .OPTIONS].contains(head.method) }
    /// Whether it may be done twice (RFC 9110 9.2.2).
    var isIdempotent: Bool { isSafe || head.method == .PUT || head.method == .DELETE }
  }

  /// The connection ended before a byte of the answer came.
  struct Unanswered: Error {
    /// Whether the server may have had the request, or a part of it.
    let wasWritten: Bool
    let error: TransportError
  }

  /// A connection for those who are not on its event loop.
  struct Reference: Sendable {
    let id: ObjectIdentifier
    let channel: any Channel
    fileprivate let bound: NIOLoopBound<HTTPConnection>

    /// - Throws: `Unanswered`, `TransportError`.
    func run(_ exchange: Exchange) async throws -> HTTPAnswer {
      let (loop, bound) = (channel.eventLoop, bound)
      return try await loop.flatSubmit { bound.value.begin(exchange, on: loop) }.get()
    }
  }

  private final class Pending {
    let promise: EventLoopPromise<HTTPAnswer>
    let limit: Int?
    var deadline: Scheduled<Void>?
    var isWritten = false
    var head: HTTPResponseHead?
    var body: [UInt8] = []

    init(_ promise: EventLoopPromise<HTTPAnswer>, limit: Int?) {
      self.promise = promise
      self.limit = limit
    }
  }

  /// A request whose bytes nobody acknowledges for so many milliseconds is lost: the machine changed its network, or
  /// the server's is gone.
  private static let acknowledgement = 15_000

  private let begun = NIODeadline.now()
  private weak var kept: KeptConnections?
  private let origin: String
  private var context: ChannelHandlerContext?
  private var pending: Pending?
  private var rest: Scheduled<Void>?
  private var isEnding = false
  /// Why it ended.
  private var failure: TransportError?

  private init(kept: KeptConnections?, origin: String) {
    self.kept = kept
    self.origin = origin
  }

  /// Makes a channel an HTTP connection. On its event loop.
  /// - Parameter kept: where it rests between exchanges; nil closes it with the first answer.
  static func add(to channel: any Channel, kept: KeptConnections?, origin: String) throws -> Reference {
    #if os(Linux)
      // What is no socket of TCP has no such option.
      try? channel.syncOptions?.setOption(.tcpOption(.init(rawValue: TCP_USER_TIMEOUT)), value: acknowledgement)
    #endif
    try channel.pipeline.syncOperations.addHTTPClientHandlers()
    let connection = HTTPConnection(kept: kept, origin: origin)
    try channel.pipeline.syncOperations.addHandler(connection)
    return connection.reference(channel)
  }

  private func reference(_ channel: any Channel) -> Reference {
    Reference(
      id: ObjectIdentifier(self), channel: channel, bound: NIOLoopBound(self, eventLoop: channel.eventLoop))
  }

  // MARK: An exchange

  private func begin(_ exchange: Exchange, on loop: any EventLoop) -> EventLoopFuture<HTTPAnswer> {
    rest?.cancel()
    rest = nil
    guard let context, context.channel.isActive, !isEnding, pending == nil else {
      return loop.makeFailedFuture(Unanswered(wasWritten: false, error: failure ?? Self.closed))
    }
    let pending = Pending(loop.makePromise(), limit: exchange.limit)
    self.pending = pending
    pending.deadline = loop.assumeIsolated().scheduleTask(in: exchange.timeout) { [weak self] in
      self?.end(.timedOut(what: "the answer of the server"))
    }
    context.write(wrapOutboundOut(.head(exchange.head)), promise: nil)
    if !exchange.body.isEmpty {
      context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: exchange.body)))), promise: nil)
    }
    let written = context.writeAndFlush(wrapOutboundOut(.end(nil)))
    written.assumeIsolated().whenComplete { [weak self] result in
      switch result {
      case .success: pending.isWritten = true
      case .failure(let error): self?.lost(error)
      }
    }
    return pending.promise.futureResult
  }

  private func finish(_ pending: Pending, mayBeKept: Bool) {
    guard let head = pending.head else { return end(.protocolViolation("an answer without a head")) }
    pending.deadline?.cancel()
    self.pending = nil
    if !(mayBeKept && pending.isWritten && head.isKeepAlive && takeRest()) {
      isEnding = true
      context?.close(promise: nil)
    }
    pending.promise.succeed(
      HTTPAnswer(
        status: Int(head.status.code), headers: head.headers.map { (name: $0.name, value: $0.value) },
        body: pending.body))
  }

  /// - Returns: whether the connection waits for another exchange now.
  private func takeRest() -> Bool {
    guard let kept, let context, context.channel.isActive, NIODeadline.now() - begun < KeptConnections.longestLife,
      kept.put(reference(context.channel), origin)
    else { return false }
    rest = context.eventLoop.assumeIsolated().scheduleTask(in: KeptConnections.longestRest) { [weak self] in
      self?.end(.closed(reason: "it was not used for a while"))
    }
    return true
  }

  // MARK: The end

  private static let closed = TransportError.closed(reason: "the server closed the connection before it answered")

  private func lost(_ error: any Error) {
    let error = error as? TransportError ?? .closed(reason: ErrorText.words(error))
    end(error, isLost: true)
  }

  /// - Parameter isLost: whether the connection ended by itself, so that a request without an answer may be repeated.
  private func end(_ error: TransportError, isLost: Bool = false) {
    guard !isEnding else { return }
    isEnding = true
    failure = error
    rest?.cancel()
    rest = nil
    kept?.forget(ObjectIdentifier(self), origin)
    if let pending {
      self.pending = nil
      pending.deadline?.cancel()
      if isLost, pending.head == nil {
        pending.promise.fail(Unanswered(wasWritten: true, error: error))
      } else {
        pending.promise.fail(error)
      }
    }
    context?.close(promise: nil)
  }

  // MARK: Channel

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    lost(Self.closed)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isEnding else { return }
    guard let pending else { return end(.protocolViolation("an answer that nobody asked for")) }
    switch unwrapInboundIn(data) {
    case .head(let head):
      pending.head = head
      if pending.limit == nil, head.status.code >= 200 { finish(pending, mayBeKept: false) }
    case .body(let part):
      guard let limit = pending.limit else { return }
      guard pending.body.count + part.readableBytes <= limit else { return end(.answerTooLarge(limit: limit)) }
      pending.body.append(contentsOf: part.readableBytesView)
    case .end: if pending.limit != nil { finish(pending, mayBeKept: true) }
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { lost(error) }

  func channelInactive(context: ChannelHandlerContext) {
    lost(Self.closed)
    context.fireChannelInactive()
  }
}
