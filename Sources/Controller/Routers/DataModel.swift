import Access
import Fabric
import Foundation
import JSON
import Model
import Store
import SwiftProtobuf
import WireSchemas

/// Turns the controller's model into the events of the router data model (fabric-planes.md 4.1-4.3).
enum DataModel {
  /// Everything, in the order receivers need: what is named comes before what names it.
  static func full(_ state: ModelState, timeline: String, now: Timestamp) -> EdgeCtrlDataState {
    var events: [EdgeCtrlEvent] = []
    for type in sorted(state.configTypes) where type.target != .router {
      events.append(event(.create, .configType(configType(type))))
    }
    for config in sorted(state.configs) where isForServices(config, state) {
      events.append(event(.create, .config(Self.config(config))))
    }
    for identity in sorted(state.identities) {
      events.append(event(.create, .identity(Self.identity(identity, now: now))))
    }
    for service in sorted(state.services) where !service.isFabricOnly {
      events.append(event(.create, .service(Self.service(service))))
    }
    for router in sorted(state.edgeRouters) { events.append(event(.create, .router(Self.router(router)))) }
    for policy in sorted(state.servicePolicies) {
      events.append(event(.create, .servicePolicy(servicePolicy(policy))))
      let members = state.access.members(policy.id)
      for (type, ids) in [
        (EdgeCtrlServicePolicyRelatedEntityType.relatedService, members.services),
        (.relatedPostureCheck, members.postureChecks),
        (.relatedIdentity, members.identities),
      ] where !ids.isEmpty {
        events.append(change(policy.id, type, ids.sorted(), add: true))
      }
    }
    for key in sorted(state.publicKeys) { events.append(event(.create, .publicKey(publicKey(key)))) }
    return .with {
      $0.events = events
      $0.endIndex = state.index
      $0.timelineID = timeline
    }
  }

  /// One change-set: creations and updates, then memberships, then deletions.
  static func delta(_ update: ModelUpdate, _ state: ModelState, now: Timestamp) throws -> EdgeCtrlChangeSet {
    var early: [(rank: Int, EdgeCtrlEvent)] = []
    var late: [(rank: Int, EdgeCtrlEvent)] = []
    for change in update.changeSet.changes {
      guard let (rank, entity) = try entity(change, state, now: now) else { continue }
      switch change.action {
      case .create: early.append((rank, event(.create, entity)))
      case .update: early.append((rank, event(.update, entity)))
      case .delete: late.append((rank, event(.delete, entity)))
      }
    }
    var events = early.enumerated().sorted { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }.map(
      \.element.1)
    for membership in update.delta.memberships {
      switch membership.member {
      case .identity(let id):
        events.append(self.change(membership.policyID, .relatedIdentity, [id], add: membership.added))
      case .service(let id):
        events.append(self.change(membership.policyID, .relatedService, [id], add: membership.added))
      case .postureCheck(let id):
        events.append(self.change(membership.policyID, .relatedPostureCheck, [id], add: membership.added))
      }
    }
    events += late.enumerated().sorted { (-$0.element.rank, $0.offset) < (-$1.element.rank, $1.offset) }.map(
      \.element.1)
    return .with {
      $0.index = update.changeSet.index
      $0.previousIndex = update.changeSet.previousIndex
      $0.changes = events
    }
  }

  /// The published keys alone, applied by routers at once and outside the numbering.
  static func keys(_ state: ModelState) -> EdgeCtrlChangeSet {
    .with {
      $0.isSynthetic = true
      $0.changes = sorted(state.publicKeys).map { key in
        var event = event(.create, .publicKey(publicKey(key)))
        event.isSynthetic = true
        return event
      }
    }
  }

  private static func entity(_ change: Change, _ state: ModelState, now: Timestamp) throws -> (
    rank: Int, EdgeCtrlEvent.OneOf_Entity
  )? {
    guard let document = change.after ?? change.before else { return nil }
    switch change.kind {
    case .configTypes:
      let type = try document.decode(ConfigType.self)
      return type.target == .router ? nil : (0, .configType(configType(type)))
    case .configs:
      let config = try document.decode(Config.self)
      return isForServices(config, state) ? (1, .config(Self.config(config))) : nil
    case .identities: return (2, .identity(identity(try document.decode(Identity.self), now: now)))
    case .services:
      let service = try document.decode(EdgeService.self)
      return service.isFabricOnly ? nil : (3, .service(Self.service(service)))
    case .edgeRouters: return (4, .router(router(try document.decode(EdgeRouterEntity.self))))
    case .servicePolicies: return (5, .servicePolicy(servicePolicy(try document.decode(ServicePolicy.self))))
    case .publicKeys: return (6, .publicKey(publicKey(try document.decode(PublicKeyRecord.self))))
    case .revocations: return (7, .revocation(revocation(try document.decode(Revocation.self))))
    default: return nil
    }
  }

  private static func sorted<E: Entity>(_ entities: [String: E]) -> [E] { entities.values.sorted { $0.id < $1.id } }
  private static func isForServices(_ config: Config, _ state: ModelState) -> Bool {
    state.configTypes[config.configTypeId]?.target != .router
  }

  private static func event(_ action: EdgeCtrlAction, _ entity: EdgeCtrlEvent.OneOf_Entity) -> EdgeCtrlEvent {
    .with {
      $0.action = action
      $0.entity = entity
    }
  }

  private static func change(
    _ policy: String, _ type: EdgeCtrlServicePolicyRelatedEntityType, _ ids: [String], add: Bool
  ) -> EdgeCtrlEvent {
    event(
      .create,
      .servicePolicyChange(
        .with {
          $0.policyID = policy
          $0.relatedEntityType = type
          $0.relatedEntityIds = ids
          $0.add = add
        }))
  }

  private static func configType(_ type: ConfigType) -> EdgeCtrlConfigType {
    .with {
      $0.id = type.id
      $0.name = type.name
      $0.target = type.target.rawValue
    }
  }

  private static func config(_ config: Config) -> EdgeCtrlConfig {
    .with {
      $0.id = config.id
      $0.typeID = config.configTypeId
      $0.name = config.name
      $0.dataJson = JSONValue.object(config.data).text
    }
  }

  private static func identity(_ identity: Identity, now: Timestamp) -> EdgeCtrlIdentity {
    .with {
      $0.id = identity.id
      $0.name = identity.name
      $0.defaultHostingPrecedence = EdgeCtrlTerminatorPrecedence(identity.defaultHostingPrecedence)
      $0.defaultHostingCost = UInt32(clamping: identity.defaultHostingCost)
      $0.serviceHostingPrecedences = identity.serviceHostingPrecedences.mapValues { EdgeCtrlTerminatorPrecedence($0) }
      $0.serviceHostingCosts = identity.serviceHostingCosts.mapValues { UInt32(clamping: $0) }
      $0.appDataJson = Data(JSONValue.object(identity.appData).serialized())
      $0.serviceConfigs = identity.serviceConfigs.mapValues { configs in .with { $0.configs = configs } }
      $0.disabled = identity.isDisabled(at: now)
    }
  }

  private static func service(_ service: EdgeService) -> EdgeCtrlService {
    .with {
      $0.id = service.id
      $0.name = service.name
      $0.encryptionRequired = service.encryptionRequired
      $0.configs = service.configs
    }
  }

  private static func router(_ router: EdgeRouterEntity) -> EdgeCtrlRouter {
    .with {
      $0.id = router.id
      $0.name = router.name
      $0.fingerprint = router.fingerprint ?? ""
      $0.configs = router.configs
      $0.disabled = router.disabled
    }
  }

  private static func servicePolicy(_ policy: ServicePolicy) -> EdgeCtrlServicePolicy {
    .with {
      $0.id = policy.id
      $0.name = policy.name
      switch policy.type {
      case .dial: $0.policyType = .dialPolicy
      case .bind: $0.policyType = .bindPolicy
      }
    }
  }

  private static func publicKey(_ key: PublicKeyRecord) -> EdgeCtrlPublicKey {
    .with {
      $0.kid = key.kid
      $0.data = Data(base64Encoded: key.der) ?? Data()
      $0.format = key.format == .x509CertDer ? .x509CertDer : .pkixpublicKey
      $0.usages = key.usages.map { $0 == .jwtValidation ? .jwtvalidation : .clientX509CertValidation }
    }
  }

  private static func revocation(_ revocation: Revocation) -> EdgeCtrlRevocation {
    .with {
      $0.id = revocation.id
      $0.type = revocation.type.rawValue
      $0.expiresAt = Google_Protobuf_Timestamp(date: revocation.expiresAt.date)
      if let before = revocation.issuedBefore { $0.issuedBefore = Google_Protobuf_Timestamp(date: before.date) }
    }
  }
}
