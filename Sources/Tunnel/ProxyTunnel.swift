public import Logging
import NIOConcurrencyHelpers
public import NIOCore
import NIOPosix
public import ServiceLifecycle
public import Swiftlet
import Transport

/// Listens on a local port and carries each connection to a service.
public final class ProxyTunnel: Service {
  private let overlay: Overlay
  private let service: String
  private let host: String
  private let port: Int
  private let transport: TunnelTransport
  private let logger: Logger
  private let connectionLimit: Int
  private let bound = NIOLockedValueBox<(any Channel)?>(nil)
  private let connections = NIOLockedValueBox(0)

  /// - Parameters:
  ///   - host: local address to listen on.
  ///   - port: 0 picks a free one; `start` tells which.
  ///   - connectionLimit: connections, or sources of datagrams, at the same time; further ones are closed at once.
  public init(
    overlay: Overlay, service: String, host: String, port: Int, transport: TunnelTransport = .tcp, logger: Logger, connectionLimit: Int = 65536
  ) {
    self.transport = transport
    self.connectionLimit = connectionLimit
    self.overlay = overlay
    self.service = service
    self.host = host
    self.port = port
    self.logger = logger
  }

  /// Binds the port. `run` does it if nobody did.
  @discardableResult
  public func start() async throws -> SocketAddress {
    if let channel = bound.withLockedValue({ $0 }), let address = channel.localAddress { return address }
    let channel =
      switch transport {
      case .tcp: try await listen()
      case .udp: try await receive()
      }
    bound.withLockedValue { $0 = channel }
    guard let address = channel.localAddress else { throw OverlayError.closed }
    logger.info("proxy listens", metadata: ["service": "\(service)", "transport": "\(transport.rawValue)", "address": "\(address.text)"])
    return address
  }

  private func listen() async throws -> any Channel {
    let (overlay, service, logger) = (self.overlay, self.service, self.logger)
    return try await ServerBootstrap(group: overlay.group)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelInitializer { server in
        server.eventLoop.makeCompletedFuture { try server.pipeline.syncOperations.addHandler(AcceptBackoffHandler()) }
      }
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { [connections, connectionLimit] channel in
        let isWelcome = connections.withLockedValue { count in
          count += 1
          return count <= connectionLimit
        }
        channel.closeFuture.whenComplete { _ in connections.withLockedValue { $0 -= 1 } }
        guard isWelcome else { return channel.eventLoop.makeFailedFuture(OverlayError.closed) }
        return channel.eventLoop.makeCompletedFuture {
          Self.connect(try Splice.install(on: channel), on: channel.eventLoop, overlay, service, logger)
        }
      }
      .bind(host: host, port: port).get()
  }

  private func receive() async throws -> any Channel {
    let (overlay, service, logger, limit) = (self.overlay, self.service, self.logger, connectionLimit)
    return try await DatagramBootstrap(group: overlay.group)
      .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 64 * 1024))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(
            DatagramListener(overlay: overlay, service: service, flowLimit: limit, logger: logger))
        }
      }
      .bind(host: host, port: port).get()
  }

  /// Dials for one local connection, on its event loop. The task ends with the dial's own time limit.
  private static func connect(_ splice: Splice, on loop: any EventLoop, _ overlay: Overlay, _ service: String, _ logger: Logger) {
    let splice = NIOLoopBound(splice, eventLoop: loop)
    loop.makeFutureWithTask { try await overlay.connect(service, on: loop) }.whenComplete { result in
      switch result {
      case .success(let connection): splice.value.join(connection.value)
      case .failure(let error):
        logger.warning("a local connection cannot be carried", metadata: ["service": "\(service)", "reason": "\(error)"])
        splice.value.abandon()
      }
    }
  }

  /// Carries connections until cancelled or until the service group shuts down.
  public func run() async throws {
    try await start()
    guard let channel = bound.withLockedValue({ $0 }) else { return }
    try await channel.serve()
  }
}

extension Channel {
  /// Waits until the channel is closed; a cancelled task, and a service group that shuts down, closes it.
  package func serve() async throws {
    try await withTaskCancellationHandler {
      try await withGracefulShutdownHandler {
        try await closeFuture.get()
      } onGracefulShutdown: {
        self.close(promise: nil)
      }
    } onCancel: {
      self.close(promise: nil)
    }
  }
}
