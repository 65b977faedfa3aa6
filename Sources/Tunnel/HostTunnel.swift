public import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
public import ServiceLifecycle
public import Swiftlet

/// Hosts a service: carries each connection from the overlay to a server.
public final class HostTunnel: Service {
  /// Who dials and goes away leaves no socket behind at the server for longer, whatever the server reads or not.
  private static let patience = TimeAmount.seconds(60)

  private let overlay: Overlay
  private let service: String
  private let host: String
  private let port: Int
  private let transport: TunnelTransport
  private let logger: Logger
  private let intercept: @Sendable (IncomingDial) -> Bool
  private let hosting = NIOLockedValueBox<Hosting?>(nil)

  /// - Parameters:
  ///   - host: name or address of the server.
  public convenience init(overlay: Overlay, service: String, host: String, port: Int, transport: TunnelTransport = .tcp, logger: Logger) {
    self.init(overlay: overlay, service: service, host: host, port: port, transport: transport, logger: logger) { _ in false }
  }

  /// - Parameter intercept: called on the event loop for each dialler; true when the dial was taken care of and is not for the server.
  package init(
    overlay: Overlay, service: String, host: String, port: Int, transport: TunnelTransport, logger: Logger,
    intercept: @escaping @Sendable (IncomingDial) -> Bool
  ) {
    self.transport = transport
    self.overlay = overlay
    self.service = service
    self.host = host
    self.port = port
    self.logger = logger
    self.intercept = intercept
  }

  /// Offers the service. Returns when the first router took the offer. `run` does it if nobody did.
  ///
  /// - Throws: what ``Overlay/listen(_:options:)`` throws.
  public func start() async throws {
    guard hosting.withLockedValue({ $0 }) == nil else { return }
    let (host, port, transport, service, logger, intercept) = (self.host, self.port, self.transport, self.service, self.logger, self.intercept)
    let made = try await overlay.host(service) { dial in
      guard !intercept(dial) else { return }
      switch transport {
      case .tcp: Self.connect(dial, host, port, service, logger)
      case .udp: Self.connectDatagrams(dial, host, port, service, logger)
      }
    }
    hosting.withLockedValue { $0 = made }
    logger.info("service hosted", metadata: ["service": "\(service)", "server": "\(host):\(port)"])
  }

  /// Ends the offer. Connections in progress go on to their end.
  public func stop() async {
    let made = hosting.withLockedValue { hosting in
      defer { hosting = nil }
      return hosting
    }
    if let made { await overlay.stop(made) }
  }

  /// Hosts until cancelled or until the service group shuts down. Connections in progress go on to their end.
  public func run() async throws {
    try await start()
    try? await gracefulShutdown()
    await stop()
  }

  /// The server is asked first: a dialler learns at once when it is down.
  private static func connect(_ dial: IncomingDial, _ host: String, _ port: Int, _ service: String, _ logger: Logger) {
    let bound = NIOLoopBound(dial, eventLoop: dial.eventLoop)
    ClientBootstrap(group: dial.eventLoop)
      .connectTimeout(.seconds(4))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in channel.eventLoop.makeCompletedFuture { _ = try Splice.install(on: channel, patience: Self.patience) } }
      .connect(host: host, port: port)
      .whenComplete { result in
        let dial = bound.value
        switch result {
        case .success(let channel):
          guard let splice = try? channel.pipeline.syncOperations.handler(type: Splice.self) else { return channel.close(promise: nil) }
          guard let connection = dial.accept() else { return splice.abandon() }
          splice.join(connection)
        case .failure(let error):
          logger.warning(
            "the server of a service does not answer", metadata: ["service": "\(service)", "server": "\(host):\(port)", "reason": "\(error)"])
          dial.reject("the server behind \(service) does not answer")
        }
      }
  }

  /// A socket per dialler: the server tells them apart by port.
  private static func connectDatagrams(_ dial: IncomingDial, _ host: String, _ port: Int, _ service: String, _ logger: Logger) {
    let bound = NIOLoopBound(dial, eventLoop: dial.eventLoop)
    DatagramBootstrap(group: dial.eventLoop)
      .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 64 * 1024))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(DatagramSplice()) }
      }
      .connect(host: host, port: port)
      .whenComplete { result in
        let dial = bound.value
        switch result {
        case .success(let channel):
          guard let splice = try? channel.pipeline.syncOperations.handler(type: DatagramSplice.self) else { return channel.close(promise: nil) }
          guard let connection = dial.accept() else { return splice.abandon() }
          splice.join(connection)
        case .failure(let error):
          logger.warning(
            "the server of a service cannot be addressed", metadata: ["service": "\(service)", "server": "\(host):\(port)", "reason": "\(error)"])
          dial.reject("the server behind \(service) cannot be addressed")
        }
      }
  }
}
