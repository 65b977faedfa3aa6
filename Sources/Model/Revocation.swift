public import JSON

/// Ends tokens before their time (management spec 1.22). Its id is the `jti`, API session id or identity id.
public struct Revocation: DeclaredEntity {
  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var type: RevocationType
  /// When every token it could concern has expired by itself.
  public var expiresAt: Timestamp
  /// For `IDENTITY`: only sessions issued before this moment are revoked.
  public var issuedBefore: Timestamp?

  public init(
    id: String, type: RevocationType, expiresAt: Timestamp, issuedBefore: Timestamp? = nil, tags: JSONObject = [:],
    isSystem: Bool = false,
    createdAt: Timestamp = .epoch, updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.type = type
    self.expiresAt = expiresAt
    self.issuedBefore = issuedBefore
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }
}

extension Revocation {
  public static let declaration = Kind<Revocation>(
    .revocations, "revocation", filters: [.datetime("expiresAt"), .text("type"), .datetime("issuedBefore")])
}
