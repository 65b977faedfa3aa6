public import JSON

/// The right of an API session to dial or bind one service (management spec 1.14).
public struct ServiceSession: DeclaredEntity {
  public static let isIntent = false
  public static let secretMembers = ["token"]

  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var apiSessionId: String
  public var identityId: String
  public var serviceId: String
  public var type: PolicyType
  /// JWT signed by the controller (client spec 4.4). Sealed in the stored document.
  public var token: String
  /// Policies that granted it.
  public var servicePolicies: [String]

  public init(
    id: String, apiSessionId: String, identityId: String, serviceId: String, type: PolicyType, token: String,
    servicePolicies: [String] = [],
    tags: JSONObject = [:], isSystem: Bool = false, createdAt: Timestamp = .epoch, updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.apiSessionId = apiSessionId
    self.identityId = identityId
    self.serviceId = serviceId
    self.type = type
    self.token = token
    self.servicePolicies = servicePolicies
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public func validate() throws(ModelError) {
    try validateBase()
    for (field, value) in [("apiSessionId", apiSessionId), ("identityId", identityId), ("serviceId", serviceId)]
    where value.isEmpty {
      throw ModelError(field: field, reason: "\(field) is required", value: "")
    }
  }
}

extension ServiceSession {
  public static let declaration = Kind<ServiceSession>(
    .sessions, "session",
    filters: [
      .text("apiSession", at: "apiSessionId"), .text("service", at: "serviceId"),
      .text("identity", at: "identityId").unlisted, .text("type"),
      .linked("service.name", "serviceId", .services).unlisted,
      .linked("identity.name", "identityId", .identities).unlisted,
      .linked("apiSession.identity", "apiSessionId", .apiSessions, "identityId").unlisted,
    ],
    indexed: [IndexedMember("apiSessionId"), IndexedMember("serviceId"), IndexedMember("identityId")])
}
