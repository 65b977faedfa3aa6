import Access
import Model
import Store

/// What filters may ask of the running controller: who is online, and what policies match at present.
enum RuntimeFacts {
  static func symbols(_ core: ControllerCore, _ kind: EntityKind) -> RuntimeSymbols {
    { id, symbol in
      if kind == .edgeRouters, symbol == "online" || symbol == "connected" { return .scalar(.bool(core.routers.isOnline(id))) }
      return related(core, kind, id, symbol).map { .strings($0.sorted()) }
    }
  }

  /// The ids that policies bring together with an entity.
  static func related(_ core: ControllerCore, _ kind: EntityKind, _ id: String, _ symbol: String) -> Set<String>? {
    core.model { state in
      let access = state.access
      switch (kind, symbol) {
      case (.identities, "services"): return access.grants.services(for: id)
      case (.identities, "dialServices"): return access.grants.services(for: id, action: .dial)
      case (.identities, "bindServices"): return access.grants.services(for: id, action: .bind)
      case (.identities, "edgeRouters"): return access.routers(identity: id)
      case (.identities, "servicePolicies"): return access.servicePolicies(identity: id)
      case (.identities, "edgeRouterPolicies"): return access.edgeRouterPolicies(identity: id)
      case (.services, "identities"): return access.grants.identities(for: id)
      case (.services, "dialIdentities"): return access.grants.identities(for: id, action: .dial)
      case (.services, "bindIdentities"): return access.grants.identities(for: id, action: .bind)
      case (.services, "edgeRouters"): return access.routers(service: id)
      case (.services, "servicePolicies"): return access.servicePolicies(service: id)
      case (.services, "serviceEdgeRouterPolicies"): return access.serviceEdgeRouterPolicies(service: id)
      case (.edgeRouters, "identities"): return access.identities(router: id)
      case (.edgeRouters, "services"): return access.services(router: id)
      case (.edgeRouters, "edgeRouterPolicies"): return access.edgeRouterPolicies(router: id)
      case (.edgeRouters, "serviceEdgeRouterPolicies"): return access.serviceEdgeRouterPolicies(router: id)
      case (.servicePolicies, "identities"), (.edgeRouterPolicies, "identities"): return access.members(id).identities
      case (.servicePolicies, "services"), (.serviceEdgeRouterPolicies, "services"): return access.members(id).services
      case (.edgeRouterPolicies, "edgeRouters"), (.serviceEdgeRouterPolicies, "edgeRouters"): return access.members(id).edgeRouters
      default: return nil
      }
    }
  }
}
