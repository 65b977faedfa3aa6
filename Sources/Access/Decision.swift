/// An answer with its reasons. `unknown` means that something named does not exist here: a replica may be behind.
public struct Decision: Sendable, Equatable {
  public enum Outcome: String, Sendable { case allow, deny, unknown }

  public var outcome: Outcome
  public var reasons: [Reason]

  public init(outcome: Outcome, reasons: [Reason]) {
    self.outcome = outcome
    self.reasons = reasons
  }

  public var isAllowed: Bool { outcome == .allow }

  /// The reasons in one sentence.
  public var text: String { reasons.map(\.text).joined(separator: "; ") }
}

/// An entity as texts show it: by name where the name is known.
public struct EntityName: Sendable, Hashable, CustomStringConvertible {
  public var id: String
  public var name: String?

  public init(id: String, name: String? = nil) {
    self.id = id
    self.name = name
  }

  public var description: String { "\"\(name ?? id)\"" }
}

/// One reason of a decision.
public enum Reason: Sendable, Equatable {
  case granted(AccessAction, policyID: String, policyName: String)
  case noServicePolicy(AccessAction, identity: EntityName, service: EntityName)
  case postureFailing(AccessAction, policyID: String, policyName: String, checks: [String])
  case identityMayUseRouter(EntityName, EntityName, policyID: String)
  case serviceMayUseRouter(EntityName, EntityName, policyID: String)
  case noEdgeRouterPolicy(EntityName, EntityName)
  case noServiceEdgeRouterPolicy(EntityName, EntityName)
  case routerDisabled(EntityName)
  case unknownIdentity(String)
  case unknownService(String)
  case unknownRouter(String)

  public var text: String {
    switch self {
    case .granted(let action, _, let name): "service policy \"\(name)\" grants \(action.rawValue)"
    case .noServicePolicy(let action, let identity, let service):
      "no service policy of type \(action.rawValue) matches both identity \(identity) and service \(service)"
    case .postureFailing(let action, _, let name, let checks):
      "service policy \"\(name)\" would grant \(action.rawValue) but its posture checks do not pass: \(checks.joined(separator: ", "))"
    case .identityMayUseRouter(let identity, let router, let policy):
      "edge router policy \(policy) lets identity \(identity) use router \(router)"
    case .serviceMayUseRouter(let service, let router, let policy):
      "service edge router policy \(policy) lets service \(service) use router \(router)"
    case .noEdgeRouterPolicy(let identity, let router):
      "identity \(identity) has no edge router policy for router \(router)"
    case .noServiceEdgeRouterPolicy(let service, let router):
      "service \(service) has no service edge router policy for router \(router)"
    case .routerDisabled(let router): "router \(router) is disabled"
    case .unknownIdentity(let id): "identity \(id) is not known here"
    case .unknownService(let id): "service \(id) is not known here"
    case .unknownRouter(let id): "router \(id) is not known here"
    }
  }
}
