import Authentication
import JSON
import Model
import Store

/// What a program that runs a controller in its own process may do with its model: the quickstart, and the share
/// service.
public struct Provisioning: Sendable {
  /// An identity or a router, and whether it has enrolled.
  public struct Member: Sendable, Equatable {
    public let id: String
    public let isEnrolled: Bool
  }

  /// A member just made, with the token it enrolls with.
  public struct Invitation: Sendable, Equatable {
    public let id: String
    public let jwt: String
  }

  /// What a service policy lets its identities do with its services.
  public enum PolicyKind: String, Sendable {
    case dial = "Dial"
    case bind = "Bind"
  }

  /// Whether an entity must have all attributes of a role list, or one of them.
  public enum RoleSemantic: String, Sendable {
    case allOf = "AllOf"
    case anyOf = "AnyOf"
  }

  let core: ControllerCore
  private var operations: Operations { Operations(core: core, context: .system("provisioning")) }

  init(core: ControllerCore) { self.core = core }

  /// Makes the default administrator on the first call, and changes its user name and password on later ones. Sessions
  /// made with another password end.
  /// - Throws: when user name or password are too short or too long (4 to 100 and 5 to 100 characters).
  public func setAdminPassword(username: String, password: String) async throws {
    try Operations.check(username: username)
    try PasswordPolicy.check(password, PrimaryAuthPolicy.Password(allowed: true))
    let known = try await core.store.read { reader in
      try reader.all(Identity.self).first(where: \.isDefaultAdmin).flatMap { admin in
        try reader.all(Authenticator.self, field: "identityId", equals: admin.id).first { $0.method == .updb }
      }
    }
    if let known, known.username == username,
      try await core.passwords.verify(password, against: known.password, from: "::1")
    {
      return
    }
    let hash = try await core.passwords.hash(password)
    let now = core.now
    try await core.write(.system("provisioning")) { transaction in
      let known = try transaction.all(Identity.self).first(where: \.isDefaultAdmin)
      let admin =
        try known
        ?? transaction.put(Identity(id: EntityID.short(), name: "Default Admin", isAdmin: true, isDefaultAdmin: true))
      var authenticator =
        try transaction.all(Authenticator.self, field: "identityId", equals: admin.id).first { $0.method == .updb }
        ?? Authenticator(id: EntityID.short(), method: .updb, identityId: admin.id)
      authenticator.username = username
      authenticator.password = hash
      authenticator.passwordChangedAt = now
      try transaction.put(authenticator)
    }
  }

  /// Whether the default administrator exists: a network without one is new.
  public func hasAdministrator() async throws -> Bool {
    try await core.store.read { try $0.all(Identity.self).contains(where: \.isDefaultAdmin) }
  }

  /// - Returns: the id and the one-time token the identity enrolls with.
  public func createIdentity(name: String, roleAttributes: [String] = [], isAdmin: Bool = false) async throws
    -> Invitation
  {
    let identity = try await operations.createIdentity([
      "name": .string(name), "type": "Default", "isAdmin": .bool(isAdmin), "roleAttributes": JSONValue(roleAttributes),
      "enrollment": ["ott": true],
    ])
    let enrollments = try await core.store.read {
      try $0.all(Enrollment.self, field: "identityId", equals: identity.id)
    }
    return Invitation(id: identity.id, jwt: enrollments.first?.jwt ?? "")
  }

  /// A new one-time token for an identity: what it proved itself with before is void.
  public func reissueEnrollment(identity id: String) async throws -> Invitation {
    let invitation = try await EnrollmentAuthority(core: core).invite(.identity(id), method: .ott)
    return try await core.write(.system("provisioning")) { transaction in
      _ = try transaction.require(Identity.self, id)
      for old in try transaction.all(Authenticator.self, field: "identityId", equals: id) where old.method == .cert {
        try transaction.delete(Authenticator.self, old.id)
      }
      for old in try transaction.all(Enrollment.self, field: "identityId", equals: id) where old.method == .ott {
        try transaction.delete(Enrollment.self, old.id)
      }
      return Invitation(id: id, jwt: try transaction.put(invitation).jwt)
    }
  }

  /// - Parameter allowedNames: host names and addresses that its certificates may carry; empty lets it enroll with any
  ///   that nobody else bears.
  /// - Returns: the id and the one-time token the router enrolls with.
  public func createEdgeRouter(name: String, roleAttributes: [String] = [], allowedNames: [String] = []) async throws
    -> Invitation
  {
    let (router, enrollment) = try await operations.createEdgeRouter([
      "name": .string(name), "roleAttributes": JSONValue(roleAttributes), "allowedNames": JSONValue(allowedNames),
    ])
    return Invitation(id: router.id, jwt: enrollment.jwt)
  }

  /// Adds to the names that the certificates of a router may carry.
  public func allow(names: [String], edgeRouter id: String) async throws {
    try await core.write(.system("provisioning")) { transaction in
      var router = try transaction.require(EdgeRouterEntity.self, id)
      let known = router.allowedNames ?? []
      let fresh = names.filter { !known.contains($0) }
      guard !fresh.isEmpty else { return }
      router.allowedNames = known + fresh
      try transaction.put(router)
    }
  }

  /// A new one-time token for a router; its certificate is void and its control channel ends.
  public func reissueEnrollment(edgeRouter id: String) async throws -> Invitation {
    Invitation(id: id, jwt: try await operations.reenrollEdgeRouter(id).jwt)
  }

  /// Makes a service.
  /// - Returns: its id.
  @discardableResult
  public func createService(name: String, roleAttributes: [String] = [], encryptionRequired: Bool = true) async throws
    -> String
  {
    try await operations.create(
      EdgeService.self,
      [
        "name": .string(name), "roleAttributes": JSONValue(roleAttributes),
        "encryptionRequired": .bool(encryptionRequired),
      ]
    ).id
  }

  /// Lets identities dial or host services.
  /// - Parameters:
  ///   - identityRoles: `#attribute`, `@id` or `#all`; so for services.
  /// - Returns: the policy's id.
  @discardableResult
  public func createServicePolicy(
    name: String, type: PolicyKind, semantic: RoleSemantic = .anyOf, identityRoles: [String], serviceRoles: [String]
  ) async throws -> String {
    try await operations.create(
      ServicePolicy.self,
      [
        "name": .string(name), "type": .string(type.rawValue), "semantic": .string(semantic.rawValue),
        "identityRoles": JSONValue(identityRoles),
        "serviceRoles": JSONValue(serviceRoles),
      ]
    ).id
  }

  /// Lets identities use edge routers.
  /// - Returns: the policy's id.
  @discardableResult
  public func createEdgeRouterPolicy(
    name: String, semantic: RoleSemantic = .anyOf, identityRoles: [String], edgeRouterRoles: [String]
  ) async throws -> String {
    try await operations.create(
      EdgeRouterPolicy.self,
      [
        "name": .string(name), "semantic": .string(semantic.rawValue), "identityRoles": JSONValue(identityRoles),
        "edgeRouterRoles": JSONValue(edgeRouterRoles),
      ]
    ).id
  }

  /// Lets services be used through edge routers.
  /// - Returns: the policy's id.
  @discardableResult
  public func createServiceEdgeRouterPolicy(
    name: String, semantic: RoleSemantic = .anyOf, serviceRoles: [String], edgeRouterRoles: [String]
  ) async throws -> String {
    try await operations.create(
      ServiceEdgeRouterPolicy.self,
      [
        "name": .string(name), "semantic": .string(semantic.rawValue), "serviceRoles": JSONValue(serviceRoles),
        "edgeRouterRoles": JSONValue(edgeRouterRoles),
      ]
    ).id
  }

  // MARK: Look-ups by name

  /// The identity of that name; nil where there is none.
  public func identity(named name: String) async throws -> Member? {
    try await core.store.read { reader in
      guard let identity = try reader.named(Identity.self, name) else { return nil }
      return Member(
        id: identity.id,
        isEnrolled: try reader.first(Authenticator.self, field: "identityId", equals: identity.id) != nil)
    }
  }

  /// The edge router of that name; nil where there is none.
  public func edgeRouter(named name: String) async throws -> Member? {
    try await core.store.read { try $0.named(EdgeRouterEntity.self, name) }.map {
      Member(id: $0.id, isEnrolled: $0.isVerified)
    }
  }

  /// The id of the service of that name; nil where there is none.
  public func service(named name: String) async throws -> String? {
    try await core.store.read { try $0.named(EdgeService.self, name)?.id }
  }

  /// The same for service policies.
  public func servicePolicy(named name: String) async throws -> String? {
    try await core.store.read { try $0.named(ServicePolicy.self, name)?.id }
  }

  /// The same for edge router policies.
  public func edgeRouterPolicy(named name: String) async throws -> String? {
    try await core.store.read { try $0.named(EdgeRouterPolicy.self, name)?.id }
  }

  /// The same for service edge router policies.
  public func serviceEdgeRouterPolicy(named name: String) async throws -> String? {
    try await core.store.read { try $0.named(ServiceEdgeRouterPolicy.self, name)?.id }
  }
}
