import JSON
import Model
import PKI
import Store

/// The words of `identity.permissions` (management-and-model.md 4.5).
enum PermissionWords {
  private static let entities = [
    "auth-policy", "ca", "config", "config-type", "edge-router-policy", "enrollment", "external-jwt-signer", "identity",
    "posture-check", "router",
    "service",
    "service-edge-router-policy", "service-policy", "terminator", "controllers", "ops",
  ]
  static let all = Set(
    ["admin_readonly"] + entities.flatMap { [$0, "\($0).create", "\($0).read", "\($0).update", "\($0).delete"] })
}

extension Identity: ManagedEntity {
  static func blank() -> Identity { Identity(id: EntityID.short(), name: "") }

  mutating func read(_ body: EntityBody) throws {
    let nameBefore = name
    try readMembers(body)
    guard typeId != .router || name == nameBefore else {
      throw ModelError(
        field: "name", reason: "rename the edge router instead: its identity follows", value: .string(name))
    }
    for permission in permissions where !PermissionWords.all.contains(permission) {
      throw ModelError(field: "permissions", reason: "\(permission) is no permission", value: .string(permission))
    }
  }

  func checkReferences(_ old: Identity?, _ transaction: StoreTransaction) throws {
    try transaction.check(.authPolicies, authPolicyId, field: "authPolicyId")
    for id in serviceHostingCosts.keys { try transaction.check(.services, id, field: "serviceHostingCosts") }
    for id in serviceHostingPrecedences.keys {
      try transaction.check(.services, id, field: "serviceHostingPrecedences")
    }
    if isDefaultAdmin, !isAdmin {
      throw ModelError(field: "isAdmin", reason: "the default administrator stays an administrator", value: false)
    }
  }

  func willDelete(_ transaction: StoreTransaction) throws {
    if isDefaultAdmin {
      throw OperationError.cannotBeDeleted(kind: .identities, id: id, reason: "it is the default administrator")
    }
    if typeId == .router, try transaction.exists(.edgeRouters, id) {
      throw OperationError.cannotBeDeleted(
        kind: .identities, id: id, reason: "it belongs to the edge router \(name); delete that, or its tunneler")
    }
    try removeAttachments(transaction)
  }

  /// Deletes what hangs on the identity, and every reference to it.
  func removeAttachments(_ transaction: StoreTransaction) throws {
    for enrollment in try transaction.all(Enrollment.self, field: "identityId", equals: id) {
      try transaction.delete(Enrollment.self, enrollment.id)
    }
    for authenticator in try transaction.all(Authenticator.self, field: "identityId", equals: id) {
      try transaction.delete(Authenticator.self, authenticator.id)
    }
    try transaction.removeRoles(of: .identities, id)
  }
}

extension EdgeRouterEntity: ManagedEntity {
  static func blank() -> EdgeRouterEntity { EdgeRouterEntity(id: EntityID.short(), name: "") }

  mutating func read(_ body: EntityBody) throws {
    try readMembers(body)
    // Kept where the body does not name it: OpenZiti's clients, which do not know it, must not widen it.
    if body.members["allowedNames"] != nil {
      var names: [String] = []
      try body.set("allowedNames", &names)
      for name in names where HostName(name) == nil {
        throw ModelError(
          field: "allowedNames", reason: "allowedNames in body must be host names or addresses", value: .string(name))
      }
      allowedNames = names.isEmpty ? nil : names
    }
  }

  func checkReferences(_ old: EdgeRouterEntity?, _ transaction: StoreTransaction) throws {
    try transaction.check(configs: configs, target: .router)
  }

  /// A tunneling router owns an identity and a system policy, both named after it (management-and-model.md 1.10).
  func didStore(_ old: EdgeRouterEntity?, _ transaction: StoreTransaction) throws {
    switch (old?.isTunnelerEnabled ?? false, isTunnelerEnabled) {
    case (false, true):
      try transaction.put(Identity(id: id, name: name, typeId: .router))
      try transaction.put(
        EdgeRouterPolicy(
          id: id, name: "edge-router-\(id)-system", semantic: .anyOf, edgeRouterRoles: ["@\(id)"],
          identityRoles: ["@\(id)"], isSystem: true))
    case (true, false): try removeTunneler(transaction)
    case (true, true):
      guard old?.name != name, var identity = try transaction.get(Identity.self, id) else { return }
      identity.name = name
      try transaction.put(identity)
    case (false, false): break
    }
  }

  private func removeTunneler(_ transaction: StoreTransaction) throws {
    try transaction.delete(EdgeRouterPolicy.self, id)
    guard let identity = try transaction.get(Identity.self, id), identity.typeId == .router else { return }
    try identity.removeAttachments(transaction)
    try transaction.delete(Identity.self, id)
  }

  func willDelete(_ transaction: StoreTransaction) throws {
    if isTunnelerEnabled { try removeTunneler(transaction) }
    try transaction.removeRoles(of: .edgeRouters, id)
    for enrollment in try transaction.all(Enrollment.self, field: "edgeRouterId", equals: id) {
      try transaction.delete(Enrollment.self, enrollment.id)
    }
    for terminator in try transaction.all(Terminator.self, field: "routerId", equals: id) {
      try transaction.delete(Terminator.self, terminator.id)
    }
  }
}
