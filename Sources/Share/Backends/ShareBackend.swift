public import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
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
  /// Set on every request.
  public var requestHeaders: [(name: String, value: String)] = []
  /// Whether a directory as a web site serves names that begin with a dot. `.well-known` always is served, and a drive has them all.
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

  private let stopping: @Sendable () async -> Void

  private init(_ stopping: @escaping @Sendable () async -> Void) { self.stopping = stopping }

  /// Offers no more. Connections in progress end too, but for those of a tcpTunnel: a frontend would go on using them for the next visitor.
  public func stop() async { await stopping() }

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
    _ share: Share, mode: ShareOptions.Backend, target: BackendTarget?, overlay: Overlay, options: BackendOptions = BackendOptions(), logger: Logger
  ) async throws -> ShareBackend {
    switch (mode, target) {
    case (.proxy, .server(let scheme, let host, let port)?):
      let isTLS = scheme == .https
      let connect = try TCPConnector.make(
        host: host, port: port, security: isTLS ? options.insecure ? .insecure(name: host) : .verified(name: host) : .plain)
      let authority = (host.contains(":") ? "[\(host)]" : host) + (port == (isTLS ? 443 : 80) ? "" : ":\(port)")
      let judge = judge(connect, authority, options)
      let pool = UpstreamPool()
      return try await channels(share, overlay) { channel, remote in
        try HTTPRelay.configureHTTP1(channel, remoteAddress: remote, isTLS: false, pool: pool, judge: judge, observer: options.observer)
      }
    case (.web, .directory(let path)?):
      let site = try FileSite(root: path, showsHidden: options.showsHidden)
      return try await channels(share, overlay) { channel, remote in
        try site.configure(channel, remoteAddress: remote, observer: options.observer)
      }
    case (.web, .file(let path)?):
      let site = try SingleFileSite(path: path)
      return try await channels(share, overlay) { channel, remote in
        try site.configure(channel, remoteAddress: remote, observer: options.observer)
      }
    case (.drive, .directory(let path)?):
      let site = try WebDAVSite(root: path)
      return try await channels(share, overlay) { channel, remote in
        try site.configure(channel, remoteAddress: remote, observer: options.observer)
      }
    case (.tcpTunnel, .server(_, let host, let port)?), (.udpTunnel, .server(_, let host, let port)?):
      let tunnel = HostTunnel(
        overlay: overlay, service: share.token, host: host, port: port, transport: mode == .udpTunnel ? .udp : .tcp, logger: logger
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
      return ShareBackend { await tunnel.stop() }
    case (.socks, _):
      return try await channels(share, overlay) { channel, _ in try channel.pipeline.syncOperations.addHandler(SocksServerHandler()) }
    case (.proxy, _): throw Mismatch(description: "the mode proxy needs a server: a port, host:port, or a URL")
    case (.web, _): throw Mismatch(description: "the mode web needs a directory or a file")
    case (.drive, _): throw Mismatch(description: "the mode drive needs a directory")
    case (.tcpTunnel, _), (.udpTunnel, _): throw Mismatch(description: "the mode \(mode.rawValue) needs a server: host:port")
    case (.caddy, .caddyfile(let path)?):
      let caddy = try await CaddyServer(caddyfile: path, logger: logger)
      let judge = judge(caddy.connect, "caddy", options)
      let pool = UpstreamPool()
      let serving = try await channels(share, overlay) { channel, remote in
        try HTTPRelay.configureHTTP1(channel, remoteAddress: remote, isTLS: false, pool: pool, judge: judge, observer: options.observer)
      }
      return ShareBackend {
        await serving.stop()
        caddy.stop()
      }
    case (.caddy, _): throw Mismatch(description: "the mode caddy needs a Caddyfile")
    }
  }

  private static func channels(
    _ share: Share, _ overlay: Overlay, _ configure: @escaping @Sendable (any Channel, String) throws -> Void
  ) async throws -> ShareBackend {
    let open = NIOLockedValueBox<[ObjectIdentifier: any Channel]>([:])
    let server = try await overlay.serve(share.token) { channel, caller in
      open.withLockedValue { $0[ObjectIdentifier(channel)] = channel }
      channel.closeFuture.whenComplete { _ in open.withLockedValue { $0[ObjectIdentifier(channel)] = nil } }
      return channel.eventLoop.makeCompletedFuture {
        if let nonce = PathProof.nonce(caller?.appData) {
          try channel.pipeline.syncOperations.addHandler(PathProof.Responder(nonce))
        } else {
          try configure(channel, caller?.identityName ?? caller?.claimedName ?? "")
        }
      }
    }
    return ShareBackend {
      await server.close()
      for channel in open.withLockedValue({ Array($0.values) }) { channel.close(promise: nil) }
    }
  }

  private static func judge(_ connect: @escaping Connector, _ authority: String, _ options: BackendOptions) -> RequestJudge {
    let upstream = Upstream(
      key: authority, connect: connect,
      failurePage: { _ in
        .html(
          status: .badGateway, title: "The server behind this share is down",
          message: "The share is up, but the program it leads to does not answer.",
          hint: "Ask the person who shares it to start that program. This page can be reloaded at any time.")
      })
    return { head, info in
      var head = head
      switch options.hostHeader {
      case .keep: break
      case .target: head.headers.replaceOrAdd(name: "host", value: authority)
      case .value(let value): head.headers.replaceOrAdd(name: "host", value: value)
      }
      for (name, value) in options.requestHeaders { head.headers.replaceOrAdd(name: name, value: value) }
      // A frontend said already who asks; on a private share it is the caller.
      if !head.headers.contains(name: "x-proxy") { head.headers.add(name: "x-proxy", value: "zrok") }
      return info.loop.makeSucceededFuture(.relay(upstream: upstream, head: head))
    }
  }
}
