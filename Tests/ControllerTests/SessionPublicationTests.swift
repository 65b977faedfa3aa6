import Authentication
import Fabric
import Foundation
import JSON
import Model
import NIOConcurrencyHelpers
import PKI
import SwiftProtobuf
import Testing
import Transport
import Wire
import WireSchemas

@testable import Controller

@Suite("What routers hear of API sessions", .timeLimit(.minutes(5)))
struct SessionPublicationTests {
  /// A controller with two routers that identities with the attribute `staff` may use: one of OpenZiti's kind and one
  /// of ours.
  private struct Bench {
    let controller: LiveController
    let foreign: ControlRouter
    let own: ControlRouter
    let alice: LiveController.Credential

    static func start(_ configure: (inout ControllerConfiguration) -> Void = { _ in }) async throws -> Bench {
      let controller = try await LiveController.start(configure)
      try await controller.node.provisioning.createEdgeRouterPolicy(
        name: "staff", identityRoles: ["#staff"], edgeRouterRoles: ["#all"])
      let alice = try await controller.enrolled("alice", roles: ["staff"])
      let (foreign, _) = try await ControlRouter.join(controller, "foreign", digests: false)
      let (own, _) = try await ControlRouter.join(controller, "own", digests: true)
      return Bench(controller: controller, foreign: foreign, own: own, alice: alice)
    }

    func settle() async throws {
      try await foreign.settle()
      try await own.settle()
    }

    func stop() async {
      foreign.close()
      own.close()
      await controller.stop()
    }
  }

  @Test(
    "tokens to OpenZiti's routers, digests to ours, and of nobody but client sessions of identities that may use the router"
  )
  func forms() async throws {
    let bench = try await Bench.start()
    let controller = bench.controller
    let token = try await controller.token(bench.alice)
    let bob = try await controller.enrolled("bob")
    let secrets = [
      try await controller.adminToken(), try await controller.token(bob),
      // Alice administrates with her certificate: a session of the other API.
      try #require(
        try await controller.send("POST", "/edge/management/v1/authenticate?method=cert", [:], as: bench.alice).data[
          "token"]?.stringValue),
    ]
    try await bench.settle()
    let session = try #require(controller.core.sessions.apiSession(token: token, now: controller.core.now))
    let expected = EdgeCtrlApiSession.with {
      ($0.id, $0.identityID, $0.certFingerprints) = (
        session.id, session.identityId, [bench.alice.chain.leaf.sha1Fingerprint]
      )
    }
    #expect(try await bench.foreign.added() == [with(expected) { $0.token = token }])
    #expect(try await bench.own.added() == [with(expected) { $0.token = SessionDigest.of(token) }])
    #expect(await !bench.own.wasSent(token))
    for secret in secrets {
      for router in [bench.foreign, bench.own] {
        #expect(await !router.wasSent(secret))
        #expect(await !router.wasSent(SessionDigest.of(secret)))
      }
    }
    // Who connects later is told the same, in a complete state.
    let (late, _) = try await ControlRouter.join(controller, "late", digests: true)
    #expect(try await late.added().map(\.id) == [session.id])
    for secret in secrets + [token] { #expect(await !late.wasSent(secret)) }
    late.close()
    await bench.stop()
  }

  @Test("sessions follow the rights of their identities, each router told what changed for it")
  func follows() async throws {
    let bench = try await Bench.start()
    let controller = bench.controller
    let provisioning = controller.node.provisioning
    let bob = try await controller.enrolled("bob")
    let token = try await controller.token(bob)
    let id = try #require(controller.core.sessions.apiSession(token: token, now: controller.core.now)).id
    let policy = try await provisioning.createEdgeRouterPolicy(
      name: "bob", identityRoles: ["@\(bob.chain.leaf.spiffeID?.identityID ?? "")"],
      edgeRouterRoles: ["@\(bench.foreign.id)"])
    try await bench.settle()
    #expect(try await bench.foreign.added().map(\.token) == [token])
    #expect(try await bench.own.added().isEmpty)
    let admin = try await controller.adminToken()
    #expect(
      try await controller.send("DELETE", "/edge/management/v1/edge-router-policies/\(policy)", token: admin).status
        == 200)
    try await bench.settle()
    #expect(try await bench.foreign.removed().tokens == [token])
    #expect(try await bench.foreign.removed().ids == [id])
    #expect(try await bench.own.removed().ids.isEmpty, "it never knew of it")
    // A role attribute does the same as a policy.
    let path = "/edge/management/v1/identities/" + (bob.chain.leaf.spiffeID?.identityID ?? "")
    #expect(try await controller.send("PATCH", path, ["roleAttributes": ["staff"]], token: admin).status == 200)
    try await bench.settle()
    #expect(try await bench.own.added().map(\.token) == [SessionDigest.of(token)])
    #expect(try await controller.send("DELETE", "/current-api-session", token: token).status == 200)
    try await bench.settle()
    #expect(try await bench.own.removed().tokens == [SessionDigest.of(token)])
    #expect(try await bench.foreign.removed().tokens == [token, token])
    await bench.stop()
  }

  @Test("with upstream's rule sessions stay at routers that their identity lost")
  func keeps() async throws {
    let bench = try await Bench.start { $0.keepsCircuitsOfLostRouters = true }
    let controller = bench.controller
    let token = try await controller.token(bench.alice)
    let admin = try await controller.adminToken()
    let path = "/edge/management/v1/identities/" + (bench.alice.chain.leaf.spiffeID?.identityID ?? "")
    #expect(try await controller.send("PATCH", path, ["roleAttributes": []], token: admin).status == 200)
    try await bench.settle()
    #expect(try await bench.own.removed().ids.isEmpty)
    #expect(try await controller.send("DELETE", "/current-api-session", token: token).status == 200)
    try await bench.settle()
    #expect(try await bench.own.removed().tokens == [SessionDigest.of(token)])
    await bench.stop()
  }

  @Test("a router's word about sessions of identities that may not use it counts for nothing")
  func believed() async throws {
    let bench = try await Bench.start()
    let controller = bench.controller
    let core = controller.core
    let own = try await controller.token(bench.alice)
    let bob = try await controller.enrolled("bob")
    let others = [try await controller.token(bob), try await controller.adminToken()]
    let before = others.compactMap { core.sessions.apiSession(token: $0, now: core.now)?.lastActivityAt }
    controller.ahead.withLockedValue { $0 = 60 }
    bench.foreign.channel.post(
      Wire.Message(
        .apiSessionHeartbeat,
        EdgeCtrlApiSessionHeartbeat.with { $0.tokens = [own, SessionDigest.of(others[0])] + others + ["nonsense"] }))
    let id = bob.chain.leaf.spiffeID?.identityID ?? ""
    let aliceID = bench.alice.chain.leaf.spiffeID?.identityID ?? ""
    bench.foreign.channel.post(
      Wire.Message(
        .connectEvents,
        EdgeCtrlConnectEvents.with {
          $0.events = [id, aliceID, "invented"].map { id in
            .with {
              $0.identityID = id
              $0.isConnected = true
            }
          }
        }))
    try await bench.settle()
    // Foreign and invented ones answer alike.
    #expect(try await bench.foreign.removed().tokens == [SessionDigest.of(others[0])] + others + ["nonsense"])
    #expect(others.compactMap { core.sessions.apiSession(token: $0, now: core.now)?.lastActivityAt } == before)
    #expect(
      (core.sessions.apiSession(token: own, now: core.now)?.lastActivityAt.milliseconds(since: before[0]) ?? 0) > 50_000
    )
    #expect(core.routers[bench.foreign.id].identities == [aliceID])
    await bench.stop()
  }

  @Test("a digest makes no circuit, and no session for administration does")
  func digestIsNoToken() async throws {
    let bench = try await Bench.start()
    let controller = bench.controller
    let token = try await controller.token(bench.alice)
    let fingerprint = bench.alice.chain.leaf.sha1Fingerprint
    let admin = try #require(
      try await controller.send("POST", "/edge/management/v1/authenticate?method=cert", [:], as: bench.alice).data[
        "token"]?.stringValue)
    let authorization = EdgeAuthorization(core: controller.core)
    #expect(
      try authorization.apiSession(token: token, fingerprints: [fingerprint]).identityId
        == bench.alice.chain.leaf.spiffeID?.identityID)
    for name in [SessionDigest.of(token), SessionDigest.of(SessionDigest.of(token)), admin] {
      #expect(throws: EdgeAuthorization.Refusal.self) {
        try authorization.apiSession(token: name, fingerprints: [fingerprint])
      }
    }
    // Nor does it log in anywhere.
    #expect(
      try await controller.send("GET", "/current-api-session", token: SessionDigest.of(token), as: bench.alice).status
        == 401)
    await bench.stop()
  }

  @Test("a router that is disabled is told that all sessions ended, and then its channel closes")
  func expelled() async throws {
    let bench = try await Bench.start()
    let controller = bench.controller
    let token = try await controller.token(bench.alice)
    let admin = try await controller.adminToken()
    #expect(
      try await controller.send(
        "PATCH", "/edge/management/v1/edge-routers/\(bench.own.id)", ["disabled": true], token: admin
      ).status == 200)
    await bench.own.channel.waitUntilClosed()
    try await bench.own.wait("removal") { $0.contains { $0.contentType == .apiSessionRemoved } }
    #expect(try await bench.own.removed().tokens == [SessionDigest.of(token)])
    #expect(try await bench.foreign.removed().tokens.isEmpty)
    #expect(controller.core.sessions.apiSession(token: token, now: controller.core.now) != nil, "it goes on elsewhere")
    await bench.stop()
  }

  private func with(_ session: EdgeCtrlApiSession, _ change: (inout EdgeCtrlApiSession) -> Void) -> EdgeCtrlApiSession {
    var session = session
    change(&session)
    return session
  }
}
