public import JSON

/// An outstanding invitation: one token, one use (management spec 1.18).
public struct Enrollment: DeclaredEntity {
  public static let secretMembers = ["token", "jwt"]

  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var method: EnrollmentMethod
  /// Unique.
  public var token: String
  public var expiresAt: Timestamp
  public var issuedAt: Timestamp?
  public var jwt: String
  public var identityId: String?
  public var edgeRouterId: String?
  public var transitRouterId: String?
  /// For `ottca`.
  public var caId: String?
  /// For `updb`.
  public var username: String?

  public init(
    id: String, method: EnrollmentMethod, token: String, expiresAt: Timestamp, issuedAt: Timestamp? = nil,
    jwt: String = "",
    identityId: String? = nil, edgeRouterId: String? = nil, transitRouterId: String? = nil, caId: String? = nil,
    username: String? = nil,
    tags: JSONObject = [:], isSystem: Bool = false, createdAt: Timestamp = .epoch, updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.method = method
    self.token = token
    self.expiresAt = expiresAt
    self.issuedAt = issuedAt
    self.jwt = jwt
    self.identityId = identityId
    self.edgeRouterId = edgeRouterId
    self.transitRouterId = transitRouterId
    self.caId = caId
    self.username = username
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public func validate() throws(ModelError) {
    try validateBase()
    guard !token.isEmpty else { throw ModelError(field: "token", reason: "token is required", value: "") }
    let owners = [identityId, edgeRouterId, transitRouterId].compactMap(\.self)
    guard owners.count == 1 else {
      throw ModelError(
        field: "identityId", reason: "an enrollment belongs to exactly one identity or router", value: JSONValue(owners)
      )
    }
    switch method {
    case .ott, .ottca, .updb:
      guard identityId != nil else {
        throw ModelError(
          field: "identityId", reason: "identityId is required for method \(method.rawValue)", value: .null)
      }
    case .erott:
      guard edgeRouterId != nil else {
        throw ModelError(field: "edgeRouterId", reason: "edgeRouterId is required for method erott", value: .null)
      }
    case .trott:
      guard transitRouterId != nil else {
        throw ModelError(field: "transitRouterId", reason: "transitRouterId is required for method trott", value: .null)
      }
    }
    if let username { try NameText.check(username, field: "username") }
    if method == .updb, username?.isEmpty ?? true {
      throw ModelError(field: "username", reason: "username is required for method updb", value: .null)
    }
  }
}

extension Enrollment {
  public static let declaration = Kind<Enrollment>(
    .enrollments, "enrollment",
    filters: [
      .text("token"), .text("method").unlisted, .text("identity", at: "identityId"),
      .text("edgeRouter", at: "edgeRouterId"), .text("transitRouter", at: "transitRouterId"), .text("caId"),
      .datetime("expiresAt").unlisted, .linked("identity.name", "identityId", .identities).unlisted,
    ],
    indexed: [
      IndexedMember("token", isUnique: true), IndexedMember("identityId"), IndexedMember("edgeRouterId"),
      IndexedMember("transitRouterId"),
    ])
}
