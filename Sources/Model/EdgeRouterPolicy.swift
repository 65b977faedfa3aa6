public import JSON

/// Grants identities the use of edge routers (management spec 1.8).
public struct EdgeRouterPolicy: DeclaredEntity {
  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var name: String
  public var semantic: Semantic
  public var edgeRouterRoles: [String]
  public var identityRoles: [String]

  public init(
    id: String, name: String, semantic: Semantic = .allOf, edgeRouterRoles: [String] = [], identityRoles: [String] = [],
    tags: JSONObject = [:],
    isSystem: Bool = false, createdAt: Timestamp = .epoch, updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.name = name
    self.semantic = semantic
    self.edgeRouterRoles = edgeRouterRoles
    self.identityRoles = identityRoles
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public var uniqueName: String? { name }
}

extension EdgeRouterPolicy {
  public static let declaration = Kind<EdgeRouterPolicy>(
    .edgeRouterPolicies, "edge-router-policy", aliases: ["erp", "erps"],
    members: [
      .name(\.name), .semantic(\.semantic),
      .roles("edgeRouterRoles", \.edgeRouterRoles, of: .edgeRouters).shown("Edge Router Roles")
        .option("Edge routers: #attribute, @name or #all.", value: "roles"),
      .roles("identityRoles", \.identityRoles, of: .identities).shown("Identity Roles")
        .option("Identities: #attribute, @name or #all.", value: "roles"),
    ],
    filters: [.relation("identities", .identities), .relation("edgeRouters", .edgeRouters)],
    hidden: [], related: ["edge-routers", "identities"],
    examples: (
      create: ["everyone --edge-router-roles '#public' --identity-roles '#all'"],
      update: ["everyone --identity-roles '#staff'"]
    ))
}
