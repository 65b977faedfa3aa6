import EdgeRouter
import Fabric
import Foundation
import NIOCore
import PKI
import Testing
import Transport
import Wire
import X509

@Suite("An edge router between two SDKs", .timeLimit(.minutes(5)), .serialized)
struct EdgeRouterTests {
  /// An open circuit: alice's conn 1, bob's conn `far`.
  private struct Circuit {
    let alice: TestSDK
    let bob: TestSDK
    let far: UInt32
    let connected: EdgeMessages.StateConnected
    let dial: EdgeMessages.Dial
  }

  private func open(_ router: TestRouter, threeWay: Bool = false) async throws -> Circuit {
    let bob = try await router.sdk("bob")
    let bindToken = try await router.network.sessionToken("bob", "Bind")
    let bound = try EdgeMessages.StateConnected(parsing: try await bob.bind(bindToken, threeWay: threeWay))
    #expect(bound.routerProvidesConnIDs == !threeWay)
    let success = try #require(await bob.next(.bindSuccess))
    #expect(success.headers.uint32(.connID) == 1)
    let alice = try await router.sdk("alice")
    let token = try await router.network.sessionToken("alice", "Dial")
    async let answer = alice.connect(token)
    let dialMessage = try #require(await bob.next(.dial))
    let dial = try EdgeMessages.Dial(parsing: dialMessage)
    #expect(dial.token == Array(bindToken.utf8))
    #expect(dial.connID == 1)
    let far = dial.newConnID ?? 77
    let accepted = EdgeMessages.DialSuccess(replyFor: nil, connID: 1, newConnID: far).message()
    if threeWay {
      #expect(dial.newConnID == nil)
      var request = accepted
      request.replyFor = dialMessage.sequence
      let confirmation = try await bob.channel.request(request, timeout: .seconds(20))
      #expect(confirmation.contentType == .stateConnected)
    } else {
      bob.channel.reply(accepted, to: dialMessage)
    }
    // Sent at once, before the dialler knows of the circuit.
    bob.post([42], connID: far)
    let connected = try EdgeMessages.StateConnected(parsing: try await answer)
    let first = try #require(await alice.next(.data))
    #expect(first.body == [42])
    #expect(first.headers.uint32(.connID) == 1)
    return Circuit(alice: alice, bob: bob, far: far, connected: connected, dial: dial)
  }

  @Test("a stranger is refused with a text: no token, unknown certificate")
  func refusals() async throws {
    try await withRouter { router in
      await #expect {
        _ = try await TestSDK(address: router.address, tls: router.alice, token: nil)
      } throws: { error in
        guard case .helloRefused(_, "no api session token", let headers)? = error as? TransportError else {
          return false
        }
        return headers.uint32(.errorCode) == EdgeErrorCode.invalidAPISession.rawValue
      }
      await #expect {
        _ = try await TestSDK(address: router.address, tls: router.bob, token: "token-alice")
      } throws: { error in
        guard case .helloRefused(_, let reason, _)? = error as? TransportError else { return false }
        return reason == "the client certificate does not belong to the api session"
      }
    }
  }

  @Test(
    "a host whose SDK may lose its BindSuccess gets it again, twice; another one gets it once",
    arguments: [true, false])
  func confirmations(again: Bool) async throws {
    try await withRouter { router in
      if again { router.controller.confirmAgain() }
      let bob = try await RawSDK(router, "bob")
      let token = Array(try await router.network.sessionToken("bob", "Bind").utf8)
      bob.post(EdgeMessages.Bind(connID: 1, token: token, listenerID: [1], supportsBindSuccess: true).message())
      bob.post(EdgeMessages.Bind(connID: 2, token: token, listenerID: [2], supportsBindSuccess: true).message())
      _ = try await bob.take("its BindSuccess") { $0.contentType == .bindSuccess && $0.headers.uint32(.connID) == 2 }
      // Nothing is confirmed that the host has given up.
      bob.post(EdgeMessages.Unbind(connID: 2, token: token).message())
      for _ in 0..<(again ? 3 : 1) {
        _ = try await bob.take("a BindSuccess") { $0.contentType == .bindSuccess && $0.headers.uint32(.connID) == 1 }
      }
      if !again { try await Task.sleep(for: .milliseconds(400)) }
      #expect(bob.count(.bindSuccess) == 0)
    }
  }

  @Test("hosts that bound for a service's old encryption have to bind anew, others not")
  func encryptionChanged() async throws {
    try await withRouter { router in
      let bob = try await RawSDK(router, "bob")
      let token = Array(try await router.network.sessionToken("bob", "Bind").utf8)
      func bind(_ connID: UInt32, key: [UInt8]?) async throws {
        let bind = EdgeMessages.Bind(
          connID: connID, token: token, publicKey: key, listenerID: [UInt8(connID)], supportsBindSuccess: true)
        try #require(try await bob.answer(to: bob.post(bind.message())).contentType == .stateConnected)
        _ = try await bob.take(.bindSuccess)
      }
      let key = [UInt8](repeating: 7, count: 32)
      // A key does no harm where none is asked for: other SDKs keep theirs.
      try await bind(1, key: key)
      try await bind(2, key: nil)
      for (encrypted, gone) in [(true, [UInt32(2)]), (false, [1, 2])] {
        router.controller.encrypt(encrypted)
        var closed: [UInt32] = []
        for _ in gone {
          let end = try EdgeMessages.StateClosed(parsing: try await bob.take(.stateClosed))
          #expect(end.error?.retryHint == .startOver)
          closed.append(end.connID ?? 0)
        }
        #expect(closed.sorted() == gone)
        for connID in gone { try await bind(connID, key: encrypted ? key : nil) }
      }
      #expect(bob.count(.stateClosed) == 0 && router.controller.terminators.count == 2)
    }
  }

  @Test("a session that arrives after the SDK is waited for")
  func lateSession() async throws {
    try await withRouter { router in
      let (tls, fingerprint) = try router.network.client("carol")
      async let sdk = TestSDK(address: router.address, tls: tls, token: "token-carol")
      try await Task.sleep(for: .milliseconds(100))
      router.controller.add(session: "carol", fingerprint: fingerprint)
      #expect(try await sdk.channel.helloHeaders.string(.id) == "r1")
    }
  }

  @Test("headers of the dialler reach the host and the host's key the dialler")
  func headers() async throws {
    try await withRouter { router in
      let circuit = try await open(router)
      #expect(circuit.dial.publicKey == [UInt8](repeating: 9, count: 32))
      #expect(circuit.dial.callerID == "me")
      #expect(circuit.dial.appData == [1, 2])
      #expect(circuit.dial.dialerIdentityID == "alice")
      #expect(circuit.dial.dialerIdentityName == "alice")
      #expect(circuit.connected.publicKey == [UInt8](repeating: 7, count: 32))
      #expect(circuit.connected.circuitID == router.controller.circuits.first?.id)
    }
  }

  @Test("five megabytes each way at once arrive in order, then half close, then the end")
  func payload() async throws {
    try await withRouter { router in
      let circuit = try await open(router)
      let (alice, bob, far) = (circuit.alice, circuit.bob, circuit.far)
      let frames = 320
      func body(_ index: Int) -> [UInt8] {
        [UInt8(index & 255), UInt8(index >> 8)] + [UInt8](repeating: UInt8(index & 255), count: 16 * 1024 - 2)
      }
      for index in 0..<frames {
        alice.post(body(index), connID: 1)
        bob.post(body(index), connID: far, flags: .multipart)
      }
      for index in 0..<frames {
        let there = try #require(await bob.next(.data))
        #expect(there.body == body(index))
        #expect(there.headers.uint32(.connID) == far)
        let back = try #require(await alice.next(.data))
        #expect(back.body == body(index))
        #expect(back.headers.uint32(.flags) == EdgeFlags.multipart.rawValue)
      }
      alice.post([], connID: 1, flags: .fin)
      let fin = try #require(await bob.next(.data))
      #expect(fin.body.isEmpty && fin.headers.uint32(.flags) == EdgeFlags.fin.rawValue)
      bob.post([5], connID: far)
      #expect(await alice.next(.data)?.body == [5])
      bob.channel.post(EdgeMessages.StateClosed(connID: far, text: "").message())
      // What a graceful end looks like: end of data, then closed.
      #expect(await alice.next(.data)?.headers.uint32(.flags) == EdgeFlags.fin.rawValue)
      #expect(await alice.next(.stateClosed)?.text == "close called")
      try await eventually("the controller hears of the end") { router.controller.circuits.isEmpty }
      #expect(router.node.circuitCount == 0)
    }
  }

  @Test("a host that chooses its own ids is confirmed in three ways")
  func threeWay() async throws {
    try await withRouter { router in
      let circuit = try await open(router, threeWay: true)
      #expect(circuit.far == 77)
      circuit.alice.post([1], connID: 1)
      #expect(await circuit.bob.next(.data)?.headers.uint32(.connID) == 77)
    }
  }

  @Test("when the policy goes, the circuit ends at once with the reason, and the next dial is refused with it")
  func policyLost() async throws {
    try await withRouter { router in
      let circuit = try await open(router)
      router.controller.withdraw("alice", from: "pd")
      let closed = try #require(await circuit.alice.next(.stateClosed))
      #expect(
        closed.text.hasPrefix(
          "dial access lost: no service policy of type Dial matches both identity \"alice\" and service \"service\""))
      #expect(await circuit.bob.next(.stateClosed)?.headers.uint32(.connID) == circuit.far)
      let refusal = try EdgeMessages.StateClosed(
        parsing: try await circuit.alice.connect(router.network.sessionToken("alice", "Dial"), connID: 2))
      #expect(refusal.text.hasPrefix("no policies provide access: no service policy of type Dial"))
      #expect(refusal.error?.code == .accessDenied)
      try await eventually("the controller hears of it") { router.controller.circuits.isEmpty }
    }
  }

  @Test("when the right to host goes, the host is told and the terminator is withdrawn")
  func bindLost() async throws {
    try await withRouter { router in
      let circuit = try await open(router)
      router.controller.withdraw("bob", from: "pb")
      var texts: [UInt32: String] = [:]
      for _ in 0..<2 {
        let closed = try #require(await circuit.bob.next(.stateClosed))
        texts[try #require(closed.headers.uint32(.connID))] = closed.text
      }
      #expect(texts[1]?.hasPrefix("bind access lost: ") == true)
      #expect(texts[circuit.far]?.hasPrefix("bind access lost: ") == true)
      try await eventually("withdrawn") { router.controller.terminators.isEmpty }
    }
  }

  @Test("a host that dies ends its circuits and terminators")
  func hostKilled() async throws {
    try await withRouter { router in
      let circuit = try await open(router)
      circuit.bob.channel.close()
      #expect(await circuit.alice.next(.stateClosed)?.text == "channel closed")
      try await eventually("withdrawn") { router.controller.terminators.isEmpty && router.controller.circuits.isEmpty }
      let refusal = try EdgeMessages.StateClosed(
        parsing: try await circuit.alice.connect(router.network.sessionToken("alice", "Dial")))
      #expect(refusal.text == "service svc has no terminators")
    }
  }

  @Test("live circuits outlive the controller's channel; hosts are made known again")
  func controllerLost() async throws {
    try await withRouter { router in
      let circuit = try await open(router)
      let before = router.controller.terminators.map(\.id)
      router.controller.disconnectRouter()
      circuit.alice.post([3], connID: 1)
      #expect(await circuit.bob.next(.data)?.body == [3])
      try await eventually("reconnected") { router.controller.greetings == 2 && !router.controller.confirmed.isEmpty }
      #expect(router.controller.confirmed == [circuit.connected.circuitID])
      #expect(await circuit.bob.next(.bindSuccess) != nil)
      #expect(router.controller.terminators.map(\.id) == before)
      circuit.bob.post([4], connID: circuit.far)
      #expect(await circuit.alice.next(.data)?.body == [4])
    }
  }

  @Test("refused dials: wrong token, wrong kind, missing key, host says no")
  func dialRefusals() async throws {
    try await withRouter(encrypted: true) { router in
      let bob = try await router.sdk("bob")
      _ = try await bob.bind(router.network.sessionToken("bob", "Bind"))
      let alice = try await router.sdk("alice")
      func refusal(_ token: String, publicKey: [UInt8]? = [1]) async throws -> EdgeMessages.StateClosed {
        try EdgeMessages.StateClosed(parsing: try await alice.connect(token, connID: 0, publicKey: publicKey))
      }
      let stolen = try await refusal(router.network.sessionToken("bob", "Dial"))
      #expect(stolen.text == "Invalid Session" && stolen.error?.code == .invalidSession && stolen.connID == 0)
      let wrong = try await refusal(router.network.sessionToken("alice", "Bind"))
      #expect(
        wrong.text == "rejecting dial, invalid session type. expected Dial, got Bind"
          && wrong.error?.code == .wrongSessionType)
      let plain = try await refusal(router.network.sessionToken("alice", "Dial"), publicKey: nil)
      #expect(
        plain.text == "encryption required on service, initiator did not send public header"
          && plain.error?.code == .encryptionDataMissing)
      let unknown = try await refusal(router.network.sessionToken("alice", "Dial", service: "nothing"))
      #expect(unknown.text == "service not found by id")
      #expect(await bob.next(.bindSuccess) != nil)
      async let answer = refusal(router.network.sessionToken("alice", "Dial"))
      for _ in 0..<2 {
        let dial = try #require(await bob.next(.dial))
        bob.channel.reply(EdgeMessages.DialFailed(replyFor: nil, connID: 0, text: "no thanks").message(), to: dial)
      }
      #expect(try await answer.text.contains("(no thanks)"))
    }
  }

  @Test("the same listener binding again keeps its terminator; unbind is answered and withdraws it")
  func rebind() async throws {
    try await withRouter { router in
      let token = try await router.network.sessionToken("bob", "Bind")
      let first = try await router.sdk("bob")
      #expect(try await first.bind(token, listener: [1, 2, 3]).contentType == .stateConnected)
      #expect(await first.next(.bindSuccess) != nil)
      let id = try #require(router.controller.terminators.first?.id)
      let second = try await router.sdk("bob")
      #expect(try await second.bind(token, connID: 5, listener: [1, 2, 3]).contentType == .stateConnected)
      #expect(await first.next(.stateClosed)?.headers.uint32(.connID) == 1)
      #expect(await second.next(.bindSuccess) != nil)
      #expect(router.controller.terminators.map(\.id) == [id])
      let answer = try await second.channel.request(
        EdgeMessages.Unbind(connID: 5, token: Array(token.utf8)).message(), timeout: .seconds(20))
      #expect(answer.text == "unbound")
      try await eventually("withdrawn") { router.controller.terminators.isEmpty }
    }
  }

  @Test("probes, traces and unknown ids are answered")
  func diagnosis() async throws {
    try await withRouter { router in
      let circuit = try await open(router)
      var probe = WireMessage(contentType: .latency)
      probe.headers[.reflected] = [1, 2, 3, 4, 5, 6, 7, 8]
      #expect(
        try await circuit.alice.channel.request(probe, timeout: .seconds(20)).headers[.reflected] == [
          1, 2, 3, 4, 5, 6, 7, 8,
        ])
      let hop = try EdgeMessages.TraceRouteResponse(
        parsing: try await circuit.alice.channel.request(
          EdgeMessages.TraceRoute(connID: 1, hops: 2).message(), timeout: .seconds(20)))
      #expect(hop.hopType == "forwarder" && hop.hopID == "r1")
      circuit.alice.post([1], connID: 99)
      #expect(await circuit.alice.next(.stateClosed)?.headers.uint32(.connID) == 99)
    }
  }

  @Test(
    "certificates past two thirds of their life, or issued by a clock a year ahead, are renewed over the control channel and used without a restart",
    arguments: [3000, -CertificateAuthority.Lifetime.year])
  func renewal(age: TimeInterval) async throws {
    try await withRouter(routerAge: age) { router in
      let url = "https://127.0.0.1:\(router.address.port)/"
      try await eventually("new files") {
        guard let pem = try? String(contentsOfFile: router.network.files.certificate, encoding: .utf8),
          let chain = try? CertificateChain(pem: pem)
        else { return false }
        return chain.leaf.notValidAfter > Date() + 7200 && chain.leaf.isValid(at: Date())
      }
      // The files are written before the listener takes them into use.
      try await eventually("the new certificate is served") {
        let leaf = try await HTTPSClient.leaf(of: url)
        return leaf.notValidAfter > Date() + 7200 && leaf.isValid(at: Date())
      }
      router.controller.disconnectRouter()
      try await eventually("reconnected with the new certificate") { router.controller.greetings == 2 }
    }
  }

  @Test(
    "certificates of a controller whose clock is a year ahead are neither confirmed nor taken into use, and asked for once a channel"
  )
  func renewalByWrongClock() async throws {
    try await withRouter(routerAge: 3000, issuingAhead: CertificateAuthority.Lifetime.year) { router in
      let before = try String(contentsOfFile: router.network.files.certificate, encoding: .utf8)
      for turn in 1...2 {
        try await eventually("asked") { router.controller.extensionRequests == turn }
        // Time for the confirmation that must not come.
        for _ in 0..<30 where router.controller.confirmations == 0 { try await Task.sleep(for: .milliseconds(10)) }
        router.controller.disconnectRouter()
        try await eventually("back") { router.controller.greetings == turn + 1 }
      }
      #expect(router.controller.confirmations == 0)
      #expect(try String(contentsOfFile: router.network.files.certificate, encoding: .utf8) == before)
    }
  }

  @Test("a host that reads slowly holds its dialler back, loses nothing, and others go on")
  func slowHost() async throws {
    try await withRouter { router in
      let circuit = try await open(router)
      let frames = 1500
      let body = [UInt8](repeating: 3, count: 32 * 1024)
      for _ in 0..<frames { circuit.alice.post(body, connID: 1) }
      circuit.alice.post([], connID: 1, flags: .fin)
      var bytes = 0
      while let message = await circuit.bob.next(.data) {
        bytes += message.body.count
        if message.headers.uint32(.flags) == EdgeFlags.fin.rawValue { break }
      }
      #expect(bytes == frames * body.count)
      circuit.bob.post([1], connID: circuit.far)
      #expect(await circuit.alice.next(.data)?.body == [1])
    }
  }
}
