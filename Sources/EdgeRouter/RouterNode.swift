// EdgeRouter: the shell of an edge router: configuration, enrollment, the listener for SDKs, the control channel and
// the loops that move payload. What is decided here is decided by `Fabric` (replica of the model, sessions,
// forwarding); nothing is stored but the identity files. Start reading at `RouterNode`, then `EdgeConnection` (data
// plane) and `ControlChannel` (control plane).

import Foundation
public import Logging
public import NIOCore
import NIOPosix
import PKI
public import ServiceLifecycle
import Transport
import X509

/// A running edge router.
public final class RouterNode: Service {
  let core: RouterCore
  private let listener: TLSListener
  private let control: ControlChannel
  private let address: SocketAddress
  private let lock: ProcessLock?
  private let logger: Logger

  /// Loads the identity files and binds the edge listener.
  /// - Throws: `RouterError`, `TransportError`, `PKIError`.
  public init(configuration: RouterConfiguration, logger: Logger) async throws {
    let identity = try RouterIdentity(files: configuration.identity)
    lock = try Self.lock(configuration.identity, logger)
    guard !configuration.controllers.isEmpty else { throw RouterError.noController }
    try identity.requireName(configuration.listener.advertised.host)
    let core = RouterCore(
      routerID: identity.routerID, anchors: identity.anchors, circuitQueue: configuration.circuitQueue,
      circuitGrace: configuration.circuitGrace,
      identityLimits: configuration.identityLimits, logger: logger)
    listener = TLSListener(
      host: configuration.listener.host, port: configuration.listener.port, identity: identity.server,
      acceptors: [(alpn: [ALPN.edge], acceptor: EdgeAdmission(core: core).acceptor)],
      fallback: EdgeAdmission(core: core).acceptor,
      limits: configuration.strangerLimits, logger: logger)
    address = try await listener.start()
    var advertised = configuration.listener.advertised
    if advertised.port == 0 { advertised = PeerAddress(host: advertised.host, port: address.port ?? 0) }
    control = ControlChannel(
      core: core, controllers: configuration.controllers,
      bound: PeerAddress(host: configuration.listener.host, port: address.port ?? 0),
      advertised: advertised, identity: identity,
      renewal: RouterRenewal(identity: identity, request: configuration.request, logger: logger),
      heartbeat: configuration.sessionHeartbeat,
      usageInterval: configuration.usageInterval,
      logger: logger)
    self.core = core
    self.logger = logger
  }

  /// Two with one identity would take the control channel from each other without end. Where no file can be made, the
  /// identity being read-only, nobody sees that.
  private static func lock(_ files: RouterConfiguration.IdentityFiles, _ logger: Logger) throws -> ProcessLock? {
    do {
      return try ProcessLock(files.certificate + ".lock", what: "another router with this identity")
    } catch {
      guard case .unavailable(_, let reason) = error else { throw error }
      logger.warning(
        "a second router with this identity would not be noticed: no lock file can be made beside it",
        metadata: ["reason": "\(reason)"])
      return nil
    }
  }

  /// Where the edge listener is bound.
  public var edgeAddress: SocketAddress? { address }
  public var routerID: String { core.routerID }
  /// Whether the control channel is up.
  public var isConnected: Bool { core.isConnected }
  /// Circuits that run through this router now.
  public var circuitCount: Int { core.circuitCount }

  /// Serves until cancelled or until the service group shuts down.
  public func run() async throws {
    defer { lock?.release() }
    logger.info("edge router serves", metadata: ["router": "\(core.routerID)", "address": "\(address.text)"])
    try await cancelWhenGracefulShutdown {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await self.listener.run() }
        group.addTask { await self.control.run() }
        defer { group.cancelAll() }
        do { try await group.next() } catch is CancellationError {}
      }
    }
  }
}
