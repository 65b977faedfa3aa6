/// Layer 2: who may dial or bind what, from explicit members of service policies. It knows no role expressions, so it
/// runs on routers as well, fed by the controller.
///
/// A pair is granted as many times as policies hold both its halves. The count is not stored per pair, which would grow
/// with identities times services: it is the intersection of two small sets, the policies of the identity and those of
/// the service.
public struct GrantTable: Sendable, Equatable {
  private struct Policy: Sendable, Equatable {
    var name: String
    var action: AccessAction
    var identities: Set<String> = []
    var services: Set<String> = []
    var postureChecks: Set<String> = []
  }

  private var policies: [String: Policy] = [:]
  private var policiesByIdentity: [String: Set<String>] = [:]
  private var policiesByService: [String: Set<String>] = [:]

  public init() {}

  // MARK: changes

  /// Creates or renames a policy. A changed action withdraws the old grants and makes new ones.
  public mutating func setPolicy(id: String, name: String, action: AccessAction) -> [AccessChange] {
    guard let old = policies[id] else {
      policies[id] = Policy(name: name, action: action)
      return []
    }
    policies[id]?.name = name
    guard old.action != action else { return [] }
    let lost = changes(of: old, id: id, gained: false)
    policies[id]?.action = action
    var new = old
    new.action = action
    return lost + changes(of: new, id: id, gained: true)
  }

  /// Forgets a policy and its members.
  public mutating func removePolicy(id: String) -> [AccessChange] {
    guard let old = policies[id] else { return [] }
    let lost = changes(of: old, id: id, gained: false)
    for identity in old.identities { Self.remove(id, from: &policiesByIdentity, key: identity) }
    for service in old.services { Self.remove(id, from: &policiesByService, key: service) }
    policies[id] = nil
    return lost
  }

  /// Adds or removes a member; of a policy that is not known, nothing happens.
  public mutating func setMember(policy id: String, _ member: GrantMember, present: Bool) -> [AccessChange] {
    // The policy is not bound to a name here: a second reference to its sets would make every insertion copy them.
    guard let action = policies[id]?.action else { return [] }
    switch member {
    case .postureCheck(let check):
      if present { policies[id]?.postureChecks.insert(check) } else { policies[id]?.postureChecks.remove(check) }
      return []
    case .identity(let identity):
      guard policies[id]?.identities.contains(identity) != present else { return [] }
      if present {
        policies[id]?.identities.insert(identity)
        policiesByIdentity[identity, default: []].insert(id)
      } else {
        policies[id]?.identities.remove(identity)
        Self.remove(id, from: &policiesByIdentity, key: identity)
      }
      return services(of: id).sorted().compactMap { change(identity, $0, action, except: id, gained: present) }
    case .service(let service):
      guard policies[id]?.services.contains(service) != present else { return [] }
      if present {
        policies[id]?.services.insert(service)
        policiesByService[service, default: []].insert(id)
      } else {
        policies[id]?.services.remove(service)
        Self.remove(id, from: &policiesByService, key: service)
      }
      return identities(of: id).sorted().compactMap { change($0, service, action, except: id, gained: present) }
    }
  }

  private static func remove(_ policy: String, from index: inout [String: Set<String>], key: String) {
    index[key]?.remove(policy)
    if index[key]?.isEmpty ?? false { index[key] = nil }
  }

  /// The change, unless another policy grants the pair anyway.
  private func change(_ identity: String, _ service: String, _ action: AccessAction, except id: String, gained: Bool)
    -> AccessChange?
  {
    isGranted(identity, service, action, except: id)
      ? nil : AccessChange(identity: identity, service: service, action: action, gained: gained)
  }

  private func changes(of policy: Policy, id: String, gained: Bool) -> [AccessChange] {
    var result: [AccessChange] = []
    for identity in policy.identities.sorted() {
      for service in policy.services.sorted() {
        if let change = change(identity, service, policy.action, except: id, gained: gained) { result.append(change) }
      }
    }
    return result
  }

  private func isGranted(_ identity: String, _ service: String, _ action: AccessAction, except id: String?) -> Bool {
    guard let ofIdentity = policiesByIdentity[identity], let ofService = policiesByService[service] else {
      return false
    }
    let (few, many) = ofIdentity.count <= ofService.count ? (ofIdentity, ofService) : (ofService, ofIdentity)
    return few.contains { $0 != id && many.contains($0) && policies[$0]?.action == action }
  }

  // MARK: questions

  /// Ids of the policies that grant the pair, sorted.
  public func policies(identity: String, service: String, action: AccessAction) -> [String] {
    guard let ofIdentity = policiesByIdentity[identity], let ofService = policiesByService[service] else { return [] }
    return ofIdentity.intersection(ofService).filter { policies[$0]?.action == action }.sorted()
  }

  public func actions(identity: String, service: String) -> Set<AccessAction> {
    Set(AccessAction.allCases.filter { isGranted(identity, service, $0, except: nil) })
  }

  /// Services the identity may dial or bind; of one action when it is given.
  public func services(for identity: String, action: AccessAction? = nil) -> Set<String> {
    (policiesByIdentity[identity] ?? []).reduce(into: []) { result, id in
      guard let policy = policies[id], action == nil || policy.action == action else { return }
      result.formUnion(policy.services)
    }
  }

  /// Identities that may dial or bind the service; of one action when it is given.
  public func identities(for service: String, action: AccessAction? = nil) -> Set<String> {
    (policiesByService[service] ?? []).reduce(into: []) { result, id in
      guard let policy = policies[id], action == nil || policy.action == action else { return }
      result.formUnion(policy.identities)
    }
  }

  public var policyIDs: [String] { policies.keys.sorted() }
  public func name(of policyID: String) -> String? { policies[policyID]?.name }
  public func action(of policyID: String) -> AccessAction? { policies[policyID]?.action }
  public func identities(of policyID: String) -> Set<String> { policies[policyID]?.identities ?? [] }
  public func services(of policyID: String) -> Set<String> { policies[policyID]?.services ?? [] }
  public func postureChecks(of policyID: String) -> Set<String> { policies[policyID]?.postureChecks ?? [] }

  /// Whether the identity may do this. The first policy, by id, whose posture checks pass grants.
  public func decide(
    identity: String, service: String, action: AccessAction,
    passesPosture: (_ policyID: String, _ checks: Set<String>) -> Bool = { _, checks in checks.isEmpty }
  ) -> Decision {
    decide(
      identity: EntityName(id: identity), service: EntityName(id: service), action: action, passesPosture: passesPosture
    )
  }

  /// `decide` with names for the reasons.
  public func decide(
    identity: EntityName, service: EntityName, action: AccessAction,
    passesPosture: (_ policyID: String, _ checks: Set<String>) -> Bool = { _, checks in checks.isEmpty }
  ) -> Decision {
    var failing: [Reason] = []
    for id in policies(identity: identity.id, service: service.id, action: action) {
      guard let policy = policies[id] else { continue }
      if passesPosture(id, policy.postureChecks) {
        return Decision(outcome: .allow, reasons: [.granted(action, policyID: id, policyName: policy.name)])
      }
      failing.append(
        .postureFailing(action, policyID: id, policyName: policy.name, checks: policy.postureChecks.sorted()))
    }
    guard failing.isEmpty else { return Decision(outcome: .deny, reasons: failing) }
    return Decision(outcome: .deny, reasons: [.noServicePolicy(action, identity: identity, service: service)])
  }
}
