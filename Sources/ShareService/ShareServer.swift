// ShareService: a share service, ours to zrok's interfaces: its rows, its REST API in both generations, its limits, and
// the network in which its shares are services (`ShareNetwork`: the controller of this process, or one behind the
// management API). It judges no visitor and serves no share. Start reading at `ShareServer`, then `ShareCore`.

public import Controller
import Foundation
public import Logging
import Model
import NIOConcurrencyHelpers
public import NIOCore
import REST
public import ServiceLifecycle
import ShareFrontend
import Store
import Swiftlet
import Transport

/// The share service in the process of a controller: its API and its public frontend. Every change goes through the
/// controller's single writer.
public final class ShareServer: Service {
  let core: ShareCore
  private let frontend: PublicFrontend
  private let lock: ProcessLock
  private let listeners: (api: TLSListener, frontend: TLSListener)
  private let logger: Logger
  private let bound = NIOLockedValueBox<(api: SocketAddress, frontend: SocketAddress?)?>(nil)

  /// - Parameters:
  ///   - network: of the controller in this process.
  /// - Throws: `ProcessLock.Failure`, an error of the password hasher, or of a file that the configured login names.
  public convenience init(network: Provisioning, configuration: ShareConfiguration, logger: Logger) throws {
    try self.init(LocalNetwork(provisioning: network), configuration, Self.lock(configuration.directory), logger)
  }

  /// A share service in a process of its own: rows in a database in the service's directory, the network over the
  /// management API of a controller, ours or upstream's.
  /// - Throws: `ProcessLock.Failure`, `StoreError`, or an error of the password hasher.
  public static func remote(_ controller: RemoteController, configuration: ShareConfiguration, logger: Logger)
    async throws -> ShareServer
  {
    let lock = try Self.lock(configuration.directory)
    let store = try await Store.open(path: configuration.directory + "/share.db", now: .now())
    return try ShareServer(
      RemoteNetwork(store: store, gateway: ManagementGateway(controller), logger: logger), configuration, lock, logger)
  }

  private static func lock(_ directory: String) throws -> ProcessLock {
    try PrivateFile.makeDirectory(directory)
    return try ProcessLock(directory + "/share.lock", what: "another share service")
  }

  private init(_ network: any ShareNetwork, _ configuration: ShareConfiguration, _ lock: ProcessLock, _ logger: Logger)
    throws
  {
    self.lock = lock
    core = try ShareCore(network: network, configuration: configuration, logger: logger)
    frontend = try PublicFrontend(context: core, logger: logger)
    self.logger = logger
    let http = HTTPAcceptor(Self.server(core), requestID: { EntityID.short() })
    listeners = (
      TLSListener(
        host: configuration.api.host, port: configuration.api.port, identity: configuration.api.identity,
        acceptors: [(alpn: [ALPN.http2, ALPN.http1], acceptor: http)], fallback: http,
        limits: configuration.api.strangerLimits, logger: logger),
      TLSListener(
        host: configuration.frontend.host, port: configuration.frontend.port, identity: configuration.frontend.identity,
        acceptors: [(alpn: [ALPN.http2, ALPN.http1], acceptor: frontend)], fallback: frontend,
        limits: configuration.frontend.strangerLimits,
        logger: logger)
    )
  }

  static func server(_ core: ShareCore) -> APIServer {
    let page = API(basePaths: [], endpoints: ShareConsole.endpoints)
    let health = API(
      basePaths: ["/health"],
      endpoints: [
        .open("GET", "/", "Whether the store answers") { _ in
          _ = try await core.network.read { try $0.currentIndex() }
          return .text("<!doctype html><title>healthy</title><p>healthy", contentType: "text/html; charset=utf-8")
        }
      ])
    return APIServer(
      apis: ShareAPI.apis(core) + [health], root: page,
      standing: [("x-content-type-options", "nosniff"), ("cache-control", "no-store")], logger: core.logger,
      authenticate: { _ in nil })
  }

  /// Binds both ports and makes what the first start makes.
  /// - Returns: the addresses of the API and of the public frontend, where this process is one.
  @discardableResult
  public func start() async throws -> (api: SocketAddress, frontend: SocketAddress?) {
    if let bound = bound.withLockedValue({ $0 }) { return bound }
    let serves = core.configuration.servesFrontend
    let addresses = (
      api: try await listeners.api.start(), frontend: serves ? try await listeners.frontend.start() : nil
    )
    core.publicPort.withLockedValue { $0 = addresses.frontend?.port ?? core.configuration.frontend.port }
    let identity = try await core.open()
    if serves {
      let (frontend, logger) = (frontend, logger)
      frontend.use { try await Overlay(identity: identity, options: .init(logger: logger)) }
      await core.ports.use { try await frontend.network() }
    }
    bound.withLockedValue { $0 = addresses }
    return addresses
  }

  /// Serves until cancelled or until the service group shuts down.
  public func run() async throws {
    defer { lock.release() }
    let addresses = try await start()
    logger.info(
      "share service",
      metadata: [
        "api": "\(addresses.api.text)", "frontend": "\(addresses.frontend?.text ?? "elsewhere")",
        "zone": "\(core.configuration.zone)",
      ])
    try await cancelWhenGracefulShutdown {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await self.listeners.api.run() }
        if addresses.frontend != nil { group.addTask { try await self.listeners.frontend.run() } }
        group.addTask { await self.keepHouse() }
        if let mailer = self.core.mailer {
          group.addTask {
            await mailer.run()
            throw CancellationError()
          }
        }
        defer { group.cancelAll() }
        do { try await group.next() } catch is CancellationError {}
      }
    }
    await core.ports.close()
    await frontend.close()
    await core.agents.close()
    // In a task of its own: this one may be cancelled, and a cancelled task cannot write.
    _ = try? await Task { try await self.core.storeUsage() }.value
  }

  private func keepHouse() async {
    var rounds = 0
    while !Task.isCancelled {
      try? await Task.sleep(for: .seconds(10))
      if Task.isCancelled { return }
      rounds += 1
      let isMinute = rounds.isMultiple(of: 6)
      // Beside a controller it costs calls.
      if core.network.tellsUsage || isMinute { await core.takeBackUnserved() }
      do {
        // Limits are worth a closer look.
        if core.configuration.limits.limitsBytes || isMinute {
          try await core.enforceLimits(try await core.storeUsage())
        }
        guard isMinute else { continue }
        try await core.network.settle()
        try await core.forgetTickets()
        try await core.forgetHolds()
        try await core.forgetOldUsage()
        core.usage.forgetEnded(now: core.network.now)
      } catch { logger.error("housekeeping of the share service failed", metadata: ["error": "\(error)"]) }
    }
  }

  // MARK: For the process that runs it

  /// The token of an account, made now with a password if there is none of that address.
  /// - Returns: the account token, and whether it is new.
  public func account(email: String, password: String) async throws -> (token: String, isNew: Bool) {
    if let known = try await core.network.read({ try $0.account(email: email) }) { return (known.token, false) }
    return (try await core.createAccount(email: email, password: password), true)
  }
}
