import Access
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
  let core: ControllerCore
  let fleet: Fleet
  let channel: MessageChannel
  let router: String
  let hello: ControlMessages.RouterHello

  private var authorization: EdgeAuthorization { EdgeAuthorization(core: core) }

  func run() async {
    guard let connection = fleet.join(router, channel) else { return channel.close() }
    let now = core.now
    core.routers.update(router) {
      $0.isOnline = true
      $0.connectedAt = now
      $0.syncStatus = "SYNC_HELLO_WAIT"
      $0.version = RouterVersionInfo(
        version: hello.version.version, revision: hello.version.revision, buildDate: hello.version.buildDate, os: hello.version.os,
        arch: hello.version.arch)
    }
    core.logger.info("router connected", metadata: ["router": "\(router)", "version": "\(hello.version.version)"])
    channel.post(controllerAddresses())
    await withDiscardingTaskGroup { group in
      group.addTask { await greet(connection) }
      group.addTask { await validateTerminators() }
      for await message in channel.messages { await handle(message, connection) }
      group.cancelAll()
    }
    channel.close()
    core.publication.leave(router, connection: connection)
    guard fleet.leave(router, connection: connection) else { return }
    core.routers.update(router) {
      $0.isOnline = false
      $0.protocols = [:]
      $0.identities = []
      $0.syncStatus = "SYNC_DISCONNECTED"
    }
    core.logger.info("router disconnected", metadata: ["router": "\(router)"])
  }

  /// Without it a Go router stays away for good after a heartbeat timeout (fabric-planes.md 2.8).
  private func controllerAddresses() -> Wire.Message {
    let address = "tls:\(core.advertised.host):\(core.advertised.port)"
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
      try welcome(answer, connection)
    } catch {
      // A transit router never answers; an edge router without it cannot serve SDKs.
      core.logger.warning("router gave no client hello", metadata: ["router": "\(router)", "error": "\(error)"])
    }
  }

  private func welcome(_ answer: Wire.Message, _ connection: UInt64) throws {
    let hello = try answer.decode(EdgeCtrlClientHello.self)
    var protocols: [String: String] = [:]
    for listener in hello.listeners where listener.hasAdvertise {
      let advertise = listener.advertise
      protocols[advertise.protocol] = "\(advertise.protocol)://\(advertise.hostname):\(advertise.port)"
    }
    if protocols.isEmpty {
      for (name, port) in zip(hello.protocols, hello.protocolPorts) { protocols[name] = "\(name)://\(hello.hostname):\(port)" }
    }
    core.routers.update(router) {
      $0.hostname = hello.hostname
      $0.protocols = protocols
      $0.syncStatus = "SYNC_DONE"
    }
    sendSessions(connection)
  }

  /// The full state of API sessions, then the keys that verify tokens (fabric-planes.md 4.8).
  private func sendSessions(_ connection: UInt64) {
    core.publication.join(router, connection: connection, channel: channel, form: .init(hello.capabilities), now: core.now)
    channel.post(Wire.Message(.changeSet, core.model { DataModel.keys($0) }))
  }

  /// Asks the router which of the terminators known here it still serves; the others are dropped (fabric-planes.md 5.6).
  private func validateTerminators() async {
    let known = fleet.terminators(of: router).filter(\.isLease)
    guard !known.isEmpty else { return }
    let request = CtrlValidateTerminatorsV2Request.with {
      $0.fixInvalid = true
      $0.postCreate = true
      $0.terminators = known.map { terminator in
        .with {
          $0.id = terminator.id
          $0.binding = terminator.binding
          $0.address = terminator.address
        }
      }
    }
    guard let answer = try? await channel.request(Wire.Message(.validateTerminatorsV2, request), timeout: .seconds(30)) else { return }
    terminatorStates(answer)
  }

  private func terminatorStates(_ message: Wire.Message) {
    guard let answer = try? message.decode(CtrlValidateTerminatorsV2Response.self) else { return }
    fleet.withTerminators { table in
      for (id, state) in answer.states where !state.valid && table[id]?.routerID == router && table[id]?.isLease == true { table.remove(id) }
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
          case .failure(let text, let code): .failure(text: text, code: code.rawValue)
          }
        fleet.handle(.routeResult(router: router, circuit: result.circuitID, attempt: result.attempt, outcome: outcome))
      case .fault: try fault(try message.decode(CtrlFault.self))
      case .circuitConfirmation: try confirmation(try message.decode(CtrlCircuitConfirmation.self))
      case .createTerminatorV2: createTerminator(message)
      case .updateTerminator: updateTerminator(message)
      case .removeTerminators: try removeTerminators(try message.decode(CtrlRemoveTerminatorsRequest.self), message)
      case .validateTerminatorsV2Response: terminatorStates(message)
      case .subscribeToDataModel:
        fleet.subscribe(
          router, connection: connection, request: try message.decode(EdgeCtrlSubscribeToDataModelRequest.self), timeline: core.store.timelineID,
          index: { core.model { $0.index } }, full: { core.model { DataModel.full($0, timeline: core.store.timelineID, now: core.now) } })
      case .clientHello: try welcome(message, connection)
      case .apiSessionHeartbeat: try heartbeats(try message.decode(EdgeCtrlApiSessionHeartbeat.self))
      case .requestClientReSync: sendSessions(connection)
      case .validateSessions: try validateSessions(try message.decode(EdgeCtrlValidateSessionsRequest.self))
      case .connectEvents: try connectEvents(try message.decode(EdgeCtrlConnectEvents.self))
      case .verifyRouter: try verifyRouter(try message.decode(CtrlVerifyRouter.self), message)
      case .extendRouterEnrollment: try await extendCertificates(try message.decode(EdgeCtrlEnrollmentExtendRouterRequest.self))
      case .verifyRouterExtension: await verifyExtension(message)
      case .requestClusterMembers: channel.post(controllerAddresses())
      case .routerInterfaces: channel.reply(Wire.Message.result(success: true, text: "", replyTo: message), to: message)
      case .inspect: channel.reply(Wire.Message(.inspectAnswer, CtrlInspectResponse.with { $0.success = true }), to: message)
      case .createTunnelCircuitV2, .createTunnelTerminatorV2, .createTunnelAPISession, .createCircuitForService, .updateTunnelTerminator:
        let refusal = ControlMessages.Failure(replyFor: message.sequence, text: "tunneling not enabled", code: .tunnelingNotEnabled)
        channel.reply(refusal.message(), to: message)
      case .quiesce, .dequiesce:
        let precedence: Wire.Precedence = message.contentType == .quiesce ? .failed : .default
        fleet.withTerminators { table in
          for terminator in table.of(router: router) { table.update(terminator.id, cost: nil, precedence: precedence.model) }
        }
        channel.reply(Wire.Message.result(success: true, text: "", replyTo: message), to: message)
      case .metrics: core.usage.report(CircuitTraffic.parse(try message.decode(MetricsMetricsMessage.self)))
      default: break  // Links, alerts and traces: of no consequence in a network whose circuits stay on one router.
      }
    } catch {
      core.logger.warning(
        "unreadable message of a router", metadata: ["router": "\(router)", "type": "\(message.contentType.rawValue)", "error": "\(error)"])
    }
  }

  private func createCircuit(_ message: Wire.Message) {
    let channel = self.channel
    func refuse(_ error: StructuredError, circuit: String? = nil) {
      core.facts.circuitFailed()
      channel.reply(
        ControlMessages.Failure(replyFor: message.sequence, text: error.message, code: error.code, retryHint: error.retryHint, circuitID: circuit)
          .message(),
        to: message)
    }
    do {
      let identity: String
      let serviceID: String
      let instance: String
      let peerData: [UInt32: [UInt8]]
      if message.contentType == .createCircuitV2 {
        let request = try ControlMessages.CreateCircuitV2(parsing: message)
        let api = try authorization.apiSession(token: request.apiSessionToken, fingerprints: request.fingerprints)
        identity = api.identityId
        serviceID = try authorization.serviceSession(token: request.sessionToken, of: api, type: .dial).serviceId
        (instance, peerData) = (request.terminatorInstanceID, request.peerData)
      } else {
        let request = try ControlMessages.CreateCircuitV3(parsing: message)
        let api = try authorization.apiSession(token: request.apiSessionToken, fingerprints: request.fingerprints)
        // The header is a claim; the session is the proof.
        guard request.identityID == api.identityId else { throw EdgeAuthorization.Refusal("invalid api session", .invalidAPISession) }
        identity = api.identityId
        serviceID = request.serviceID
        (instance, peerData) = (request.terminatorInstanceID, request.peerData)
      }
      let service = try authorization.service(serviceID, identity: identity, action: .dial, router: router)
      let request = CircuitRequest(
        ticket: fleet.nextNumber(), serviceID: service.id, strategy: TerminatorStrategy(rawValue: service.terminatorStrategy) ?? .smartRouting,
        encryptionRequired: service.encryptionRequired, instance: instance, ingressRouter: router, clientID: identity, peerData: peerData)
      fleet.create(request) { [core] result in
        switch result {
        case .success(let (circuit, peerData)):
          core.facts.circuitCreated()
          let answer = ControlMessages.CircuitCreated(
            replyFor: message.sequence, circuitID: circuit.id, address: circuit.ingressAddress, peerData: peerData,
            tags: ["serviceId": circuit.serviceID, "clientId": circuit.clientID, "hostId": circuit.hostID])
          channel.reply(answer.message(answering: message.contentType), to: message)
        case .failure(let failure):
          core.facts.circuitFailed()
          core.logger.info(
            "circuit failed",
            metadata: ["service": "\(service.name)", "identity": "\(identity)", "router": "\(self.router)", "reason": "\(failure.error.message)"])
          channel.reply(
            ControlMessages.Failure(
              replyFor: message.sequence, text: failure.error.message, code: failure.error.code, retryHint: failure.error.retryHint,
              circuitID: failure.circuit.isEmpty ? nil : failure.circuit
            ).message(), to: message)
        }
      }
    } catch let refusal as EdgeAuthorization.Refusal {
      core.logger.info("circuit refused", metadata: ["router": "\(router)", "reason": "\(refusal.error.message)"])
      refuse(refusal.error)
    } catch {
      refuse(StructuredError(message: "unreadable request: \(error)", code: .internal))
    }
  }

  private func fault(_ fault: CtrlFault) throws {
    switch fault.subject {
    case .ingressFault, .egressFault: fleet.handle(.fault(router: router, circuit: fault.id, immediate: false))
    case .forwardFault:
      for id in fault.id.split(separator: " ") { fleet.handle(.fault(router: router, circuit: String(id), immediate: true)) }
    default: break
    }
  }

  private func confirmation(_ confirmation: CtrlCircuitConfirmation) throws {
    fleet.handle(.confirmation(router: router, circuits: confirmation.circuitIds))
    let known = Dictionary(fleet.circuits.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    for id in confirmation.circuitIds {
      guard let circuit = known[id] else { continue }
      let service = core.model { $0.services[circuit.serviceID] }
      let idle = (confirmation.idleTimes[id] ?? 0) / 1_000_000
      if service == nil || (service?.maxIdleTimeMillis ?? 0 > 0 && idle >= Int64(service?.maxIdleTimeMillis ?? 0)) {
        fleet.handle(.remove(circuit: id))
      }
    }
  }

  // MARK: Terminators

  private func createTerminator(_ message: Wire.Message) {
    guard let request = try? message.decode(EdgeCtrlCreateTerminatorV2Request.self) else { return }
    func answer(_ result: EdgeCtrlCreateTerminatorResult, _ error: StructuredError? = nil) {
      let body = EdgeCtrlCreateTerminatorV2Response.with {
        $0.terminatorID = request.address
        $0.result = result
        $0.msg = error?.message ?? ""
        $0.errorCode = error?.code.rawValue ?? 0
        $0.retryHint = error?.retryHint.rawValue ?? 0
      }
      if let error { core.logger.info("terminator refused", metadata: ["router": "\(router)", "reason": "\(error.message)"]) }
      channel.reply(Wire.Message(.createTerminatorV2Response, body), to: message)
    }
    func refuse(_ text: String, _ code: EdgeErrorCode) { answer(.failedOther, StructuredError(message: text, code: code, retryHint: .notRetriable)) }
    do {
      let api = try authorization.apiSession(token: request.apiSessionToken, fingerprints: request.fingerprints)
      let session = try authorization.serviceSession(token: request.sessionToken, of: api, type: .bind)
      let service = try authorization.service(session.serviceId, identity: api.identityId, action: .bind, router: router)
      guard !request.address.isEmpty, request.address.utf8.count <= 256 else { return refuse("invalid terminator id", .invalidTerminator) }
      guard request.cost <= 65535 else { return refuse("cost \(request.cost) exceeds 65535", .invalidCost) }
      let terminator = LiveTerminator(
        id: request.address, serviceID: service.id, routerID: router, hostID: api.identityId, instance: request.instanceID, address: request.address,
        cost: Int(request.cost), precedence: Model.Precedence(wire: request.precedence), peerData: request.peerData.mapValues { Array($0) },
        createdAt: core.now)
      let refusal = fleet.withTerminators { table -> (String, EdgeErrorCode)? in
        if let old = table[terminator.id] {
          guard old.serviceID == terminator.serviceID, old.routerID == router, old.hostID == terminator.hostID, old.binding == terminator.binding
          else {
            return ("terminator id \(terminator.id) is taken", .invalidTerminator)
          }
        }
        let rivals = table.of(service: service.id).filter {
          !$0.instance.isEmpty && $0.instance == terminator.instance && $0.hostID != terminator.hostID
        }
        guard rivals.isEmpty else { return ("instance \(terminator.instance) of the service is hosted by another identity", .invalidInstanceID) }
        table.put(terminator)
        return nil
      }
      if let refusal { return refuse(refusal.0, refusal.1) }
      core.facts.terminatorMade()
      answer(.success)
    } catch {
      let kind: EdgeCtrlCreateTerminatorResult =
        [.invalidAPISession, .invalidSession].contains(error.error.code) ? .failedInvalidSession : .failedOther
      answer(kind, error.error)
    }
  }

  private func updateTerminator(_ message: Wire.Message) {
    guard let request = try? message.decode(EdgeCtrlUpdateTerminatorRequest.self) else { return }
    let isKnown = fleet.withTerminators { table in
      guard table[request.terminatorID]?.routerID == router else { return false }
      table.update(
        request.terminatorID, cost: request.updateCost ? Int(min(request.cost, 65535)) : nil,
        precedence: request.updatePrecedence ? Model.Precedence(wire: request.precedence) : nil)
      return true
    }
    if isKnown {
      channel.reply(Wire.Message(contentType: .updateTerminatorResponse), to: message)
    } else {
      channel.reply(
        ControlMessages.Failure(replyFor: message.sequence, text: "terminator \(request.terminatorID) is not known", code: .invalidTerminator)
          .message(),
        to: message)
    }
  }

  /// Only terminators of this very router; ids that are gone already are no error.
  private func removeTerminators(_ request: CtrlRemoveTerminatorsRequest, _ message: Wire.Message) throws {
    fleet.withTerminators { table in for id in request.terminatorIds where table[id]?.routerID == router { table.remove(id) } }
    channel.reply(Wire.Message.result(success: true, text: "", replyTo: message), to: message)
  }

  // MARK: Sessions

  /// A router prolongs sessions by naming them, as tokens or as digests. One that it has nothing to do with answers like one that ended.
  private func heartbeats(_ beats: EdgeCtrlApiSessionHeartbeat) throws {
    let now = core.now
    let unknown = beats.tokens.filter { name in
      let digest = SessionDigest.isDigest(name) ? name : SessionDigest.of(name)
      guard let session = core.sessions.apiSession(digest: digest, now: now), core.publication.concerns(router, session) else { return true }
      return core.sessions.use(digest: digest, now: now) == nil
    }
    guard !unknown.isEmpty else { return }
    channel.post(Wire.Message(.apiSessionRemoved, EdgeCtrlApiSessionRemoved.with { $0.tokens = unknown }))
  }

  private func validateSessions(_ request: EdgeCtrlValidateSessionsRequest) throws {
    let unknown = request.sessionTokens.filter { id in
      guard let session = core.sessions.serviceSession(id), let api = core.sessions.apiSession(session.apiSessionId) else { return true }
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
    let possible = core.model { $0.access.identities(router: router) }
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
        success: isGenuine, text: isGenuine ? "" : "router \(request.routerID) did not enroll with that certificate", replyTo: message),
      to: message)
  }

  // MARK: Certificate extension (fabric-planes.md 1.5)

  private func extendCertificates(_ request: EdgeCtrlEnrollmentExtendRouterRequest) async throws {
    let issued = try EnrollmentDesk(core: core).certify(
      router: router, client: request.clientCertCsr, server: request.serverCertCsr, at: .renewal)
    let (clientChain, serverChain) = (issued.client, issued.server)
    let id = router
    let mustVerify = request.requireVerification
    try await core.write(ChangeContext(authorID: router, source: "router")) { transaction in
      guard var entity = try transaction.get(EdgeRouterEntity.self, id) else { return }
      if mustVerify {
        entity.unverifiedFingerprint = clientChain.leaf.sha1Fingerprint
        entity.unverifiedCertPem = clientChain.pem
      } else {
        entity.fingerprint = clientChain.leaf.sha1Fingerprint
        entity.certPem = clientChain.pem
      }
      try transaction.put(entity)
    }
    channel.post(
      Wire.Message(
        .routerCertificates,
        EdgeCtrlEnrollmentCertsResponse.with {
          $0.clientCertPem = clientChain.pem
          $0.serverCertPem = serverChain.pem
        }))
  }

  private func verifyExtension(_ message: Wire.Message) async {
    var failure: (code: String, text: String)?
    do {
      let request = try message.decode(EdgeCtrlEnrollmentExtendRouterVerifyRequest.self)
      let fingerprint = try CertificateChain(pem: request.clientCertPem).leaf.sha1Fingerprint
      let id = router
      let isPromoted = try await core.write(ChangeContext(authorID: router, source: "router")) { transaction -> Bool in
        guard var entity = try transaction.get(EdgeRouterEntity.self, id), entity.unverifiedFingerprint == fingerprint else { return false }
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

extension Model.Precedence {
  init(wire: EdgeCtrlTerminatorPrecedence) {
    switch wire {
    case .required: self = .required
    case .failed: self = .failed
    default: self = .default
    }
  }
}

extension Wire.Precedence {
  fileprivate var model: Model.Precedence {
    switch self {
    case .default: .default
    case .required: .required
    case .failed: .failed
    }
  }
}
