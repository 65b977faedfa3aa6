import Access
import JSON
import Model
import Store

/// The controller's read model: every intent entity by id, and the access engine over them. Changed only by
/// `ControllerCore`, one change-set at a time.
struct ModelState: Sendable {
  var identities: [String: Identity] = [:]
  var services: [String: EdgeService] = [:]
  var configs: [String: Config] = [:]
  var configTypes: [String: ConfigType] = [:]
  var servicePolicies: [String: ServicePolicy] = [:]
  var edgeRouterPolicies: [String: EdgeRouterPolicy] = [:]
  var serviceEdgeRouterPolicies: [String: ServiceEdgeRouterPolicy] = [:]
  var edgeRouters: [String: EdgeRouterEntity] = [:]
  var authPolicies: [String: AuthPolicy] = [:]
  var publicKeys: [String: PublicKeyRecord] = [:]
  var access = AccessEngine()
  /// Identities that are disabled or locked out for a time: when the first of it ends.
  private(set) var disabledUntil: [String: Timestamp] = [:]
  var index: UInt64 = 0
  /// When the service view of an identity last changed (edge-client-api.md 8.6).
  var lastChange: [String: Timestamp] = [:]

  static func load(_ reader: StoreReader) throws -> ModelState {
    var state = ModelState()
    for entity in try reader.all(ConfigType.self) { state.configTypes[entity.id] = entity }
    for entity in try reader.all(Config.self) { state.configs[entity.id] = entity }
    for entity in try reader.all(AuthPolicy.self) { state.authPolicies[entity.id] = entity }
    for entity in try reader.all(PublicKeyRecord.self) { state.publicKeys[entity.id] = entity }
    for entity in try reader.all(Identity.self) { _ = state.apply(.identity(old: nil, new: entity)) }
    for entity in try reader.all(EdgeService.self) { _ = state.apply(.service(old: nil, new: entity)) }
    for entity in try reader.all(EdgeRouterEntity.self) { _ = state.apply(.edgeRouter(old: nil, new: entity)) }
    for entity in try reader.all(ServicePolicy.self) { _ = state.apply(.servicePolicy(old: nil, new: entity)) }
    for entity in try reader.all(EdgeRouterPolicy.self) { _ = state.apply(.edgeRouterPolicy(old: nil, new: entity)) }
    for entity in try reader.all(ServiceEdgeRouterPolicy.self) {
      _ = state.apply(.serviceEdgeRouterPolicy(old: nil, new: entity))
    }
    state.index = try reader.currentIndex()
    return state
  }

  mutating func apply(_ change: EntityChange) -> AccessDelta {
    switch change {
    case .identity(let old, let new):
      Self.set(&identities, old?.id, new)
      if let id = (new ?? old)?.id { disabledUntil[id] = new?.firstEnd }
    case .service(let old, let new): Self.set(&services, old?.id, new)
    case .edgeRouter(let old, let new): Self.set(&edgeRouters, old?.id, new)
    case .servicePolicy(let old, let new): Self.set(&servicePolicies, old?.id, new)
    case .edgeRouterPolicy(let old, let new): Self.set(&edgeRouterPolicies, old?.id, new)
    case .serviceEdgeRouterPolicy(let old, let new): Self.set(&serviceEdgeRouterPolicies, old?.id, new)
    }
    return access.apply(change)
  }

  private static func set<E: Entity>(_ entities: inout [String: E], _ old: String?, _ new: E?) {
    if let new { entities[new.id] = new } else if let old { entities[old] = nil }
  }

  /// Applies a committed change-set. The typed values come from the documents, which lack secrets; none of these kinds
  /// has any.
  mutating func apply(_ changeSet: ChangeSet) throws -> AccessDelta {
    let delta = AccessDelta(merging: try changeSet.changes.map { try apply($0, at: changeSet.at) })
    index = changeSet.index
    for changed in delta.access { touch(changed.identity, at: changeSet.at) }
    return delta
  }

  private mutating func apply(_ change: Change, at now: Timestamp) throws -> AccessDelta {
    func typed<E: Entity>(_ type: E.Type) throws -> (old: E?, new: E?) {
      (try change.before?.decode(type), try change.after?.decode(type))
    }
    switch change.kind {
    case .identities:
      let (old, new) = try typed(Identity.self)
      if let new, old?.serviceConfigs != new.serviceConfigs { touch(new.id, at: now) }
      return apply(.identity(old: old, new: new))
    case .services:
      let (old, new) = try typed(EdgeService.self)
      if let id = (old ?? new)?.id { touchUsers(ofService: id, at: now) }
      let delta = apply(.service(old: old, new: new))
      if let new { touchUsers(ofService: new.id, at: now) }
      return delta
    case .edgeRouters:
      let (old, new) = try typed(EdgeRouterEntity.self)
      return apply(.edgeRouter(old: old, new: new))
    case .servicePolicies:
      let (old, new) = try typed(ServicePolicy.self)
      let delta = apply(.servicePolicy(old: old, new: new))
      // A further policy changes the policy ids of a service's posture sets, which SDKs compare.
      for member in delta.memberships { if case .identity(let id) = member.member { touch(id, at: now) } }
      if let id = (new ?? old)?.id { for identity in access.members(id).identities { touch(identity, at: now) } }
      return delta
    case .edgeRouterPolicies:
      let (old, new) = try typed(EdgeRouterPolicy.self)
      return apply(.edgeRouterPolicy(old: old, new: new))
    case .serviceEdgeRouterPolicies:
      let (old, new) = try typed(ServiceEdgeRouterPolicy.self)
      return apply(.serviceEdgeRouterPolicy(old: old, new: new))
    case .configs:
      let (old, new) = try typed(Config.self)
      Self.set(&configs, old?.id, new)
      if let id = (old ?? new)?.id { touchUsers(ofConfig: id, at: now) }
    case .configTypes:
      let (old, new) = try typed(ConfigType.self)
      Self.set(&configTypes, old?.id, new)
    case .authPolicies:
      let (old, new) = try typed(AuthPolicy.self)
      Self.set(&authPolicies, old?.id, new)
    case .publicKeys:
      let (old, new) = try typed(PublicKeyRecord.self)
      Self.set(&publicKeys, old?.id, new)
    default: break
    }
    return AccessDelta()
  }

  /// Strictly later than before: SDKs compare the text.
  private mutating func touch(_ identity: String, at now: Timestamp) {
    let last = lastChange[identity] ?? .epoch
    lastChange[identity] = max(now, last.adding(milliseconds: 1))
  }

  private mutating func touchUsers(ofService id: String, at now: Timestamp) {
    for identity in access.grants.identities(for: id) { touch(identity, at: now) }
  }

  private mutating func touchUsers(ofConfig id: String, at now: Timestamp) {
    for service in services.values where service.configs.contains(id) { touchUsers(ofService: service.id, at: now) }
    for identity in identities.values where identity.serviceConfigs.values.contains(where: { $0.values.contains(id) }) {
      touch(identity.id, at: now)
    }
  }
}
