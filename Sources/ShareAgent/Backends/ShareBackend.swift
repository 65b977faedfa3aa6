public import Logging
public import NIOCore
public import Swiftlet
public import SwiftletShare
import Tunnel
public import WebRelay

/// How requests reach the server behind a share.
public struct BackendOptions: Sendable {
  /// What the server reads as `Host`.
  public enum HostHeader: Sendable, Equatable {
    /// As the visitor sent it.
    case keep
    /// The server's own address.
    case target
    case value(String)
  }

  /// Any certificate of the server will do.
  public var insecure = false
  public var hostHeader = HostHeader.keep
  /// How long the server may say nothing, before its answer and within it, until the visitor reads 504; nil: as long as
  /// both live.
  public var answerLimit: TimeAmount?
  /// Set on every request.
  public var requestHeaders: [(name: String, value: String)] = []
  /// Whether a directory as a web site serves names that begin with a dot. `.well-known` always is served, and a drive
  /// has them all.
  public var showsHidden = false
  /// Told about each finished request of an HTTP share, on its event loop.
  public var observer: RequestObserver?

  public init() {}
}

/// What serves a share while it runs.
public final class ShareBackend: Sendable {
  /// A mode and a target that do not go together.
  public struct Mismatch: Error, CustomStringConvertible {
    public let description: String
  }

  private let stopping: @Sendable (Duration) async -> Void

  /// - Parameter stopping: gets how long what is open may go on.
  private init(_ stopping: @escaping @Sendable (Duration) async -> Void) { self.stopping = stopping }

  /// Offers no more, lets connections in progress go on to their end, and ends what is left at the limit. Of HTTP that
  /// is the request under way: a frontend would go on using the connection for the next visitor. Those of a tunnel go
  /// on beyond that.
  /// - Parameter grace: how long that may take; a cancelled task waits for nothing.
  public func stop(within grace: Duration = .zero) async { await stopping(grace) }

  /// Whether what serves a mode knows flow control from end to end.
  public static func isWindowed(_ mode: ShareOptions.Backend) -> Bool {
    switch mode {
    case .proxy, .web, .drive, .caddy, .socks: true
    case .tcpTunnel, .udpTunnel: false
    }
  }

  /// Serves a share until `stop`. Returns when the first router took the offer.
  ///
  /// - Parameter target: nil only for modes that need none.
  /// - Throws: `Mismatch`, `OverlayError`, or an error of the target.
  public static func start(
    _ share: Share, mode: ShareOptions.Backend, target: BackendTarget?, overlay: Overlay,
    options: BackendOptions = BackendOptions(), logger: Logger
  ) async throws -> ShareBackend {
    switch (mode, target) {
    case (.proxy, .server(let scheme, let host, let port, let path)?):
      return try await proxy(
        share, try SharedServer(scheme, host: host, port: port, path: path, options), overlay, options, logger)
    case (.proxy, .socket(let path)?):
      return try await proxy(
        share, SharedServer(connect: TCPConnector.make(socket: path), options), overlay, options, logger)
    case (.web, .directory(let path)?):
      let site = try FileSite(root: path, showsHidden: options.showsHidden)
      return try await channels(share, overlay, logger) { channel, remote in
        try site.configure(channel, remoteAddress: remote, observer: options.observer)
      }
    case (.web, .file(let path)?):
      let site = try SingleFileSite(path: path)
      return try await channels(share, overlay, logger) { channel, remote in
        try site.configure(channel, remoteAddress: remote, observer: options.observer)
      }
    case (.drive, .directory(let path)?):
      let site = try WebDAVSite(root: path)
      return try await channels(share, overlay, logger) { channel, remote in
        try site.configure(channel, remoteAddress: remote, observer: options.observer)
      }
    case (.tcpTunnel, .server(_, let host, let port, _)?), (.udpTunnel, .server(_, let host, let port, _)?):
      let tunnel = HostTunnel(
        overlay: overlay, service: share.token, host: host, port: port, transport: mode == .udpTunnel ? .udp : .tcp,
        logger: logger
      ) { dial in
        guard let nonce = PathProof.nonce(dial.caller.appData) else { return false }
        if let connection = dial.accept() {
          connection.write(ByteBuffer(bytes: nonce))
          connection.flush()
          connection.finish()
        }
        return true
      }
      try await tunnel.start()
      return ShareBackend { grace in await tunnel.end(within: grace) }
    case (.socks, _):
      return try await channels(share, overlay, logger) { channel, _ in
        try channel.pipeline.syncOperations.addHandler(SocksServerHandler())
      }
    case (.proxy, _):
      throw Mismatch(description: "the mode proxy needs a server: a port, host:port, a URL, or unix:/path of a socket")
    case (.web, _): throw Mismatch(description: "the mode web needs a directory or a file")
    case (.drive, _): throw Mismatch(description: "the mode drive needs a directory")
    case (.tcpTunnel, _), (.udpTunnel, _):
      throw Mismatch(description: "the mode \(mode.rawValue) needs a server: host:port")
    case (.caddy, .caddyfile(let path)?):
      let caddy = try await CaddyServer(caddyfile: path, logger: logger)
      let serving = try await proxy(share, SharedServer(connect: caddy.connect, options), overlay, options, logger)
      return ShareBackend { grace in
        await serving.stop(within: grace)
        caddy.stop()
      }
    case (.caddy, _): throw Mismatch(description: "the mode caddy needs a Caddyfile")
    }
  }

  private static func proxy(
    _ share: Share, _ server: SharedServer, _ overlay: Overlay, _ options: BackendOptions, _ logger: Logger
  ) async throws -> ShareBackend {
    let judge = judge(server, options, logger)
    let pool = UpstreamPool()
    return try await channels(share, overlay, logger) { channel, remote in
      try HTTPRelay.configureHTTP1(
        channel, remoteAddress: remote, isTLS: false, pool: pool, judge: judge, observer: options.observer)
    }
  }

  private static func channels(
    _ share: Share, _ overlay: Overlay, _ logger: Logger,
    _ configure: @escaping @Sendable (any Channel, String) throws -> Void
  ) async throws -> ShareBackend {
    let farewell = Farewell()
    let server = try await overlay.serve(share.token) { channel, caller in
      // A failed initializer closes the channel.
      guard farewell.watch(channel) else { return channel.eventLoop.makeFailedFuture(OverlayError.closed) }
      return channel.eventLoop.makeCompletedFuture {
        if let nonce = PathProof.nonce(caller?.appData) {
          try channel.pipeline.syncOperations.addHandler(PathProof.Responder(nonce))
        } else {
          try configure(channel, caller?.identityName ?? caller?.claimedName ?? "")
        }
      }
    }
    return ShareBackend { grace in
      await server.close()
      await farewell.end(within: grace, share: share.token, logger)
    }
  }
}
