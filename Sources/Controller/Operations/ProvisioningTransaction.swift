import Fabric
public import JSON
public import Model
import PKI
public import Store

/// One transaction in which an application that runs with the controller stores rows of its own together with the
/// network's entities they stand for: all of it happens, or nothing. Valid only inside the closure that received it.
public struct ProvisioningTransaction {
  /// What an identity proves itself with, made by the controller: enrolled from its first moment.
  public struct Credentials: Sendable {
    public let identityID: String
    /// PEM texts; the chain is leaf first, the authorities are the network's bundle.
    public let key: String
    public let certificate: String
    public let authorities: String
    /// Addresses of the client API, as identity files name them.
    public let controllers: [String]
    /// Whose SPIFFE ids the controllers bear, nil where they bear none or it is not known.
    public let trustDomain: String?

    public init(
      identityID: String, key: String, certificate: String, authorities: String, controllers: [String],
      trustDomain: String? = nil
    ) {
      self.identityID = identityID
      self.key = key
      self.certificate = certificate
      self.authorities = authorities
      self.controllers = controllers
      self.trustDomain = trustDomain
    }
  }

  /// The application's own rows. Entities of the network are written through the methods here, which check references.
  public let store: StoreTransaction
  let core: ControllerCore

  /// An identity that is enrolled with a new P-256 key.
  public func createEnrolledIdentity(name: String, tags: JSONObject = [:]) throws -> Credentials {
    try issueCredentials(identity: store.insert(Identity(id: EntityID.short(), name: name, tags: tags)).id)
  }

  /// A new key and certificate for an identity; those it has stay good.
  public func issueCredentials(identity id: String) throws -> Credentials {
    let identity = try store.require(Identity.self, id)
    let key = try PrivateKey.generate(.p256)
    let chain = try core.pki.signingAuthority.issueIdentity(
      publicKey: key.publicKey, subject: nil, identityID: identity.id, trustDomain: core.pki.trustDomain,
      now: core.now.date,
      lifetime: core.configuration.certificateLifetime)
    try store.put(
      Authenticator(
        id: EntityID.short(), method: .cert, identityId: identity.id, fingerprint: chain.leaf.sha1Fingerprint,
        certPem: chain.pem,
        isIssuedByNetwork: true))
    return Credentials(
      identityID: identity.id, key: key.pem, certificate: chain.pem, authorities: core.pki.bundlePEM,
      controllers: [core.url + InformationEndpoints.clientPath],
      trustDomain: core.pki.isNamed ? core.pki.trustDomain : nil)
  }

  /// The id of the config type of that name, made without a schema when there is none.
  public func configType(named name: String) throws -> String {
    if let known = try store.named(ConfigType.self, name) { return known.id }
    return try store.insert(ConfigType(id: EntityID.uuidBase62(), name: name)).id
  }

  /// - Returns: the id.
  public func createConfig(name: String, typeID: String, data: JSONObject, tags: JSONObject = [:]) throws -> String {
    try store.insert(Config(id: EntityID.uuidBase62(), name: name, configTypeId: typeID, data: data, tags: tags)).id
  }

  /// Replaces the data of a config.
  public func updateConfig(_ id: String, data: JSONObject) throws {
    var config = try store.require(Config.self, id)
    let old = config
    config.data = data
    try config.validate()
    try config.checkReferences(old, store)
    try store.put(config)
  }

  /// Whether anybody offers the service at this moment.
  public func isHosted(_ serviceID: String) -> Bool { core.fabric.isHosted(serviceID) }

  /// A service that demands end-to-end encryption. - Returns: the id.
  public func createService(name: String, configs: [String], tags: JSONObject = [:]) throws -> String {
    try store.insert(EdgeService(id: EntityID.uuidBase62(), name: name, configs: configs, tags: tags)).id
  }

  /// - Returns: the id.
  @discardableResult
  public func createServicePolicy(
    name: String, type: Provisioning.PolicyKind, identities: [String], service: String, tags: JSONObject = [:]
  ) throws -> String {
    try store.insert(
      ServicePolicy(
        id: EntityID.uuidBase62(), name: name, type: type == .dial ? .dial : .bind, semantic: .anyOf,
        identityRoles: identities.map { "@" + $0 },
        serviceRoles: ["@" + service], tags: tags)
    ).id
  }

  /// Lets an identity use every edge router. - Returns: the id.
  @discardableResult
  public func createEdgeRouterPolicy(name: String, identity: String, tags: JSONObject = [:]) throws -> String {
    try store.insert(
      EdgeRouterPolicy(
        id: EntityID.uuidBase62(), name: name, semantic: .allOf, edgeRouterRoles: ["#all"],
        identityRoles: ["@" + identity], tags: tags)
    ).id
  }

  /// Lets a service be used through every edge router. - Returns: the id.
  @discardableResult
  public func createServiceEdgeRouterPolicy(name: String, service: String, tags: JSONObject = [:]) throws -> String {
    try store.insert(
      ServiceEdgeRouterPolicy(
        id: EntityID.uuidBase62(), name: name, semantic: .allOf, edgeRouterRoles: ["#all"],
        serviceRoles: ["@" + service], tags: tags)
    ).id
  }

  /// Deletes what carries the tags, of the kinds an application makes: policies first, then services, configs and
  /// identities.
  public func deleteAll(tagged tags: JSONObject) throws {
    func matches(_ entity: some Entity) -> Bool { tags.allSatisfy { entity.tags[$0.key] == $0.value } }
    for entity in try store.all(ServiceEdgeRouterPolicy.self) where matches(entity) { try store.remove(entity) }
    for entity in try store.all(ServicePolicy.self) where matches(entity) { try store.remove(entity) }
    for entity in try store.all(EdgeService.self) where matches(entity) { try store.remove(entity) }
    for entity in try store.all(Config.self) where matches(entity) { try store.remove(entity) }
    for entity in try store.all(EdgeRouterPolicy.self) where matches(entity) { try store.remove(entity) }
  }

  /// Nothing happens when there is none of that id.
  public func deleteIdentity(_ id: String) throws {
    if let identity = try store.get(Identity.self, id) { try store.remove(identity) }
  }
  public func deleteService(_ id: String) throws {
    if let service = try store.get(EdgeService.self, id) { try store.remove(service) }
  }
  public func deleteConfig(_ id: String) throws {
    if let config = try store.get(Config.self, id) { try store.remove(config) }
  }
  public func deleteServicePolicy(_ id: String) throws {
    if let policy = try store.get(ServicePolicy.self, id) { try store.remove(policy) }
  }
  public func deleteEdgeRouterPolicy(_ id: String) throws {
    if let policy = try store.get(EdgeRouterPolicy.self, id) { try store.remove(policy) }
  }
  public func deleteServiceEdgeRouterPolicy(_ id: String) throws {
    if let policy = try store.get(ServiceEdgeRouterPolicy.self, id) { try store.remove(policy) }
  }
}

extension Provisioning {
  /// Runs one transaction; on return it is durable and every router is told.
  /// - Parameter author: who the change-set names.
  public func write<R: Sendable>(author: String, _ body: @escaping @Sendable (ProvisioningTransaction) throws -> R)
    async throws -> R
  {
    let core = core
    return try await core.write(.system(author)) { try body(ProvisioningTransaction(store: $0, core: core)) }
  }

  /// Runs questions on one consistent state.
  public func read<R: Sendable>(_ body: @escaping @Sendable (StoreReader) throws -> R) async throws -> R {
    try await core.store.read(body)
  }

  /// Calls back, for as long as the controller runs, with circuits' usage, as often as routers tell. The call must
  /// not wait.
  /// - Parameter listener: gets the id of a service, and the bytes to and from its host.
  public func onUsage(_ listener: @escaping @Sendable (_ service: String, _ toHost: Int, _ fromHost: Int) -> Void) {
    core.usage.listen { charged in
      for circuit in charged { listener(circuit.serviceID, circuit.toHost, circuit.fromHost) }
    }
  }

  /// The routers at which each of the services is offered at this moment; what nobody offers is not named.
  public func routers(hosting services: [String]) -> [String: Set<String>] {
    services.reduce(into: [:]) { hosting, service in
      let routers = core.fabric.routers(hosting: service)
      if !routers.isEmpty { hosting[service] = routers }
    }
  }

  /// Whether a router is connected: without one nobody can offer anything.
  public var hasRouters: Bool { !core.fabric.connected.isEmpty }

  /// Routers that have enrolled, are not disabled, and are not connected.
  public var routersAway: Set<String> {
    let routers = core.model { $0.edgeRouters }.values
    return Set(routers.lazy.filter { $0.isVerified && !$0.disabled }.map(\.id)).subtracting(core.fabric.connected)
  }

  /// The network's clock.
  public var now: Timestamp { core.now }
  /// `host:port` of the client API's listener, as clients dial it.
  public var controllerURL: String { core.url }
}

extension StoreTransaction {
  /// Stores a new entity after all its checks, with its consequences.
  @discardableResult
  func insert<E: ManagedEntity>(_ entity: E) throws -> E {
    try entity.validate()
    try entity.checkReferences(nil, self)
    let stored = try put(entity)
    try stored.didStore(nil, self)
    return stored
  }

  /// Deletes an entity with what must not outlive it.
  func remove<E: ManagedEntity>(_ entity: E) throws {
    guard !entity.isSystem else {
      throw OperationError.cannotBeDeleted(kind: E.kind, id: entity.id, reason: "it belongs to the system")
    }
    try entity.willDelete(self)
    try delete(E.self, entity.id)
  }
}
