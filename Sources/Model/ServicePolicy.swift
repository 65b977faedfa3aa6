public import JSON

/// Grants identities the right to dial or bind services (management spec 1.7).
public struct ServicePolicy: Entity {
  public static let kind = EntityKind.servicePolicies

  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var name: String
  public var type: PolicyType
  public var semantic: Semantic
  public var identityRoles: [String]
  public var serviceRoles: [String]
  public var postureCheckRoles: [String]

  public init(
    id: String, name: String, type: PolicyType, semantic: Semantic = .allOf, identityRoles: [String] = [],
    serviceRoles: [String] = [],
    postureCheckRoles: [String] = [], tags: JSONObject = [:], isSystem: Bool = false, createdAt: Timestamp = .epoch,
    updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.name = name
    self.type = type
    self.semantic = semantic
    self.identityRoles = identityRoles
    self.serviceRoles = serviceRoles
    self.postureCheckRoles = postureCheckRoles
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public var uniqueName: String? { name }

  public func validate() throws(ModelError) {
    try validateBase()
    try validate(name: name)
    try validate(roles: identityRoles, field: "identityRoles")
    try validate(roles: serviceRoles, field: "serviceRoles")
    try validate(roles: postureCheckRoles, field: "postureCheckRoles")
  }
}
