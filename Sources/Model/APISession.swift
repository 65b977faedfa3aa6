public import JSON

/// A client's durable session with the controller (management spec 1.13); its token is a random UUID.
public struct APISession: DeclaredEntity {
  public static let isIntent = false
  public static let secretMembers = ["token"]

  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  /// Unique; a UUID, never beginning with `ey`. Sealed in the stored document.
  public var token: String
  public var identityId: String
  public var authenticatorId: String
  /// What was proven at the login; nil in documents older than the member.
  public var authenticationMethod: AuthenticatorMethod?
  /// SHA-1 fingerprints of the client certificates this session may be used with.
  public var certificateFingerprints: [String]
  /// Config type ids the client asked for, or `all`.
  public var configTypes: [String]
  public var ipAddress: String
  public var lastActivityAt: Timestamp
  /// The session ends this long after `lastActivityAt`; seconds.
  public var idleTimeoutSeconds: Int
  /// Absolute end of the session, if it has one besides the idle timeout.
  public var expiresAt: Timestamp?
  public var isMfaRequired: Bool
  public var isMfaComplete: Bool
  public var isCertExtendable: Bool
  public var isCertExtendRequested: Bool
  public var isCertKeyRollRequested: Bool
  public var improperClientCertChain: Bool
  /// Made at the management API.
  public var isAdminAPI: Bool
  public var sdkInfo: SDKInfo?
  public var envInfo: EnvInfo?

  public init(
    id: String, token: String, identityId: String, authenticatorId: String = "",
    authenticationMethod: AuthenticatorMethod? = nil,
    certificateFingerprints: [String] = [],
    configTypes: [String] = [], ipAddress: String = "", lastActivityAt: Timestamp = .epoch,
    idleTimeoutSeconds: Int = 1800,
    expiresAt: Timestamp? = nil, isMfaRequired: Bool = false, isMfaComplete: Bool = false,
    isCertExtendable: Bool = false,
    isCertExtendRequested: Bool = false, isCertKeyRollRequested: Bool = false, improperClientCertChain: Bool = false,
    isAdminAPI: Bool = false,
    sdkInfo: SDKInfo? = nil, envInfo: EnvInfo? = nil, tags: JSONObject = [:], isSystem: Bool = false,
    createdAt: Timestamp = .epoch,
    updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.token = token
    self.identityId = identityId
    self.authenticatorId = authenticatorId
    self.authenticationMethod = authenticationMethod
    self.certificateFingerprints = certificateFingerprints
    self.configTypes = configTypes
    self.ipAddress = ipAddress
    self.lastActivityAt = lastActivityAt
    self.idleTimeoutSeconds = idleTimeoutSeconds
    self.expiresAt = expiresAt
    self.isMfaRequired = isMfaRequired
    self.isMfaComplete = isMfaComplete
    self.isCertExtendable = isCertExtendable
    self.isCertExtendRequested = isCertExtendRequested
    self.isCertKeyRollRequested = isCertKeyRollRequested
    self.improperClientCertChain = improperClientCertChain
    self.isAdminAPI = isAdminAPI
    self.sdkInfo = sdkInfo
    self.envInfo = envInfo
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public func validate() throws(ModelError) {
    try validateBase()
    guard !token.isEmpty else { throw ModelError(field: "token", reason: "token is required", value: "") }
    guard !identityId.isEmpty else {
      throw ModelError(field: "identityId", reason: "identityId is required", value: "")
    }
  }

  /// When the session ends if nothing more is heard of the client.
  public var endsAt: Timestamp {
    let idleEnd = lastActivityAt.adding(seconds: Int64(idleTimeoutSeconds))
    return expiresAt.map { min($0, idleEnd) } ?? idleEnd
  }

  /// Whether the token is good only together with one of `certificateFingerprints`. Edge routers of other makers learn
  /// the tokens of client sessions, so the token of one that was made with a certificate must not be enough. They never
  /// learn a session of the management API; those stay good by their token alone, because upstream's command line keeps
  /// nothing else of a login by certificate.
  public var isCertificateBound: Bool { authenticationMethod == .cert && !isAdminAPI }

  public func isExpired(at now: Timestamp) -> Bool { now >= endsAt }
}

extension APISession {
  public static let declaration = Kind<APISession>(
    .apiSessions, "api-session",
    filters: [
      .text("identity", at: "identityId"), .datetime("lastActivityAt"), .text("authenticator", at: "authenticatorId"),
      .text("ipAddress"), .bool("improperClientCertChain"), .bool("mfaComplete", at: "isMfaComplete"),
      .bool("mfaRequired", at: "isMfaRequired"), .linked("identity.name", "identityId", .identities).unlisted,
      .reverse("sessions", .sessions, "apiSessionId"),
    ],
    indexed: [IndexedMember("identityId"), IndexedMember("authenticatorId")])
}
