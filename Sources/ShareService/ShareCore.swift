import Authentication
import Controller
import Foundation
import JSON
import Logging
import Model
import NIOConcurrencyHelpers
import ShareFrontend
import Store
import Swiftlet
import SwiftletShare
import Synchronization

/// What one may do with the share service, free of HTTP. Every change is one of `ShareNetwork`: rows of ours and the
/// entities of the network that they stand for come and go together.
final class ShareCore: Sendable {
  /// Token and public name of the namespace and the frontend made at the first start.
  static let defaultName = "public"

  let network: any ShareNetwork
  let configuration: ShareConfiguration
  let directory = ShareDirectory()
  let usage = UsageMeter()
  let ports: PortPool
  let passwords: PasswordHasher
  let agents: AgentCaller
  /// nil where no mail is configured.
  let mailer: ShareMailer?
  let logger: Logger
  /// Of the frontend, once it is bound: a configured 0 picks a free one.
  let publicPort: NIOLockedValueBox<Int>
  /// Ids of accounts over a bandwidth limit or a warning level, as their rows say.
  let heldBack = Mutex<Set<String>>([])
  let attempts = SharedAttempts()
  let leases = ShareLeases()

  init(network: any ShareNetwork, configuration: ShareConfiguration, logger: Logger) throws {
    self.network = network
    self.configuration = configuration
    self.logger = logger
    publicPort = NIOLockedValueBox(configuration.frontend.port)
    ports = PortPool(host: configuration.frontend.host, logger: logger)
    passwords = try PasswordHasher()
    agents = AgentCaller(logger: logger)
    mailer = configuration.mail.map { ShareMailer($0, logger: logger) }
  }

  var tags: JSONObject { ["zrok": "swiftlet"] }
  func tags(share token: String) -> JSONObject { ["zrok": "swiftlet", "zrokShareToken": .string(token)] }

  /// Makes what every share service has, once, and fills the directory.
  /// - Returns: the identity that the public frontend dials with.
  func open() async throws -> IdentityFile {
    let file = OwnIdentityFile(configuration.directory + "/public.json")
    let zone = configuration.zone
    let template = configuration.scheme + "://{token}." + zone + portSuffix
    let tags = self.tags
    let frontendToken = ShareTokens.secret()
    try await network.settle()
    let known = try await isKnown(file) { try $0.named(ShareFrontendRow.self, Self.defaultName) != nil }
    try await network.write(author: "share service") { change in
      let store = change.store
      _ = try change.configType(named: ProxyConfig.typeName)
      var frontend = try store.named(ShareFrontendRow.self, Self.defaultName)
      if frontend == nil || !known {
        let credentials =
          try frontend.map { try change.issueCredentials(identity: $0.zId) }
          ?? change.createEnrolledIdentity(name: "share-frontend-" + Self.defaultName, tags: tags)
        if frontend == nil {
          _ = try change.createEdgeRouterPolicy(
            name: "share-frontend-" + Self.defaultName, identity: credentials.identityID, tags: tags)
        }
        if !change.isRehearsal { try file.stage(credentials) }
        frontend =
          frontend
          ?? ShareFrontendRow(
            id: frontendToken, zId: credentials.identityID, publicName: Self.defaultName, urlTemplate: template,
            permissionMode: .open,
            dynamic: true)
      }
      guard var frontend else { return }
      if try frontend.urlTemplate != template || store.get(ShareFrontendRow.self, frontend.id) == nil {
        frontend.urlTemplate = template
        try store.put(frontend)
      }
      var namespace =
        try store.get(ShareNamespace.self, Self.defaultName)
        ?? ShareNamespace(
          id: Self.defaultName, name: zone, description: "public shares", open: true,
          frontends: [.init(token: frontend.id, isDefault: true, createdAt: store.now)])
      namespace.name = zone
      if try store.get(ShareNamespace.self, namespace.id) != namespace { try store.put(namespace) }
      // The zone may be another one now.
      _ = try Self.publishHosts(change)
    }
    try file.settle()
    if configuration.remotesAgents {
      do { try await openAgents() } catch {
        // Shares go on without.
        logger.error("agents cannot be given orders", metadata: ["reason": "\(error)"])
      }
    }
    for share in try await network.read({ try $0.all(ShareRow.self) }) { try await refresh(share.token) }
    // The operator may have changed the limits.
    try await enforceLimits()
    network.onUsage { [usage, network] service, toHost, fromHost in
      usage.add(service: service, rx: toHost, tx: fromHost, now: network.now)
    }
    return try file.load()
  }

  /// Whether the file of an identity of ours is in its place.
  /// - Parameter exists: whether the identity was made.
  func isKnown(_ file: OwnIdentityFile, _ exists: @escaping @Sendable (StoreReader) throws -> Bool) async throws -> Bool
  {
    if !network.issuesCredentialsAgain, try await network.read(exists) { try file.recover() }
    return file.isThere
  }

  /// `:8080` where browsers need it.
  var portSuffix: String {
    let standard = configuration.frontend.identity == nil ? 80 : 443
    let port = publicPort.withLockedValue { $0 }
    return port == standard ? "" : ":\(port)"
  }

  /// Brings the directory up to date with what the store says of a share.
  func refresh(_ token: String) async throws {
    let (usage, leases, now) = (usage, leases, network.now)
    let (version, hosts, route, place) = try await network.read {
      reader -> (UInt64, [String], ShareRoute?, PortPool.Place?) in
      let version = try reader.currentIndex()
      let row = try reader.named(ShareRow.self, token)
      usage.note(token, row, now: now)
      leases.note(token, row)
      guard let share = row, share.mode == .public else { return (version, [], nil, nil) }
      if let port = share.publicPort, let transport = share.backendMode.transport {
        return (version, [], nil, share.isPaused ? nil : .init(transport: transport, port: port))
      }
      return (
        version, try Self.hosts(token, reader),
        ShareRoute(
          token: token, backendMode: share.backendMode, gate: share.gate, interstitial: share.interstitial,
          serviceID: share.serviceId,
          isPaused: share.isPaused, isWindowed: share.windowed ?? false), nil
      )
    }
    await ports.set(token, place)
    directory.replace(token, hosts: hosts, with: route, version: version)
  }

  // MARK: Attempts

  /// Judges a password that somebody at that address offers for an account; the attempt counts as failed until it is
  /// right.
  /// - Throws: `ShareRefusal` when it must wait.
  func attempt(_ account: String, from address: String, _ isRight: () async throws -> Bool) async throws -> Bool {
    if let wait = attempts.begin(account, from: address, now: network.now.millisecondsSinceEpoch) {
      throw Self.tooMany(wait)
    }
    do {
      guard try await isRight() else { return false }
    } catch AuthenticationError.busy {
      attempts.withdraw(account, from: address, now: network.now.millisecondsSinceEpoch)
      throw ShareRefusal(429, "\(AuthenticationError.busy)")
    }
    attempts.proved(account, from: address, now: network.now.millisecondsSinceEpoch)
    return true
  }

  /// Counts what makes somebody work, or a token that nobody has.
  /// - Throws: `ShareRefusal` when too much of it came from that address.
  func count(from address: String) throws {
    if let wait = attempts.failed(from: address, now: network.now.millisecondsSinceEpoch) { throw Self.tooMany(wait) }
  }

  private static func tooMany(_ milliseconds: Int64) -> ShareRefusal {
    ShareRefusal(429, "too many attempts came from this address; try again in \((milliseconds + 999) / 1000) s")
  }
}

extension StoreReader {
  /// An environment of the account; another's answers like none.
  func environment(_ id: String, of account: String) throws -> ShareEnvironmentRow {
    guard let row = try get(ShareEnvironmentRow.self, id), row.accountId == account else {
      throw ShareRefusal(401, "environment \(id) is none of this account; enable this machine again")
    }
    return row
  }

  func share(_ token: String, of account: String) throws -> ShareRow {
    guard let row = try named(ShareRow.self, token), row.accountId == account else {
      throw ShareRefusal.notFound("share \(token)")
    }
    return row
  }

  func account(email: String) throws -> ShareAccount? { try named(ShareAccount.self, email.lowercased()) }

  func requireAccount(email: String) throws -> ShareAccount {
    guard let account = try account(email: email) else { throw ShareRefusal.notFound("account \(email)") }
    return account
  }

  func account(_ id: String) throws -> ShareAccount {
    guard let account = try get(ShareAccount.self, id) else { throw ShareRefusal(401) }
    return account
  }
}
