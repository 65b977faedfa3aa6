/// The kinds of stored entities; the raw value is the collection's name in REST paths and `_links`.
public enum EntityKind: String, CaseIterable, Sendable, Codable, Hashable {
  case identities
  case services
  case configs
  case configTypes = "config-types"
  case servicePolicies = "service-policies"
  case edgeRouterPolicies = "edge-router-policies"
  case serviceEdgeRouterPolicies = "service-edge-router-policies"
  case edgeRouters = "edge-routers"
  case terminators
  case enrollments
  case authenticators
  case apiSessions = "api-sessions"
  case sessions
  case authPolicies = "auth-policies"
  case publicKeys = "public-keys"
  case revocations
  case apiSessionCertificates = "api-session-certificates"

  /// Whether changes are intent, numbered in change-sets. Sessions are activity: durable, but of no interest to replicas.
  public var isIntent: Bool {
    switch self {
    case .apiSessions, .sessions, .apiSessionCertificates: false
    default: true
    }
  }
}
