public import Model

/// What one may do with a service.
public enum AccessAction: String, Sendable, Codable, CaseIterable, Hashable, Comparable {
  case dial = "Dial"
  case bind = "Bind"

  public init(_ type: PolicyType) {
    switch type {
    case .dial: self = .dial
    case .bind: self = .bind
    }
  }

  public static func < (left: AccessAction, right: AccessAction) -> Bool { left.rawValue < right.rawValue }
}

/// A change of an entity that access depends on: created (`old` nil), updated, deleted (`new` nil).
public enum EntityChange: Sendable {
  case identity(old: Identity?, new: Identity?)
  case service(old: EdgeService?, new: EdgeService?)
  case edgeRouter(old: EdgeRouterEntity?, new: EdgeRouterEntity?)
  case servicePolicy(old: ServicePolicy?, new: ServicePolicy?)
  case edgeRouterPolicy(old: EdgeRouterPolicy?, new: EdgeRouterPolicy?)
  case serviceEdgeRouterPolicy(old: ServiceEdgeRouterPolicy?, new: ServiceEdgeRouterPolicy?)
}

/// One thing a service policy applies to.
public enum GrantMember: Sendable, Hashable {
  case identity(String)
  case service(String)
  case postureCheck(String)
}

/// A service policy began or ceased to apply to something; what routers' replicas are told (management spec 8.3).
public struct MembershipChange: Sendable, Equatable {
  public var policyID: String
  public var member: GrantMember
  public var added: Bool

  public init(policyID: String, member: GrantMember, added: Bool) {
    self.policyID = policyID
    self.member = member
    self.added = added
  }
}

/// An identity gained its first or lost its last grant for an action on a service.
public struct AccessChange: Sendable, Hashable {
  public var identity: String
  public var service: String
  public var action: AccessAction
  public var gained: Bool

  public init(identity: String, service: String, action: AccessAction, gained: Bool) {
    self.identity = identity
    self.service = service
    self.action = action
    self.gained = gained
  }
}

/// What one entity change did.
public struct AccessDelta: Sendable, Equatable {
  /// Of service policies, in the order to apply them. A deleted policy's members are listed as removed.
  public var memberships: [MembershipChange]
  /// Net gains and losses.
  public var access: [AccessChange]
  /// Identities and services whose sets of usable routers may have changed; never too few, sometimes one whose set is
  /// as before.
  public var routerAccessIdentities: Set<String>
  public var routerAccessServices: Set<String>

  public init(
    memberships: [MembershipChange] = [], access: [AccessChange] = [], routerAccessIdentities: Set<String> = [],
    routerAccessServices: Set<String> = []
  ) {
    self.memberships = memberships
    self.access = access
    self.routerAccessIdentities = routerAccessIdentities
    self.routerAccessServices = routerAccessServices
  }

  public var isEmpty: Bool {
    memberships.isEmpty && access.isEmpty && routerAccessIdentities.isEmpty && routerAccessServices.isEmpty
  }

  /// The delta of one transaction from those of its changes, in their order; access that was lost and regained (or the
  /// reverse) cancels out.
  public init(merging deltas: [AccessDelta]) {
    self.init()
    for delta in deltas {
      memberships += delta.memberships
      access += delta.access
      routerAccessIdentities.formUnion(delta.routerAccessIdentities)
      routerAccessServices.formUnion(delta.routerAccessServices)
    }
    access = Self.net(access)
  }

  static func net(_ changes: [AccessChange]) -> [AccessChange] {
    struct Right: Hashable {
      var identity: String
      var service: String
      var action: AccessAction
    }
    guard changes.count > 1 else { return changes }
    var balance: [Right: Int] = [:]
    for change in changes {
      balance[Right(identity: change.identity, service: change.service, action: change.action), default: 0] +=
        change.gained ? 1 : -1
    }
    var result: [AccessChange] = []
    for change in changes {
      let right = Right(identity: change.identity, service: change.service, action: change.action)
      guard let sum = balance.removeValue(forKey: right), sum != 0 else { continue }
      result.append(
        AccessChange(identity: change.identity, service: change.service, action: change.action, gained: sum > 0))
    }
    return result
  }
}
