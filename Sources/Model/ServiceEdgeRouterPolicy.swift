public import JSON

/// Grants services the use of edge routers (management spec 1.9).
public struct ServiceEdgeRouterPolicy: DeclaredEntity {
  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var name: String
  public var semantic: Semantic
  public var edgeRouterRoles: [String]
  public var serviceRoles: [String]

  public init(
    id: String, name: String, semantic: Semantic = .allOf, edgeRouterRoles: [String] = [], serviceRoles: [String] = [],
    tags: JSONObject = [:],
    isSystem: Bool = false, createdAt: Timestamp = .epoch, updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.name = name
    self.semantic = semantic
    self.edgeRouterRoles = edgeRouterRoles
    self.serviceRoles = serviceRoles
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public var uniqueName: String? { name }
}

extension ServiceEdgeRouterPolicy {
  public static let declaration = Kind<ServiceEdgeRouterPolicy>(
    .serviceEdgeRouterPolicies, "service-edge-router-policy", aliases: ["serp", "serps"],
    members: [
      .name(\.name), .semantic(\.semantic),
      .roles("serviceRoles", \.serviceRoles, of: .services).shown("Service Roles")
        .option("Services: #attribute, @name or #all.", value: "roles"),
      .roles("edgeRouterRoles", \.edgeRouterRoles, of: .edgeRouters).shown("Edge Router Roles")
        .option("Edge routers: #attribute, @name or #all.", value: "roles"),
    ],
    filters: [.relation("services", .services), .relation("edgeRouters", .edgeRouters)],
    related: ["services", "edge-routers"],
    examples: (
      create: ["everywhere --edge-router-roles '#all' --service-roles '#all'"],
      update: ["everywhere --edge-router-roles '#public'"]
    ))
}
