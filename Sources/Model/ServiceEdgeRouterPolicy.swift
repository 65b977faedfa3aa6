public import JSON

/// Grants services the use of edge routers (management spec 1.9).
public struct ServiceEdgeRouterPolicy: Entity {
  public static let kind = EntityKind.serviceEdgeRouterPolicies

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

  public func validate() throws(ModelError) {
    try validateBase()
    try validate(name: name)
    try validate(roles: edgeRouterRoles, field: "edgeRouterRoles")
    try validate(roles: serviceRoles, field: "serviceRoles")
  }
}
