public import JSON

/// Something that can be dialed by name (management spec 1.4).
public struct EdgeService: DeclaredEntity {
  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var name: String
  /// End-to-end encryption must be negotiated by both ends.
  public var encryptionRequired: Bool
  /// One of `TerminatorStrategy`.
  public var terminatorStrategy: String
  public var roleAttributes: [String]
  /// Config ids, at most one per config type.
  public var configs: [String]
  /// Circuits idle longer are removed; milliseconds, 0 = unlimited.
  public var maxIdleTimeMillis: Int
  /// Invisible to the edge APIs and never matched by policies.
  public var isFabricOnly: Bool

  public init(
    id: String, name: String, encryptionRequired: Bool = true,
    terminatorStrategy: String = TerminatorStrategy.smartRouting.rawValue,
    roleAttributes: [String] = [], configs: [String] = [], maxIdleTimeMillis: Int = 0, isFabricOnly: Bool = false,
    tags: JSONObject = [:],
    isSystem: Bool = false, createdAt: Timestamp = .epoch, updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.name = name
    self.encryptionRequired = encryptionRequired
    self.terminatorStrategy = terminatorStrategy
    self.roleAttributes = roleAttributes
    self.configs = configs
    self.maxIdleTimeMillis = maxIdleTimeMillis
    self.isFabricOnly = isFabricOnly
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public var uniqueName: String? { name }

  public func validate() throws(ModelError) {
    try validateMembers()
    guard TerminatorStrategy(rawValue: terminatorStrategy) != nil else {
      throw ModelError(
        code: .notFound, field: "terminatorStrategy",
        reason: "terminatorStrategy with name \(terminatorStrategy) not found",
        value: .string(terminatorStrategy))
    }
    guard maxIdleTimeMillis >= 0 else {
      throw ModelError(
        field: "maxIdleTimeMillis", reason: "maxIdleTimeMillis must not be negative",
        value: JSONValue(maxIdleTimeMillis))
    }
    guard Set(configs).count == configs.count else {
      throw ModelError(field: "configs", reason: "a config may be listed only once", value: JSONValue(configs))
    }
  }
}

extension EdgeService {
  public static let declaration = Kind<EdgeService>(
    .services, "service",
    members: [
      .name(\.name),
      // A replacement may leave it out; a service never becomes less protected by an omission.
      .flag("encryptionRequired", \.encryptionRequired, default: true).requiredToCreate().shown("Encryption Required"),
      .custom("terminatorStrategy", .text, source: .member(["terminatorStrategy"], .text)) {
        (body: EntityBody, service: inout EdgeService) throws(ModelError) in
        let usual = TerminatorStrategy.smartRouting.rawValue
        try body.set("terminatorStrategy", &service.terminatorStrategy, or: usual)
        if service.terminatorStrategy.isEmpty { service.terminatorStrategy = usual }
      }
      .filterable().shown("Terminator Strategy"),
      .attributes(\.roleAttributes),
      .texts("configs", \.configs, of: .configs).filterable(),
      .number("maxIdleTimeMillis", \.maxIdleTimeMillis, default: 0),
    ],
    filters: [
      .bool("isFabricOnly"), .relation("terminators", .terminators), .relation("servicePolicies", .servicePolicies),
      .relation("serviceEdgeRouterPolicies", .serviceEdgeRouterPolicies), .relation("identities", .identities),
      .relation("edgeRouters", .edgeRouters), .relation("dialIdentities", .identities),
      .relation("bindIdentities", .identities),
    ], hidden: ["isSystem", "isFabricOnly"],
    related: [
      "configs", "service-policies", "service-edge-router-policies", "terminators", "identities", "edge-routers",
    ])
}
