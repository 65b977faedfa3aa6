import Access
import Fabric
import Foundation
import SwiftProtobuf
import Testing
import WireSchemas

/// Events of a small model: alice may dial svc through policy `pd`, bob may bind it through `pb`.
enum SmallModel {
  static func event(_ entity: EdgeCtrlEvent.OneOf_Entity, _ action: EdgeCtrlAction = .create) -> EdgeCtrlEvent {
    .with { ($0.action, $0.entity) = (action, entity) }
  }

  static func identity(_ id: String, disabled: Bool = false) -> EdgeCtrlEvent.OneOf_Entity {
    .identity(.with { ($0.id, $0.name, $0.disabled) = (id, id, disabled) })
  }

  static func service(_ id: String, encrypted: Bool = false) -> EdgeCtrlEvent.OneOf_Entity {
    .service(.with { ($0.id, $0.name, $0.encryptionRequired) = (id, "the \(id)", encrypted) })
  }

  static func policy(_ id: String, _ type: EdgeCtrlPolicyType) -> EdgeCtrlEvent.OneOf_Entity {
    .servicePolicy(.with { ($0.id, $0.name, $0.policyType) = (id, id, type) })
  }

  static func member(_ policy: String, _ type: EdgeCtrlServicePolicyRelatedEntityType, _ id: String, add: Bool = true)
    -> EdgeCtrlEvent.OneOf_Entity
  {
    .servicePolicyChange(
      .with { ($0.policyID, $0.relatedEntityIds, $0.relatedEntityType, $0.add) = (policy, [id], type, add) })
  }

  static var state: EdgeCtrlDataState {
    .with {
      $0.endIndex = 10
      $0.timelineID = "t1"
      $0.events = [
        event(identity("alice")), event(identity("bob")), event(service("svc")), event(policy("pd", .dialPolicy)),
        event(member("pd", .relatedService, "svc")),
        event(member("pd", .relatedIdentity, "alice")), event(policy("pb", .bindPolicy)),
        event(member("pb", .relatedService, "svc")),
        event(member("pb", .relatedIdentity, "bob")),
      ]
    }
  }

  static func change(_ index: UInt64, after previous: UInt64, _ events: EdgeCtrlEvent...) -> EdgeCtrlChangeSet {
    .with { ($0.index, $0.previousIndex, $0.changes) = (index, previous, events) }
  }

  static var model: RouterModel {
    var model = RouterModel()
    _ = model.apply(state)
    return model
  }
}

@Suite("The router's replica of the data model")
struct RouterModelTests {
  private func effects(_ outcome: RouterModel.Outcome) throws -> RouterModel.Effects {
    guard case .applied(let effects) = outcome else {
      Issue.record("not applied: \(outcome)")
      throw CancellationError()
    }
    return effects
  }

  @Test("a full state decides with reasons")
  func fullState() throws {
    var model = RouterModel()
    let effects = try effects(model.apply(SmallModel.state))
    #expect(effects.isReplaced)
    #expect(model.index == 10 && model.timeline == "t1")
    #expect(model.decide(identity: "alice", service: "svc", action: .dial).isAllowed)
    let denied = model.decide(identity: "alice", service: "svc", action: .bind)
    #expect(denied.text == "no service policy of type Bind matches both identity \"alice\" and service \"the svc\"")
    #expect(model.decide(identity: "nobody", service: "svc", action: .dial).text == "identity nobody is not known here")
    #expect(model.decide(identity: "alice", service: "none", action: .dial).text == "service none is not known here")
  }

  @Test("a change and a whole state name the services that are encrypted otherwise, and no others")
  func encryption() throws {
    var model = SmallModel.model
    func changed(_ events: EdgeCtrlEvent...) throws -> Set<String> {
      let change = EdgeCtrlChangeSet.with {
        ($0.index, $0.previousIndex, $0.changes) = (model.index + 1, model.index, events)
      }
      return try effects(model.apply(change)).encryptionChanged
    }
    #expect(try changed(SmallModel.event(SmallModel.service("new", encrypted: true))).isEmpty)
    #expect(try changed(SmallModel.event(SmallModel.service("svc"))).isEmpty)
    #expect(
      try changed(
        SmallModel.event(SmallModel.service("svc", encrypted: true)), SmallModel.event(SmallModel.identity("carol")))
        == ["svc"])
    #expect(try changed(SmallModel.event(SmallModel.service("svc", encrypted: true))).isEmpty)
    #expect(try effects(model.apply(SmallModel.state)).encryptionChanged == ["svc"])
    #expect(try effects(model.apply(SmallModel.state)).encryptionChanged.isEmpty)
  }

  @Test("a change names exactly the rights that end")
  func lost() throws {
    var model = SmallModel.model
    let effects = try effects(
      model.apply(
        SmallModel.change(
          11, after: 10, SmallModel.event(SmallModel.member("pd", .relatedIdentity, "alice", add: false)))))
    #expect(effects.lost == [AccessChange(identity: "alice", service: "svc", action: .dial, gained: false)])
    #expect(!model.decide(identity: "alice", service: "svc", action: .dial).isAllowed)
    #expect(model.decide(identity: "bob", service: "svc", action: .bind).isAllowed)
  }

  @Test("a right that comes back in the same change was never lost")
  func regained() throws {
    var model = SmallModel.model
    let effects = try effects(
      model.apply(
        SmallModel.change(
          11, after: 10, SmallModel.event(SmallModel.member("pd", .relatedIdentity, "alice", add: false)),
          SmallModel.event(SmallModel.member("pd", .relatedIdentity, "alice")))))
    #expect(effects.lost.isEmpty)
  }

  @Test("rights that are lost by the ten thousand while others are gained cost one step each", .timeLimit(.minutes(1)))
  func manyRights() throws {
    let identities = (0..<1000).map { "i\($0)" }
    let (old, new) = ((0..<60).map { "old\($0)" }, (0..<60).map { "new\($0)" })
    func members(_ ids: [String], _ type: EdgeCtrlServicePolicyRelatedEntityType, add: Bool = true) -> EdgeCtrlEvent {
      SmallModel.event(
        .servicePolicyChange(
          .with { ($0.policyID, $0.relatedEntityIds, $0.relatedEntityType, $0.add) = ("p", ids, type, add) }))
    }
    var model = RouterModel()
    _ = model.apply(
      EdgeCtrlDataState.with {
        $0.endIndex = 1
        $0.events =
          identities.map { SmallModel.event(SmallModel.identity($0)) }
          + (old + new).map { SmallModel.event(SmallModel.service($0)) }
          + [
            SmallModel.event(SmallModel.policy("p", .dialPolicy)), members(identities, .relatedIdentity),
            members(old, .relatedService),
          ]
      })
    // All 60 go, the new ones come, and one of the old ones stays after all.
    let swap = SmallModel.change(
      2, after: 1, members(old, .relatedService, add: false), members(new + ["old7"], .relatedService))
    #expect(RouterModel.isLong(swap))
    let effects = try effects(model.apply(swap))
    #expect(effects.lost.count == 59 * 1000)
    #expect(!effects.lost.contains { $0.service == "old7" })
    #expect(
      model.decide(identity: "i1", service: "new3", action: .dial).isAllowed
        && model.decide(identity: "i1", service: "old7", action: .dial).isAllowed
    )
    #expect(!model.decide(identity: "i1", service: "old3", action: .dial).isAllowed)
    // Lost, regained and lost again is lost once.
    let twice = SmallModel.change(
      3, after: 2, members(["new3"], .relatedService, add: false), members(["new3"], .relatedService),
      members(["new3"], .relatedService, add: false))
    #expect(!RouterModel.isLong(twice))
    #expect(try self.effects(model.apply(twice)).lost.count == 1000)
  }

  @Test("gaps are noticed, old changes ignored, synthetic ones applied outside the numbering")
  func order() throws {
    var empty = RouterModel()
    #expect(empty.apply(SmallModel.change(5, after: 4)) == .gap)
    var model = SmallModel.model
    #expect(model.apply(SmallModel.change(13, after: 12)) == .gap)
    #expect(model.index == 10)
    #expect(model.apply(SmallModel.change(10, after: 9)) == .ignored)
    var keys = SmallModel.change(
      0, after: 0,
      SmallModel.event(.publicKey(.with { ($0.kid, $0.data, $0.usages) = ("k", Data([1]), [.jwtvalidation]) })))
    keys.isSynthetic = true
    #expect(try effects(model.apply(keys)).keysChanged)
    #expect(try !effects(model.apply(keys)).keysChanged)
    #expect(model.index == 10 && model.publicKeys.map(\.kid) == ["k"])
    #expect(try effects(model.apply(SmallModel.change(11, after: 10))) == RouterModel.Effects())
    #expect(model.index == 11)
  }

  @Test("identities that are disabled or deleted, and deleted services, are named")
  func gone() throws {
    var model = SmallModel.model
    let disabled = try effects(
      model.apply(
        SmallModel.change(11, after: 10, SmallModel.event(SmallModel.identity("alice", disabled: true), .update))))
    #expect(disabled.goneIdentities == ["alice"])
    #expect(!model.decide(identity: "alice", service: "svc", action: .dial).isAllowed)
    let deleted = try effects(
      model.apply(
        SmallModel.change(
          12, after: 11, SmallModel.event(SmallModel.identity("bob"), .delete),
          SmallModel.event(SmallModel.service("svc"), .delete)))
    )
    #expect(deleted.goneIdentities == ["bob"] && deleted.goneServices == ["svc"])
  }

  @Test("a policy with posture checks does not grant where posture is not known")
  func posture() throws {
    var model = SmallModel.model
    _ = model.apply(
      SmallModel.change(11, after: 10, SmallModel.event(SmallModel.member("pd", .relatedPostureCheck, "os"))))
    #expect(model.decide(identity: "alice", service: "svc", action: .dial).text.contains("posture checks do not pass"))
  }

  @Test("a service session must be the caller's own, of the right kind, for a service that is there")
  func serviceSessions() {
    let model = SmallModel.model
    let session = SessionTable.APISession(id: "as", digest: "t", identityID: "alice", fingerprints: [])
    func verdict(
      _ identity: String = "alice", api: String = "as", type: String = "Dial", service: String = "svc",
      kind: String = "s",
      for action: AccessAction = .dial
    ) -> EdgeRefusal? {
      let presented = PresentedServiceSession(
        sessionID: "j", serviceID: service, apiSessionID: api, identityID: identity, tokenType: kind, sessionType: type)
      do throws(EdgeRefusal) {
        try model.judge(presented, for: action, session: session)
        return nil
      } catch { return error }
    }
    #expect(verdict() == nil)
    #expect(verdict("bob") == .invalidSession)
    #expect(verdict(api: "other") == .invalidSession)
    #expect(verdict(kind: "a") == .invalidSession)
    #expect(verdict(type: "Bind") == .wrongType(expected: .dial, got: "Bind"))
    #expect(verdict(service: "none") == .serviceGone)
    if case .noAccess? = verdict(type: "Bind", for: .bind) {} else { Issue.record("alice may not bind") }
  }
}
