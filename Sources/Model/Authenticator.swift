public import JSON

/// A proof an identity can present: a certificate or a password (management spec 1.17).
public struct Authenticator: DeclaredEntity {
  public static let secretMembers = ["password"]

  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var method: AuthenticatorMethod
  public var identityId: String
  /// cert: SHA-1 of the DER, lower-case hex; unique.
  public var fingerprint: String?
  /// cert
  public var certPem: String?
  /// cert: fingerprint of the public key, to tell a roll of keys from a renewal.
  public var publicKeyPrint: String?
  /// cert: issued by the network's own authority, so it can be extended.
  public var isIssuedByNetwork: Bool
  /// cert: the client is asked to renew.
  public var isExtendRequested: Bool
  /// cert: and to use a new key.
  public var isKeyRollRequested: Bool
  public var extendRequestedAt: Timestamp?
  public var lastExtendRolledKeys: Bool
  public var lastAuthResolvedToRoot: Bool
  /// cert: pending certificate of an extension, promoted when first used.
  public var unverifiedFingerprint: String?
  public var unverifiedCertPem: String?
  /// updb: unique.
  public var username: String?
  /// updb
  public var password: PasswordHash?
  /// updb: when the password last became another one; sessions made before it are over.
  public var passwordChangedAt: Timestamp?

  public init(
    id: String, method: AuthenticatorMethod, identityId: String, fingerprint: String? = nil, certPem: String? = nil,
    publicKeyPrint: String? = nil, isIssuedByNetwork: Bool = false, isExtendRequested: Bool = false,
    isKeyRollRequested: Bool = false,
    extendRequestedAt: Timestamp? = nil, lastExtendRolledKeys: Bool = false, lastAuthResolvedToRoot: Bool = false,
    unverifiedFingerprint: String? = nil, unverifiedCertPem: String? = nil, username: String? = nil,
    password: PasswordHash? = nil,
    passwordChangedAt: Timestamp? = nil, tags: JSONObject = [:], isSystem: Bool = false, createdAt: Timestamp = .epoch,
    updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.method = method
    self.identityId = identityId
    self.fingerprint = fingerprint
    self.certPem = certPem
    self.publicKeyPrint = publicKeyPrint
    self.isIssuedByNetwork = isIssuedByNetwork
    self.isExtendRequested = isExtendRequested
    self.isKeyRollRequested = isKeyRollRequested
    self.extendRequestedAt = extendRequestedAt
    self.lastExtendRolledKeys = lastExtendRolledKeys
    self.lastAuthResolvedToRoot = lastAuthResolvedToRoot
    self.unverifiedFingerprint = unverifiedFingerprint
    self.unverifiedCertPem = unverifiedCertPem
    self.username = username
    self.password = password
    self.passwordChangedAt = passwordChangedAt
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public func validate() throws(ModelError) {
    try validateBase()
    guard !identityId.isEmpty else {
      throw ModelError(field: "identityId", reason: "identityId is required", value: "")
    }
    switch method {
    case .cert:
      guard let fingerprint, !fingerprint.isEmpty else {
        throw ModelError(field: "certPem", reason: "a certificate is required", value: .null)
      }
    case .updb:
      try NameText.check(username ?? "", field: "username")
      guard let username, !username.allSatisfy(\.isWhitespace) else {
        throw ModelError(field: "username", reason: "username must not be blank", value: JSONValue(username))
      }
    }
  }
}

extension Authenticator {
  public static let declaration = Kind<Authenticator>(
    .authenticators, "authenticator",
    filters: [
      .text("method"), .text("certFingerprint", at: "fingerprint"), .text("updbUsername", at: "username"),
      .text("identity", at: "identityId"), .text("certPem"), .text("publicKeyPrint"), .bool("isIssuedByNetwork"),
      .bool("isExtendRequested"), .bool("isKeyRollRequested"), .datetime("extendRequestedAt"),
      .bool("lastExtendRolledKeys"), .bool("lastAuthResolvedToRoot"),
      .linked("identity.name", "identityId", .identities).unlisted,
    ],
    indexed: [
      IndexedMember("fingerprint", isUnique: true), IndexedMember("username", isUnique: true),
      IndexedMember("identityId"), IndexedMember("unverifiedFingerprint"),
    ],
    hidden: ["isSystem", "publicKeyPrint", "unverifiedFingerprint", "unverifiedCertPem"])
}
