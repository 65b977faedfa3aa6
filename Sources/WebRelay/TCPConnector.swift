import NIOCore
import NIOPosix
import NIOSSL
import Transport

/// A server on TCP, or at a socket of this machine, as an upstream.
public enum TCPConnector {
  public enum Security: Sendable {
    case plain
    /// TLS; the server proves its name with a certificate of the system's roots.
    case verified(name: String)
    /// TLS with whatever certificate, for targets with their own.
    case insecure(name: String)
  }

  private static let timeout = TimeAmount.seconds(10)

  /// - Parameter host: `localhost` is both loopback addresses, IPv4 first, whatever the resolver of this machine knows
  ///   of it.
  /// - Throws: `NIOSSLError` when TLS cannot be set up.
  public static func make(host: String, port: Int, security: Security = .plain) throws -> Connector {
    var context: NIOSSLContext?
    var serverName: String?
    switch security {
    case .plain: break
    case .verified(let name):
      serverName = name
      context = try NIOSSLContext(configuration: .makeClientConfiguration())
    case .insecure(let name):
      var configuration = TLSConfiguration.makeClientConfiguration()
      configuration.certificateVerification = .none
      serverName = name
      context = try NIOSSLContext(configuration: configuration)
    }
    // An address is no name that SNI may carry.
    let name = serverName.flatMap { name in
      name.contains(":") || name.utf8.allSatisfy { (48...57).contains($0) || $0 == 46 } ? nil : name
    }
    let isLoopback = host.lowercased() == "localhost"
    return { [context] loop, initializer in
      @Sendable func connect(_ host: String) -> EventLoopFuture<any Channel> {
        ClientBootstrap(group: loop)
          .connectTimeout(timeout)
          .channelOption(.tcpOption(.tcp_nodelay), value: 1)
          .channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
              try channel.pipeline.syncOperations.addHandler(PeerWatch())
              if let context {
                try channel.pipeline.syncOperations.addHandler(
                  NIOSSLClientHandler(context: context, serverHostname: name))
              }
            }.flatMap { initializer(channel) }
          }
          .connect(host: host, port: port)
      }
      guard isLoopback else { return connect(host) }
      return connect("127.0.0.1").flatMapError { first in connect("::1").flatMapErrorThrowing { _ in throw first } }
    }
  }

  /// - Parameter path: of a socket in the file system, of at most 107 bytes.
  public static func make(socket path: String) -> Connector {
    { loop, initializer in
      ClientBootstrap(group: loop).connectTimeout(timeout).channelInitializer(initializer).connect(
        unixDomainSocketPath: path)
    }
  }
}
