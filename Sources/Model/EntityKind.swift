/// The kinds of stored entities; the raw value is the collection's name in REST paths and `_links`. An application on a
/// higher floor adds its own.
public struct EntityKind: RawRepresentable, Sendable, Codable, Hashable {
  public let rawValue: String

  public init(rawValue: String) { self.rawValue = rawValue }

  public init(from decoder: any Decoder) throws { rawValue = try decoder.singleValueContainer().decode(String.self) }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(rawValue)
  }
}

extension EntityKind {
  public static let identities = EntityKind(rawValue: "identities")
  public static let services = EntityKind(rawValue: "services")
  public static let configs = EntityKind(rawValue: "configs")
  public static let configTypes = EntityKind(rawValue: "config-types")
  public static let servicePolicies = EntityKind(rawValue: "service-policies")
  public static let edgeRouterPolicies = EntityKind(rawValue: "edge-router-policies")
  public static let serviceEdgeRouterPolicies = EntityKind(rawValue: "service-edge-router-policies")
  public static let edgeRouters = EntityKind(rawValue: "edge-routers")
  public static let terminators = EntityKind(rawValue: "terminators")
  public static let enrollments = EntityKind(rawValue: "enrollments")
  public static let authenticators = EntityKind(rawValue: "authenticators")
  public static let apiSessions = EntityKind(rawValue: "api-sessions")
  public static let sessions = EntityKind(rawValue: "sessions")
  /// OpenZiti's; nothing of it is stored here.
  public static let postureChecks = EntityKind(rawValue: "posture-checks")
  public static let authPolicies = EntityKind(rawValue: "auth-policies")
  public static let publicKeys = EntityKind(rawValue: "public-keys")
  public static let revocations = EntityKind(rawValue: "revocations")
  public static let apiSessionCertificates = EntityKind(rawValue: "api-session-certificates")
}

/// A member of a kind's documents that entities are looked up by. Values that are absent or empty are not indexed, so
/// they may repeat.
public struct IndexedMember: Sendable, Hashable {
  public let field: String
  public let isUnique: Bool

  public init(_ field: String, isUnique: Bool = false) {
    self.field = field
    self.isUnique = isUnique
  }
}
