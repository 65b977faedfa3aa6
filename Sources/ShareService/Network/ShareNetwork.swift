import Controller
import JSON
import Model
import Store
import Swiftlet

/// What the share service stores its rows in, and the network in which its shares are services. Two answers: the
/// controller of this process, and one that is spoken to over the management API.
protocol ShareNetwork: Sendable {
  var now: Timestamp { get }

  /// Changes rows and network together: all of it happens, or nothing; on return it is durable.
  ///
  /// - Parameter body: may run more than once, so whatever it makes up at random comes from outside.
  func write<R: Sendable>(author: String, _ body: @escaping @Sendable (any NetworkChange) throws -> R) async throws -> R

  func read<R: Sendable>(_ body: @escaping @Sendable (StoreReader) throws -> R) async throws -> R

  /// Finishes or takes back what was begun and not ended.
  func settle() async throws

  /// Where the services are offered at this moment.
  func hosting(_ services: [String]) async throws -> NetworkHosting

  /// Whether an identity whose file was lost can be given new credentials.
  var issuesCredentialsAgain: Bool { get }

  /// Whether routers tell the usage of services; else nobody knows but who carries it.
  var tellsUsage: Bool { get }
  /// Calls back with the id of a service and the bytes to and from its host. The call must not wait.
  func onUsage(_ listener: @escaping @Sendable (_ service: String, _ toHost: Int, _ fromHost: Int) -> Void)
}

/// Where services are offered, as the controller knows it.
struct NetworkHosting: Sendable, Equatable {
  /// Routers by service. What nobody offers is not named.
  var routers: [String: Set<String>] = [:]
  /// Whether a router is connected: without one nobody can offer anything.
  var isPossible = false
  /// Routers that take part in the network and are not connected: of who is there nobody hears.
  var away: Set<String> = []
}

/// One change of rows and network; valid only inside the closure that received it.
protocol NetworkChange {
  typealias Credentials = ProvisioningTransaction.Credentials

  /// The rows of the share service, nothing else.
  var store: StoreTransaction { get }
  /// Only finds out what there is to do: nothing of it will last, ids are made up.
  var isRehearsal: Bool { get }

  func configType(named name: String) throws -> String
  /// The tags of an identity; nil when there is none.
  func identityTags(_ id: String) throws -> JSONObject?
  func hasService(named name: String) throws -> Bool
  /// Whether anybody offers the service at this moment.
  func isHosted(_ serviceID: String) throws -> Bool

  func createEnrolledIdentity(name: String, tags: JSONObject) throws -> Credentials
  func issueCredentials(identity id: String) throws -> Credentials
  func createConfig(name: String, typeID: String, data: JSONObject, tags: JSONObject) throws -> String
  func createService(name: String, configs: [String], tags: JSONObject) throws -> String
  func createServicePolicy(
    name: String, type: Provisioning.PolicyKind, identities: [String], service: String, tags: JSONObject
  ) throws -> String
  func createEdgeRouterPolicy(name: String, identity: String, tags: JSONObject) throws -> String
  func createServiceEdgeRouterPolicy(name: String, service: String, tags: JSONObject) throws -> String

  /// Sets members of a config's data.
  func updateConfig(_ id: String, setting members: JSONObject) throws
  // Nothing happens when there is none of that id.
  func deleteIdentity(_ id: String) throws
  func deleteService(_ id: String) throws
  func deleteConfig(_ id: String) throws
  func deleteServicePolicy(_ id: String) throws
  func deleteEdgeRouterPolicy(_ id: String) throws
  func deleteEdgeRouterPolicy(named name: String) throws
  func deleteServiceEdgeRouterPolicy(_ id: String) throws
}

// MARK: The controller of this process

/// Rows and entities in one transaction of the controller's single writer.
struct LocalNetwork: ShareNetwork {
  let provisioning: Provisioning

  var now: Timestamp { provisioning.now }

  func write<R: Sendable>(author: String, _ body: @escaping @Sendable (any NetworkChange) throws -> R) async throws -> R
  {
    try await provisioning.write(author: author) { try body($0) }
  }

  func read<R: Sendable>(_ body: @escaping @Sendable (StoreReader) throws -> R) async throws -> R {
    try await provisioning.read(body)
  }

  func settle() async throws {}

  func hosting(_ services: [String]) async throws -> NetworkHosting {
    NetworkHosting(
      routers: provisioning.routers(hosting: services), isPossible: provisioning.hasRouters,
      away: provisioning.routersAway)
  }

  var issuesCredentialsAgain: Bool { true }

  var tellsUsage: Bool { true }

  func onUsage(_ listener: @escaping @Sendable (_ service: String, _ toHost: Int, _ fromHost: Int) -> Void) {
    provisioning.onUsage(listener)
  }
}

extension ProvisioningTransaction: NetworkChange {
  var isRehearsal: Bool { false }

  func identityTags(_ id: String) throws -> JSONObject? { try store.get(Identity.self, id)?.tags }

  func hasService(named name: String) throws -> Bool { try store.named(EdgeService.self, name) != nil }

  func updateConfig(_ id: String, setting members: JSONObject) throws {
    try updateConfig(id, data: store.require(Config.self, id).data.merging(members) { $1 })
  }

  func deleteEdgeRouterPolicy(named name: String) throws {
    if let policy = try store.named(EdgeRouterPolicy.self, name) { try deleteEdgeRouterPolicy(policy.id) }
  }
}
