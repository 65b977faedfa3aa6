import Access
import Fabric
import Foundation
import JSON
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import PKI
import SwiftProtobuf
import Transport
import Wire
import WireSchemas

/// What the controller tells and asks.
extension RouterCore {
  // MARK: Data model

  /// - Returns: false when changes are missing and a new subscription is needed.
  func apply(_ whole: EdgeCtrlDataState) -> Bool { carryOut(isLong: true) { $0.apply(whole) } }
  func apply(_ change: EdgeCtrlChangeSet) -> Bool { carryOut(isLong: RouterModel.isLong(change)) { $0.apply(change) } }

  /// - Parameter isLong: the work is done on a copy, while circuits and hosts are judged by what was.
  private func carryOut(isLong: Bool, _ change: (inout RouterModel) -> RouterModel.Outcome) -> Bool {
    let (outcome, waiting) = modelChange.withLock { () -> (RouterModel.Outcome, [EventLoopPromise<Void>]) in
      // What was is freed outside the lock.
      var model = isLong ? state.withLockedValue { $0.model } : RouterModel()
      let done = isLong ? change(&model) : nil
      return state.withLockedValue { state in
        if done != nil { swap(&state.model, &model) }
        let outcome = done ?? change(&state.model)
        guard case .applied(let effects) = outcome else { return (outcome, []) }
        if effects.keysChanged {
          state.verifier = nil
          state.keyGeneration += 1
        }
        return (outcome, effects.isReplaced ? Self.ready(Array(state.waiting.keys), &state) : [])
      }
    }
    for promise in waiting { promise.succeed(()) }
    switch outcome {
    case .gap: return false
    case .ignored: return true
    case .applied(let effects):
      judgeAgain(effects)
      callBack(effects.encryptionChanged)
      return true
    }
  }

  /// Ends at once what is not allowed any more (management-and-model.md 2.4).
  private func judgeAgain(_ effects: RouterModel.Effects) {
    let identities = effects.goneIdentities.union(effects.lost.map(\.identity))
    guard effects.isReplaced || !identities.isEmpty || !effects.goneServices.isEmpty else { return }
    let (circuits, hosts, connections) = state.withLockedValue {
      state -> ([(String, String)], [(String, String)], [ConnectionHandle]) in
      func lost(_ identity: String, _ service: String, _ action: AccessAction) -> String? {
        // A route without tags, or a terminator that an operator made, names nobody to judge.
        guard !identity.isEmpty, !service.isEmpty else { return nil }
        guard effects.isReplaced || identities.contains(identity) || effects.goneServices.contains(service) else {
          return nil
        }
        let decision = state.model.decide(identity: identity, service: service, action: action)
        return decision.isAllowed ? nil : "\(action.rawValue.lowercased()) access lost: \(decision.text)"
      }
      let touched =
        effects.isReplaced
        ? Set(state.forwarding.circuits) : state.forwarding.circuits(of: identities, effects.goneServices)
      let circuits = touched.compactMap { state.forwarding[$0] }.compactMap { entry in
        (lost(entry.clientID, entry.serviceID, .dial) ?? lost(entry.hostID, entry.serviceID, .bind)).map {
          (entry.id, $0)
        }
      }
      let hosted =
        effects.isReplaced ? state.hosted.all : state.hosted.of(identities: identities, services: effects.goneServices)
      let hosts = hosted.compactMap { host in lost(host.identityID, host.serviceID, .bind).map { (host.id, $0) } }
      return (circuits, hosts, effects.goneIdentities.flatMap { state.connections.of(identity: $0) })
    }
    for (id, text) in circuits { cutCircuit(id, text, isReported: true) }
    for (id, text) in hosts { dropTerminator(id, StructuredError(message: text, code: .accessDenied)) }
    for connection in connections { connection.run { $0.underlay.closeAfterFlush() } }
  }

  /// Ends the hosts of services whose encryption changed and that bound for the old one: they bind anew at once, with a
  /// key or without.
  private func callBack(_ services: Set<String>) {
    guard !services.isEmpty else { return }
    let hosts = state.withLockedValue { state in
      state.hosted.of(identities: [], services: services).filter { host in
        guard let service = state.model.services[host.serviceID], let details = state.binds[host.id] else {
          return false
        }
        return (details.bind.publicKey != nil) != service.encryptionRequired
      }
    }
    for host in hosts { dropTerminator(host.id, EdgeRefusal.encryptionChanged.error) }
  }

  // MARK: Sessions

  /// What the table knows a session by. A controller that does not know of digests names sessions by token; a digest
  /// can be no token.
  private func digest(_ name: String) -> String { SessionDigest.isDigest(name) ? name : SessionDigest.of(name) }

  func add(_ added: EdgeCtrlApiSessionAdded, syncID: String?, isLast: Bool) {
    var message = added
    for index in message.apiSessions.indices {
      message.apiSessions[index].token = digest(message.apiSessions[index].token)
    }
    let (ended, withdrawn, waiting) = state.withLockedValue {
      state -> ([String], [ConnectionHandle], [EventLoopPromise<Void>]) in
      let withdrawn = Self.withdrawn(message.apiSessions, state)
      let ended = state.sessions.add(message, syncID: syncID, isLast: isLast)
      return (ended, withdrawn, Self.ready(message.apiSessions.map(\.token), &state))
    }
    for promise in waiting { promise.succeed(()) }
    for handle in withdrawn { handle.run { $0.underlay.closeAfterFlush() } }
    close(ended)
  }

  func update(_ updated: EdgeCtrlApiSessionUpdated) {
    var message = updated
    for index in message.apiSessions.indices {
      message.apiSessions[index].token = digest(message.apiSessions[index].token)
    }
    let (withdrawn, waiting) = state.withLockedValue { state -> ([ConnectionHandle], [EventLoopPromise<Void>]) in
      let withdrawn = Self.withdrawn(message.apiSessions, state)
      state.sessions.update(message)
      return (withdrawn, Self.ready(message.apiSessions.map(\.token), &state))
    }
    for promise in waiting { promise.succeed(()) }
    for handle in withdrawn { handle.run { $0.underlay.closeAfterFlush() } }
  }

  /// Channels that were opened with a certificate which their session could be used with, and no longer can.
  private static func withdrawn(_ sessions: [EdgeCtrlApiSession], _ state: State) -> [ConnectionHandle] {
    sessions.flatMap { session -> [ConnectionHandle] in
      guard let known = state.sessions[session.token]?.fingerprints else { return [] }
      let gone = known.subtracting(session.certFingerprints)
      return gone.isEmpty ? [] : state.connections.of(session: session.token).filter { gone.contains($0.fingerprint) }
    }
  }

  func remove(_ removed: EdgeCtrlApiSessionRemoved) {
    var message = removed
    message.tokens = message.tokens.map(digest)
    close(state.withLockedValue { $0.sessions.remove(message) })
  }

  private func close(_ sessions: [String]) {
    guard !sessions.isEmpty else { return }
    for handle in state.withLockedValue({ state in Set(sessions).flatMap { state.connections.of(session: $0) } }) {
      handle.run { $0.underlay.closeAfterFlush() }
    }
  }

  /// Service sessions ended: what was made with them ends too.
  func remove(serviceSessions ids: Set<String>) {
    let (circuits, hosts) = state.withLockedValue { state -> ([(String, String)], [String]) in
      func text(_ entry: ForwardingTable<CircuitEndpoint>.Entry) -> String {
        let decision = state.model.decide(identity: entry.clientID, service: entry.serviceID, action: .dial)
        return decision.isAllowed ? "session closed" : "dial access lost: \(decision.text)"
      }
      return (
        Set(ids.flatMap { state.circuitsBySession[$0] }).compactMap { state.forwarding[$0] }.map { ($0.id, text($0)) },
        state.hosted.of(sessions: ids).map(\.id)
      )
    }
    for (id, text) in circuits { cutCircuit(id, text, isReported: true) }
    for id in hosts {
      dropTerminator(id, StructuredError(message: "session closed", code: .invalidSession, retryHint: .startOver))
    }
  }

  // MARK: Routes

  /// Carries out a Route. - Returns: the answer.
  func route(_ message: Wire.Message) async -> ControlMessages.RouteResult? {
    guard let route = try? message.decode(CtrlRoute.self), !route.circuitID.isEmpty else { return nil }
    func result(_ outcome: ControlMessages.RouteResult.Outcome) -> ControlMessages.RouteResult {
      ControlMessages.RouteResult(
        replyFor: message.sequence, circuitID: route.circuitID, attempt: route.attempt, outcome: outcome)
    }
    do {
      guard let (order, handle) = try prepare(route) else { return result(.success(peerData: [:])) }
      let promise = handle.loop.makePromise(of: DialOutcome.self)
      handle.run(
        { $0.dialHost(order, promise: promise) },
        otherwise: { promise.succeed(.failure(DialFailure(text: "the host is gone", code: .generic))) })
      switch try await promise.futureResult.get() {
      case .success(let publicKey):
        var peerData: [UInt32: [UInt8]] = [:]
        peerData[HeaderID.publicKey.peerDataKey] = publicKey
        peerData[ControlHeader.terminatorLocalAddress.peerDataKey] = Array(handle.localAddress.utf8)
        peerData[ControlHeader.terminatorRemoteAddress.peerDataKey] = Array(handle.remoteAddress.utf8)
        return result(.success(peerData: peerData))
      case .failure(let failure):
        throw DialFailure(
          text:
            "failed to establish connection with terminator address \(route.egress.destination). error: (\(failure.text))",
          code: failure.code)
      }
    } catch {
      if let entry = state.withLockedValue({ $0.removeCircuit(route.circuitID) }) {
        for end in entry.attached {
          end.handle.run { $0.finish(end.connID, circuit: entry.id, text: "xgress unrouted", sendFIN: false) }
        }
      }
      let failure = error as? DialFailure ?? DialFailure(text: "\(error)", code: .generic)
      return result(.failure(text: failure.text, code: failure.code))
    }
  }

  /// Enters the route. - Returns: nil when nobody has to be dialled.
  private func prepare(_ route: CtrlRoute) throws -> (DialOrder, ConnectionHandle)? {
    try state.withLockedValue { state in
      do { try state.forwarding.apply(route) } catch {
        throw DialFailure(text: "destination unknown: \(error)", code: .invalidLinkDestination)
      }
      guard route.hasEgress, !state.forwarding.isAttached(route.egress.address, circuit: route.circuitID) else {
        return nil
      }
      let egress = route.egress
      guard egress.binding == "edge" else {
        throw DialFailure(text: "binding \(egress.binding) is not available", code: .generic)
      }
      let terminator =
        egress.destination.hasPrefix("hosted:") ? String(egress.destination.dropFirst(7)) : egress.destination
      guard let hosted = state.hosted[terminator], let handle = state.connections[hosted.connection] else {
        throw DialFailure(text: "terminator \(terminator) is not hosted here", code: .invalidTerminator)
      }
      let peerData = egress.peerData.mapValues { [UInt8]($0) }
      // Who dials is the controller's word alone: peer data is what the dialler's router wrote.
      let identity = route.tags["clientId"]
      let name = identity.flatMap { state.model.identities[$0]?.name }
      let limit = Int64(5_000_000_000)
      let order = DialOrder(
        circuit: route.circuitID, address: egress.address, bindConnID: hosted.connID, sessionID: hosted.sessionID,
        peerData: peerData,
        dialer: (identity, name),
        timeout: .nanoseconds(route.timeout == 0 ? limit : min(limit, Int64(clamping: route.timeout))))
      return (order, handle)
    }
  }

  /// The controller removes a circuit.
  func unroute(_ request: CtrlUnroute) {
    guard !request.now else { return cutCircuit(request.circuitID, "xgress unrouted", isReported: false) }
    // Payload that is still on its way gets a moment.
    _ = EdgeLoops.group.any().scheduleTask(in: .seconds(5)) {
      self.cutCircuit(request.circuitID, "xgress unrouted", isReported: false)
    }
  }

  // MARK: Validation

  func terminatorStates(_ request: CtrlValidateTerminatorsV2Request) -> CtrlValidateTerminatorsV2Response {
    let asked = request.terminators.map(\.id)
    let live = state.withLockedValue { state in Set(asked.filter { state.hosted[$0] != nil }) }
    return .with { response in
      for terminator in request.terminators {
        response.states[terminator.id] = .with {
          $0.marker = terminator.marker
          $0.valid = terminator.binding == "edge" && live.contains(terminator.id)
          if !$0.valid {
            $0.reason = terminator.binding == "edge" ? .unknownTerminator : .unknownBinding
            $0.detail = "not hosted on this router"
          }
        }
      }
    }
  }

  /// JSON texts for the keys that this router knows; others are skipped (fabric-planes.md 3.7).
  func inspect(_ keys: [String]) -> CtrlInspectResponse {
    .with { response in
      response.success = true
      response.values = keys.compactMap { key in
        guard let text = inspected(key) else { return nil }
        return .with {
          $0.name = key
          $0.value = text
        }
      }
    }
  }

  private func inspected(_ key: String) -> String? {
    func json(_ value: some Encodable) -> String? { (try? JSONValue(encoding: value))?.text }
    return state.withLockedValue { state in
      switch key.lowercased() {
      case "router-data-model-index": json(["index": state.model.index])
      case "links": "[]"
      case "router-circuits", "router-edge-circuits": json(state.forwarding.circuits)
      case "sdk-terminators":
        json(state.hosted.all.map { ["id": $0.id, "service": $0.serviceID, "identity": $0.identityID] })
      case "identity-connection-statuses": json(state.connections.identities.sorted())
      default: nil
      }
    }
  }
}
