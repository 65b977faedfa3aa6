// Controller: the shell of a controller: configuration, PKI, enrollment and sessions, the REST APIs, the control
// channels of routers. It decides neither access nor paths: those decisions live below, in `Access` and `Fabric`. Start
// reading at `ControllerNode`, then `ControllerCore`.

import Authentication
import Fabric
public import Logging
import Model
import NIOConcurrencyHelpers
public import NIOCore
import NIOPosix
import PKI
import REST
public import ServiceLifecycle
public import Transport
import Wire

/// A running controller: one TLS port for the APIs and the control channels of routers, told apart by ALPN.
public final class ControllerNode: Service {
  let core: ControllerCore
  private let listeners: [TLSListener]
  private let logger: Logger
  private let bound = NIOLockedValueBox<[SocketAddress]>([])

  /// Opens the store, making keys, certificates and built-in rows at the first start. Binds nothing yet.
  /// - Throws: `ProcessLock.Failure` when another process has the directory, `StoreError`, `PKIError`, or an error of
  ///   the file system.
  public convenience init(configuration: ControllerConfiguration, logger: Logger) async throws {
    try await self.init(configuration: configuration, logger: logger, kinds: [])
  }

  /// - Parameter kinds: further ones that the management API serves.
  init(configuration: ControllerConfiguration, logger: Logger, kinds: [any ManagedEntity.Type]) async throws {
    let core = try await ControllerCore(configuration: configuration, logger: logger)
    self.core = core
    self.logger = logger
    let http = HTTPAcceptor(Self.server(core, kinds: kinds), requestID: { EntityID.short() })
    let routers = RouterAdmission(core: core, fabric: core.fabric).acceptor
    listeners = configuration.listeners.map { address in
      TLSListener(
        host: address.host, port: address.port, identity: core.pki.serverIdentity,
        acceptors: [(alpn: [ALPN.http2, ALPN.http1], acceptor: http), (alpn: [ALPN.control], acceptor: routers)],
        fallback: http,
        limits: configuration.strangerLimits, logger: logger)
    }
  }

  /// All APIs of a controller, as one server.
  static func server(_ core: ControllerCore, kinds: [any ManagedEntity.Type] = []) -> APIServer {
    let issuer = SessionIssuer(core: core)
    let client = API(
      basePaths: [InformationEndpoints.clientPath, InformationEndpoints.legacyClientPath],
      endpoints: ClientAPI.endpoints(issuer))
    let management = API(
      basePaths: [InformationEndpoints.managementPath],
      endpoints: ClientAPI.shared(issuer, isAdminAPI: true) + ManagementAPI.endpoints(core: core, kinds: kinds))
    return APIServer(
      apis: [
        client, management,
        API(
          basePaths: [MonitoringEndpoints.healthPath, MonitoringEndpoints.healthPath + "/v1"],
          endpoints: MonitoringEndpoints.health(core)),
        API(basePaths: [MonitoringEndpoints.metricsPath], endpoints: MonitoringEndpoints.metrics(core)),
      ], root: client,
      // C SDKs take a new instance id for a restarted controller, and 0.29 crashes without one.
      standing: [("ziti-instance-id", EntityID.uuid()), ("server", "ziti-controller/\(VersionInfo.current.version)")],
      logger: core.logger,
      authenticate: { issuer.caller($0) }, translate: { ManagementErrors.translate($0) })
  }

  public var provisioning: Provisioning { Provisioning(core: core) }

  /// What SDKs and routers dial.
  public var advertised: HostPort { core.advertised }
  /// Base address of the APIs: `https://host:port`.
  public var url: String { core.url }
  /// Routers whose control channel is up.
  public var connectedRouters: [String] { core.fabric.connected }
  public var circuitCount: Int { core.fabric.circuitCount }

  /// Renews the server certificate now; a new one is taken into use without a restart.
  public func renewCertificates() async throws { try await core.renewCertificatesIfDue(force: true) }

  /// Binds the ports. `run` does it if nobody did.
  /// - Returns: the address of the first listener.
  @discardableResult
  public func start() async throws -> SocketAddress {
    if let first = bound.withLockedValue({ $0.first }) { return first }
    var addresses: [SocketAddress] = []
    for listener in listeners { addresses.append(try await listener.start()) }
    guard let first = addresses.first else {
      throw ConfigurationError(file: core.configuration.dataDirectory, "no listener is configured")
    }
    if core.advertised.port == 0, let port = first.port { core.advertise(port: port) }
    bound.withLockedValue { $0 = addresses }
    return first
  }

  /// Serves until cancelled or until the service group shuts down.
  public func run() async throws {
    let address = try await start()
    logger.info(
      "controller serves",
      metadata: ["address": "\(address.text)", "url": "\(core.url)", "id": "\(core.pki.controllerID)"])
    defer {
      core.releaseLocks()
      logger.info("controller stopped")
    }
    let result: Result<Void, any Error>
    do {
      try await cancelWhenGracefulShutdown {
        try await withThrowingTaskGroup(of: Void.self) { group in
          for listener in self.listeners { group.addTask { try await listener.run() } }
          group.addTask { await self.keepHouse() }
          defer { group.cancelAll() }
          do { try await group.next() } catch is CancellationError {}
        }
      }
      result = .success(())
    } catch {
      result = .failure(error)
    }
    // In a task of its own: this one may be cancelled, and a cancelled task cannot write.
    try await Task { try await core.sessions.flush(now: core.now) }.value
    try result.get()
  }

  /// What must happen now and then; a failure is logged and tried again at the next turn.
  private func keepHouse() async {
    var turn = 0
    while !Task.isCancelled {
      try? await Task.sleep(for: .seconds(5))
      if Task.isCancelled { return }
      turn += 1
      do {
        try await core.mindClock()
        core.fabric.handle(.tick)
        try await core.enableWhoseTimeIsOver()
        try await core.endSessions(apiSessions: core.sessions.expired(now: core.now))
        if turn.isMultiple(of: 12) {
          try await core.sessions.flush(now: core.now)
          try await core.renewCertificatesIfDue()
          try await core.forgetOldKeys()
        }
      } catch {
        logger.error("housekeeping failed", metadata: ["error": "\(error)"])
      }
    }
  }
}
