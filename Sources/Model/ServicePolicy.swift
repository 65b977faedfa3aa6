public import JSON

/// Grants identities the right to dial or bind services (management spec 1.7).
public struct ServicePolicy: DeclaredEntity {
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
}

extension ServicePolicy {
  public static let declaration = Kind<ServicePolicy>(
    .servicePolicies, "service-policy", aliases: ["sp", "sps"],
    members: [
      .name(\.name),
      .word("type", \.type, ["Dial", "Bind"], shape: ["Dial", "Bind", "Invalid"]) { PolicyType(rawValue: $0) }
        .filterable().shown("Type").argument("What it grants: Dial or Bind."),
      .semantic(\.semantic).shown("Semantic"),
      .roles("serviceRoles", \.serviceRoles, of: .services).shown("Service Roles")
        .option("Services: #attribute, @name or #all.", value: "roles"),
      .roles("identityRoles", \.identityRoles, of: .identities).shown("Identity Roles")
        .option("Identities: #attribute, @name or #all.", value: "roles"),
      // This network has no posture checks: a policy that asked for one would never grant.
      .roles("postureCheckRoles", \.postureCheckRoles, of: .postureChecks).shown("Posture Check Roles"),
    ],
    filters: [
      .relation("identities", .identities, isListed: true), .relation("services", .services, isListed: true),
    ],
    related: ["services", "identities"],
    examples: (
      create: [
        "staff-dial Dial --service-roles '#intranet' --identity-roles '#staff'",
        "web-bind Bind --service-roles @web --identity-roles @web-server",
      ], update: ["staff-dial --identity-roles '#staff,@bob'"]
    ))
}
