import Authentication
import Fabric
import Foundation
import JSON
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import PKI
import Store
import SwiftProtobuf
import Testing
import Transport
import Wire
import WireSchemas

@testable import Controller

/// A router at the level of messages, enrolled, with real channels: it carries out routes, tells its circuits when it
/// is asked, and says what a test wants.
private final class Router: Sendable {
  struct State {
    var channel: MessageChannel?
    /// Circuits that it has.
    var circuits: Set<String> = []
    var unrouted: [String] = []
    var routes: [CtrlRoute] = []
    var answersRoutes = true
    /// What it adds to the answer of a route.
    var peerData: [UInt32: [UInt8]] = [:]
    var isInspected = false
  }

  let id: String
  private let credential: LiveController.Credential
  private let controller: LiveController
  private let state = NIOLockedValueBox(State())

  init(_ controller: LiveController, _ name: String) async throws {
    let invitation = try await controller.node.provisioning.createEdgeRouter(name: name)
    let key = try PrivateKey.generate(.p256)
    let csr: JSONValue = .string(try CSR.create(key: key, commonName: invitation.id, names: ["127.0.0.1"]))
    let token = try LiveController.oneTime(invitation.jwt)
    let answer = try await controller.send(
      "POST", "/enroll?method=erott&token=\(token)", ["certCsr": csr, "serverCertCsr": csr])
    credential = .init(
      key: key, chain: try CertificateChain(pem: try #require(answer.data["cert"]?.stringValue, "\(answer.text)")))
    id = invitation.id
    self.controller = controller
    try await connect()
  }

  var now: State { state.withLockedValue { $0 } }
  func change(_ body: (inout State) -> Void) { state.withLockedValue { body(&$0) } }

  /// On return the controller has asked for the circuits.
  func connect() async throws {
    let hello = ControlMessages.RouterHello(
      routerID: id, version: .current, capabilities: CapabilityMask([RouterCapability.multiChannel]))
    let tls = ClientTLS(
      chain: credential.chain, key: credential.key, trust: .leaf(try await HTTPSClient.leaf(of: controller.node.url)))
    let port = try #require(controller.node.url.split(separator: ":").last.flatMap { Int($0) })
    change { $0.isInspected = false }
    let channel = try await MessageChannel.dial(
      address: PeerAddress(host: "127.0.0.1", port: port), tls: tls, alpn: ALPN.control, hello: hello.message(),
      group: MultiThreadedEventLoopGroup.singleton, timeout: .seconds(20))
    change { $0.channel = channel }
    Task { for await message in channel.messages { self.receive(message, channel) } }
    try await controller.wait("the router is asked for its circuits") { self.now.isInspected }
  }

  private func receive(_ message: Wire.Message, _ channel: MessageChannel) {
    switch message.contentType {
    case .inspect:
      let circuits = now.circuits
      let text = (try? JSONEncoder().encode(circuits)).map { String(decoding: $0, as: UTF8.self) } ?? ""
      let answer = CtrlInspectResponse.with {
        $0.success = true
        $0.values = [.with { ($0.name, $0.value) = ("router-circuits", text) }]
      }
      channel.reply(Wire.Message(.inspectAnswer, answer), to: message)
      change { $0.isInspected = true }
    case .route:
      guard let route = try? message.decode(CtrlRoute.self) else { return }
      change { $0.routes.append(route) }
      if now.answersRoutes { answer(route) }
    case .unroute:
      guard let request = try? message.decode(CtrlUnroute.self) else { return }
      change {
        $0.unrouted.append(request.circuitID)
        $0.circuits.remove(request.circuitID)
      }
    default: break
    }
  }

  func answer(_ route: CtrlRoute) {
    change { $0.circuits.insert(route.circuitID) }
    let result = ControlMessages.RouteResult(
      replyFor: nil, circuitID: route.circuitID, attempt: route.attempt, outcome: .success(peerData: now.peerData))
    post(result.message())
  }

  func post(_ message: Wire.Message) { now.channel?.post(message) }

  func request(_ message: Wire.Message) async throws -> Wire.Message {
    try await #require(now.channel).request(message, timeout: .seconds(20))
  }

  /// On return the controller has dealt with everything that was posted: it answers in order.
  func settle() async throws { _ = try await request(Wire.Message(.removeTerminators, CtrlRemoveTerminatorsRequest())) }

  func disconnect() async throws {
    now.channel?.close()
    try await controller.wait("the router is away") { !self.controller.node.connectedRouters.contains(self.id) }
  }
}

extension LiveController {
  /// Half a minute is a hang.
  fileprivate func wait(_ what: String, _ condition: @Sendable () async throws -> Bool) async throws {
    for _ in 0..<3000 {
      if try await condition() { return }
      try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("did not happen: \(what)")
  }
}

/// A network with a router and an identity that hosts and dials one service.
private struct AttackedNetwork: Sendable {
  let controller: LiveController
  let router: Router
  let service: String
  let dialPolicy: String
  let apiToken: String
  let fingerprint: String
  let dialSession: String
  let bindSession: String
  let identity: String

  static func start() async throws -> AttackedNetwork {
    let controller = try await LiveController.start()
    let provisioning = controller.node.provisioning
    try await provisioning.createEdgeRouterPolicy(name: "e", identityRoles: ["#all"], edgeRouterRoles: ["#all"])
    try await provisioning.createServiceEdgeRouterPolicy(name: "s", serviceRoles: ["#all"], edgeRouterRoles: ["#all"])
    let service = try await provisioning.createService(name: "svc", encryptionRequired: false)
    let dialPolicy = try await provisioning.createServicePolicy(
      name: "d", type: .dial, identityRoles: ["#all"], serviceRoles: ["#all"])
    try await provisioning.createServicePolicy(name: "b", type: .bind, identityRoles: ["#all"], serviceRoles: ["#all"])
    let router = try await Router(controller, "r1")
    let alice = try await controller.enrolled("alice")
    let login = try await controller.logIn(alice)
    let token = try #require(login.data["token"]?.stringValue)
    func session(_ type: String) async throws -> String {
      let made = try await controller.send(
        "POST", "/sessions", ["serviceId": .string(service), "type": .string(type)], token: token, as: alice)
      return try #require(made.data["token"]?.stringValue, "\(made.text)")
    }
    let network = AttackedNetwork(
      controller: controller, router: router, service: service, dialPolicy: dialPolicy, apiToken: token,
      fingerprint: alice.chain.leaf.sha1Fingerprint, dialSession: try await session("Dial"),
      bindSession: try await session("Bind"),
      identity: try #require(login.data["identityId"]?.stringValue))
    #expect(try await network.bind("t1").result == .success)
    return network
  }

  func bind(_ id: String, at router: Router? = nil, session: String? = nil) async throws
    -> EdgeCtrlCreateTerminatorV2Response
  {
    let request = EdgeCtrlCreateTerminatorV2Request.with {
      ($0.address, $0.sessionToken, $0.apiSessionToken, $0.fingerprints) = (
        id, session ?? bindSession, apiToken, [fingerprint]
      )
    }
    return try await (router ?? self.router).request(Wire.Message(.createTerminatorV2, request)).decode(
      EdgeCtrlCreateTerminatorV2Response.self)
  }

  /// - Parameter peerData: what the router claims for the SDK.
  func dial(_ peerData: [UInt32: [UInt8]] = [:]) async throws -> Wire.Message {
    let wish = ControlMessages.CreateCircuitV2(
      sessionToken: dialSession, apiSessionToken: apiToken, fingerprints: [fingerprint], peerData: peerData)
    return try await router.request(wish.message())
  }

  func circuit() async throws -> String { try ControlMessages.CircuitCreated(parsing: try await dial()).circuitID }

  func usage(_ values: [String: UInt64], circuits: [String], service: String) -> Wire.Message {
    let message = MetricsMetricsMessage.with {
      $0.usageCounters = [
        .with { counter in
          for circuit in circuits {
            counter.buckets[circuit] = .with {
              $0.values = values
              $0.tags = ["serviceId": service]
            }
          }
        }
      ]
    }
    return Wire.Message(.metrics, message)
  }
}

@Suite("Attacks of routers on the fabric", .timeLimit(.minutes(5)))
struct FabricAttackTests {
  @Test("a router that was killed with its circuits leaves none behind, and one that only lost its channel keeps them")
  func reconciliation() async throws {
    let network = try await AttackedNetwork.start()
    let (controller, router) = (network.controller, network.router)
    for _ in 0..<2 {
      for _ in 0..<20 { _ = try await network.circuit() }
      try await router.disconnect()
      #expect(controller.node.circuitCount == 20)
      // A new process has none.
      router.change { $0.circuits = [] }
      try await router.connect()
      try await controller.wait("circuits of the killed router are gone") { controller.node.circuitCount == 0 }
      #expect(try await network.bind("t1").result == .success)
    }
    let kept = try await network.circuit()
    try await router.disconnect()
    router.change { $0.circuits.insert("ended-meanwhile") }
    try await router.connect()
    try await controller.wait("the router learns what ended without it") {
      router.now.unrouted.contains("ended-meanwhile")
    }
    try await router.settle()
    #expect(controller.node.circuitCount == 1 && router.now.circuits == [kept])
    await controller.stop()
  }

  @Test("answers of OpenZiti's routers are understood, circuits of other controllers left alone")
  func openZitiCircuits() {
    let text = #"{"circuits":{"c1":{"ctrlId":"me","routes":{}},"c2":{"ctrlId":"other"},"c3":{}}}"#
    #expect(Set(RouterConnection.circuits(in: text, of: "me") ?? []) == ["c1", "c3"])
    #expect(RouterConnection.circuits(in: #"{"circuits":null}"#, of: "me") == [])
    #expect(RouterConnection.circuits(in: #"["a","b"]"#, of: "me") == ["a", "b"])
    for bad in ["", "{}", "7", #"{"circuits":"#, String(repeating: "[", count: 100)] {
      #expect(RouterConnection.circuits(in: bad, of: "me") == nil)
    }
  }

  @Test("another router ends no circuit, bills nobody, changes no terminator and answers no dial")
  func otherRouter() async throws {
    let network = try await AttackedNetwork.start()
    let (controller, router) = (network.controller, network.router)
    let billed = NIOLockedValueBox<[String: Int]>([:])
    controller.node.provisioning.onUsage { service, toHost, fromHost in
      billed.withLockedValue {
        $0[service] = ($0[service] ?? 0).addingReportingOverflow(toHost).partialValue + fromHost
      }
    }
    let circuit = try await network.circuit()
    let eve = try await Router(controller, "eve")
    let fault = CtrlFault.with { ($0.subject, $0.id) = (.ingressFault, circuit) }
    eve.post(Wire.Message(.fault, fault))
    eve.post(Wire.Message(.fault, CtrlFault.with { ($0.subject, $0.id) = (.forwardFault, "\(circuit) made-up") }))
    let confirmation = CtrlCircuitConfirmation.with {
      $0.circuitIds = [circuit]
      $0.idleTimes = [circuit: .max]
    }
    eve.post(Wire.Message(.circuitConfirmation, confirmation))
    let values: [String: UInt64] = ["egress.tx": 1 << 50, "egress.rx": .max]
    eve.post(network.usage(values, circuits: [circuit, "invented"], service: network.service))
    router.post(network.usage(values, circuits: ["invented"], service: network.service))
    eve.post(Wire.Message(.removeTerminators, CtrlRemoveTerminatorsRequest.with { $0.terminatorIds = ["t1"] }))
    eve.post(Wire.Message(.quiesce, CtrlRemoveTerminatorsRequest()))
    try await eve.settle()
    try await router.settle()
    #expect(controller.node.circuitCount == 1 && billed.withLockedValue { $0 } == [:])
    try await controller.wait("the other router is told to forget it") {
      Set(eve.now.unrouted) == [circuit, "made-up"]
    }
    // With sessions it must be the very host, at its own router.
    #expect(try await network.bind("t1", at: eve).result == .failedOther)
    func update(_ router: Router, session: String) async throws -> ContentType {
      let request = EdgeCtrlUpdateTerminatorRequest.with {
        ($0.terminatorID, $0.sessionToken, $0.apiSessionToken, $0.fingerprints) = (
          "t1", session, network.apiToken, [network.fingerprint]
        )
        ($0.cost, $0.updateCost) = (65_535, true)
      }
      return try await router.request(Wire.Message(.updateTerminator, request)).contentType
    }
    #expect(try await update(eve, session: network.bindSession) == .edgeError)
    #expect(try await update(router, session: "") == .edgeError)
    #expect(try await update(router, session: network.dialSession) == .edgeError)
    #expect(try await update(router, session: network.bindSession) == .updateTerminatorResponse)
    // A dial is answered by whom it was sent to.
    router.change { $0.answersRoutes = false }
    async let dialled = network.dial()
    try await controller.wait("the host is asked") { router.now.routes.count == 2 }
    let route = try #require(router.now.routes.last)
    eve.answer(route)
    try await eve.settle()
    #expect(controller.node.circuitCount == 1)
    router.answer(route)
    #expect(try await dialled.contentType == .createCircuitV2Response)
    await controller.stop()
  }

  @Test(
    "9,000 reports of a router's own circuit with all the bytes there are leave the controller alive and the bill bounded"
  )
  func poison() async throws {
    let network = try await AttackedNetwork.start()
    let total = NIOLockedValueBox((0, isOverflowing: false))
    network.controller.node.provisioning.onUsage { _, toHost, fromHost in
      total.withLockedValue { total in
        let (sum, first) = total.0.addingReportingOverflow(toHost)
        let (all, second) = sum.addingReportingOverflow(fromHost)
        total = (all, total.isOverflowing || first || second)
      }
    }
    let circuit = try await network.circuit()
    let report = network.usage(["egress.tx": 1 << 50, "egress.rx": .max], circuits: [circuit], service: "x")
    for _ in 0..<900 { for _ in 0..<10 { network.router.post(report) } }
    try await network.router.settle()
    let (bytes, isOverflowing) = total.withLockedValue { $0 }
    // Ten minutes at 100 Gbit/s: the test may take its time, 2^50 would be a day.
    #expect(bytes > 0 && !isOverflowing && bytes < 600_000 * 12_500_000)
    await network.controller.stop()
  }

  @Test("the host hears who dials from the session, and the dialler nothing that its host's router made up")
  func peerData() async throws {
    let network = try await AttackedNetwork.start()
    let (key, stickiness) = (HeaderID.publicKey.peerDataKey, ControlHeader.stickinessToken.peerDataKey)
    let dialler = (
      id: ControlHeader.dialingIdentityID.peerDataKey, name: ControlHeader.dialingIdentityName.peerDataKey
    )
    network.router.change {
      $0.peerData = [
        key: [7], stickiness: Array("forged".utf8), dialler.id: [1], ControlHeader.routeResultAttempt.peerDataKey: [2],
      ]
    }
    let answer = try await network.dial([
      key: [5], dialler.id: Array("root".utf8), dialler.name: Array("Root".utf8),
      HeaderID.dialerIdentityID.peerDataKey: [6],
    ])
    let route = try #require(network.router.now.routes.last)
    #expect(
      route.egress.peerData
        == [key: Data([5]), dialler.id: Data(network.identity.utf8), dialler.name: Data("alice".utf8)])
    #expect(try ControlMessages.CircuitCreated(parsing: answer).peerData == [key: [7]])
    await network.controller.stop()
  }

  @Test("a right that is taken away while the host is asked makes no circuit, and the router forgets it")
  func revokedMeanwhile() async throws {
    let network = try await AttackedNetwork.start()
    let (controller, router) = (network.controller, network.router)
    let open = try await network.circuit()
    router.change { $0.answersRoutes = false }
    async let dialled = network.dial()
    try await controller.wait("the host is asked") { router.now.routes.count == 2 }
    let route = try #require(router.now.routes.last)
    let deleted = try await controller.send(
      "DELETE", "/edge/management/v1/service-policies/\(network.dialPolicy)", token: try await controller.adminToken())
    #expect(deleted.status == 200)
    router.answer(route)
    #expect(try await ControlMessages.Failure(parsing: dialled).code == .accessDenied)
    try await router.settle()
    try await controller.wait("the router forgets both") { router.now.circuits.isEmpty }
    #expect(Set(router.now.unrouted).isSuperset(of: [open, route.circuitID]) && controller.node.circuitCount == 0)
    await controller.stop()
  }

  @Test("400 dials of one identity that nobody answers do not keep out another's, and are not all taken")
  func dialFlood() async throws {
    let network = try await AttackedNetwork.start()
    let (controller, router) = (network.controller, network.router)
    router.change { $0.answersRoutes = false }
    let limit = CircuitEngine.Settings().dialsPerService
    let wish = ControlMessages.CreateCircuitV2(
      sessionToken: network.dialSession, apiSessionToken: network.apiToken, fingerprints: [network.fingerprint])
    let refused = try await withThrowingTaskGroup(of: Wire.Message.self) { group in
      for _ in 0..<limit + 150 { group.addTask { try await router.request(wish.message()) } }
      // Those beyond the limit are answered at once, the others not at all.
      var refused = 0
      while refused < 150, let answer = try await group.next() {
        let failure = try ControlMessages.Failure(parsing: answer)
        #expect(failure.retryHint == .tooBusy, "\(failure.text)")
        refused += 1
      }
      #expect(router.now.routes.count == limit)
      let bob = try await controller.enrolled("bob")
      let login = try await controller.logIn(bob)
      let token = try #require(login.data["token"]?.stringValue)
      let made = try await controller.send(
        "POST", "/sessions", ["serviceId": .string(network.service), "type": "Dial"], token: token, as: bob)
      router.change { $0.answersRoutes = true }
      let other = ControlMessages.CreateCircuitV2(
        sessionToken: try #require(made.data["token"]?.stringValue), apiSessionToken: token,
        fingerprints: [bob.chain.leaf.sha1Fingerprint])
      #expect(try await router.request(other.message()).contentType == .createCircuitV2Response)
      for route in router.now.routes.prefix(limit) { router.answer(route) }
      try await group.waitForAll()
      return refused
    }
    #expect(refused == 150 && controller.node.circuitCount == limit + 1)
    await controller.stop()
  }

  @Test("a circuit that a router names ten thousand times is told to be forgotten once")
  func repeated() async throws {
    let network = try await AttackedNetwork.start()
    let ids = Array(repeating: "invented", count: 10_000)
    network.router.post(Wire.Message(.circuitConfirmation, CtrlCircuitConfirmation.with { $0.circuitIds = ids }))
    try await network.router.settle()
    try await network.controller.wait("it is told") { !network.router.now.unrouted.isEmpty }
    try await network.router.settle()
    #expect(network.router.now.unrouted == ["invented"])
    await network.controller.stop()
  }

  @Test(
    "rights that went on disk just before the process died are gone at the next start, with their sessions and circuits"
  )
  func diedBetween() async throws {
    let network = try await AttackedNetwork.start()
    let kept = try await network.circuit()
    let id = network.identity
    #expect(!network.controller.core.sessions.apiSessions(identity: id).isEmpty)
    let core = network.controller.core
    await network.controller.stop(keepsFiles: true)
    // Without what follows from a change: as if the process had died there.
    _ = try await core.store.write(.system(), now: core.now) { transaction in
      guard var identity = try transaction.get(Identity.self, id) else { return }
      (identity.disabledAt, identity.disabledUntil) = (core.now, nil)
      try transaction.put(identity)
      try transaction.delete(ServicePolicy.self, network.dialPolicy)
    }
    let again = try await LiveController.start(directory: network.controller.directory)
    #expect(again.core.fabric.circuits([kept]).isEmpty && again.core.sessions.apiSessions(identity: id).isEmpty)
    await again.stop()
  }
}

@Suite("Hosts and their SDKs", .timeLimit(.minutes(2)))
struct HostSDKTests {
  @Test("a terminator of Go SDK 1.2.8 is to be confirmed again, one of another SDK is not")
  func confirmation() async throws {
    let network = try await AttackedNetwork.start()
    let bob = try await network.controller.enrolled("bob")
    for (type, version, again) in [
      ("ziti-sdk-golang", "v1.2.8", true), ("ziti-sdk-golang", "v1.2.9", false), ("ziti-sdk-c", "v1.2.8", false),
    ] {
      let sdk: JSONValue = ["type": .string(type), "version": .string(version)]
      let login = try await network.controller.send("POST", "/authenticate?method=cert", ["sdkInfo": sdk], as: bob)
      let token = try #require(login.data["token"]?.stringValue, "\(login.text)")
      let made = try await network.controller.send(
        "POST", "/sessions", ["serviceId": .string(network.service), "type": "Bind"], token: token, as: bob)
      let session = try #require(made.data["token"]?.stringValue, "\(made.text)")
      let request = EdgeCtrlCreateTerminatorV2Request.with {
        ($0.address, $0.sessionToken, $0.apiSessionToken, $0.fingerprints) = (
          "\(type) \(version)", session, token, [bob.chain.leaf.sha1Fingerprint]
        )
      }
      let answer = try await network.router.request(Wire.Message(.createTerminatorV2, request))
      #expect(try answer.decode(EdgeCtrlCreateTerminatorV2Response.self).result == .success)
      #expect((answer.headers.bool(ControlHeader.confirmsAgain) ?? false) == again)
    }
    await network.controller.stop()
  }

  @Test(
    "a router that quiesces again and again is refused after some times, and a router with many terminators takes them back"
  )
  func quiescing() async throws {
    let network = try await AttackedNetwork.start()
    var texts: [String] = []
    for round in 0..<20 {
      let wish = Wire.Message(contentType: round.isMultiple(of: 2) ? .quiesce : .dequiesce)
      texts.append(try await network.router.request(wish).text)
    }
    #expect(texts.prefix(10).allSatisfy(\.isEmpty) && texts.suffix(5).allSatisfy { $0.contains("too often") })
    let ids = (0..<2500).map { "m\($0)" }
    for id in ids { #expect(try await network.bind(id).result == .success) }
    #expect(
      network.controller.core.fabric.terminators.count == 2501
        && network.controller.core.fabric.terminatorIDs.byService.count == 1)
    let removal = CtrlRemoveTerminatorsRequest.with { $0.terminatorIds = ids + ["nobody's"] }
    _ = try await network.router.request(Wire.Message(.removeTerminators, removal))
    #expect(network.controller.core.fabric.terminators.map(\.id) == ["t1"])
    await network.controller.stop()
  }

  @Test("hosts that bind while their identity's cost changes have the cost that stands in the end")
  func changing() async throws {
    let network = try await AttackedNetwork.start()
    let (controller, changes) = (network.controller, 30)
    let token = try await controller.adminToken()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for cost in 1...changes {
          let answer = try await controller.send(
            "PATCH", "/edge/management/v1/identities/\(network.identity)", ["defaultHostingCost": JSONValue(cost)],
            token: token)
          #expect(answer.status == 200, "\(answer.text)")
        }
      }
      for host in 0..<4 {
        group.addTask {
          for number in 0..<50 {
            let bound = try await network.bind("h\(host)-\(number)")
            #expect(bound.result == .success)
          }
        }
      }
      try await group.waitForAll()
    }
    let costs = controller.core.fabric.terminators.map(\.cost)
    #expect(costs.count == 201 && costs.allSatisfy { $0 == changes })
    await controller.stop()
  }
}
