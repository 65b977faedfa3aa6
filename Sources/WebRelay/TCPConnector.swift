import NIOCore
import NIOPosix
import NIOSSL

/// A server on TCP as an upstream.
public enum TCPConnector {
  public enum Security: Sendable {
    case plain
    /// TLS; the server proves its name with a certificate of the system's roots.
    case verified(name: String)
    /// TLS with whatever certificate, for targets with their own.
    case insecure(name: String)
  }

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
    let name = serverName.flatMap { name in name.contains(":") || name.utf8.allSatisfy { (48...57).contains($0) || $0 == 46 } ? nil : name }
    return { [context] loop, initializer in
      ClientBootstrap(group: loop)
        .connectTimeout(.seconds(10))
        .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .channelInitializer { channel in
          guard let context else { return initializer(channel) }
          return channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: name))
          }.flatMap { initializer(channel) }
        }
        .connect(host: host, port: port)
    }
  }
}
