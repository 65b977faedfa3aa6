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

/// HTTPS for SDK, router, share service and command line. Own because enrollment must trust exactly one leaf
/// (edge-client-api.md 2.2), which the listed HTTP client cannot express; the codec is NIOHTTP1's.
///
/// By default it has one connection a request. One that keeps its connections (`KeptConnections`) is for those who ask
/// the same server again and again: `RESTClient`.
public struct HTTPSClient: Sendable {
  private let tls: ClientTLS
  private let group: any EventLoopGroup
  private let allowsPlaintext: Bool
  private let kept: KeptConnections?

  /// - Parameters:
  ///   - tls: what is proven to servers, and whom it believes. Whoever has another certificate makes another client.
  ///   - group: event loops of the connections.
  ///   - allowsPlaintext: whether `http://` is requested too; what is sent then can be read and changed on the way.
  ///   - keepsConnections: whether a connection stays open for the next request, until ``close()`` or the end of the
  ///     last copy of this client.
  public init(
    tls: ClientTLS, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, allowsPlaintext: Bool = false,
    keepsConnections: Bool = false
  ) {
    self.tls = tls
    self.group = group
    self.allowsPlaintext = allowsPlaintext
    kept = keepsConnections ? KeptConnections(group: group) : nil
  }

  /// Connections that were made to be kept.
  package var connectionsMade: Int { kept?.made ?? 0 }

  /// Closes the connections that wait for a request. Later requests are answered, and their connections not kept.
  public func close() { kept?.end() }

  /// - Parameters:
  ///   - url: `https://host[:port]/path?query`, the scheme in any case.
  ///   - timeout: for a turn where many ask at once, for connect, and for the whole answer, each.
  ///   - maxBody: bytes of answer body that are accepted; nil waits for none, and the answer's body is empty.
  /// - Throws: `TransportError`.
  public func request(
    method: String = "GET", _ url: String, headers: [(String, String)] = [], body: [UInt8]? = nil,
    timeout: TimeAmount = .seconds(30),
    maxBody: Int? = 16 * 1024 * 1024
  ) async throws -> HTTPAnswer {
    let target = try Self.target(url, allowsPlaintext: allowsPlaintext)
    // Behind an answer that is not read to its end comes no other one.
    let kept = maxBody == nil ? nil : kept
    var fields = HTTPHeaders([("host", target.authority)])
    if kept == nil { fields.add(name: "connection", value: "close") }
    fields.add(contentsOf: headers)
    if let body { fields.add(name: "content-length", value: "\(body.count)") }
    let exchange = HTTPConnection.Exchange(
      head: HTTPRequestHead(
        version: .http1_1, method: HTTPMethod(rawValue: method), uri: target.target, headers: fields),
      body: body ?? [], timeout: timeout, limit: maxBody)
    do {
      guard let kept else { return try await connect(target, timeout, nil).run(exchange) }
      let origin = target.origin
      try await kept.enter(origin, timeout)
      defer { kept.leave(origin) }
      if let connection = kept.take(origin, for: exchange) {
        do { return try await connection.run(exchange) } catch let ended as HTTPConnection.Unanswered
          where !ended.wasWritten || exchange.isIdempotent
        {
          // The server ended it while it waited: asked once more, on a new connection.
        }
      }
      return try await connect(target, timeout, kept).run(exchange)
    } catch let ended as HTTPConnection.Unanswered {
      throw ended.error
    }
  }

  private func connect(_ target: ServerURL, _ timeout: TimeAmount, _ kept: KeptConnections?) async throws
    -> HTTPConnection.Reference
  {
    let origin = target.origin
    kept?.count()
    guard target.isTLS else { return try await connectPlainly(target, timeout, kept) }
    return try await tls.connect(
      host: target.place.host, port: target.place.port, alpn: ["http/1.1"], group: group, timeout: timeout
    ) { channel, _ in
      try HTTPConnection.add(to: channel, kept: kept, origin: origin)
    }
  }

  private func connectPlainly(_ target: ServerURL, _ timeout: TimeAmount, _ kept: KeptConnections?) async throws
    -> HTTPConnection.Reference
  {
    let origin = target.origin
    let channel: any Channel
    do {
      channel = try await ClientBootstrap(group: group).connectTimeout(timeout).connect(
        host: target.place.host, port: target.place.port
      ).get()
    } catch {
      throw TransportError.connectFailed(address: "\(target.place)", reason: ErrorText.words(error))
    }
    return try await channel.eventLoop.submit {
      try HTTPConnection.add(to: channel, kept: kept, origin: origin)
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
