public import Logging
import NIOConcurrencyHelpers
public import NIOCore
import NIOHTTP1
import NIOPosix
public import ServiceLifecycle
public import Swiftlet
public import SwiftletShare
import Transport
import Tunnel
public import WebRelay

/// A private share at a local port. One that speaks HTTP is carried request by request, so that requests can be shown
/// and a share that sleeps answers with a page that says so; the others byte by byte.
public final class PrivateAccess: Service {
  private enum Carrier {
    case tunnel(ProxyTunnel)
    case relay(pool: UpstreamPool, judge: RequestJudge)
  }

  private let overlay: Overlay
  private let token: String
  private let address: (host: String, port: Int)
  private let observer: RequestObserver?
  private let logger: Logger
  private let carrier: Carrier
  private let admission = StrangerAdmission(StrangerLimits())
  private let bound = NIOLockedValueBox<(any Channel)?>(nil)
  /// Of what `relay` carries.
  private let farewell = Farewell()

  /// - Parameters:
  ///   - access: of the identity of `overlay`. Where it does not know what runs behind the share, bytes are carried.
  ///   - port: 0 picks a free one; `start` tells which.
  ///   - responseHeaders: set on answers of shares that speak HTTP.
  ///   - observer: told of each request, of shares that speak HTTP.
  public init(
    overlay: Overlay, access: ShareAccess, host: String, port: Int, responseHeaders: [ResponseHeader] = [],
    observer: RequestObserver? = nil, logger: Logger
  ) {
    let (token, backend) = (access.shareToken, access.backend)
    self.overlay = overlay
    self.token = token
    address = (host, port)
    self.observer = observer
    self.logger = logger
    switch backend {
    case .proxy, .web, .drive, .caddy:
      let options = Overlay.DialOptions.windowed(access.isWindowed)
      let upstream = Upstream(
        key: token,
        connect: { loop, initializer in overlay.channel(to: token, options: options, on: loop, initializer: initializer)
        },
        responseHeaders: responseHeaders,
        failurePage: { failure in
          logger.info("a share does not answer", metadata: ["share": "\(token)", "reason": "\(failure)"])
          return PrivateAccess.failurePage(failure)
        })
      carrier = .relay(pool: UpstreamPool()) { head, info in
        var head = head
        ForwardedHeaders.add(to: &head.headers, info: info)
        return info.loop.makeSucceededFuture(.relay(upstream: upstream, head: head))
      }
    case .tcpTunnel, .udpTunnel, .socks, nil:
      carrier = .tunnel(
        ProxyTunnel(
          overlay: overlay, service: token, host: host, port: port, transport: backend == .udpTunnel ? .udp : .tcp,
          logger: logger))
    }
  }

  private static func failurePage(_ failure: UpstreamFailure) -> WebPage {
    guard let notice = DialFailureNotice(failure.cause) else { return failure.page(behind: "share") }
    return .html(
      status: HTTPResponseStatus(statusCode: notice.status), title: notice.title, message: notice.message,
      hint: notice.hint)
  }

  /// Binds the port. `run` does it if nobody did.
  @discardableResult
  public func start() async throws -> SocketAddress {
    switch carrier {
    case .tunnel(let tunnel): return try await tunnel.start()
    case .relay(let pool, let judge):
      if let known = bound.withLockedValue({ $0?.localAddress }) { return known }
      let observer = observer
      let channel = try await ServerBootstrap(group: overlay.group)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .serverChannelOption(.backlog, value: 1024)
        .serverChannelInitializer { server in
          server.eventLoop.makeCompletedFuture { try server.pipeline.syncOperations.addHandler(AcceptBackoffHandler()) }
        }
        .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        .childChannelInitializer { [admission, farewell] channel in
          // A failed initializer closes the connection.
          guard let stranger = admission.admit(channel), farewell.watch(channel) else {
            return channel.eventLoop.makeFailedFuture(OverlayError.closed)
          }
          return channel.eventLoop.makeCompletedFuture {
            try HTTPRelay.configureHTTP1(
              channel, remoteAddress: channel.remoteAddress?.plainAddress ?? "", isTLS: false, pool: pool, judge: judge,
              heard: { stranger.proven() },
              observer: observer)
          }
        }
        .bind(host: address.host, port: address.port).get()
      bound.withLockedValue { $0 = channel }
      guard let local = channel.localAddress else { throw OverlayError.closed }
      return local
    }
  }

  /// Carries connections until cancelled or until the service group shuts down. The port closes then; connections in
  /// progress go on.
  public func run() async throws {
    guard case .relay = carrier else {
      if case .tunnel(let tunnel) = carrier { try await tunnel.run() }
      return
    }
    try await start()
    guard let channel = bound.withLockedValue({ $0 }) else { return }
    try await channel.serve()
  }

  /// Waits until what `run` left open has ended, up to a limit. Call when that has returned.
  func end(within limit: Duration) async {
    switch carrier {
    case .tunnel(let tunnel): await tunnel.end(within: limit)
    case .relay: await farewell.end(within: limit, share: token, logger)
    }
  }
}
