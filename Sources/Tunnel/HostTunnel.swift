public import Logging
import NIOCore
import NIOPosix
public import ServiceLifecycle
public import Swiftlet

/// Hosts a service: carries each connection from the overlay to a server.
public final class HostTunnel: Service {
  private let overlay: Overlay
  private let service: String
  private let host: String
  private let port: Int
  private let logger: Logger
  private let intercept: @Sendable (IncomingDial) -> Bool

  /// - Parameters:
  ///   - host: name or address of the server.
  public convenience init(overlay: Overlay, service: String, host: String, port: Int, logger: Logger) {
    self.init(overlay: overlay, service: service, host: host, port: port, logger: logger) { _ in false }
  }

  /// - Parameter intercept: called on the event loop for each dialler; true when the dial was taken care of and is not for the server.
  package init(
    overlay: Overlay, service: String, host: String, port: Int, logger: Logger, intercept: @escaping @Sendable (IncomingDial) -> Bool
  ) {
    self.overlay = overlay
    self.service = service
    self.host = host
    self.port = port
    self.logger = logger
    self.intercept = intercept
  }

  /// Hosts until cancelled or until the service group shuts down. Connections in progress go on to their end.
  public func run() async throws {
    let (host, port, service, logger, intercept) = (self.host, self.port, self.service, self.logger, self.intercept)
    let hosting = try await overlay.host(service) { dial in
      guard !intercept(dial) else { return }
      Self.connect(dial, host, port, service, logger)
    }
    logger.info("service hosted", metadata: ["service": "\(service)", "server": "\(host):\(port)"])
    try? await gracefulShutdown()
    await overlay.stop(hosting)
  }

  /// The server is asked first: a dialler learns at once when it is down.
  private static func connect(_ dial: IncomingDial, _ host: String, _ port: Int, _ service: String, _ logger: Logger) {
    let bound = NIOLoopBound(dial, eventLoop: dial.eventLoop)
    ClientBootstrap(group: dial.eventLoop)
      .connectTimeout(.seconds(4))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in channel.eventLoop.makeCompletedFuture { _ = try Splice.install(on: channel) } }
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
}
