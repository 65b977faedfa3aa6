// Tunnel: carries ordinary TCP and UDP programs over the overlay: local ports towards services, services towards local
// servers. It decides no access and speaks no protocol of the overlay; that is the SDK below. Start reading at
// `ProxyTunnel`, then `HostTunnel` and `Splice`.

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
  private let place: HostPort
  private let transport: TunnelTransport
  private let grace: Duration
  private let logger: Logger
  private let connectionLimit: Int
  private let bound = NIOLockedValueBox<(any Channel)?>(nil)
  private let connections = NIOLockedValueBox(0)
  private let farewell = Farewell()

  /// - Parameters:
  ///   - host: local address to listen on.
  ///   - port: 0 picks a free one; `start` tells which.
  ///   - grace: how long TCP connections in progress may go on before `run` returns when the service group shuts down.
  ///   - connectionLimit: connections, or sources of datagrams, at the same time; further ones are closed at once.
  public init(
    overlay: Overlay, service: String, host: String, port: Int, transport: TunnelTransport = .tcp,
    grace: Duration = .zero, logger: Logger,
    connectionLimit: Int = 65536
  ) {
    self.transport = transport
    self.grace = grace
    self.connectionLimit = connectionLimit
    self.overlay = overlay
    self.service = service
    place = HostPort(host: host, port: port)
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
    logger.info(
      "proxy listens",
      metadata: ["service": "\(service)", "transport": "\(transport.rawValue)", "address": "\(address.text)"])
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
      .childChannelInitializer { [connections, connectionLimit, farewell] channel in
        let isWelcome = connections.withLockedValue { count in
          count += 1
          return count <= connectionLimit
        }
        channel.closeFuture.whenComplete { _ in connections.withLockedValue { $0 -= 1 } }
        guard isWelcome, farewell.opened() else { return channel.eventLoop.makeFailedFuture(OverlayError.closed) }
        channel.closeFuture.whenComplete { _ in farewell.closed() }
        return channel.eventLoop.makeCompletedFuture {
          Self.connect(try Splice.install(on: channel), on: channel.eventLoop, overlay, service, logger)
        }
      }
      .bind(host: place.host, port: place.port).get()
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
      .bind(host: place.host, port: place.port).get()
  }

  /// Dials for one local connection, on its event loop. The task ends with the dial's own time limit.
  private static func connect(
    _ splice: Splice, on loop: any EventLoop, _ overlay: Overlay, _ service: String, _ logger: Logger
  ) {
    let splice = NIOLoopBound(splice, eventLoop: loop)
    loop.makeFutureWithTask { try await overlay.connect(service, on: loop) }.whenComplete { result in
      switch result {
      case .success(let connection): splice.value.join(connection.value)
      case .failure(let error):
        logger.warning(
          "a local connection cannot be carried",
          metadata: ["service": "\(service)", "reason": "\(ErrorText.words(error))"])
        splice.value.abandon()
      }
    }
  }

  /// Carries connections until cancelled or until the service group shuts down. Connections in progress have the grace
  /// then.
  public func run() async throws {
    try await start()
    guard let channel = bound.withLockedValue({ $0 }) else { return }
    try await channel.serve()
    await end(within: Task.isCancelled ? .zero : grace)
  }

  /// Lets nobody in any more, and waits for TCP connections in progress. What is open at the limit, or when the task is
  /// cancelled, goes on as long as the overlay does.
  public func end(within limit: Duration) async {
    bound.withLockedValue { $0 }?.close(promise: nil)
    if limit > .zero, farewell.openConnections > 0 {
      logger.notice(
        "waits for connections in progress",
        metadata: ["service": "\(service)", "open": "\(farewell.openConnections)", "limit": "\(limit)"])
    }
    await farewell.end(within: limit)
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
