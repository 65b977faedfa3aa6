package import Authentication
import JSON
public import Logging
package import Model
import NIOConcurrencyHelpers
public import NIOCore
public import ServiceLifecycle
public import Swiftlet
import Synchronization
import Transport

/// A public frontend in a process of its own, in front of any share service, ours or upstream's: all it has is an
/// identity that may dial public shares. What it may dial, and what the configs of those services say, is the whole of
/// its knowledge (zrok.md 4.1). Any number of them may run side by side.
public final class StandaloneFrontend: Service, FrontendContext {
  /// How one is started.
  public struct Configuration: Sendable {
    public var listener: ShareListener
    /// A share that names no hosts of its own is found at `<token>.<zone>`.
    public var zone: String
    /// Shows the warning page before shares that want one.
    public var interstitial = false
    public var limits = FrontendLimits()
    public var login: LoginConfiguration?

    public init(listener: ShareListener, zone: String) {
      self.listener = listener
      self.zone = zone
    }
  }

  /// How often the network is asked what there is to dial.
  private static let interval = Duration.seconds(10)
  /// Strangers who ask for hosts that nobody has make it ask no more often than this.
  private static let patience = Duration.seconds(1)

  let configuration: Configuration
  package let directory = ShareDirectory()
  package let passwords: PasswordHasher
  package let logger: Logger
  private let identity: IdentityFile
  package let attempts = SharedAttempts()
  private let lookup = Lookup()
  private let frontend = NIOLockedValueBox<PublicFrontend?>(nil)
  private let bound = NIOLockedValueBox<(listener: TLSListener, address: SocketAddress)?>(nil)

  /// - Throws: an error of the password hasher.
  public init(identity: IdentityFile, configuration: Configuration, logger: Logger) throws {
    self.identity = identity
    self.configuration = configuration
    self.logger = logger
    passwords = try PasswordHasher()
  }

  /// Binds the port and learns what there is. A network that does not answer yet is asked again while the frontend
  /// runs.
  /// - Throws: when the port cannot be bound, or a file that the configured login names cannot be read.
  @discardableResult
  public func start() async throws -> SocketAddress {
    if let bound = bound.withLockedValue({ $0 }) { return bound.address }
    let frontend = try PublicFrontend(context: self, logger: logger)
    let listener = TLSListener(
      host: configuration.listener.host, port: configuration.listener.port, identity: configuration.listener.identity,
      acceptors: [(alpn: [ALPN.http2, ALPN.http1], acceptor: frontend)], fallback: frontend,
      limits: configuration.listener.strangerLimits,
      logger: logger)
    let address = try await listener.start()
    bound.withLockedValue { $0 = (listener, address) }
    self.frontend.withLockedValue { $0 = frontend }
    let (identity, logger) = (identity, logger)
    frontend.use { try await Overlay(identity: identity, options: .init(logger: logger)) }
    await refresh()
    return address
  }

  public func run() async throws {
    let address = try await start()
    logger.info("public frontend", metadata: ["address": "\(address.text)", "zone": "\(configuration.zone)"])
    let listener = bound.withLockedValue { $0?.listener }
    try await cancelWhenGracefulShutdown {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await listener?.run() }
        group.addTask {
          while (try? await Task.sleep(for: Self.interval)) != nil { await self.refresh() }
        }
        defer { group.cancelAll() }
        do { try await group.next() } catch is CancellationError {}
      }
    }
    // They hold each other.
    let ended = frontend.withLockedValue { frontend in
      defer { frontend = nil }
      return frontend
    }
    await ended?.close()
  }

  /// Asks the network what may be dialled, and brings the directory up to date.
  /// - Returns: whether it answered.
  @discardableResult
  func refresh() async -> Bool { await lookup.once { await self.ask() } }

  private func ask() async -> Bool {
    guard let frontend = frontend.withLockedValue({ $0 }) else { return false }
    do {
      let services = try await frontend.network().services().filter(\.canDial)
      var routes: [String: (hosts: [String], route: ShareRoute)] = [:]
      for service in services {
        do {
          guard let config = try service.config(ProxyConfig.typeName, as: ProxyConfig.self) else { continue }
          routes[service.name] = config.route(
            service: (service.id, service.name), zone: self.configuration.zone,
            interstitial: self.configuration.interstitial)
        } catch {
          self.logger.warning(
            "the config of a share is not readable", metadata: ["share": "\(service.name)", "error": "\(error)"])
        }
      }
      self.directory.replaceAll(routes)
      return true
    } catch {
      self.logger.warning("the network does not say what is shared", metadata: ["error": "\(error)"])
      return false
    }
  }

  /// Lets one question run at a time; whoever asks meanwhile gets its answer.
  private actor Lookup {
    private var running: Task<Bool, Never>?
    private var waiting: Task<Bool, Never>?
    private var last: ContinuousClock.Instant?

    func once(_ body: @escaping @Sendable () async -> Bool) async -> Bool {
      if let running { return await running.value }
      let task = Task { await body() }
      running = task
      let result = await task.value
      running = nil
      last = .now
      return result
    }

    /// The same for strangers: not before the last answer is as old as that. All who wait are told by one answer.
    func patiently(_ patience: Duration, _ body: @escaping @Sendable () async -> Bool) async -> Bool {
      if let waiting { return await waiting.value }
      let rest = last.map { patience - (.now - $0) } ?? .zero
      let task = Task {
        if rest > .zero { try? await Task.sleep(for: rest) }
        return await self.once(body)
      }
      waiting = task
      let result = await task.value
      waiting = nil
      return result
    }
  }

  // MARK: FrontendContext

  package var settings: FrontendSettings {
    FrontendSettings(
      zone: configuration.zone, isTLS: configuration.listener.identity != nil, limits: configuration.limits,
      login: configuration.login)
  }

  package var now: Timestamp { .now() }

  /// Routers count.
  package func relayed(service: String, rx: Int, tx: Int) {}

  /// Its owner may have made it anew under the same name.
  package func unreachable(_ token: String) {
    // Ends with the answer of the network.
    Task { await lookup.patiently(Self.patience) { await self.ask() } }
  }

  package func look(for host: String, on loop: any EventLoop) -> EventLoopFuture<ShareRoute?>? {
    guard host.hasSuffix("." + configuration.zone) else { return nil }
    return loop.makeFutureWithTask {
      _ = await self.lookup.patiently(Self.patience) { await self.ask() }
      return self.directory.route(host)
    }
  }
}
