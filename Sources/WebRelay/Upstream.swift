public import NIOCore
public import NIOHTTP1

/// Opens a byte channel to where requests go, on `loop`; the initializer puts the handlers of an HTTP client in.
public typealias Connector =
  @Sendable (_ loop: any EventLoop, _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>) ->
  EventLoopFuture<any Channel>

/// Where a request goes.
public struct Upstream: Sendable {
  /// Names the pool of connections that may be used again.
  public let key: String
  public let connect: Connector
  /// Shown when it cannot be reached, or breaks before it answered.
  public let failurePage: @Sendable (UpstreamFailure) -> WebPage
  /// Set on its answers, whatever it says itself.
  public let responseHeaders: [ResponseHeader]
  /// How long it may say nothing, before its answer and within it, once it has the whole request. nil: as long as both
  /// ends live.
  public let answerLimit: TimeAmount?
  /// Changes the heads of its answers, before `responseHeaders` are set.
  public var rewrite: (@Sendable (inout HTTPResponseHead) -> Void)?
  /// Kept as long as the request is under way, or what it was upgraded to.
  public let lease: (any Sendable)?

  /// - Parameter failurePage: nil for a page in general words.
  public init(
    key: String, connect: @escaping Connector, lease: (any Sendable)? = nil, responseHeaders: [ResponseHeader] = [],
    answerLimit: TimeAmount? = nil,
    failurePage: @escaping @Sendable (UpstreamFailure) -> WebPage = { $0.page(behind: "address") }
  ) {
    self.key = key
    self.responseHeaders = responseHeaders
    self.answerLimit = answerLimit
    self.lease = lease
    self.connect = connect
    self.failurePage = failurePage
  }
}

/// What to do with one request.
public enum RequestVerdict: Sendable {
  /// Pass it on under this head, already rewritten.
  case relay(upstream: Upstream, head: HTTPRequestHead)
  case answer(WebPage)
}

/// Decides about a request, on its event loop. Of the fields of the hop a head has `Upgrade` where it asks for another
/// protocol, and `Transfer-Encoding` where its body has no length.
public typealias RequestJudge = @Sendable (HTTPRequestHead, RequestInfo) -> EventLoopFuture<RequestVerdict>
