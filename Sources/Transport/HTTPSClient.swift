public import NIOCore
import NIOHTTP1
public import NIOPosix
public import X509

/// An answer over HTTP, its body within the limit that was asked for.
public struct HTTPAnswer: Sendable {
  public let status: Int
  public let headers: [(name: String, value: String)]
  public let body: [UInt8]

  /// The first header of that name, compared without case.
  public func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name.lowercased() }?.value }
}

/// HTTPS for SDK, router and command line. Own because enrollment must trust exactly one leaf (edge-client-api.md 2.2),
/// which the listed HTTP client cannot express; the codec is NIOHTTP1's. One connection a request: these callers make a
/// handful.
public struct HTTPSClient: Sendable {
  private let tls: ClientTLS
  private let group: any EventLoopGroup
  private let allowsPlaintext: Bool

  /// - Parameter allowsPlaintext: whether `http://` is requested too; what is sent then can be read and changed on the
  ///   way.
  public init(
    tls: ClientTLS, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, allowsPlaintext: Bool = false
  ) {
    self.tls = tls
    self.group = group
    self.allowsPlaintext = allowsPlaintext
  }

  /// - Parameters:
  ///   - url: `https://host[:port]/path?query`, the scheme in any case.
  ///   - timeout: for connect, and for the whole answer, each.
  ///   - maxBody: bytes of answer body that are accepted; nil waits for none, and the answer's body is empty.
  /// - Throws: `TransportError`.
  public func request(
    method: String = "GET", _ url: String, headers: [(String, String)] = [], body: [UInt8]? = nil,
    timeout: TimeAmount = .seconds(30),
    maxBody: Int? = 16 * 1024 * 1024
  ) async throws -> HTTPAnswer {
    let target = try Self.target(url, allowsPlaintext: allowsPlaintext)
    let exchange: @Sendable (any Channel) throws -> EventLoopFuture<HTTPAnswer> = { channel in
      try channel.pipeline.syncOperations.addHTTPClientHandlers()
      let collector = AnswerCollector(channel: channel, limit: maxBody, timeout: timeout)
      try channel.pipeline.syncOperations.addHandler(collector)
      var fields = HTTPHeaders([("host", target.authority), ("connection", "close")] + headers)
      if let body { fields.add(name: "content-length", value: "\(body.count)") }
      channel.write(
        HTTPClientRequestPart.head(
          .init(version: .http1_1, method: .init(rawValue: method), uri: target.target, headers: fields)), promise: nil)
      if let body { channel.write(HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(bytes: body))), promise: nil) }
      channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
      return collector.answer
    }
    guard target.isTLS else { return try await plaintext(target, timeout, exchange) }
    return try await tls.connect(
      host: target.place.host, port: target.place.port, alpn: ["http/1.1"], group: group, timeout: timeout
    ) { channel, _ in
      try exchange(channel)
    }.get()
  }

  private func plaintext(
    _ target: ServerURL, _ timeout: TimeAmount,
    _ exchange: @escaping @Sendable (any Channel) throws -> EventLoopFuture<HTTPAnswer>
  ) async throws -> HTTPAnswer {
    let channel: any Channel
    do {
      channel = try await ClientBootstrap(group: group).connectTimeout(timeout).connect(
        host: target.place.host, port: target.place.port
      ).get()
    } catch {
      throw TransportError.connectFailed(address: "\(target.place)", reason: ErrorText.words(error))
    }
    return try await channel.eventLoop.flatSubmit {
      do { return try exchange(channel) } catch { return channel.eventLoop.makeFailedFuture(error) }
    }.get()
  }

  /// The certificate a server proves, believed by nobody yet: the first step of enrollment.
  public static func leaf(
    of url: String, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
    timeout: TimeAmount = .seconds(10)
  )
    async throws
    -> Certificate
  {
    let target = try Self.target(url)
    let leaf = try await ClientTLS(trust: .any).connect(
      host: target.place.host, port: target.place.port, alpn: ["http/1.1"], group: group, timeout: timeout
    ) { channel, peer in
      channel.close(promise: nil)
      return peer.leaf
    }
    guard let leaf else {
      throw TransportError.serverNotTrusted(address: target.authority, reason: "the server showed no certificate")
    }
    return leaf
  }

  private static func target(_ text: String, allowsPlaintext: Bool = false) throws(TransportError) -> ServerURL {
    guard let url = ServerURL(text), url.isTLS || allowsPlaintext else { throw .badURL(text) }
    return url
  }
}

private final class AnswerCollector: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart

  private let promise: EventLoopPromise<HTTPAnswer>
  /// nil: the head is all that is wanted.
  private let limit: Int?
  private var deadline: Scheduled<Void>?
  private var head: HTTPResponseHead?
  private var body: [UInt8] = []

  var answer: EventLoopFuture<HTTPAnswer> { promise.futureResult }

  init(channel: any Channel, limit: Int?, timeout: TimeAmount) {
    promise = channel.eventLoop.makePromise()
    self.limit = limit
    let promise = self.promise
    deadline = channel.eventLoop.scheduleTask(in: timeout) {
      promise.fail(TransportError.timedOut(what: "the answer of the server"))
      channel.close(promise: nil)
    }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      guard limit == nil, head.status.code >= 200 else { return }
      finish()
      context.close(promise: nil)
    case .body(let part):
      guard let limit else { return }
      guard body.count + part.readableBytes <= limit else {
        promise.fail(TransportError.answerTooLarge(limit: limit))
        return context.close(promise: nil)
      }
      body.append(contentsOf: part.readableBytesView)
    case .end:
      guard limit != nil else { return }
      finish()
      context.close(promise: nil)
    }
  }

  private func finish() {
    deadline?.cancel()
    guard let head else { return promise.fail(TransportError.protocolViolation("an answer without a head")) }
    promise.succeed(
      HTTPAnswer(status: Int(head.status.code), headers: head.headers.map { ($0.name, $0.value) }, body: body))
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    deadline?.cancel()
    promise.fail(error is TransportError ? error : TransportError.closed(reason: ErrorText.words(error)))
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    deadline?.cancel()
    promise.fail(TransportError.closed(reason: "the server closed the connection before it answered"))
  }
}
