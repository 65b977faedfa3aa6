public import NIOCore
public import NIOHTTP1

/// Opens a byte channel to where requests go, on `loop`; the initializer puts the handlers of an HTTP client in.
public typealias Connector =
  @Sendable (_ loop: any EventLoop, _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>) -> EventLoopFuture<any Channel>

/// Where a request goes.
public struct Upstream: Sendable {
  /// Names the pool of connections that may be used again.
  public let key: String
  public let connect: Connector
  /// Shown when it cannot be reached, or breaks before it answered.
  public let failurePage: @Sendable (any Error) -> WebPage
  /// Set on its answers, whatever it says itself.
  public let responseHeaders: [ResponseHeader]
  /// Kept as long as the request is under way, or what it was upgraded to.
  public let lease: (any Sendable)?

  public init(
    key: String, connect: @escaping Connector, lease: (any Sendable)? = nil, responseHeaders: [ResponseHeader] = [],
    failurePage: (@Sendable (any Error) -> WebPage)? = nil
  ) {
    self.key = key
    self.responseHeaders = responseHeaders
    self.lease = lease
    self.connect = connect
    self.failurePage =
      failurePage ?? { _ in
        .html(
          status: .badGateway, title: "No answer", message: "The server behind this address does not answer.",
          hint: "Try again in a moment, or tell the person who runs it.")
      }
  }
}

/// What to do with one request.
public enum RequestVerdict: Sendable {
  /// Pass it on under this head, already rewritten.
  case relay(upstream: Upstream, head: HTTPRequestHead)
  case answer(WebPage)
}

/// Decides about a request, on its event loop.
public typealias RequestJudge = @Sendable (HTTPRequestHead, RequestInfo) -> EventLoopFuture<RequestVerdict>

enum RelayError: Error, CustomStringConvertible {
  case upstreamClosed
  case badUpstream(String)

  var description: String {
    switch self {
    case .upstreamClosed: "the upstream closed the connection before it answered"
    case .badUpstream(let reason): "the upstream does not speak HTTP: \(reason)"
    }
  }
}
