import Access
import Model
import Testing

/// The engine works by increments; here every step is held against the same answers computed from scratch.
@Suite("Incremental access", .timeLimit(.minutes(5)))
struct IncrementalAccessTests {
  private static let identityIDs = (0..<6).map { "i\($0)" }
  private static let serviceIDs = (0..<6).map { "s\($0)" }
  private static let routerIDs = (0..<4).map { "r\($0)" }

  /// The rights that a delta says were gained and lost.
  private func apply(_ delta: AccessDelta, to rights: Set<World.Right>) -> Set<World.Right> {
    var rights = rights
    for change in delta.access {
      let right = World.Right(identity: change.identity, service: change.service, action: change.action)
      if change.gained {
        #expect(rights.insert(right).inserted, "gained twice: \(change)")
      } else {
        #expect(rights.remove(right) != nil, "lost without having it: \(change)")
      }
    }
    return rights
  }

  /// What a router's replica does with the news of one change.
  private func apply(_ delta: AccessDelta, _ change: EntityChange, to replica: inout GrantTable) {
    if case .servicePolicy(_, let new?) = change {
      _ = replica.setPolicy(id: new.id, name: new.name, action: AccessAction(new.type))
    }
    for membership in delta.memberships {
      _ = replica.setMember(policy: membership.policyID, membership.member, present: membership.added)
    }
    if case .servicePolicy(let old?, nil) = change { _ = replica.removePolicy(id: old.id) }
  }

  @Test("after every change all answers equal those computed from scratch", arguments: 1...6 as ClosedRange<UInt64>)
  func equalsScratch(_ seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var world = World()
    var engine = AccessEngine()
    var replica = GrantTable()
    for step in 0..<250 {
      let before = world
      let change = world.change(&random)
      let delta = engine.apply(change)
      let rights = world.rights
      apply(delta, change, to: &replica)
      #expect(apply(delta, to: before.rights) == rights, "step \(step)")
      #expect(replica == engine.grants, "step \(step)")
      for identity in Self.identityIDs {
        #expect(engine.routers(identity: identity) == world.routers(identity: identity), "step \(step)")
        #expect(
          delta.routerAccessIdentities.contains(identity)
            || before.routers(identity: identity) == world.routers(identity: identity))
        for service in Self.serviceIDs {
          let expected = Set(
            AccessAction.allCases.filter { rights.contains(.init(identity: identity, service: service, action: $0)) })
          #expect(
            engine.grants.actions(identity: identity, service: service) == expected,
            "step \(step): \(identity) \(service)")
        }
      }
      for service in Self.serviceIDs {
        #expect(engine.routers(service: service) == world.routers(service: service), "step \(step)")
        #expect(
          delta.routerAccessServices.contains(service)
            || before.routers(service: service) == world.routers(service: service))
      }
      for policy in world.servicePolicies.values {
        let members = engine.members(policy.id)
        #expect(members.identities == world.identities(matching: policy.identityRoles, policy.semantic))
        #expect(members.services == world.services(matching: policy.serviceRoles, policy.semantic))
        #expect(members.postureChecks == (policy.postureCheckRoles.isEmpty ? [] : ["check"]))
      }
    }
  }

  @Test(
    "an engine built anew, in any order of changes, equals the one that lived through them",
    arguments: 11...13 as ClosedRange<UInt64>)
  func equalsRebuilt(_ seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var world = World()
    var engine = AccessEngine()
    for _ in 0..<300 { _ = engine.apply(world.change(&random)) }
    var creations: [EntityChange] = []
    creations += world.identities.values.map { .identity(old: nil, new: $0) }
    creations += world.services.values.map { .service(old: nil, new: $0) }
    creations += world.routers.values.map { .edgeRouter(old: nil, new: $0) }
    creations += world.servicePolicies.values.map { .servicePolicy(old: nil, new: $0) }
    creations += world.routerPolicies.values.map { .edgeRouterPolicy(old: nil, new: $0) }
    creations += world.serviceRouterPolicies.values.map { .serviceEdgeRouterPolicy(old: nil, new: $0) }
    var rebuilt = AccessEngine()
    let total = AccessDelta(merging: creations.shuffled(using: &random).map { rebuilt.apply($0) })
    #expect(rebuilt.grants == engine.grants)
    #expect(apply(total, to: []) == world.rights)
    for router in Self.routerIDs {
      #expect(rebuilt.identities(router: router) == engine.identities(router: router))
      #expect(rebuilt.services(router: router) == engine.services(router: router))
    }
  }

  @Test("the merged delta of a transaction is the net of its changes", arguments: 21...23 as ClosedRange<UInt64>)
  func merged(_ seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var world = World()
    var engine = AccessEngine()
    for _ in 0..<60 {
      let before = world.rights
      let count = Int.random(in: 1...5, using: &random)
      let delta = AccessDelta(merging: (0..<count).map { _ in engine.apply(world.change(&random)) })
      #expect(apply(delta, to: before) == world.rights)
    }
  }
}
