import Access
import Model
import Testing

/// A role list and whether it matches identity `i1` with the attributes `a` and `b`.
struct RoleCase: Sendable, CustomTestStringConvertible {
  var roles: [String]
  var anyOf: Bool
  var allOf: Bool

  var testDescription: String { "\(roles)" }

  static let all = [
    RoleCase(roles: ["#all"], anyOf: true, allOf: true),
    RoleCase(roles: [], anyOf: false, allOf: false),
    RoleCase(roles: ["@i1"], anyOf: true, allOf: true),
    RoleCase(roles: ["@i2"], anyOf: false, allOf: false),
    RoleCase(roles: ["@i1", "@i2"], anyOf: true, allOf: true),
    RoleCase(roles: ["#a"], anyOf: true, allOf: true),
    RoleCase(roles: ["#a", "#b"], anyOf: true, allOf: true),
    RoleCase(roles: ["#a", "#x"], anyOf: true, allOf: false),
    RoleCase(roles: ["#x"], anyOf: false, allOf: false),
    RoleCase(roles: ["#x", "@i1"], anyOf: true, allOf: true),
    RoleCase(roles: ["#a", "@i2"], anyOf: true, allOf: true),
    // An attribute is no id, and an id no attribute.
    RoleCase(roles: ["#i1", "@a"], anyOf: false, allOf: false),
  ]
}

@Suite("The access engine")
struct AccessEngineTests {
  private let alice = Identity(id: "i1", name: "alice", roleAttributes: ["a", "b"])
  private let web = EdgeService(id: "s1", name: "web", roleAttributes: ["w"])
  private let router = EdgeRouterEntity(id: "r1", name: "edge", roleAttributes: ["public"])

  /// Alice, the service and the router, with these policies.
  private func engine(
    dial: ServicePolicy? = nil, identityRouters: [String] = ["#all"], serviceRouters: [String] = ["#all"]
  ) -> AccessEngine {
    var engine = AccessEngine()
    _ = engine.apply(.identity(old: nil, new: alice))
    _ = engine.apply(.service(old: nil, new: web))
    _ = engine.apply(.edgeRouter(old: nil, new: router))
    if let dial { _ = engine.apply(.servicePolicy(old: nil, new: dial)) }
    _ = engine.apply(
      .edgeRouterPolicy(
        old: nil, new: EdgeRouterPolicy(id: "e1", name: "e1", edgeRouterRoles: identityRouters, identityRoles: ["#all"])
      ))
    _ = engine.apply(
      .serviceEdgeRouterPolicy(
        old: nil,
        new: ServiceEdgeRouterPolicy(id: "q1", name: "q1", edgeRouterRoles: serviceRouters, serviceRoles: ["#all"])))
    return engine
  }

  private func policy(
    _ roles: [String] = ["#all"], semantic: Semantic = .anyOf, services: [String] = ["#all"], checks: [String] = []
  )
    -> ServicePolicy
  {
    ServicePolicy(
      id: "p1", name: "dialers", type: .dial, semantic: semantic, identityRoles: roles, serviceRoles: services,
      postureCheckRoles: checks)
  }

  @Test("AnyOf wants one attribute, AllOf every one, an id suffices in both", arguments: RoleCase.all)
  func roles(_ roleCase: RoleCase) {
    for (semantic, expected) in [(Semantic.anyOf, roleCase.anyOf), (.allOf, roleCase.allOf)] {
      let engine = engine(dial: policy(roleCase.roles, semantic: semantic))
      #expect(engine.members("p1").identities == (expected ? ["i1"] : []))
      #expect(engine.decide(identity: "i1", service: "s1", action: .dial).isAllowed == expected)
      #expect(!engine.decide(identity: "i1", service: "s1", action: .bind).isAllowed)
    }
  }

  @Test(
    "roles that are none are refused where they enter",
    arguments: [["a"], ["#"], ["@"], [""], ["#all", "#a"], ["@i1", "#all"]])
  func badRoles(_ roles: [String]) { #expect(throws: ModelError.self) { try RoleList(roles, field: "identityRoles") } }

  @Test("a decision names what granted it")
  func allowed() {
    let engine = engine(dial: policy())
    #expect(
      engine.decide(identity: "i1", service: "s1", action: .dial)
        == Decision(outcome: .allow, reasons: [.granted(.dial, policyID: "p1", policyName: "dialers")]))
    let (identity, service) = (EntityName(id: "i1", name: "alice"), EntityName(id: "s1", name: "web"))
    let edge = EntityName(id: "r1", name: "edge")
    #expect(
      engine.decide(identity: "i1", service: "s1", action: .dial, router: "r1").reasons == [
        .granted(.dial, policyID: "p1", policyName: "dialers"), .identityMayUseRouter(identity, edge, policyID: "e1"),
        .serviceMayUseRouter(service, edge, policyID: "q1"),
      ])
  }

  @Test("a denial names everything that is missing")
  func denied() {
    var engine = engine(identityRouters: ["#none"], serviceRouters: ["@r2"])
    _ = engine.apply(.edgeRouter(old: router, new: EdgeRouterEntity(id: "r1", name: "edge", disabled: true)))
    let (identity, service) = (EntityName(id: "i1", name: "alice"), EntityName(id: "s1", name: "web"))
    let edge = EntityName(id: "r1", name: "edge")
    #expect(
      engine.decide(identity: "i1", service: "s1", action: .dial, router: "r1")
        == Decision(
          outcome: .deny,
          reasons: [
            .noServicePolicy(.dial, identity: identity, service: service), .routerDisabled(edge),
            .noEdgeRouterPolicy(identity, edge),
            .noServiceEdgeRouterPolicy(service, edge),
          ]))
  }

  @Test("what is not known is neither allowed nor denied")
  func unknown() {
    let engine = engine(dial: policy())
    #expect(
      engine.decide(identity: "i9", service: "s9", action: .dial, router: "r9")
        == Decision(outcome: .unknown, reasons: [.unknownIdentity("i9"), .unknownService("s9"), .unknownRouter("r9")]))
  }

  @Test("a policy with posture checks grants only when they pass, and another policy may grant instead")
  func posture() {
    var engine = engine(dial: policy(checks: ["@mfa", "@os"]))
    let denied = engine.decide(identity: "i1", service: "s1", action: .dial)
    #expect(denied.reasons == [.postureFailing(.dial, policyID: "p1", policyName: "dialers", checks: ["mfa", "os"])])
    #expect(
      engine.decide(identity: "i1", service: "s1", action: .dial) { _, checks in checks == ["mfa", "os"] }.isAllowed)
    _ = engine.apply(
      .servicePolicy(
        old: nil, new: ServicePolicy(id: "p2", name: "free", type: .dial, identityRoles: ["@i1"], serviceRoles: ["@s1"])
      ))
    #expect(
      engine.decide(identity: "i1", service: "s1", action: .dial).reasons == [
        .granted(.dial, policyID: "p2", policyName: "free")
      ])
  }

  @Test("a service of the fabric alone is as if it were not there")
  func fabricOnly() {
    var engine = engine(dial: policy())
    let hidden = EdgeService(id: "s1", name: "web", roleAttributes: ["w"], isFabricOnly: true)
    let delta = engine.apply(.service(old: web, new: hidden))
    #expect(delta.access == [AccessChange(identity: "i1", service: "s1", action: .dial, gained: false)])
    #expect(engine.decide(identity: "i1", service: "s1", action: .dial).outcome == .unknown)
    #expect(
      engine.apply(.service(old: hidden, new: web)).access == [
        AccessChange(identity: "i1", service: "s1", action: .dial, gained: true)
      ])
  }

  @Test("a delta tells who entered a policy and what they gained")
  func delta() {
    var engine = engine(dial: policy(["#new"]))
    let gained = AccessChange(identity: "i2", service: "s1", action: .dial, gained: true)
    let member = MembershipChange(policyID: "p1", member: .identity("i2"), added: true)
    let bob = Identity(id: "i2", name: "bob", roleAttributes: ["new"])
    #expect(
      engine.apply(.identity(old: nil, new: bob))
        == AccessDelta(memberships: [member], access: [gained], routerAccessIdentities: ["i2"]))
    // A change that no policy asks about says nothing.
    let renamed = Identity(id: "i2", name: "robert", roleAttributes: ["new", "unused"])
    #expect(engine.apply(.identity(old: bob, new: renamed)).isEmpty)
    let loss = engine.apply(.identity(old: renamed, new: Identity(id: "i2", name: "robert")))
    #expect(loss.access == [AccessChange(identity: "i2", service: "s1", action: .dial, gained: false)])
    #expect(loss.memberships == [MembershipChange(policyID: "p1", member: .identity("i2"), added: false)])
  }

  @Test("a right that two policies grant is lost with the second of them")
  func twoGrants() {
    var engine = engine(dial: policy())
    let second = ServicePolicy(id: "p2", name: "second", type: .dial, identityRoles: ["@i1"], serviceRoles: ["@s1"])
    #expect(engine.apply(.servicePolicy(old: nil, new: second)).access.isEmpty)
    #expect(engine.apply(.servicePolicy(old: policy(), new: nil)).access.isEmpty)
    let lost = engine.apply(.servicePolicy(old: second, new: nil))
    #expect(lost.access == [AccessChange(identity: "i1", service: "s1", action: .dial, gained: false)])
    #expect(Set(lost.memberships.map(\.member)) == [.identity("i1"), .service("s1")])
    #expect(lost.memberships.allSatisfy { !$0.added })
  }

  @Test("a policy that changes its type withdraws one right and gives the other")
  func changedType() {
    var engine = engine(dial: policy())
    var changed = policy()
    changed.type = .bind
    #expect(
      Set(engine.apply(.servicePolicy(old: policy(), new: changed)).access) == [
        AccessChange(identity: "i1", service: "s1", action: .dial, gained: false),
        AccessChange(identity: "i1", service: "s1", action: .bind, gained: true),
      ])
  }

  @Test("a policy that widens one side and swaps the other makes no pair that neither the old nor the new grants")
  func swapping() {
    var engine = AccessEngine()
    for number in 0..<40 {
      _ = engine.apply(
        .identity(
          old: nil, new: Identity(id: "i\(number)", name: "i\(number)", roleAttributes: number < 5 ? ["g"] : [])))
    }
    for number in 0..<12 {
      _ = engine.apply(
        .service(
          old: nil,
          new: EdgeService(id: "s\(number)", name: "s\(number)", roleAttributes: [number < 10 ? "old" : "new"])))
    }
    let before = ServicePolicy(id: "p", name: "p", type: .dial, identityRoles: ["#g"], serviceRoles: ["#old"])
    _ = engine.apply(.servicePolicy(old: nil, new: before))
    var replica = engine.grants
    var after = before
    (after.identityRoles, after.serviceRoles) = (["#all"], ["#new"])
    let delta = engine.apply(.servicePolicy(old: before, new: after))
    #expect(delta.access.count { !$0.gained } == 5 * 10)
    #expect(delta.access.count { $0.gained } == 40 * 2)
    // What a router's replica works through: who leaves, leaves first.
    var work = 0
    for change in delta.memberships {
      work += replica.setMember(policy: change.policyID, change.member, present: change.added).count
    }
    #expect(work == 5 * 10 + 40 * 2)
    #expect(replica == engine.grants)
  }

  @Test("what is lost and regained in one transaction is no change")
  func netting() {
    var engine = engine(dial: policy())
    let gone = engine.apply(.identity(old: alice, new: nil))
    #expect(gone.access.count == 1)
    let delta = AccessDelta(merging: [gone, engine.apply(.identity(old: nil, new: alice))])
    #expect(delta.access.isEmpty)
    #expect(delta.memberships.map(\.added) == [false, true])
  }

  @Test("deny explains the policies that come close")
  func explain() {
    let engine = engine(dial: policy(["@i1"], services: ["#other"]))
    #expect(
      engine.explain(identity: "i1", service: "s1", action: .dial) == [
        #"no service policy of type Dial matches both identity "alice" and service "web""#,
        #"service policy "dialers" matches the identity but not the service"#,
      ])
  }
}
