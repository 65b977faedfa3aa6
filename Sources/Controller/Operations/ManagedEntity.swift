import JSON
import Model
import Store

/// An entity that operators make and change: how a document is read into it, what it refers to, and what goes with it.
protocol ManagedEntity: DetailedEntity {
  /// A new one, with the defaults of the kind.
  static func blank() -> Self
  mutating func read(_ body: EntityBody) throws
  /// Checks what the entity refers to, in the transaction that stores it.
  func checkReferences(_ old: Self?, _ transaction: StoreTransaction) throws
  /// What else the change means; called after the entity was stored.
  func didStore(_ old: Self?, _ transaction: StoreTransaction) throws
  /// Refuses, or deletes what must not outlive the entity and every reference to it (management-and-model.md 1.25).
  func willDelete(_ transaction: StoreTransaction) throws
}

extension ManagedEntity {
  mutating func read(_ body: EntityBody) throws { try readMembers(body) }
  func checkReferences(_ old: Self?, _ transaction: StoreTransaction) throws { try checkMembers(transaction) }
  func didStore(_ old: Self?, _ transaction: StoreTransaction) throws {}
  func willDelete(_ transaction: StoreTransaction) throws {}
}

extension ManagedEntity {
  /// Checks what the members refer to.
  func checkMembers(_ transaction: StoreTransaction) throws {
    for member in Self.declaration.members {
      switch member.meaning {
      case .plain: break
      case .reference(let kind, let path): try transaction.check(kind, self[keyPath: path], field: member.name)
      case .roles(let kind, let path):
        try transaction.check(roles: self[keyPath: path], of: kind, field: member.name)
      }
    }
  }
}

extension StoreReader {
  /// - Throws: a not-found error that names the field.
  func check(_ kind: EntityKind, _ id: String, field: String) throws {
    guard try exists(kind, id) else {
      throw ModelError(
        code: .notFound, field: field, reason: "\(kind.rawValue) with id \(id) not found", value: .string(id))
    }
  }

  /// The `@id` entries of a role list must exist (management-and-model.md 2.1).
  func check(roles: [String], of kind: EntityKind, field: String) throws {
    let list = try RoleList(roles, field: field)
    let unknown = try list.ids.sorted().filter { id in
      if kind == .services, try get(EdgeService.self, id)?.isFabricOnly ?? false { return true }
      return try !exists(kind, id)
    }
    guard unknown.isEmpty else {
      throw ModelError(
        field: field, reason: "no \(kind.rawValue) found with the given ids",
        value: .string("[\(unknown.joined(separator: " "))]"))
    }
  }

  /// Configs must exist, be for the target, and be of different types (management-and-model.md 1.4).
  func check(configs: [String], target: ConfigTarget) throws {
    var byType: [String: Config] = [:]
    for id in configs {
      guard let config = try get(Config.self, id) else {
        throw ModelError(
          code: .notFound, field: "configs", reason: "config with id \(id) not found", value: .string(id))
      }
      let type = try require(ConfigType.self, config.configTypeId)
      guard type.target == target else {
        throw ModelError(
          field: "configs",
          reason:
            "config \(config.name) is of type \(type.name), whose target is \(type.target.rawValue), not \(target.rawValue)",
          value: .string(id))
      }
      if let other = byType[type.id] {
        throw ModelError(
          field: "configs",
          reason:
            "duplicate configs named \(other.name) and \(config.name) found for config type \(type.name). Only one config of a given type is allowed",
          value: JSONValue(configs))
      }
      byType[type.id] = config
    }
  }
}

extension StoreTransaction {
  /// Takes `@id` out of every policy that lists it.
  func removeRoles(of kind: EntityKind, _ id: String) throws {
    try removeRoles(ServicePolicy.self, kind, "@" + id)
    try removeRoles(EdgeRouterPolicy.self, kind, "@" + id)
    try removeRoles(ServiceEdgeRouterPolicy.self, kind, "@" + id)
  }

  private func removeRoles<P: DeclaredEntity>(_ type: P.Type, _ kind: EntityKind, _ role: String) throws {
    let paths = P.declaration.members.compactMap { member -> Member<P>.Path<[String]>? in
      if case .roles(kind, let path) = member.meaning { path } else { nil }
    }
    guard !paths.isEmpty else { return }
    for policy in try all(type) where paths.contains(where: { policy[keyPath: $0].contains(role) }) {
      var policy = policy
      for path in paths { policy[keyPath: path].removeAll { $0 == role } }
      try put(policy)
    }
  }
}
