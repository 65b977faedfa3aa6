import Access
import Authentication
import Fabric
import Foundation
import Logging
import Model
import NIOCore
import PKI
import Store
import SwiftProtobuf
import Transport
import Wire
import WireSchemas

/// The life of one router's control channel: greeting, then one message after the other (fabric-planes.md 2.9, 3).
struct RouterConnection: Sendable {
  /// Addresses that a router may have for SDKs, and the characters of each (a host name has 253 at most).
  private static let addressLimit = 16
  private static let addressLength = 300
  /// Whole states that a router asked for in advance of its pace cost it its channel, once they are due later than
  /// this.
  private static let patience = Duration.seconds(30)

  let core: ControllerCore
  let fleet: Fleet
  let channel: MessageChannel
  let router: String
  let hello: ControlMessages.RouterHello
  /// Fingerprint of the certificate that the router was admitted with.
  let certificate: String
  let log: RouterLog

  init(
    core: ControllerCore, fleet: Fleet, channel: MessageChannel, router: String, hello: ControlMessages.RouterHello,
    certificate: String
  ) {
    self.core = core
    self.fleet = fleet
    self.channel = channel
    self.router = router
    self.hello = hello
    self.certificate = certificate
    log = RouterLog(core.logger, router: router)
  }

  var authorization: EdgeAuthorization { EdgeAuthorization(core: core) }

  func run() async {
    guard let connection = fleet.join(router, channel) else { return channel.close() }
    // It was judged before it joined. Whatever expels it from here on finds it.
    guard core.model({ $0.edgeRouters[router]?.admits(certificate) ?? false }) else {
      channel.close()
      _ = fleet.leave(router, connection: connection)
      return
    }
    let now = core.now
    core.routers.update(router) {
      guard connection > $0.connection else { return }
      $0.connection = connection
      $0.isOnline = true
      $0.connectedAt = now
      $0.syncStatus = "SYNC_HELLO_WAIT"
      $0.version = RouterVersionInfo(
        version: hello.version.version, revision: hello.version.revision, buildDate: hello.version.buildDate,
        os: hello.version.os,
        arch: hello.version.arch)
    }
    core.logger.info("router connected", metadata: ["router": "\(router)", "version": "\(hello.version.version)"])
    channel.post(controllerAddresses())
    await withDiscardingTaskGroup { group in
      group.addTask { await greet(connection) }
      group.addTask { await validateTerminators() }
      group.addTask { await reconcileCircuits() }
      // What a router that was expelled had sent before is in the queue still.
      for await message in channel.messages where fleet.listens(to: router, connection: connection) {
        await handle(message, connection)
      }
      group.cancelAll()
    }
    channel.close()
    core.publication.leave(router, connection: connection)
    guard fleet.leave(router, connection: connection) else { return }
    core.routers.update(router) {
      // A newer connection of the router may have said more already.
      guard $0.connection == connection else { return }
      $0.isOnline = false
      $0.protocols = [:]
      $0.identities = []
      $0.syncStatus = "SYNC_DISCONNECTED"
    }
    core.logger.info("router disconnected", metadata: ["router": "\(router)"])
  }

  /// Without it a Go router stays away for good after a heartbeat timeout (fabric-planes.md 2.8).
  private func controllerAddresses() -> Wire.Message {
    let address = PeerAddress(core.advertised).description
    let update = CtrlUpdateCtrlAddresses.with {
      $0.addresses = [address]
      $0.index = 1
      $0.isLeader = true
      $0.controllers = [
        .with {
          $0.id = core.pki.controllerID
          $0.endpoints = [.with { $0.address = address }]
        }
      ]
    }
    return Wire.Message(.updateCtrlAddresses, update)
  }

  // MARK: Greeting

  private func greet(_ connection: UInt64) async {
    let server = EdgeCtrlServerHello.with {
      $0.version = VersionInfo.current.version
      $0.data = ["instant": "true", "routerModel": "true"]
    }
    var request = Wire.Message(.serverHello, server)
    request.headers.set(ControlHeader.routerDataModel, true)
    do {
      let answer = try await channel.request(request, timeout: .seconds(30))
      try await welcome(answer, connection)
    } catch {
      // A transit router never answers; an edge router without it cannot serve SDKs.
      core.logger.warning("router gave no client hello", metadata: ["router": "\(router)", "error": "\(error)"])
    }
  }

  private func welcome(_ answer: Wire.Message, _ connection: UInt64) async throws {
    let hello = try answer.decode(EdgeCtrlClientHello.self)
    var protocols: [String: String] = [:]
    for listener in hello.listeners.prefix(Self.addressLimit) where listener.hasAdvertise {
      let advertise = listener.advertise
      protocols[advertise.protocol] =
        "\(advertise.protocol)://\(HostPort(host: advertise.hostname, port: Int(advertise.port)))"
    }
    if protocols.isEmpty {
      for (name, port) in zip(hello.protocols, hello.protocolPorts).prefix(Self.addressLimit) {
        guard let port = Int(port) else { continue }
        protocols[name] = "\(name)://\(HostPort(host: hello.hostname, port: port))"
      }
    }
    // Every SDK is told of them.
    protocols = protocols.filter { $0.value.utf8.count <= Self.addressLength }
    core.routers.update(router) {
      $0.hostname = String(hello.hostname.prefix(Self.addressLength))
      $0.protocols = protocols
      $0.syncStatus = "SYNC_DONE"
    }
    await sendSessions(connection)
  }

  /// The full state of API sessions, then the keys that verify tokens (fabric-planes.md 4.8).
  private func sendSessions(_ connection: UInt64) async {
    guard await isWholeStateDue(), fleet.listens(to: router, connection: connection) else { return }
    core.publication.join(
      router, connection: connection, channel: channel, form: .init(hello.capabilities), now: core.now)
    channel.post(Wire.Message(.changeSet, core.model { DataModel.keys($0) }))
  }

  /// Waits until the router may have a whole state; meanwhile nothing else that it says is read. - Returns: false when
  /// it never comes to that.
  private func isWholeStateDue() async -> Bool {
    let wait = core.wholeStatePace.take(router)
    guard wait <= Self.patience else {
      core.logger.warning(
        "a router asks for everything again and again; its channel is closed", metadata: ["router": "\(router)"])
      channel.close()
      return false
    }
    if wait > .zero { try? await Task.sleep(for: wait) }
    return !Task.isCancelled
  }

  private func subscribe(_ request: EdgeCtrlSubscribeToDataModelRequest, _ connection: UInt64) async {
    // What a router missed may be a thousand changes.
    guard await isWholeStateDue() else { return }
    let isResumed = fleet.resume(
      router, connection: connection, request: request, timeline: core.store.timelineID,
      index: { core.model { $0.index } })
    guard !isResumed else { return }
    var whole = await core.wholeDataModel.state()
    while !fleet.subscribe(router, connection: connection, subscription: request.subscriptionID, whole: whole) {
      whole = await core.wholeDataModel.state(since: .now)
    }
  }

  // MARK: Messages

  private func handle(_ message: Wire.Message, _ connection: UInt64) async {
    do {
      switch message.contentType {
      case .createCircuitV2, .createCircuitV3: createCircuit(message)
      case .routeResult:
        let result = try ControlMessages.RouteResult(parsing: message)
        let outcome: CircuitEngine.RouteOutcome =
          switch result.outcome {
          case .success(let peerData): .success(peerData: peerData)
          case .failure(let text, let code): .failure(text: text, code: code)
          }
        fleet.handle(.routeResult(router: router, circuit: result.circuitID, attempt: result.attempt, outcome: outcome))
      case .fault: fault(try message.decode(CtrlFault.self))
      case .circuitConfirmation: confirmation(try message.decode(CtrlCircuitConfirmation.self))
      case .createTerminatorV2: createTerminator(message)
      case .updateTerminator: updateTerminator(message)
      case .removeTerminators: removeTerminators(try message.decode(CtrlRemoveTerminatorsRequest.self), message)
      case .validateTerminatorsV2Response: terminatorStates(message)
      case .subscribeToDataModel:
        await subscribe(try message.decode(EdgeCtrlSubscribeToDataModelRequest.self), connection)
      case .clientHello: try await welcome(message, connection)
      case .apiSessionHeartbeat: try heartbeats(try message.decode(EdgeCtrlApiSessionHeartbeat.self))
      case .requestClientReSync: await sendSessions(connection)
      case .validateSessions: try validateSessions(try message.decode(EdgeCtrlValidateSessionsRequest.self))
      case .connectEvents: try connectEvents(try message.decode(EdgeCtrlConnectEvents.self))
      case .verifyRouter: try verifyRouter(try message.decode(CtrlVerifyRouter.self), message)
      case .extendRouterEnrollment:
        try await extendCertificates(try message.decode(EdgeCtrlEnrollmentExtendRouterRequest.self), connection)
      case .verifyRouterExtension: await verifyExtension(message, connection)
      case .requestClusterMembers: channel.post(controllerAddresses())
      case .routerInterfaces: channel.reply(Wire.Message.result(success: true, text: "", replyTo: message), to: message)
      case .inspect:
        channel.reply(Wire.Message(.inspectAnswer, CtrlInspectResponse.with { $0.success = true }), to: message)
      case .createTunnelCircuitV2, .createTunnelTerminatorV2, .createTunnelAPISession, .createCircuitForService,
        .updateTunnelTerminator:
        let refusal = ControlMessages.Failure(
          replyFor: message.sequence, text: "tunneling not enabled", code: .tunnelingNotEnabled)
        channel.reply(refusal.message(), to: message)
      case .quiesce, .dequiesce: quiesce(message)
      case .metrics:
        fleet.handle(.usage(router: router, CircuitTraffic.claims(try message.decode(MetricsMetricsMessage.self))))
      default: break  // Links, alerts and traces: of no consequence in a network whose circuits stay on one router.
      }
    } catch {
      log.write(
        .warning, "unreadable message of a router", ["type": "\(message.contentType.rawValue)", "error": "\(error)"])
    }
  }

  // MARK: Sessions

  /// A router prolongs sessions by naming them, as tokens or as digests. One that it has nothing to do with answers
  /// like one that ended.
  private func heartbeats(_ beats: EdgeCtrlApiSessionHeartbeat) throws {
    let now = core.now
    let unknown = beats.tokens.filter { name in
      let digest = SessionDigest.isDigest(name) ? name : SessionDigest.of(name)
      guard let session = core.sessions.apiSession(digest: digest, now: now), core.publication.concerns(router, session)
      else { return true }
      return core.sessions.use(digest: digest, now: now) == nil
    }
    guard !unknown.isEmpty else { return }
    channel.post(Wire.Message(.apiSessionRemoved, EdgeCtrlApiSessionRemoved.with { $0.tokens = unknown }))
  }

  private func validateSessions(_ request: EdgeCtrlValidateSessionsRequest) throws {
    let unknown = request.sessionTokens.filter { id in
      guard let session = core.sessions.serviceSession(id), let api = core.sessions.apiSession(session.apiSessionId)
      else { return true }
      return !core.publication.concerns(router, api)
    }
    guard !unknown.isEmpty else { return }
    channel.post(
      Wire.Message(
        .sessionRemoved,
        EdgeCtrlSessionRemoved.with {
          $0.tokens = unknown
          $0.ids = unknown
        }))
  }

  /// Only identities that may use the router can be connected to it, whatever it says.
  private func connectEvents(_ events: EdgeCtrlConnectEvents) throws {
    // Of a copy: a message may name any number of them.
    let access = core.model { $0.access }
    let possible = Set(
      events.events.lazy.filter {
        $0.isConnected && !access.edgeRouterPolicies(identity: $0.identityID, router: router).isEmpty
      }.map(\.identityID))
    core.routers.update(router) { status in
      if events.fullState { status.identities = [] }
      for event in events.events {
        if event.isConnected, possible.contains(event.identityID) {
          status.identities.insert(event.identityID)
        } else {
          status.identities.remove(event.identityID)
        }
      }
    }
  }

  private func verifyRouter(_ request: CtrlVerifyRouter, _ message: Wire.Message) throws {
    let fingerprint = core.model { $0.edgeRouters[request.routerID]?.fingerprint }
    let isGenuine = fingerprint.map { request.fingerprints.contains($0) } ?? false
    channel.reply(
      Wire.Message.result(
        success: isGenuine, text: isGenuine ? "" : "router \(request.routerID) did not enroll with that certificate",
        replyTo: message),
      to: message)
  }

  // MARK: Certificate extension (fabric-planes.md 1.5)

  private func extendCertificates(_ request: EdgeCtrlEnrollmentExtendRouterRequest, _ connection: UInt64) async throws {
    guard core.routerCertificatePace.admits(router) else {
      return log.write(.warning, "a router renews its certificates too often; this time it gets none", [:])
    }
    let issued = try EnrollmentDesk(core: core).certify(
      router: router, client: request.clientCertCsr, server: request.serverCertCsr, at: .renewal)
    let (clientChain, serverChain) = (issued.client, issued.server)
    let id = router
    let mustVerify = request.requireVerification
    let isStored = try await core.write(ChangeContext(authorID: router, source: "router")) {
      [fleet] transaction -> Bool in
      // Asked in the one writer: whoever enrolls the router anew has expelled it before the next change begins.
      guard fleet.listens(to: id, connection: connection), var entity = try transaction.get(EdgeRouterEntity.self, id)
      else { return false }
      if mustVerify {
        entity.unverifiedFingerprint = clientChain.leaf.sha1Fingerprint
        entity.unverifiedCertPem = clientChain.pem
      } else {
        entity.fingerprint = clientChain.leaf.sha1Fingerprint
        entity.certPem = clientChain.pem
      }
      try transaction.put(entity)
      return true
    }
    guard isStored else { return }
    channel.post(
      Wire.Message(
        .routerCertificates,
        EdgeCtrlEnrollmentCertsResponse.with {
          $0.clientCertPem = clientChain.pem
          $0.serverCertPem = serverChain.pem
        }))
  }

  private func verifyExtension(_ message: Wire.Message, _ connection: UInt64) async {
    var failure: (code: String, text: String)?
    do {
      let request = try message.decode(EdgeCtrlEnrollmentExtendRouterVerifyRequest.self)
      let fingerprint = try CertificateChain(pem: request.clientCertPem).leaf.sha1Fingerprint
      let id = router
      let isPromoted = try await core.write(ChangeContext(authorID: router, source: "router")) {
        [fleet] transaction -> Bool in
        guard fleet.listens(to: id, connection: connection),
          var entity = try transaction.get(EdgeRouterEntity.self, id),
          entity.unverifiedFingerprint == fingerprint
        else { return false }
        entity.fingerprint = fingerprint
        entity.certPem = entity.unverifiedCertPem
        entity.unverifiedFingerprint = nil
        entity.unverifiedCertPem = nil
        try transaction.put(entity)
        return true
      }
      if !isPromoted { failure = ("INVALID_CLIENT_PEM", "the certificate is not the one that was issued last") }
    } catch {
      failure = ("VERIFY_ERROR", "\(error)")
    }
    let body = EdgeCtrlError.with {
      $0.code = failure?.code ?? ""
      $0.message = failure?.text ?? ""
    }
    channel.reply(Wire.Message(.edgeError, body), to: message)
  }
}
