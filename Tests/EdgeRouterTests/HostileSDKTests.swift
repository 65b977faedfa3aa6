import Fabric
import NIOConcurrencyHelpers
import NIOCore
import Testing
import Transport
import Wire

@testable import EdgeRouter

@Suite("SDKs that mean harm to others at a router", .timeLimit(.minutes(5)), .serialized)
struct HostileSDKTests {
  private static func records(_ message: WireMessage) -> Set<HeaderID> { Set(message.headers.all.map(\.id)) }

  // MARK: Words that reach somebody else

  @Test("a frame with two connection ids ends the channel it came on, and reaches nobody", arguments: [true, false])
  func twoIDs(victimFirst: Bool) async throws {
    try await withRouter { router in
      let bob = try await router.host()
      let (mallory, alice) = (try await RawSDK(router, "alice"), try await RawSDK(router, "alice"))
      _ = try await router.circuit(mallory, bob)
      let far = try await router.circuit(alice, bob)
      let ids = victimFirst ? [far, 1] : [1, far]
      mallory.send(RawSDK.frame(.data, ids.map { (HeaderID.connID, RawSDK.le($0)) }, body: [66]))
      try await eventually("mallory's channel ends") { mallory.isClosed }
      // Same for a message that is not payload.
      let carol = try await RawSDK(router, "alice")
      carol.send(RawSDK.frame(.stateClosed, [(.connID, RawSDK.le(1)), (.connID, RawSDK.le(2))]))
      try await eventually("carol's channel ends") { carol.isClosed }
      // And on the way back.
      let eve = try await RawSDK(router, "alice")
      _ = try await router.circuit(eve, bob)
      alice.data([1], connID: 1)
      #expect(try await bob.take(.data).body == [1])
      #expect(bob.count(.data) == 0)
      bob.send(
        RawSDK.frame(.data, [(.connID, RawSDK.le(far)), (.seq, RawSDK.le(0)), (.seq, RawSDK.le(0))], body: [66]))
      try await eventually("the host's channel ends") { bob.isClosed }
      #expect(alice.count(.data) == 0)
    }
  }

  @Test("payload is passed on without a word that only a router says, before and after the circuit is open")
  func onlyPayload() async throws {
    try await withRouter { router in
      let bob = try await router.host()
      let alice = try await RawSDK(router, "alice")
      let sequence = alice.post(
        EdgeMessages.Connect(connID: 1, token: try await router.network.sessionToken("alice", "Dial")).message())
      let dial = try await bob.take(.dial)
      let far = try #require(try EdgeMessages.Dial(parsing: dial).newConnID)
      let trace = [UInt8](repeating: 9, count: 16)
      let forged: [(HeaderID, [UInt8])] = [
        (.replyFor, RawSDK.le(UInt32(sequence))), (.errorCode, RawSDK.le(3)), (.circuitID, [1]),
        (.heartbeat, RawSDK.le(0) + RawSDK.le(0)),
      ]
      // Before the dialler hears of the circuit: as an answer to its Connect.
      let headers =
        forged + [(HeaderID.connID, RawSDK.le(far)), (HeaderID.flags, RawSDK.le(16)), (HeaderID.reflected, trace)]
      bob.send(RawSDK.frame(.data, headers, body: [1]))
      bob.post(EdgeMessages.DialSuccess(replyFor: dial.sequence, connID: 1, newConnID: far).message())
      #expect(try await alice.answer(to: sequence).contentType == .stateConnected)
      let early = try await alice.take(.data)
      #expect(early.body == [1] && early.headers[.reflected] == trace)
      #expect(Self.records(early) == [HeaderID.connID, .flags, .reflected])
      #expect(early.headers.uint32(.connID) == 1 && early.headers.uint32(.flags) == 16)
      // A trace id of another length makes C SDKs abort.
      alice.send(
        RawSDK.frame(.data, forged + [(HeaderID.connID, RawSDK.le(1)), (HeaderID.reflected, [1, 2])], body: [2]))
      alice.send(RawSDK.frame(.data, [(.connID, RawSDK.le(1)), (.seq, RawSDK.le(7)), (.reflected, trace)], body: [3]))
      let late = try await bob.take(.data)
      #expect(late.body == [2] && Self.records(late) == [HeaderID.connID] && late.headers.uint32(.connID) == far)
      // What Data carries passes as it is, in its order.
      let plain = try await bob.take(.data)
      #expect(plain.body == [3] && Self.records(plain) == [HeaderID.connID, .seq, .reflected])
    }
  }

  @Test("the answer to a trace goes to whoever asked, and answers nothing else")
  func traces() async throws {
    try await withRouter { router in
      let bob = try await router.host()
      let alice = try await RawSDK(router, "alice")
      let far = try await router.circuit(alice, bob)
      func answer(_ connID: UInt32, _ id: UInt32) {
        bob.post(
          EdgeMessages.TraceRouteResponse(
            replyFor: nil, connID: connID, hops: 0, sourceRequestID: id, hopType: "sdk",
            hopID: String(repeating: "x", count: 50_000)
          ).message())
      }
      // A probe waits for its answer; the host names it, and every other number that alice may wait on.
      for id in UInt32(0)..<100 { answer(far, id) }
      let sequence = alice.post(EdgeMessages.TraceRoute(connID: 1, hops: 5).message())
      let request = try EdgeMessages.TraceRoute(parsing: try await bob.take(.traceRoute))
      #expect(request.connID == far && request.hops == 2)
      answer(far, try #require(request.sourceRequestID))
      let traced = try EdgeMessages.TraceRouteResponse(parsing: try await alice.answer(to: sequence))
      #expect(traced.connID == 1 && traced.hopType == "sdk" && traced.hopID.utf8.count == 1024)
      answer(far, try #require(request.sourceRequestID))
      bob.data([1], connID: far)
      _ = try await alice.take(.data)
      #expect(alice.count(.traceRouteResponse) == 0)
    }
  }

  @Test("the host hears from the controller alone who dials, and texts of others are cut to a length")
  func namedByController() async throws {
    try await withRouter { router in
      let bob = try await router.host()
      let alice = try await RawSDK(router, "alice")
      router.controller.forge([
        ControlHeader.dialingIdentityID.peerDataKey: Array("admin".utf8),
        ControlHeader.dialingIdentityName.peerDataKey: Array("Admin".utf8),
      ])
      let token = try await router.network.sessionToken("alice", "Dial")
      let sequence = alice.post(EdgeMessages.Connect(connID: 1, token: token).message())
      for _ in 0..<2 {
        let message = try await bob.take(.dial)
        let dial = try EdgeMessages.Dial(parsing: message)
        #expect(dial.dialerIdentityID == "alice" && dial.dialerIdentityName == "alice")
        bob.post(
          EdgeMessages.DialFailed(replyFor: message.sequence, connID: 1, text: String(repeating: "no ", count: 10_000))
            .message())
      }
      let refusal = try EdgeMessages.StateClosed(parsing: try await alice.answer(to: sequence))
      #expect(refusal.text.contains("no no") && refusal.text.utf8.count < 4096)
      // What no circuit message can carry is refused here, and does not cost the router its controller.
      let long = alice.post(
        EdgeMessages.Connect(connID: 2, token: token, options: .init(appData: [UInt8](repeating: 1, count: 9000)))
          .message())
      #expect(try await alice.answer(to: long).text == "header 1011: 9000 bytes, at most 8192")
    }
  }

  // MARK: Readers who do not read

  @Test("a dialler who does not read holds up nobody else of its host, and is cut after the grace", arguments: [0, 1])
  func deafDialler(loopsBetween: Int) async throws {
    let queue = 256 * 1024
    try await withRouter {
      ($0.circuitQueue, $0.circuitGrace) = (queue, .milliseconds(400))
    } _: { router in
      let bob = try await router.host()
      // The router's connections take its event loops in turn: same loop as the host's, or another one.
      for _ in 0..<loopsBetween { _ = try await RawSDK(router, "alice") }
      let (deaf, alice) = (try await RawSDK(router, "alice", counts: true), try await RawSDK(router, "alice"))
      let (lost, far) = (try await router.circuit(deaf, bob), try await router.circuit(alice, bob))
      deaf.setReading(false)
      let piece = [UInt8](repeating: 7, count: 64 * 1024)
      for _ in 0..<512 { bob.data(piece, connID: lost) }
      // Behind 32 MiB that nobody reads.
      bob.data([1], connID: far)
      #expect(try await alice.take(.data).body == [1])
      let closed = try await bob.take("the host hears of the end") {
        $0.contentType == .stateClosed && $0.headers.uint32(.connID) == lost
      }
      #expect(closed.text == "the dialler did not read for 0.4 s while others on the host's channel waited")
      alice.data([2], connID: 1)
      #expect(try await bob.take(.data).body == [2])
      try await eventually("nothing waits") { router.node.core.waitingBytes.now == 0 }
      try await eventually("the controller hears of the end") { router.controller.circuits.count == 1 }
      deaf.setReading(true)
      #expect(try await deaf.take(.stateClosed).text == closed.text)
      #expect(deaf.received(1) < 32 << 20)
    }
  }

  @Test("of many circuits that nobody reads the first one has the grace, and the others what is left of it")
  func deafInTurn() async throws {
    try await withRouter {
      ($0.circuitQueue, $0.circuitGrace) = (256 * 1024, .seconds(2))
    } _: { router in
      let bob = try await router.host()
      let (deaf, alice) = (try await RawSDK(router, "alice", counts: true), try await RawSDK(router, "alice"))
      var lost: [UInt32] = []
      for connID in UInt32(1)...5 { lost.append(try await router.circuit(deaf, bob, connID: connID)) }
      let far = try await router.circuit(alice, bob)
      deaf.setReading(false)
      for (number, connID) in lost.enumerated() {
        for _ in 0..<(number == 0 ? 512 : 16) { bob.data([UInt8](repeating: 7, count: 64 * 1024), connID: connID) }
      }
      bob.data([1], connID: far)
      #expect(try await alice.take(.data).body == [1])
      for (number, connID) in lost.enumerated() {
        let closed = try await bob.take("the host hears of the end") {
          $0.contentType == .stateClosed && $0.headers.uint32(.connID) == connID
        }
        #expect(closed.text.contains("did not read for 2 s") == (number == 0))
      }
    }
  }

  @Test("a host that does not read holds up only its own diallers' circuits")
  func deafHost() async throws {
    try await withRouter {
      ($0.circuitQueue, $0.circuitGrace) = (256 * 1024, .milliseconds(400))
    } _: { router in
      let deaf = try await router.host()
      let alice = try await RawSDK(router, "alice")
      let lost = try await router.circuit(alice, deaf)
      deaf.setReading(false)
      // Bob's second channel takes the listener over: circuits of the first go on.
      let bob = try await router.host()
      _ = try await router.circuit(alice, bob, connID: 2)
      for _ in 0..<512 { alice.data([UInt8](repeating: 7, count: 64 * 1024), connID: 1) }
      alice.data([1], connID: 2)
      #expect(try await bob.take(.data).body == [1])
      let closed = try await alice.take(.stateClosed)
      #expect(closed.headers.uint32(.connID) == 1)
      #expect(closed.text == "the host did not read for 0.4 s while others on the dialler's channel waited")
      deaf.setReading(true)
      #expect(try await deaf.take(.stateClosed).headers.uint32(.connID) == lost)
    }
  }

  @Test("alone on its channel a reader may pause beyond the grace, and gets everything")
  func alone() async throws {
    try await withRouter {
      ($0.circuitQueue, $0.circuitGrace) = (256 * 1024, .milliseconds(100))
    } _: { router in
      let bob = try await router.host()
      let alice = try await RawSDK(router, "alice", counts: true)
      let far = try await router.circuit(alice, bob)
      alice.setReading(false)
      for _ in 0..<512 { bob.data([UInt8](repeating: 7, count: 64 * 1024), connID: far) }
      bob.post(EdgeMessages.Data(connID: far, flags: .fin, body: []).message())
      try await eventually("the host is held back") { !bob.channel.isWritable }
      try await Task.sleep(for: .milliseconds(600))
      #expect(router.node.circuitCount == 1 && bob.count(.stateClosed) == 0)
      #expect(!bob.channel.isWritable)
      alice.setReading(true)
      #expect(try await alice.take(.data).headers.uint32(.flags) == EdgeFlags.fin.rawValue)
      #expect(alice.received(1) == 32 << 20)
      #expect(router.node.core.waitingBytes.now == 0)
    }
  }

  @Test("a dialler who comes while the host is held back is let in, and from then on the pause has an end")
  func newcomer() async throws {
    try await withRouter {
      ($0.circuitQueue, $0.circuitGrace) = (256 * 1024, .milliseconds(400))
    } _: { router in
      let bob = try await router.host()
      let (deaf, alice) = (try await RawSDK(router, "alice", counts: true), try await RawSDK(router, "alice"))
      let lost = try await router.circuit(deaf, bob)
      deaf.setReading(false)
      for _ in 0..<512 { bob.data([UInt8](repeating: 7, count: 64 * 1024), connID: lost) }
      try await eventually("the host is held back") { !bob.channel.isWritable }
      let far = try await router.circuit(alice, bob)
      bob.data([1], connID: far)
      #expect(try await alice.take(.data).body == [1])
      #expect(try await bob.take(.stateClosed).text.hasPrefix("the dialler did not read"))
      deaf.setReading(true)
    }
  }

  @Test("what waits for a reader when the other side closes arrives before the end, in order")
  func farewell() async throws {
    try await withRouter { router in
      let bob = try await router.host()
      let (slow, alice) = (try await RawSDK(router, "alice", counts: true), try await RawSDK(router, "alice"))
      let (far, _) = (try await router.circuit(slow, bob), try await router.circuit(alice, bob))
      slow.setReading(false)
      var sent = 0
      while router.node.core.waitingBytes.now == 0 {
        try #require(sent < 64 << 20)
        bob.data([UInt8](repeating: 7, count: 64 * 1024), connID: far)
        sent += 64 * 1024
        if sent.isMultiple(of: 1 << 20) { try await Task.sleep(for: .milliseconds(5)) }
      }
      bob.post(EdgeMessages.StateClosed(connID: far, text: "").message())
      bob.channel.close(promise: nil)
      try await eventually("the circuit ended") { router.node.circuitCount == 0 }
      slow.setReading(true)
      #expect(try await slow.take(.stateClosed).text == "close called")
      #expect(slow.received(1) == sent)
      #expect(slow.count(.data) == 1, "the end of data comes before the end")
      #expect(router.node.core.waitingBytes.now == 0)
    }
  }

  @Test("bytes for unanswered dials and for readers who do not read are counted by identity, over all circuits")
  func waitingBytes() async throws {
    try await withRouter {
      $0.identityLimits.bytes = 300_000
    } _: { router in
      let bob = try await router.host()
      let alice = try await RawSDK(router, "alice")
      let token = try await router.network.sessionToken("alice", "Dial")
      var ids: [UInt32] = []
      for connID in UInt32(1)...3 {
        alice.post(EdgeMessages.Connect(connID: connID, token: token).message())
        ids.append(try #require(try EdgeMessages.Dial(parsing: try await bob.take(.dial)).newConnID))
      }
      // Each within what one circuit may hold, together beyond what the identity may.
      for id in ids { bob.data([UInt8](repeating: 1, count: 200_000), connID: id) }
      let closed = try await bob.take(.stateClosed)
      #expect(closed.headers.uint32(.connID) == ids[2] && closed.text == "too much data before the connection was open")
      #expect(router.node.core.waitingBytes.now == 2 * (200_000 + 32))
      bob.channel.close(promise: nil)
      try await eventually("nothing waits") { router.node.core.waitingBytes.now == 0 }
    }
  }

  // MARK: Much of everything

  @Test(
    "Data for unknown connections is answered a few times, whatever is sent, and an SDK that does not read is not read")
  func strayData() async throws {
    try await withRouter { router in
      let alice = try await RawSDK(router, "alice")
      let one = EdgeMessages.Data(connID: 9, body: [1]).message().encoded()
      alice.send(Array(repeating: one, count: 2000).flatMap { $0 })
      var many: [UInt8] = []
      for id in UInt32(100)..<20_100 { many += EdgeMessages.Data(connID: id, body: [1]).message().encoded() }
      alice.send(many)
      // Behind all of that, an answer that always comes.
      _ = try await alice.answer(to: alice.post(WireMessage(contentType: .latency)))
      // 64 at once and 64 a second; a machine that stands still for a while gets some more.
      #expect((1...1000).contains(alice.count(.stateClosed)))
      alice.setReading(false)
      var probe = WireMessage(contentType: .latency)
      probe.headers[.reflected] = [UInt8](repeating: 1, count: 8)
      let probes = Array(repeating: probe.encoded(), count: 10_000).flatMap { $0 }
      for _ in 0..<60 { alice.send(probes) }
      try await eventually("the router stops reading") { !alice.channel.isWritable }
      try await Task.sleep(for: .milliseconds(200))
      #expect(!alice.channel.isWritable)
      alice.setReading(true)
      try await eventually("and goes on") { alice.channel.isWritable }
    }
  }

  @Test(
    "channels, dials under way and hosted services of an identity have a limit, and a place is free again when it is left"
  )
  func limits() async throws {
    try await withRouter {
      ($0.identityLimits.channels, $0.identityLimits.dials, $0.identityLimits.binds) = (2, 2, 1)
    } _: { router in
      let bob = try await router.host()
      let (first, second) = (try await RawSDK(router, "alice"), try await RawSDK(router, "alice"))
      await #expect {
        _ = try await RawSDK(router, "alice")
      } throws: { error in
        guard case .helloRefused(_, let reason, let headers)? = error as? TransportError else { return false }
        return reason == "the identity has 2 channels open at this router; close one"
          && headers.uint32(.helloRejectClass) == 1
      }
      let token = try await router.network.sessionToken("alice", "Dial")
      first.post(EdgeMessages.Connect(connID: 1, token: token).message())
      second.post(EdgeMessages.Connect(connID: 1, token: token).message())
      let dial = try await bob.take(.dial)
      _ = try await bob.take(.dial)
      // Over all channels of the identity.
      let third = try EdgeMessages.StateClosed(
        parsing: try await first.answer(to: first.post(EdgeMessages.Connect(connID: 2, token: token).message())))
      #expect(
        third.text == "2 dials of this identity wait for an answer at this router" && third.error?.retryHint == .tooBusy
      )
      let far = try #require(try EdgeMessages.Dial(parsing: dial).newConnID)
      bob.post(EdgeMessages.DialSuccess(replyFor: dial.sequence, connID: 1, newConnID: far).message())
      let opened = try await eventuallyOpen([first, second])
      _ = try await router.circuit(opened, bob, connID: 3)
      let bind = EdgeMessages.Bind(
        connID: 2, token: Array(try await router.network.sessionToken("bob", "Bind").utf8), listenerID: [5]
      ).message()
      let busy = try EdgeMessages.StateClosed(parsing: try await bob.answer(to: bob.post(bind)))
      #expect(busy.text == "this identity hosts 1 services at this router already" && busy.error?.retryHint == .tooBusy)
      bob.post(EdgeMessages.StateClosed(connID: 1, text: "").message())
      #expect(try await bob.answer(to: bob.post(bind)).contentType == .stateConnected)
      first.channel.close(promise: nil)
      try await eventually("a channel fits again") { (try? await RawSDK(router, "alice")) != nil }
    }
  }

  @Test("an identity has a limit of circuits that it dialled, over all of its channels, and room again when one ends")
  func circuits() async throws {
    try await withRouter {
      $0.identityLimits.circuits = 2
    } _: { router in
      let bob = try await router.host()
      let (first, second) = (try await RawSDK(router, "alice"), try await RawSDK(router, "alice"))
      for alice in [first, second] { _ = try await router.circuit(alice, bob) }
      let connect = EdgeMessages.Connect(connID: 2, token: try await router.network.sessionToken("alice", "Dial"))
        .message()
      let refusal = try EdgeMessages.StateClosed(parsing: try await first.answer(to: first.post(connect)))
      #expect(
        refusal.text == "this identity has 2 circuits open at this router; close some"
          && refusal.error?.retryHint == .tooBusy)
      // The one who is dialled has no part in it.
      second.post(EdgeMessages.StateClosed(connID: 1, text: "").message())
      try await eventually("one has ended") { router.node.circuitCount == 1 }
      _ = try await router.circuit(first, bob, connID: 2)
      first.channel.close(promise: nil)
      let share = try #require(router.node.core.state.withLockedValue { $0.connections.of(identity: "alice") }.first)
        .share
      try await eventually("nothing is left") { share.has(.circuit) == 0 && share.has(.dial) == 0 }
    }
  }

  @Test("listeners that are bound one after the other under one id are one listener, and count until they are gone")
  func sameID() async throws {
    try await withRouter {
      $0.identityLimits.binds = 2
    } _: { router in
      let bob = try await RawSDK(router, "bob")
      let token = Array(try await router.network.sessionToken("bob", "Bind").utf8)
      for id in UInt8(1)...20 {
        let bind = EdgeMessages.Bind(connID: 1, token: token, listenerID: [id], supportsBindSuccess: true).message()
        #expect(try await bob.answer(to: bob.post(bind)).contentType == .stateConnected)
        _ = try await bob.take(.bindSuccess)
      }
      let share = try #require(router.node.core.state.withLockedValue { $0.connections.of(identity: "bob") }.first)
        .share
      #expect(router.node.core.hostedIDs.count == 1)
      try await eventually("one place is taken") { share.has(.bind) == 1 }
      try await eventually("the controller knows one") {
        router.controller.terminators.map(\.id) == router.node.core.hostedIDs
      }
    }
  }

  @Test("what a host says of its service again and again reaches the controller once, and the last word is what counts")
  func hostNews() async throws {
    try await withRouter { router in
      let bob = try await RawSDK(router, "bob")
      let token = Array(try await router.network.sessionToken("bob", "Bind").utf8)
      _ = try await bob.answer(to: bob.post(EdgeMessages.Bind(connID: 1, token: token).message()))
      for cost in UInt16(1)...2000 { bob.post(EdgeMessages.UpdateBind(connID: 1, token: token, cost: cost).message()) }
      _ = try await bob.answer(to: bob.post(WireMessage(contentType: .latency)))
      try await eventually("one is under way") { router.controller.costs.count == 1 }
      router.controller.answerUpdates()
      try await eventually("the last one arrives") { router.controller.costs.last == 2000 }
      #expect(router.controller.costs.count == 2)
    }
  }

  @Test("binds by the thousand in one burst are all made known, but for those that were taken back meanwhile")
  func bindBurst() async throws {
    try await withRouter { router in
      let bob = try await RawSDK(router, "bob")
      let token = Array(try await router.network.sessionToken("bob", "Bind").utf8)
      let binds = UInt32(3000)
      var burst: [UInt8] = []
      for connID in 1...binds {
        burst += EdgeMessages.Bind(
          connID: connID, token: token, terminatorIdentity: "\(connID)", supportsBindSuccess: true
        ).message().encoded()
      }
      burst += EdgeMessages.Unbind(connID: binds, token: token).message().encoded()
      bob.send(burst)
      try await eventually("all of them are known") { bob.count(.bindSuccess) >= binds - 1 }
      try await eventually("and no other") { router.controller.terminators.count == binds - 1 }
      #expect(bob.count(.stateConnected) == bob.count(.bindSuccess) && bob.count(.stateClosed) == 1)
      #expect(router.node.core.waitingBytes.now == 0)
    }
  }

  @Test("whoever is put out does not stay by not reading, and is not heard any more")
  func deafAndOut() async throws {
    try await withRouter { router in
      let bob = try await router.host()
      let alice = try await RawSDK(router, "alice", counts: true)
      let far = try await router.circuit(alice, bob)
      alice.setReading(false)
      for _ in 0..<512 { bob.data([UInt8](repeating: 7, count: 64 * 1024), connID: far) }
      try await eventually("the host is held back") { !bob.channel.isWritable }
      router.controller.end(session: "alice")
      try await eventually("the session is over") { router.node.core.state.withLockedValue { $0.sessions.count } == 1 }
      // Its bytes come to a channel that closes when its own have left, which they never do.
      let handle = try #require(router.node.core.state.withLockedValue { $0.connections.of(identity: "alice") }.first)
      try await handle.loop.submit {}.get()
      alice.data([9], connID: 1)
      try await eventually("the circuit is over") { router.node.circuitCount == 0 }
      _ = try await bob.take(.stateClosed)
      #expect(bob.count(.data) == 0)
      try await eventually("the channel is gone") {
        router.node.core.state.withLockedValue { $0.connections.of(identity: "alice").isEmpty }
      }
    }
  }

  @Test("a channel that was opened with a certificate which is withdrawn ends, and no other")
  func withdrawnCertificate() async throws {
    try await withRouter { router in
      let alice = try await RawSDK(router, "alice")
      _ = try await alice.answer(to: alice.post(WireMessage(contentType: .latency)))
      let handle = try #require(router.node.core.state.withLockedValue { $0.connections.of(identity: "alice") }.first)
      let fingerprint = handle.fingerprint
      router.controller.change(session: "alice", fingerprints: [fingerprint, "another"])
      router.controller.change(session: "alice", fingerprints: [fingerprint])
      try await eventually("it is known") {
        router.node.core.state.withLockedValue { $0.sessions[handle.session.digest] }?.fingerprints == [
          handle.fingerprint
        ]
      }
      #expect(try await alice.answer(to: alice.post(WireMessage(contentType: .latency))).contentType == .result)
      router.controller.change(session: "alice", fingerprints: ["another"])
      try await eventually("the channel ends") { alice.isClosed }
    }
  }

  private func eventuallyOpen(_ sdks: [RawSDK]) async throws -> RawSDK {
    for _ in 0..<2000 {
      for sdk in sdks where sdk.count(.stateConnected) > 0 { return sdk }
      try await Task.sleep(for: .milliseconds(5))
    }
    throw RawSDK.Missing(what: "an open circuit")
  }
}
