import Fabric
import NIOConcurrencyHelpers
import NIOCore
import Testing
import Transport
import Wire

@testable import EdgeRouter

@Suite("Binds at a router that is full, or that changes its mind", .timeLimit(.minutes(5)), .serialized)
struct HostileBindTests {
  @Test(
    "a bind of an identity that has all the bytes waiting that it may is refused with a word, costs no place, and goes when there is room again"
  )
  func bindWhileFull() async throws {
    try await withRouter {
      $0.identityLimits.bytes = 300_000
    } _: { router in
      let bob = try await router.host()
      let alice = try await RawSDK(router, "alice")
      let token = try await router.network.sessionToken("alice", "Dial")
      var dials: [WireMessage] = []
      for connID in UInt32(1)...2 {
        alice.post(EdgeMessages.Connect(connID: connID, token: token).message())
        dials.append(try await bob.take(.dial))
      }
      // Before the circuits are open.
      for dial in dials {
        bob.data(
          [UInt8](repeating: 1, count: 200_000), connID: try #require(try EdgeMessages.Dial(parsing: dial).newConnID))
      }
      let share = try #require(router.node.core.state.withLockedValue { $0.connections.of(identity: "bob") }.first)
        .share
      try await eventually("it is full") { share.isFull }
      let binding = Array(try await router.network.sessionToken("bob", "Bind").utf8)
      func bind(_ number: UInt8) -> WireMessage {
        EdgeMessages.Bind(
          connID: 100 + UInt32(number), token: binding, listenerID: [9, number], supportsBindSuccess: true
        ).message()
      }
      for number in UInt8(0)..<50 {
        let refusal = try EdgeMessages.StateClosed(parsing: try await bob.answer(to: bob.post(bind(number))))
        #expect(
          refusal.text == "too many binds of this identity wait at this router" && refusal.error?.retryHint == .tooBusy)
      }
      #expect(share.has(.bind) == 1 && router.node.core.hostedIDs.count == 1)
      for dial in dials { bob.post(EdgeMessages.DialFailed(replyFor: dial.sequence, connID: 1, text: "no").message()) }
      try await eventually("there is room") { !share.isFull }
      for number in UInt8(0)..<2 {
        #expect(try await bob.answer(to: bob.post(bind(number))).contentType == .stateConnected)
        _ = try await bob.take("it is known") {
          $0.contentType == .bindSuccess && $0.headers.uint32(.connID) == 100 + UInt32(number)
        }
      }
      #expect(share.has(.bind) == 3)
      try await eventually("nothing waits") { router.node.core.waitingBytes.now == 0 }
    }
  }

  @Test("a listener that is closed while its bind is judged is not hosted; one that is bound again behind that is")
  func closedMeanwhile() async throws {
    try await withRouter { router in
      let bob = try await RawSDK(router, "bob")
      let token = Array(try await router.network.sessionToken("bob", "Bind").utf8)
      var burst: [UInt8] = []
      for connID in UInt32(1)...60 {
        let bind = EdgeMessages.Bind(
          connID: connID, token: token, terminatorIdentity: "\(connID)", supportsBindSuccess: true
        ).message().encoded()
        burst += bind + EdgeMessages.Unbind(connID: connID, token: token).message().encoded()
        if connID.isMultiple(of: 10) { burst += bind }
      }
      bob.send(burst)
      try await eventually("those that stay are known") { bob.count(.bindSuccess) == 6 }
      _ = try await bob.answer(to: bob.post(WireMessage(contentType: .latency)))
      let share = try #require(router.node.core.state.withLockedValue { $0.connections.of(identity: "bob") }.first)
        .share
      try await eventually("and no other") {
        router.node.core.hostedIDs.count == 6 && share.has(.bind) == 6 && router.controller.terminators.count == 6
      }
      #expect(bob.count(.stateConnected) == 6 && router.node.core.waitingBytes.now == 0)
    }
  }

  @Test("a bind that was judged before the model changed is judged once more when it is entered")
  func judgedAgain() async throws {
    try await withRouter { router in
      let bob = try await RawSDK(router, "bob")
      _ = try await bob.answer(to: bob.post(WireMessage(contentType: .latency)))
      let core = router.node.core
      let handle = try #require(core.state.withLockedValue { $0.connections.of(identity: "bob") }.first)
      func refusal(_ service: String, isEncrypted: Bool) throws -> EdgeRefusal? {
        let presented = PresentedServiceSession(
          sessionID: "s", serviceID: service, apiSessionID: "as-bob", identityID: "bob", tokenType: "s",
          sessionType: "Bind")
        let place = try #require(handle.share.take(.bind))
        do throws(EdgeRefusal) {
          _ = try core.host(
            EdgeMessages.Bind(connID: 7, token: [1]), presented, isEncrypted: isEncrypted, on: handle, place)
        } catch { return error }
        return nil
      }
      #expect(try refusal("svc", isEncrypted: true) == .encryptionChanged)
      #expect(try refusal("gone", isEncrypted: false) == .serviceGone)
      #expect(handle.share.has(.bind) == 0 && core.hostedIDs.isEmpty)
      #expect(try refusal("svc", isEncrypted: false) == nil)
      #expect(handle.share.has(.bind) == 1 && core.hostedIDs.count == 1)
    }
  }
}

@Suite("What an identity has of a router")
struct IdentityShareTests {
  @Test("places are given up to the limit and come back when nobody holds them")
  func places() {
    var limits = IdentityLimits()
    limits.dials = 2
    let share = IdentityShare(limits: limits, total: WaitingBytes())
    var held = [share.take(.dial), share.take(.dial)]
    #expect(held.allSatisfy { $0 != nil } && share.take(.dial) == nil && share.has(.dial) == 2)
    held.removeAll()
    #expect(share.has(.dial) == 0 && share.take(.dial) != nil && share.isIdle)
  }

  @Test("the grace halves with each circuit that was cut, down to a second")
  func grace() {
    let share = IdentityShare(limits: IdentityLimits(), total: WaitingBytes())
    var seen: [Int64] = []
    for _ in 0..<7 {
      seen.append(share.grace(.seconds(30), sinceLastCut: nil).nanoseconds / 1_000_000)
      share.wasCut()
    }
    #expect(seen == [30_000, 15_000, 7_500, 3_750, 1_875, 1_000, 1_000])
    #expect(share.grace(.milliseconds(400), sinceLastCut: .seconds(1)) == .milliseconds(400) && !share.isIdle)
  }

  @Test("no grace is longer than those who wait were left in peace, but for a second of whoever was never cut")
  func graceInTurn() {
    let (guilty, new) = (
      IdentityShare(limits: IdentityLimits(), total: WaitingBytes()),
      IdentityShare(limits: IdentityLimits(), total: WaitingBytes())
    )
    guilty.wasCut()
    for (since, graces) in [(0, (0, 1)), (4, (4, 4)), (20, (15, 20)), (100, (15, 30))] as [(Int64, (Int64, Int64))] {
      #expect(guilty.grace(.seconds(30), sinceLastCut: .seconds(since)) == .seconds(graces.0))
      #expect(new.grace(.seconds(30), sinceLastCut: .seconds(since)) == .seconds(graces.1))
    }
  }
}
