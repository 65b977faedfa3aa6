// Access: the policy engine: which identity may dial or host which service, and over which routers. It holds no posture
// data, no session and no socket, and reads no store: changes come in, decisions with their reasons go out. Start
// reading at `AccessEngine.apply(_:)` and `AccessEngine.decide(...)`; `GrantTable` is the half that routers run as
// well.

internal import Model

/// The one authority on who may do what: turns role expressions into explicit grants and answers dial, bind and router
/// questions. It is pure and incremental: a change touches only the policies that mention what changed.
public struct AccessEngine: Sendable {
  /// Layer 2: the explicit pairs of service policies.
  public private(set) var grants = GrantTable()

  private var identities = AttributeIndex()
  private var services = AttributeIndex()
  private var routers = AttributeIndex()
  private var disabledRouters: Set<String> = []

  private var identitiesOfServicePolicies = RoleSide()
  private var servicesOfServicePolicies = RoleSide()
  private var identitiesOfRouterPolicies = RoleSide()
  private var routersOfRouterPolicies = RoleSide()
  private var servicesOfServiceRouterPolicies = RoleSide()
  private var routersOfServiceRouterPolicies = RoleSide()

  public init() {}

  // MARK: changes

  /// Takes in one change of an entity and says what it did to grants. Creation has no `old`, deletion no `new`.
  public mutating func apply(_ change: EntityChange) -> AccessDelta {
    var delta = AccessDelta()
    switch change {
    case .identity(let old, let new):
      guard let id = (new ?? old)?.id else { return delta }
      let touched = identities.set(id, name: new?.name, attributes: new?.roleAttributes)
      updateGrants(
        entity: id, side: \.identitiesOfServicePolicies, index: \.identities, touched, member: GrantMember.identity,
        &delta)
      for (policy, _) in identitiesOfRouterPolicies.update(entity: id, touched: touched, in: identities)
      where !routersOfRouterPolicies.members(of: policy).isEmpty { delta.routerAccessIdentities.insert(id) }
    case .service(let old, let new):
      guard let id = (new ?? old)?.id else { return delta }
      // A fabric-only service is invisible to policies (management spec 1.4), as if it were not there.
      let visible = new.flatMap { $0.isFabricOnly ? nil : $0 }
      let touched = services.set(id, name: visible?.name, attributes: visible?.roleAttributes)
      updateGrants(
        entity: id, side: \.servicesOfServicePolicies, index: \.services, touched, member: GrantMember.service, &delta)
      for (policy, _) in servicesOfServiceRouterPolicies.update(entity: id, touched: touched, in: services)
      where !routersOfServiceRouterPolicies.members(of: policy).isEmpty { delta.routerAccessServices.insert(id) }
    case .edgeRouter(let old, let new):
      guard let id = (new ?? old)?.id else { return delta }
      if new?.disabled ?? false { disabledRouters.insert(id) } else { disabledRouters.remove(id) }
      let touched = routers.set(id, name: new?.name, attributes: new?.roleAttributes)
      for (policy, _) in routersOfRouterPolicies.update(entity: id, touched: touched, in: routers) {
        delta.routerAccessIdentities.formUnion(identitiesOfRouterPolicies.members(of: policy))
      }
      for (policy, _) in routersOfServiceRouterPolicies.update(entity: id, touched: touched, in: routers) {
        delta.routerAccessServices.formUnion(servicesOfServiceRouterPolicies.members(of: policy))
      }
    case .servicePolicy(let old, let new): applyServicePolicy(old, new, &delta)
    case .edgeRouterPolicy(let old, let new):
      guard let id = (new ?? old)?.id else { return delta }
      delta.routerAccessIdentities = Self.setRouterPolicy(
        id, roles: new.map { ($0.identityRoles, $0.edgeRouterRoles, $0.semantic) }, &identitiesOfRouterPolicies,
        identities,
        &routersOfRouterPolicies, routers)
    case .serviceEdgeRouterPolicy(let old, let new):
      guard let id = (new ?? old)?.id else { return delta }
      delta.routerAccessServices = Self.setRouterPolicy(
        id, roles: new.map { ($0.serviceRoles, $0.edgeRouterRoles, $0.semantic) }, &servicesOfServiceRouterPolicies,
        services,
        &routersOfServiceRouterPolicies, routers)
    }
    return delta
  }

  private mutating func updateGrants(
    entity: String, side: WritableKeyPath<AccessEngine, RoleSide>, index: KeyPath<AccessEngine, AttributeIndex>,
    _ touched: AttributeIndex.Touched,
    member: (String) -> GrantMember, _ delta: inout AccessDelta
  ) {
    let entities = self[keyPath: index]
    for (policy, added) in self[keyPath: side].update(entity: entity, touched: touched, in: entities) {
      delta.memberships.append(MembershipChange(policyID: policy, member: member(entity), added: added))
      delta.access += grants.setMember(policy: policy, member(entity), present: added)
    }
  }

  private mutating func applyServicePolicy(_ old: ServicePolicy?, _ new: ServicePolicy?, _ delta: inout AccessDelta) {
    guard let id = (new ?? old)?.id else { return }
    if let new { delta.access += grants.setPolicy(id: id, name: new.name, action: AccessAction(new.type)) }
    var changes: [(GrantMember, Bool)] = []
    changes += identitiesOfServicePolicies.setPolicy(
      id, roles: new.map { (RoleList(stored: $0.identityRoles), $0.semantic) }, in: identities
    )
    .map { (.identity($0.0), $0.1) }
    changes += servicesOfServicePolicies.setPolicy(
      id, roles: new.map { (RoleList(stored: $0.serviceRoles), $0.semantic) }, in: services
    )
    .map { (.service($0.0), $0.1) }
    let checks = new.map { RoleList(stored: $0.postureCheckRoles).ids } ?? []
    let knownChecks = grants.postureChecks(of: id)
    changes += knownChecks.subtracting(checks).sorted().map { (.postureCheck($0), false) }
    changes += checks.subtracting(knownChecks).sorted().map { (.postureCheck($0), true) }
    // Who leaves, leaves first: between old and new members no pair is granted that neither the old nor the new policy
    // grants, so that the work is that of what changes.
    changes = changes.filter { !$0.1 } + changes.filter { $0.1 }
    for (member, added) in changes {
      delta.memberships.append(MembershipChange(policyID: id, member: member, added: added))
    }
    if new == nil {
      delta.access += grants.removePolicy(id: id)
    } else {
      for (member, added) in changes { delta.access += grants.setMember(policy: id, member, present: added) }
    }
    delta.access = AccessDelta.net(delta.access)
  }

  /// Sets the roles of a router policy (nil removes it) and returns the holders whose routers may have changed.
  private static func setRouterPolicy(
    _ id: String, roles: (holders: [String], routers: [String], semantic: Semantic)?, _ holderSide: inout RoleSide,
    _ holders: AttributeIndex,
    _ routerSide: inout RoleSide, _ routers: AttributeIndex
  ) -> Set<String> {
    let holdersBefore = holderSide.members(of: id)
    let hadRouters = !routerSide.members(of: id).isEmpty
    let holderChanges = holderSide.setPolicy(
      id, roles: roles.map { (RoleList(stored: $0.holders), $0.semantic) }, in: holders)
    let routerChanges = routerSide.setPolicy(
      id, roles: roles.map { (RoleList(stored: $0.routers), $0.semantic) }, in: routers)
    if !routerChanges.isEmpty { return holdersBefore.union(holderSide.members(of: id)) }
    return hadRouters ? Set(holderChanges.map(\.0)) : []
  }

  // MARK: questions

  /// Edge routers the identity may use.
  public func routers(identity: String) -> Set<String> {
    identitiesOfRouterPolicies.policies(of: identity).reduce(into: []) {
      $0.formUnion(routersOfRouterPolicies.members(of: $1))
    }
  }

  /// Edge routers the service may use.
  public func routers(service: String) -> Set<String> {
    servicesOfServiceRouterPolicies.policies(of: service).reduce(into: []) {
      $0.formUnion(routersOfServiceRouterPolicies.members(of: $1))
    }
  }

  public func commonRouters(identity: String, service: String) -> Set<String> {
    routers(identity: identity).intersection(routers(service: service))
  }

  /// Identities that may use the router.
  public func identities(router: String) -> Set<String> {
    routersOfRouterPolicies.policies(of: router).reduce(into: []) {
      $0.formUnion(identitiesOfRouterPolicies.members(of: $1))
    }
  }

  /// Services that may use the router.
  public func services(router: String) -> Set<String> {
    routersOfServiceRouterPolicies.policies(of: router).reduce(into: []) {
      $0.formUnion(servicesOfServiceRouterPolicies.members(of: $1))
    }
  }

  public func edgeRouterPolicies(identity: String, router: String) -> [String] {
    identitiesOfRouterPolicies.policies(of: identity).intersection(routersOfRouterPolicies.policies(of: router))
      .sorted()
  }

  public func serviceEdgeRouterPolicies(service: String, router: String) -> [String] {
    servicesOfServiceRouterPolicies.policies(of: service).intersection(
      routersOfServiceRouterPolicies.policies(of: router)
    ).sorted()
  }

  /// The policies of each family that an identity, a service or a router belongs to, by id.
  public func servicePolicies(identity: String) -> Set<String> { identitiesOfServicePolicies.policies(of: identity) }
  public func servicePolicies(service: String) -> Set<String> { servicesOfServicePolicies.policies(of: service) }
  public func edgeRouterPolicies(identity: String) -> Set<String> { identitiesOfRouterPolicies.policies(of: identity) }
  public func edgeRouterPolicies(router: String) -> Set<String> { routersOfRouterPolicies.policies(of: router) }
  public func serviceEdgeRouterPolicies(service: String) -> Set<String> {
    servicesOfServiceRouterPolicies.policies(of: service)
  }
  public func serviceEdgeRouterPolicies(router: String) -> Set<String> {
    routersOfServiceRouterPolicies.policies(of: router)
  }

  /// The policies of a family.
  public func policyIDs(_ family: PolicyFamily) -> [String] {
    switch family {
    case .service: Array(identitiesOfServicePolicies.policyIDs)
    case .edgeRouter: Array(identitiesOfRouterPolicies.policyIDs)
    case .serviceEdgeRouter: Array(servicesOfServiceRouterPolicies.policyIDs)
    }
  }

  /// What a policy of any family matches at present.
  public func members(_ policyID: String) -> PolicyMembers {
    PolicyMembers(
      identities: identitiesOfServicePolicies.members(of: policyID).union(
        identitiesOfRouterPolicies.members(of: policyID)),
      services: servicesOfServicePolicies.members(of: policyID).union(
        servicesOfServiceRouterPolicies.members(of: policyID)),
      edgeRouters: routersOfRouterPolicies.members(of: policyID).union(
        routersOfServiceRouterPolicies.members(of: policyID)),
      postureChecks: grants.postureChecks(of: policyID))
  }

  /// Whether the identity may do this, and through this router when one is named. All missing rights are among the
  /// reasons.
  ///
  /// Without a router only the service policy is judged. `passesPosture` says whether all the checks of a policy pass;
  /// by default a policy with checks does not grant.
  public func decide(
    identity: String, service: String, action: AccessAction, router: String? = nil,
    passesPosture: (_ policyID: String, _ checks: Set<String>) -> Bool = { _, checks in checks.isEmpty }
  ) -> Decision {
    var unknown: [Reason] = []
    if identities.name(of: identity) == nil { unknown.append(.unknownIdentity(identity)) }
    if services.name(of: service) == nil { unknown.append(.unknownService(service)) }
    if let router, routers.name(of: router) == nil { unknown.append(.unknownRouter(router)) }
    guard unknown.isEmpty else { return Decision(outcome: .unknown, reasons: unknown) }

    let identityName = EntityName(id: identity, name: identities.name(of: identity))
    let serviceName = EntityName(id: service, name: services.name(of: service))
    let grant = grants.decide(
      identity: identityName, service: serviceName, action: action, passesPosture: passesPosture)
    guard let router else { return grant }

    var denials = grant.outcome == .allow ? [] : grant.reasons
    var allowances = grant.outcome == .allow ? grant.reasons : []
    let routerName = EntityName(id: router, name: routers.name(of: router))
    if disabledRouters.contains(router) { denials.append(.routerDisabled(routerName)) }
    let forIdentity = edgeRouterPolicies(identity: identity, router: router)
    if let policy = forIdentity.first {
      allowances.append(.identityMayUseRouter(identityName, routerName, policyID: policy))
    } else {
      denials.append(.noEdgeRouterPolicy(identityName, routerName))
    }
    let forService = serviceEdgeRouterPolicies(service: service, router: router)
    if let policy = forService.first {
      allowances.append(.serviceMayUseRouter(serviceName, routerName, policyID: policy))
    } else {
      denials.append(.noServiceEdgeRouterPolicy(serviceName, routerName))
    }
    return denials.isEmpty ? Decision(outcome: .allow, reasons: allowances) : Decision(outcome: .deny, reasons: denials)
  }

  /// The decision in lines for an operator, with the policies that come close: those that match one of the two sides
  /// only. Not for callers who may not read policies.
  public func explain(identity: String, service: String, action: AccessAction, router: String? = nil) -> [String] {
    let decision = decide(identity: identity, service: service, action: action, router: router)
    var lines = decision.reasons.map(\.text)
    guard decision.outcome == .deny else { return lines }
    let ofIdentity = servicePolicies(identity: identity)
    let ofService = servicePolicies(service: service)
    guard ofIdentity.intersection(ofService).allSatisfy({ grants.action(of: $0) != action }) else { return lines }
    for policy in ofIdentity.subtracting(ofService).sorted().prefix(5) where grants.action(of: policy) == action {
      lines.append("service policy \"\(grants.name(of: policy) ?? policy)\" matches the identity but not the service")
    }
    for policy in ofService.subtracting(ofIdentity).sorted().prefix(5) where grants.action(of: policy) == action {
      lines.append("service policy \"\(grants.name(of: policy) ?? policy)\" matches the service but not the identity")
    }
    return lines
  }
}

/// The three kinds of policies: who may use which service, who which router, and which service is offered over which
/// router.
public enum PolicyFamily: Sendable {
  case service, edgeRouter, serviceEdgeRouter
}

/// What a policy matches.
public struct PolicyMembers: Sendable, Equatable {
  public var identities: Set<String>
  public var services: Set<String>
  public var edgeRouters: Set<String>
  public var postureChecks: Set<String>
}
