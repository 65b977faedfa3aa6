public import Access
import Foundation
public import WireSchemas

/// A router's replica of the controller's model: who exists, what they may do, which keys sign tokens (fabric-planes.md
/// 4).
///
/// It judges on its own, also while no controller is reachable. It keeps only what judging needs.
public struct RouterModel: Sendable {
  public struct Identity: Sendable, Equatable {
    public var name: String
    public var isDisabled: Bool
  }

  public struct Service: Sendable, Equatable {
    public var name: String
    public var encryptionRequired: Bool
  }

  /// A key that signs tokens.
  public struct PublicKey: Sendable, Equatable {
    public var kid: String
    /// A certificate or a SubjectPublicKeyInfo.
    public var der: [UInt8]
  }

  /// What a change means for what is running now.
  public struct Effects: Sendable, Equatable {
    /// Rights that ended; each names one identity, service and action.
    public var lost: [AccessChange] = []
    /// Identities that were deleted or disabled.
    public var goneIdentities: Set<String> = []
    public var goneServices: Set<String> = []
    /// Services that demand end-to-end encryption from now on, or do so no more.
    public var encryptionChanged: Set<String> = []
    /// The whole state was replaced: everything that runs has to be judged again.
    public var isReplaced = false
    /// Token keys changed.
    public var keysChanged = false

    public init() {}
  }

  public enum Outcome: Sendable, Equatable {
    case applied(Effects)
    /// Older than what is here, or of another subscription: nothing happened.
    case ignored
    /// Changes are missing in between; ask for a new subscription with `index` and `timeline`.
    case gap
  }

  /// Number of the last change that was applied; 0 before the first state.
  public private(set) var index: UInt64 = 0
  public private(set) var timeline = ""
  public private(set) var identities: [String: Identity] = [:]
  public private(set) var services: [String: Service] = [:]
  public private(set) var grants = GrantTable()
  private var keys: [String: PublicKey] = [:]

  public init() {}

  /// Keys that may sign tokens, by key id.
  public var publicKeys: [PublicKey] { keys.values.sorted { $0.kid < $1.kid } }

  // MARK: Changes

  /// Takes over a whole state (20500).
  public mutating func apply(_ state: EdgeCtrlDataState) -> Outcome {
    var fresh = RouterModel()
    fresh.index = state.endIndex
    fresh.timeline = state.timelineID
    // What the replay reports speaks of the new state alone.
    var replay = Ending()
    for event in state.events { fresh.apply(event, &replay) }
    var effects = Effects()
    effects.isReplaced = true
    effects.keysChanged = fresh.keys != keys
    effects.goneIdentities = Set(identities.keys.filter { fresh.identities[$0].map(\.isDisabled) ?? true })
    effects.goneServices = Set(services.keys.filter { fresh.services[$0] == nil })
    effects.encryptionChanged = Set(
      services.filter { id, old in fresh.services[id].map { $0.encryptionRequired != old.encryptionRequired } ?? false }
        .keys)
    self = fresh
    return .applied(effects)
  }

  /// Applies one change-set (20501) if it is the next one.
  public mutating func apply(_ changeSet: EdgeCtrlChangeSet) -> Outcome {
    if !changeSet.isSynthetic {
      if index > 0, changeSet.index <= index { return .ignored }
      if index == 0 || (changeSet.previousIndex > 0 && changeSet.previousIndex != index) { return .gap }
      index = changeSet.index
    }
    var ending = Ending()
    for event in changeSet.changes { apply(event, &ending) }
    return .applied(ending.effects)
  }

  /// Effects while they come together: the work of each right that is gained or lost is its own, however many there
  /// are.
  private struct Ending {
    private var order: [AccessChange] = []
    private var lost: Set<AccessChange> = []
    var others = Effects()

    /// A right that comes back within the same change was never lost.
    mutating func note(_ changes: [AccessChange]) {
      for change in changes {
        if change.gained {
          // Most of what is gained was not lost before.
          guard !lost.isEmpty else { continue }
          lost.remove(
            AccessChange(identity: change.identity, service: change.service, action: change.action, gained: false))
        } else if lost.insert(change).inserted {
          order.append(change)
        }
      }
    }

    var effects: Effects {
      var effects = others
      // One that was lost, regained and lost again stands twice in the order.
      var left = lost
      effects.lost = order.filter { left.remove($0) != nil }
      return effects
    }
  }

  private mutating func apply(_ event: EdgeCtrlEvent, _ ending: inout Ending) {
    let isGone = event.action == .delete
    switch event.entity {
    case .identity(let identity):
      if isGone {
        identities[identity.id] = nil
      } else {
        identities[identity.id] = Identity(name: identity.name, isDisabled: identity.disabled)
      }
      if isGone || identity.disabled {
        ending.others.goneIdentities.insert(identity.id)
      } else {
        ending.others.goneIdentities.remove(identity.id)
      }
    case .service(let service):
      if isGone {
        services[service.id] = nil
        ending.others.goneServices.insert(service.id)
      } else {
        let old = services.updateValue(
          Service(name: service.name, encryptionRequired: service.encryptionRequired), forKey: service.id)
        if let old, old.encryptionRequired != service.encryptionRequired {
          ending.others.encryptionChanged.insert(service.id)
        }
        ending.others.goneServices.remove(service.id)
      }
    case .servicePolicy(let policy):
      if isGone {
        ending.note(grants.removePolicy(id: policy.id))
      } else if let action = Self.action(policy.policyType) {
        ending.note(grants.setPolicy(id: policy.id, name: policy.name, action: action))
      }
    case .servicePolicyChange(let change):
      for id in change.relatedEntityIds {
        guard let member = Self.member(id, change.relatedEntityType) else { continue }
        ending.note(grants.setMember(policy: change.policyID, member, present: change.add))
      }
    case .publicKey(let key):
      if isGone {
        ending.others.keysChanged = keys.removeValue(forKey: key.kid) != nil || ending.others.keysChanged
      } else if key.usages.contains(.jwtvalidation) {
        let fresh = PublicKey(kid: key.kid, der: [UInt8](key.data))
        if keys.updateValue(fresh, forKey: key.kid) != fresh { ending.others.keysChanged = true }
      }
    // Configurations, routers and the definitions of posture checks decide nothing here: a policy with posture checks
    // does not grant on a router that gets no posture data. Revocations concern sessions that routers verify by
    // themselves, which this router does not accept.
    case .config, .configType, .router, .postureCheck, .revocation, nil: break
    }
  }

  private static func action(_ type: EdgeCtrlPolicyType) -> AccessAction? {
    switch type {
    case .dialPolicy: .dial
    case .bindPolicy: .bind
    default: nil
    }
  }

  private static func member(_ id: String, _ type: EdgeCtrlServicePolicyRelatedEntityType) -> GrantMember? {
    switch type {
    case .relatedService: .service(id)
    case .relatedIdentity: .identity(id)
    case .relatedPostureCheck: .postureCheck(id)
    default: nil
    }
  }

  /// Members that a change-set brings or takes which are applied at once; a policy's end, or another action, takes all
  /// its members.
  private static let membersInPlace = 64

  /// Whether applying it takes longer than copying the tables.
  public static func isLong(_ changeSet: EdgeCtrlChangeSet) -> Bool {
    var members = 0
    for event in changeSet.changes {
      switch event.entity {
      case .servicePolicy: if event.action != .create { return true }
      case .servicePolicyChange(let change): members += change.relatedEntityIds.count
      default: break
      }
    }
    return members > membersInPlace
  }

  // MARK: Questions

  /// Whether the identity may do this with the service now, and why.
  public func decide(identity: String, service: String, action: AccessAction) -> Decision {
    guard let who = identities[identity], !who.isDisabled else {
      return Decision(outcome: .deny, reasons: [.unknownIdentity(identity)])
    }
    guard let what = services[service] else { return Decision(outcome: .deny, reasons: [.unknownService(service)]) }
    return grants.decide(
      identity: EntityName(id: identity, name: who.name), service: EntityName(id: service, name: what.name),
      action: action)
  }
}
