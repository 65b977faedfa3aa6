import Access
import Fabric
import Model
import Store

/// What filters may ask of the running controller: who is online, what policies match at present, and the terminators
/// of live hosts.
struct RuntimeFacts: RuntimeSymbols {
  let core: ControllerCore

  func entities(_ kind: EntityKind, where symbol: String) -> Set<String> {
    kind == .edgeRouters && (symbol == "online" || symbol == "connected") ? core.routers.online : []
  }

  func relation(_ kind: EntityKind, _ symbol: String) -> [RelationGroup] {
    if symbol == EntityKind.terminators.memberName { return terminators(kind) }
    guard let way = Self.way(kind, symbol) else { return [] }
    // Asked of a copy of the engine: nobody waits for the model's lock meanwhile.
    let access = core.model { $0.access }
    return access.policyIDs(way.family).compactMap { policy in
      guard way.action == nil || access.grants.action(of: policy) == way.action else { return nil }
      return RelationGroup(holders: way.holders.of(policy, access), members: way.members.of(policy, access))
    }
  }

  func members(_ kind: EntityKind, matching condition: Filter, _ reader: StoreReader) throws -> Set<String>? {
    kind == .terminators ? try TerminatorResource.ids(core, reader, matching: condition) : nil
  }

  /// The ids that policies bring together with an entity.
  func related(_ kind: EntityKind, _ id: String, _ symbol: String) -> Set<String> {
    relation(kind, symbol).reduce(into: []) { if $1.holders.contains(id) { $0.formUnion($1.members) } }
  }

  private func terminators(_ kind: EntityKind) -> [RelationGroup] {
    let ids = core.fabric.terminatorIDs
    return (kind == .services ? ids.byService : ids.byRouter).map {
      RelationGroup(holders: [$0.key], members: $0.value)
    }
  }

  /// A side of a policy.
  private enum Side {
    case identities, services, edgeRouters
    /// The policy itself.
    case policy

    func of(_ policy: String, _ access: AccessEngine) -> Set<String> {
      switch self {
      case .identities: access.members(policy).identities
      case .services: access.members(policy).services
      case .edgeRouters: access.members(policy).edgeRouters
      case .policy: [policy]
      }
    }
  }

  /// How policies answer a symbol of a kind: which family of them, for which action, and from which of their sides to
  /// which.
  private static func way(_ kind: EntityKind, _ symbol: String) -> (
    family: PolicyFamily, action: AccessAction?, holders: Side, members: Side
  )? {
    switch (kind, symbol) {
    case (.identities, "services"): (.service, nil, .identities, .services)
    case (.identities, "dialServices"): (.service, .dial, .identities, .services)
    case (.identities, "bindServices"): (.service, .bind, .identities, .services)
    case (.identities, "servicePolicies"): (.service, nil, .identities, .policy)
    case (.identities, "edgeRouters"): (.edgeRouter, nil, .identities, .edgeRouters)
    case (.identities, "edgeRouterPolicies"): (.edgeRouter, nil, .identities, .policy)
    case (.services, "identities"): (.service, nil, .services, .identities)
    case (.services, "dialIdentities"): (.service, .dial, .services, .identities)
    case (.services, "bindIdentities"): (.service, .bind, .services, .identities)
    case (.services, "servicePolicies"): (.service, nil, .services, .policy)
    case (.services, "edgeRouters"): (.serviceEdgeRouter, nil, .services, .edgeRouters)
    case (.services, "serviceEdgeRouterPolicies"): (.serviceEdgeRouter, nil, .services, .policy)
    case (.edgeRouters, "identities"): (.edgeRouter, nil, .edgeRouters, .identities)
    case (.edgeRouters, "edgeRouterPolicies"): (.edgeRouter, nil, .edgeRouters, .policy)
    case (.edgeRouters, "services"): (.serviceEdgeRouter, nil, .edgeRouters, .services)
    case (.edgeRouters, "serviceEdgeRouterPolicies"): (.serviceEdgeRouter, nil, .edgeRouters, .policy)
    case (.servicePolicies, "identities"): (.service, nil, .policy, .identities)
    case (.servicePolicies, "services"): (.service, nil, .policy, .services)
    case (.edgeRouterPolicies, "identities"): (.edgeRouter, nil, .policy, .identities)
    case (.edgeRouterPolicies, "edgeRouters"): (.edgeRouter, nil, .policy, .edgeRouters)
    case (.serviceEdgeRouterPolicies, "services"): (.serviceEdgeRouter, nil, .policy, .services)
    case (.serviceEdgeRouterPolicies, "edgeRouters"): (.serviceEdgeRouter, nil, .policy, .edgeRouters)
    default: nil
    }
  }
}
