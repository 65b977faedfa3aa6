import EdgeRouter
import Fabric
import Foundation
import Logging
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import PKI
import SwiftProtobuf
import Synchronization
import Testing
import Transport
import Wire
import WireSchemas
import X509

typealias WireMessage = Wire.Message

/// Certificates, keys and names of a small network: router `r1`, dialler `alice`, host `bob`, service `svc`.
struct TestNetwork: Sendable {
  let authority: CertificateAuthority
  let controllerKey: PrivateKey
  let controllerChain: CertificateChain
  let signer: TokenSigner
  let directory: String
  let files: RouterConfiguration.IdentityFiles

  /// - Parameter routerAge: seconds since the router's certificates were issued, of the hour they live; negative: by a
  ///   clock that ran ahead.
  init(routerAge: TimeInterval = 0) async throws {
    let now = Date()
    authority = try CertificateAuthority.createRoot(name: "root", trustDomain: "test", algorithm: .p256, now: now)
    controllerKey = try PrivateKey.generate(.p256)
    controllerChain = try authority.issueServer(
      publicKey: controllerKey.publicKey, commonName: "ctrl", names: ["127.0.0.1"], uris: [], now: now)
    signer = try await TokenSigner(key: controllerKey, certificate: controllerChain.leaf)
    directory = NSTemporaryDirectory() + "router-" + UUID().uuidString
    files = RouterConfiguration.IdentityFiles(directory: directory)
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let key = try PrivateKey.generate(.p256)
    let names = ["127.0.0.1"]
    let csr = try CSR(pem: CSR.create(key: key, commonName: "r1", names: names))
    try key.pem.write(toFile: files.key, atomically: true, encoding: .utf8)
    try authority.issueRouterClient(csr, routerID: "r1", names: names, now: now - routerAge, lifetime: 3600).pem.write(
      toFile: files.certificate, atomically: true, encoding: .utf8)
    try authority.issueRouterServer(
      csr, routerID: "r1", names: names, trustDomain: nil, now: now - routerAge, lifetime: 3600
    ).pem.write(
      toFile: files.serverCertificate, atomically: true, encoding: .utf8)
    try authority.chain.leaf.pem.write(toFile: files.authorities, atomically: true, encoding: .utf8)
  }

  var anchors: TrustAnchors { TrustAnchors([authority.chain.leaf]) }

  func client(_ identity: String) throws -> (tls: ClientTLS, fingerprint: String) {
    let key = try PrivateKey.generate(.p256)
    let chain = try authority.issueIdentity(
      publicKey: key.publicKey, subject: nil, identityID: identity, trustDomain: "test", now: Date())
    return (ClientTLS(chain: chain, key: key, trust: .anchors(anchors)), chain.leaf.sha1Fingerprint)
  }

  func sessionToken(_ identity: String, _ type: String, service: String = "svc") async throws -> String {
    let now = Int64(Date().timeIntervalSince1970)
    return try await signer.sign(
      ServiceSessionClaims(
        iss: "https://ctrl", serviceID: service, sessionID: "s-\(identity)-\(type)-\(service)",
        apiSessionID: "as-\(identity)", identityID: identity,
        type: type,
        issuedAt: now - 60, expiresAt: now + 3600))
  }
}

/// A controller as a router sees it, with the real circuit engine.
final class FakeController: Sendable {
  private struct State {
    var channel: MessageChannel?
    var engine = CircuitEngine()
    var requests: [UInt64: WireMessage] = [:]
    var ticket: UInt64 = 0
    var index: UInt64 = 1
    var isEncrypted = false
    var sessions: [EdgeCtrlApiSession] = []
    var random = SystemRandomNumberGenerator()
    var listener: TLSListener?
    var subscription = ""
    var usesDigests = false
    var capabilities = CapabilityMask()
    var heartbeats: [[String]] = []
    var greetings = 0
    var confirmed: [String] = []
    /// What a router of bad intent adds to the peer data of its dialler.
    var forged: [UInt32: [UInt8]] = [:]
    /// Whether the SDKs of hosts may lose their first BindSuccess.
    var confirmsAgain = false
    /// Costs that hosts asked for, and the requests that are not answered yet; nil when they are answered at once.
    var costs: [UInt32] = []
    var unanswered: [WireMessage]? = []
  }

  private let state = NIOLockedValueBox(State())
  private let network: TestNetwork
  /// Seconds by which the clock that issues renewed certificates is ahead.
  private let ahead: TimeInterval
  private let extensions = Atomic<Int>(0)

  init(_ network: TestNetwork, ahead: TimeInterval = 0) {
    self.network = network
    self.ahead = ahead
  }

  /// How many times a router asked for renewed certificates, and confirmed them.
  var extensionRequests: Int { extensions.load(ordering: .relaxed) }
  var confirmations: Int { confirmedExtensions.load(ordering: .relaxed) }
  private let confirmedExtensions = Atomic<Int>(0)

  var terminators: [LiveTerminator] { state.withLockedValue { $0.engine.terminators.all } }
  var circuits: [Circuit] { state.withLockedValue { $0.engine.all } }
  var confirmed: [String] { state.withLockedValue { $0.confirmed } }
  /// What the router said it can do.
  var capabilities: CapabilityMask { state.withLockedValue { $0.capabilities } }
  /// What the router called the sessions in use, report by report.
  var heartbeats: [[String]] { state.withLockedValue { $0.heartbeats } }
  /// How many times the router completed its greeting.
  var greetings: Int { state.withLockedValue { $0.greetings } }

  /// Names sessions by digest, as our controller does for routers that ask for it.
  func nameSessionsByDigest() { state.withLockedValue { $0.usesDigests = true } }

  func add(session identity: String, fingerprint: String) {
    let usesDigests = state.withLockedValue { $0.usesDigests }
    let session = EdgeCtrlApiSession.with {
      $0.id = "as-\(identity)"
      $0.token = usesDigests ? SessionDigest.of("token-\(identity)") : "token-\(identity)"
      $0.identityID = identity
      $0.certFingerprints = [fingerprint]
    }
    let channel = state.withLockedValue { state in
      state.sessions.append(session)
      return state.channel
    }
    channel?.post(WireMessage(.apiSessionAdded, EdgeCtrlApiSessionAdded.with { $0.apiSessions = [session] }))
  }

  func acceptor() -> HelloAcceptor {
    HelloAcceptor { [self] request in
      let usesDigests = state.withLockedValue { state in
        state.capabilities = CapabilityMask(bytes: request.hello.headers[ControlHeader.capabilities] ?? [])
        return state.usesDigests
      }
      let answer = ControlMessages.ControllerHelloResult(
        replyFor: request.hello.sequence, version: .current, controllerID: "ctrl",
        capabilities: CapabilityMask(
          [ControllerCapability.createCircuitV2, ControllerCapability.jwtLegacySessions]
            + (usesDigests ? [ControllerCapability.sessionDigests] : [])),
        channelID: "c1")
      return .accept(headers: answer.message().headers) { underlay in
        let channel = MessageChannel(underlay: underlay, helloHeaders: request.hello.headers)
        return { await self.serve(channel) }
      }
    }
  }

  var costs: [UInt32] { state.withLockedValue { $0.costs } }

  /// Answers what hosts asked to have changed, from now on at once.
  func answerUpdates() {
    let (channel, waiting) = state.withLockedValue { state in
      defer { state.unanswered = nil }
      return (state.channel, state.unanswered ?? [])
    }
    for message in waiting { channel?.reply(WireMessage(contentType: .updateTerminatorResponse), to: message) }
  }

  /// The session may be used with other certificates from now on.
  func change(session identity: String, fingerprints: [String]) {
    let channel = state.withLockedValue { $0.channel }
    let session = EdgeCtrlApiSession.with {
      ($0.id, $0.token, $0.identityID, $0.certFingerprints) = (
        "as-\(identity)", "token-\(identity)", identity, fingerprints
      )
    }
    channel?.post(WireMessage(.apiSessionUpdated, EdgeCtrlApiSessionUpdated.with { $0.apiSessions = [session] }))
  }

  func end(session identity: String) {
    let channel = state.withLockedValue { $0.channel }
    channel?.post(WireMessage(.apiSessionRemoved, EdgeCtrlApiSessionRemoved.with { $0.tokens = ["token-\(identity)"] }))
  }

  func forge(_ peerData: [UInt32: [UInt8]]) { state.withLockedValue { $0.forged = peerData } }

  func disconnectRouter() { state.withLockedValue { $0.channel }?.close() }

  private func serve(_ channel: MessageChannel) async {
    state.withLockedValue { state in
      state.channel = channel
      _ = state.engine.handle(.routerConnected("r1"), now: .now(), random: &state.random)
    }
    await withDiscardingTaskGroup { group in
      group.addTask {
        var hello = WireMessage(.serverHello, EdgeCtrlServerHello.with { $0.version = "v2.1.0" })
        hello.headers.set(ControlHeader.routerDataModel, true)
        guard (try? await channel.request(hello, timeout: .seconds(20))) != nil else { return }
        let sessions = self.state.withLockedValue { state in
          state.greetings += 1
          return state.sessions
        }
        var full = WireMessage(
          .apiSessionAdded,
          EdgeCtrlApiSessionAdded.with {
            $0.isFullState = true
            $0.apiSessions = sessions
          })
        full.headers.set(ControlHeader.syncState, #"{"id":"c\#(UUID().uuidString)","isLast":true,"sequence":0}"#)
        channel.post(full)
      }
      for await message in channel.messages { handle(message, channel) }
      group.cancelAll()
    }
  }

  private func handle(_ message: WireMessage, _ channel: MessageChannel) {
    switch message.contentType {
    case .subscribeToDataModel:
      guard let request = try? message.decode(EdgeCtrlSubscribeToDataModelRequest.self) else { return }
      state.withLockedValue { $0.subscription = request.subscriptionID }
      var whole = WireMessage(.dataState, model)
      whole.headers.set(ControlHeader.subscriptionID, request.subscriptionID)
      channel.post(whole)
    case .createTerminatorV2:
      guard let request = try? message.decode(EdgeCtrlCreateTerminatorV2Request.self) else { return }
      run(
        .offer(
          LiveTerminator(
            id: request.address, serviceID: "svc", routerID: "r1", hostID: "bob", address: request.address,
            peerData: request.peerData.mapValues { Array($0) }, createdAt: .now())), channel)
      var answer = WireMessage(
        .createTerminatorV2Response, EdgeCtrlCreateTerminatorV2Response.with { $0.terminatorID = request.address })
      if state.withLockedValue({ $0.confirmsAgain }) { answer.headers.set(ControlHeader.confirmsAgain, true) }
      channel.reply(answer, to: message)
    case .apiSessionHeartbeat:
      guard let beats = try? message.decode(EdgeCtrlApiSessionHeartbeat.self) else { return }
      state.withLockedValue { $0.heartbeats.append(beats.tokens) }
    case .removeTerminators:
      guard let request = try? message.decode(CtrlRemoveTerminatorsRequest.self) else { return }
      run(.withdraw(router: "r1", terminators: request.terminatorIds), channel)
      channel.reply(WireMessage.result(success: true, replyTo: message), to: message)
    case .updateTerminator:
      guard let request = try? message.decode(EdgeCtrlUpdateTerminatorRequest.self) else { return }
      let isAnswered = state.withLockedValue { state in
        state.costs.append(request.cost)
        state.unanswered?.append(message)
        return state.unanswered == nil
      }
      if isAnswered { channel.reply(WireMessage(contentType: .updateTerminatorResponse), to: message) }
    case .createCircuitV2:
      guard let request = try? ControlMessages.CreateCircuitV2(parsing: message) else { return }
      let (ticket, forged) = state.withLockedValue { state in
        state.ticket += 1
        state.requests[state.ticket] = message
        return (state.ticket, state.forged)
      }
      run(
        .create(
          CircuitRequest(
            ticket: ticket, serviceID: "svc", strategy: .smartRouting, encryptionRequired: false,
            instance: request.terminatorInstanceID,
            ingressRouter: "r1",
            clientID: "alice",
            peerData: PeerData.toHost(request.peerData, identity: "alice", name: "alice").merging(forged) { $1 },
            sticky: PeerData.stickiness(request.peerData))), channel)
    case .routeResult:
      guard let result = try? ControlMessages.RouteResult(parsing: message) else { return }
      let outcome: CircuitEngine.RouteOutcome
      switch result.outcome {
      case .success(let data): outcome = .success(peerData: data)
      case .failure(let text, let code): outcome = .failure(text: text, code: code)
      }
      run(.routeResult(router: "r1", circuit: result.circuitID, attempt: result.attempt, outcome: outcome), channel)
    case .fault:
      guard let fault = try? message.decode(CtrlFault.self) else { return }
      run(.fault(router: "r1", circuit: fault.id, immediate: false), channel)
    case .circuitConfirmation:
      guard let confirmation = try? message.decode(CtrlCircuitConfirmation.self) else { return }
      state.withLockedValue { $0.confirmed += confirmation.circuitIds }
    case .extendRouterEnrollment:
      extensions.add(1, ordering: .relaxed)
      let issuing = Date() + ahead
      guard let request = try? message.decode(EdgeCtrlEnrollmentExtendRouterRequest.self),
        let client = try? CSR(pem: request.clientCertCsr),
        let server = try? CSR(pem: request.serverCertCsr),
        let clientChain = try? network.authority.issueRouterClient(
          client, routerID: "r1", names: client.hostNames, now: issuing),
        let serverChain = try? network.authority.issueRouterServer(
          server, routerID: "r1", names: server.hostNames, trustDomain: nil, now: issuing)
      else { return }
      channel.post(
        WireMessage(
          .routerCertificates,
          EdgeCtrlEnrollmentCertsResponse.with {
            ($0.clientCertPem, $0.serverCertPem) = (clientChain.pem, serverChain.pem)
          }))
    case .verifyRouterExtension:
      confirmedExtensions.add(1, ordering: .relaxed)
      channel.reply(WireMessage(.edgeError, EdgeCtrlError()), to: message)
    default: break
    }
  }

  private func run(_ event: CircuitEngine.Event, _ channel: MessageChannel) {
    state.withLockedValue { state in
      for action in state.engine.handle(event, now: .now(), random: &state.random) {
        switch action {
        case .send(_, let message): channel.post(message)
        case .created(let ticket, let circuit, let peerData):
          guard let request = state.requests.removeValue(forKey: ticket) else { continue }
          let created = ControlMessages.CircuitCreated(
            replyFor: request.sequence, circuitID: circuit.id, address: circuit.ingressAddress, peerData: peerData)
          channel.reply(created.message(answering: .createCircuitV2), to: request)
        case .failed(let ticket, let circuit, let error):
          guard let request = state.requests.removeValue(forKey: ticket) else { continue }
          let failure = ControlMessages.Failure(
            replyFor: request.sequence, text: error.message, code: error.code, retryHint: error.retryHint,
            circuitID: circuit.isEmpty ? nil : circuit)
          channel.reply(failure.message(), to: request)
        case .wake, .removeTerminator, .offered, .adjusted, .stranded, .ended, .charged, .usageClamped, .givenUp: break
        }
      }
    }
  }

  // MARK: Data model

  private var model: EdgeCtrlDataState {
    let (index, isEncrypted) = state.withLockedValue { ($0.index, $0.isEncrypted) }
    var events: [EdgeCtrlEvent] = []
    func create(_ entity: EdgeCtrlEvent.OneOf_Entity) { events.append(.with { $0.entity = entity }) }
    for id in ["alice", "bob"] { create(.identity(.with { ($0.id, $0.name) = (id, id) })) }
    create(.service(.with { ($0.id, $0.name, $0.encryptionRequired) = ("svc", "service", isEncrypted) }))
    for (id, type, member) in [("pd", EdgeCtrlPolicyType.dialPolicy, "alice"), ("pb", .bindPolicy, "bob")] {
      create(.servicePolicy(.with { ($0.id, $0.name, $0.policyType) = (id, "policy \(id)", type) }))
      create(
        .servicePolicyChange(
          .with {
            ($0.policyID, $0.relatedEntityIds, $0.relatedEntityType, $0.add) = (id, ["svc"], .relatedService, true)
          }))
      create(
        .servicePolicyChange(
          .with {
            ($0.policyID, $0.relatedEntityIds, $0.relatedEntityType, $0.add) = (id, [member], .relatedIdentity, true)
          }))
    }
    create(
      .publicKey(
        .with {
          $0.kid = network.signer.kid
          $0.data = Data(network.controllerChain.leaf.derBytes)
          $0.usages = [.jwtvalidation]
        }))
    return .with {
      $0.events = events
      $0.endIndex = index
      $0.timelineID = "t1"
    }
  }

  func requireEncryption() { state.withLockedValue { $0.isEncrypted = true } }

  func confirmAgain() { state.withLockedValue { $0.confirmsAgain = true } }

  /// Changes whether the service is encrypted.
  func encrypt(_ isEncrypted: Bool) {
    state.withLockedValue { $0.isEncrypted = isEncrypted }
    change(.with { $0.service = .with { ($0.id, $0.name, $0.encryptionRequired) = ("svc", "service", isEncrypted) } })
  }

  /// Withdraws a member from a policy.
  func withdraw(_ member: String, from policy: String) {
    change(
      .with {
        $0.servicePolicyChange = .with {
          ($0.policyID, $0.relatedEntityIds, $0.relatedEntityType, $0.add) = (policy, [member], .relatedIdentity, false)
        }
      })
  }

  private func change(_ event: EdgeCtrlEvent) {
    state.withLockedValue { state in
      let change = EdgeCtrlChangeSet.with {
        $0.previousIndex = state.index
        $0.index = state.index + 1
        $0.changes = [event]
      }
      state.index += 1
      var message = WireMessage(.changeSet, change)
      message.headers.set(ControlHeader.subscriptionID, state.subscription)
      state.channel?.post(message)
    }
  }
}

/// An SDK at the level of messages.
actor TestSDK {
  nonisolated let channel: MessageChannel
  private var inbox: [WireMessage] = []
  private var waiter: CheckedContinuation<Void, Never>?
  private var isClosed = false
  private var pump: Task<Void, Never>?

  init(address: PeerAddress, tls: ClientTLS, token: String?) async throws {
    channel = try await MessageChannel.dial(
      address: address, tls: tls, alpn: ALPN.edge, hello: EdgeMessages.Hello(name: "test", token: token).message(),
      group: MultiThreadedEventLoopGroup.singleton, timeout: .seconds(20), heartbeats: nil)
    let channel = self.channel
    pump = Task { [weak self] in
      for await message in channel.messages { await self?.put(message) }
      await self?.end()
    }
  }

  private func put(_ message: WireMessage) {
    inbox.append(message)
    wake()
  }

  private func end() {
    isClosed = true
    wake()
  }

  private func wake() {
    waiter?.resume()
    waiter = nil
  }

  /// The next message of a type; nil when the channel closed before.
  func next(_ type: ContentType) async -> WireMessage? {
    while true {
      if let index = inbox.firstIndex(where: { $0.contentType == type }) { return inbox.remove(at: index) }
      if isClosed { return nil }
      await withCheckedContinuation { waiter = $0 }
    }
  }

  nonisolated func bind(_ token: String, connID: UInt32 = 1, threeWay: Bool = false, listener: [UInt8]? = nil)
    async throws -> WireMessage
  {
    try await channel.request(
      EdgeMessages.Bind(
        connID: connID, token: Array(token.utf8), publicKey: [UInt8](repeating: 7, count: 32),
        wantsRouterProvidedConnIDs: !threeWay,
        listenerID: listener,
        supportsBindSuccess: true
      ).message(), timeout: .seconds(20))
  }

  nonisolated func connect(_ token: String, connID: UInt32 = 1, publicKey: [UInt8]? = [UInt8](repeating: 9, count: 32))
    async throws -> WireMessage
  {
    try await channel.request(
      EdgeMessages.Connect(
        connID: connID, token: token, options: .init(publicKey: publicKey, callerID: "me", appData: [1, 2])
      ).message(),
      timeout: .seconds(20))
  }

  nonisolated func post(_ data: [UInt8], connID: UInt32, flags: EdgeFlags = []) {
    channel.post(EdgeMessages.Data(connID: connID, flags: flags, body: data).message())
  }
}

/// A running router with its controller and two SDKs' certificates.
struct TestRouter: Sendable {
  let network: TestNetwork
  let controller: FakeController
  let node: RouterNode
  let address: PeerAddress
  let alice: ClientTLS
  let bob: ClientTLS

  func sdk(_ identity: String) async throws -> TestSDK {
    try await TestSDK(address: address, tls: identity == "alice" ? alice : bob, token: "token-\(identity)")
  }
}

/// Waits for a condition of another process half; bounded by a minute, for machines that build beside it.
func eventually(_ what: String, _ condition: @Sendable () async throws -> Bool) async throws {
  for _ in 0..<6000 {
    if try await condition() { return }
    try await Task.sleep(for: .milliseconds(10))
  }
  Issue.record("did not happen: \(what)")
}

/// - Parameter digests: the controller names sessions by digest.
func withRouter(
  encrypted: Bool = false, digests: Bool = false, routerAge: TimeInterval = 0, issuingAhead: TimeInterval = 0,
  configure: (inout RouterConfiguration) -> Void = { _ in },
  _ body: @escaping @Sendable (TestRouter) async throws -> Void
) async throws {
  let network = try await TestNetwork(routerAge: routerAge)
  defer { try? FileManager.default.removeItem(atPath: network.directory) }
  let controller = FakeController(network, ahead: issuingAhead)
  if encrypted { controller.requireEncryption() }
  if digests { controller.nameSessionsByDigest() }
  var logger = Logger(label: "test")
  logger.logLevel = .critical
  let listener = TLSListener(
    host: "127.0.0.1", port: 0,
    identity: try ServerIdentity(chain: network.controllerChain, key: network.controllerKey),
    acceptors: [(alpn: [ALPN.control], acceptor: controller.acceptor())], logger: logger)
  let bound = try await listener.start()
  var configuration = RouterConfiguration(
    identity: network.files, controllers: [PeerAddress(host: "127.0.0.1", port: try #require(bound.port))],
    listener: .init(host: "127.0.0.1", port: 0, advertised: PeerAddress(host: "127.0.0.1", port: 0)))
  configure(&configuration)
  let node = try await RouterNode(configuration: configuration, logger: logger)
  let (alice, aliceFingerprint) = try network.client("alice")
  let (bob, bobFingerprint) = try network.client("bob")
  controller.add(session: "alice", fingerprint: aliceFingerprint)
  controller.add(session: "bob", fingerprint: bobFingerprint)
  let router = TestRouter(
    network: network, controller: controller, node: node,
    address: PeerAddress(host: "127.0.0.1", port: try #require(node.edgeAddress?.port)), alice: alice, bob: bob)
  try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask { try await listener.run() }
    group.addTask { try await node.run() }
    try await eventually("greeting") { controller.greetings > 0 }
    try await body(router)
    group.cancelAll()
    while true {
      do { if try await group.next() == nil { break } } catch {}
    }
  }
}
