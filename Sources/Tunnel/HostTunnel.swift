public import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
public import ServiceLifecycle
public import Swiftlet
import Transport

/// Hosts a service: carries each connection from the overlay to a server.
public final class HostTunnel: Service {
  /// Who dials and goes away leaves no socket behind at the server for longer, whatever the server reads or not.
  private static let patience = TimeAmount.seconds(60)

  private let overlay: Overlay
  private let service: String
  private let place: HostPort
  private let transport: TunnelTransport
  private let grace: Duration
  private let logger: Logger
  private let intercept: @Sendable (IncomingDial) -> Bool
  private let hosting = NIOLockedValueBox<Hosting?>(nil)
  private let farewell = Farewell()

  /// - Parameters:
  ///   - host: name or address of the server.
  ///   - grace: how long TCP connections in progress may go on before `run` returns when the service group shuts down.
  public convenience init(
    overlay: Overlay, service: String, host: String, port: Int, transport: TunnelTransport = .tcp,
    grace: Duration = .zero, logger: Logger
  ) {
    self.init(
      overlay: overlay, service: service, host: host, port: port, transport: transport, grace: grace, logger: logger
    ) { _ in false }
  }

  /// - Parameter intercept: called on the event loop for each dialler; true when the dial was taken care of and is not
  ///   for the server.
  package init(
    overlay: Overlay, service: String, host: String, port: Int, transport: TunnelTransport, grace: Duration = .zero,
    logger: Logger,
    intercept: @escaping @Sendable (IncomingDial) -> Bool
  ) {
    self.transport = transport
    self.overlay = overlay
    self.service = service
    place = HostPort(host: host, port: port)
    self.grace = grace
    self.logger = logger
    self.intercept = intercept
  }

  /// Offers the service. Returns when the first router took the offer. `run` does it if nobody did.
  ///
  /// - Throws: what ``Overlay/listen(_:options:)`` throws.
  public func start() async throws {
    guard hosting.withLockedValue({ $0 }) == nil else { return }
    let (place, transport, service, logger, intercept) = (
      self.place, self.transport, self.service, self.logger, self.intercept
    )
    let made = try await overlay.host(service) { [farewell] dial in
      guard !intercept(dial) else { return }
      switch transport {
      case .tcp:
        guard farewell.opened() else { return dial.reject("\(service) is not hosted here any more") }
        Self.connect(dial, place, service, farewell, logger)
      // Nobody can tell whether more datagrams will come.
      case .udp: Self.connectDatagrams(dial, place, service, logger)
      }
    }
    hosting.withLockedValue { $0 = made }
    logger.info("service hosted", metadata: ["service": "\(service)", "server": "\(place)"])
  }

  /// Ends the offer. Connections in progress go on to their end.
  public func stop() async {
    let made = hosting.withLockedValue { hosting in
      defer { hosting = nil }
      return hosting
    }
    if let made { await overlay.stop(made) }
  }

  /// Ends the offer, and waits for TCP connections in progress. What is open at the limit, or when the task is
  /// cancelled, goes on as long as the overlay does.
  public func end(within limit: Duration) async {
    await stop()
    if limit > .zero, farewell.openConnections > 0 {
      logger.notice(
        "waits for connections in progress",
        metadata: ["service": "\(service)", "open": "\(farewell.openConnections)", "limit": "\(limit)"])
    }
    await farewell.end(within: limit)
  }

  /// Hosts until cancelled or until the service group shuts down. Connections in progress have the grace then.
  public func run() async throws {
    try await start()
    try? await gracefulShutdown()
    await end(within: Task.isCancelled ? .zero : grace)
  }

  /// The server is asked first: a dialler learns at once when it is down.
  private static func connect(
    _ dial: IncomingDial, _ place: HostPort, _ service: String, _ farewell: Farewell, _ logger: Logger
  ) {
    let bound = NIOLoopBound(dial, eventLoop: dial.eventLoop)
    ClientBootstrap(group: dial.eventLoop)
      .connectTimeout(.seconds(4))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { _ = try Splice.install(on: channel, patience: Self.patience) }
      }
      .connect(host: place.host, port: place.port)
      .whenComplete { result in
        let dial = bound.value
        switch result {
        case .success(let channel):
          channel.closeFuture.whenComplete { _ in farewell.closed() }
          guard let splice = try? channel.pipeline.syncOperations.handler(type: Splice.self) else {
            return channel.close(promise: nil)
          }
          guard let connection = dial.accept() else { return splice.abandon() }
          splice.join(connection)
        case .failure(let error):
          farewell.closed()
          logger.warning(
            "the server of a service does not answer",
            metadata: ["service": "\(service)", "server": "\(place)", "reason": "\(ErrorText.words(error))"])
          dial.reject("the server behind \(service) does not answer")
        }
      }
  }

  /// A socket per dialler: the server tells them apart by port.
  private static func connectDatagrams(_ dial: IncomingDial, _ place: HostPort, _ service: String, _ logger: Logger) {
    let bound = NIOLoopBound(dial, eventLoop: dial.eventLoop)
    DatagramBootstrap(group: dial.eventLoop)
      .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 64 * 1024))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(DatagramSplice()) }
      }
      .connect(host: place.host, port: place.port)
      .whenComplete { result in
        let dial = bound.value
        switch result {
        case .success(let channel):
          guard let splice = try? channel.pipeline.syncOperations.handler(type: DatagramSplice.self) else {
            return channel.close(promise: nil)
          }
          guard let connection = dial.accept() else { return splice.abandon() }
          splice.join(connection)
        case .failure(let error):
          logger.warning(
            "the server of a service cannot be addressed",
            metadata: ["service": "\(service)", "server": "\(place)", "reason": "\(ErrorText.words(error))"])
          dial.reject("the server behind \(service) cannot be addressed")
        }
      }
  }
}
