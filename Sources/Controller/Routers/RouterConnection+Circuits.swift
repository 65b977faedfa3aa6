import Access
import Fabric
import Foundation
import JSON
import Logging
import Model
import NIOCore
import SwiftProtobuf
import Transport
import Wire
import WireSchemas

/// What a router asks and tells of circuits.
extension RouterConnection {
  /// Circuits that one message may name: as many as a router that comes back after a long outage tells of. Each unknown
  /// one costs an answer.
  private static let idLimit = 100_000
  /// Bytes of a circuit id; OpenZiti's have 22.
  private static let idLength = 64

  /// Circuits or terminators that are dealt with at a time: dials of everybody else come in between.
  private static let part = 1000

  /// Each once.
  private static func ids(_ texts: some Sequence<String>) -> [String] {
    var seen: Set<String> = []
    return texts.prefix(idLimit).filter { $0.utf8.count <= idLength && seen.insert($0).inserted }
  }

  static func parts(_ ids: [String]) -> [[String]] {
    stride(from: 0, to: ids.count, by: part).map { Array(ids[$0..<min($0 + part, ids.count)]) }
  }

  // MARK: Creation

  /// What a router asks for on behalf of an SDK.
  private struct Wish {
    var apiSession: String
    var fingerprints: [String]
    /// A service session, or the identity and service that the API session stands for.
    var target: Target
    var instance: String
    var peerData: [UInt32: [UInt8]]

    enum Target {
      case session(String)
      case service(String, claimedIdentity: String)
    }

    init(_ message: Wire.Message) throws {
      if message.contentType == .createCircuitV2 {
        let request = try ControlMessages.CreateCircuitV2(parsing: message)
        (apiSession, fingerprints, target) = (
          request.apiSessionToken, request.fingerprints, .session(request.sessionToken)
        )
        (instance, peerData) = (request.terminatorInstanceID, request.peerData)
      } else {
        let request = try ControlMessages.CreateCircuitV3(parsing: message)
        (apiSession, fingerprints) = (request.apiSessionToken, request.fingerprints)
        target = .service(request.serviceID, claimedIdentity: request.identityID)
        (instance, peerData) = (request.terminatorInstanceID, request.peerData)
      }
    }
  }

  /// Whether the dialler may have the circuit at this moment.
  private func judge(_ wish: Wish) throws(EdgeAuthorization.Refusal) -> (identity: String, service: EdgeService) {
    let api = try authorization.apiSession(token: wish.apiSession, fingerprints: wish.fingerprints)
    let serviceID: String
    switch wish.target {
    case .session(let token): serviceID = try authorization.serviceSession(token: token, of: api, type: .dial).serviceId
    case .service(let id, let claimed):
      // The header is a claim; the session is the proof.
      guard claimed == api.identityId else {
        throw EdgeAuthorization.Refusal("invalid api session", .invalidAPISession)
      }
      serviceID = id
    }
    return (
      api.identityId, try authorization.service(serviceID, identity: api.identityId, action: .dial, router: router)
    )
  }

  func createCircuit(_ message: Wire.Message) {
    let channel = self.channel
    @Sendable func refuse(_ error: StructuredError, circuit: String? = nil) {
      core.facts.circuitFailed()
      channel.reply(
        ControlMessages.Failure(
          replyFor: message.sequence, text: error.message, code: error.code, retryHint: error.retryHint,
          circuitID: circuit
        )
        .message(),
        to: message)
    }
    do {
      let wish = try Wish(message)
      let (identity, service) = try judge(wish)
      let name = core.model { $0.identities[identity]?.name } ?? ""
      let request = CircuitRequest(
        ticket: fabric.nextNumber(), serviceID: service.id,
        strategy: TerminatorStrategy(rawValue: service.terminatorStrategy) ?? .smartRouting,
        encryptionRequired: service.encryptionRequired, instance: wish.instance, ingressRouter: router,
        clientID: identity,
        peerData: PeerData.toHost(wish.peerData, identity: identity, name: name),
        sticky: PeerData.stickiness(wish.peerData),
        weight: message.headers.all.reduce(message.body.count) { $0 + $1.value.count })
      fabric.create(request) { [core, fabric, log] result in
        switch result {
        case .success(let (circuit, peerData)):
          // Rights may have gone while the host was asked. What goes from here on finds the circuit among those that
          // there are.
          do throws(EdgeAuthorization.Refusal) { _ = try judge(wish) } catch {
            fabric.handle(.remove(circuit: circuit.id))
            log.write(.info, "circuit refused", ["reason": "\(error.error.message)"])
            return refuse(error.error, circuit: circuit.id)
          }
          core.facts.circuitCreated()
          let answer = ControlMessages.CircuitCreated(
            replyFor: message.sequence, circuitID: circuit.id, address: circuit.ingressAddress, peerData: peerData,
            tags: ["serviceId": circuit.serviceID, "clientId": circuit.clientID, "hostId": circuit.hostID])
          channel.reply(answer.message(answering: message.contentType), to: message)
        case .failure(let failure):
          log.write(
            .info, "circuit failed",
            ["service": "\(service.name)", "identity": "\(identity)", "reason": "\(failure.error.message)"])
          refuse(failure.error, circuit: failure.circuit.isEmpty ? nil : failure.circuit)
        }
      }
    } catch let refusal as EdgeAuthorization.Refusal {
      log.write(.info, "circuit refused", ["reason": "\(refusal.error.message)"])
      refuse(refusal.error)
    } catch {
      refuse(StructuredError(message: "unreadable request: \(error)", code: .internal))
    }
  }

  // MARK: Ends

  func fault(_ fault: CtrlFault) {
    switch fault.subject {
    case .ingressFault, .egressFault: fabric.handle(.fault(router: router, circuit: fault.id, immediate: false))
    case .forwardFault:
      for id in Self.ids(fault.id.split(separator: " ", maxSplits: Self.idLimit).lazy.map { String($0) }) {
        fabric.handle(.fault(router: router, circuit: id, immediate: true))
      }
    default: break
    }
  }

  func confirmation(_ confirmation: CtrlCircuitConfirmation) {
    for ids in Self.parts(Self.ids(confirmation.circuitIds)) { confirm(ids, confirmation) }
  }

  private func confirm(_ ids: [String], _ confirmation: CtrlCircuitConfirmation) {
    let circuits = fabric.circuits(ids)
    let limits = core.model { state in
      Dictionary(
        circuits.map { ($0.serviceID, state.services[$0.serviceID]?.maxIdleTimeMillis) },
        uniquingKeysWith: { first, _ in first })
    }
    let expired = circuits.filter { circuit in
      guard let limit = limits[circuit.serviceID] ?? nil else { return true }
      return limit > 0 && (confirmation.idleTimes[circuit.id] ?? 0) / 1_000_000 >= Int64(limit)
    }
    fabric.handle(.confirmation(router: router, circuits: ids, expired: Set(expired.map(\.id))))
  }

  // MARK: Reconciliation

  private static let circuitsKey = "router-circuits"
  /// Bytes of the answer; OpenZiti's routers write about 300 for a circuit.
  private static let inspectionLimit = 16 << 20

  /// Asks the router for its circuits: those that it lost end here, those that ended here end there. A router that was
  /// killed has none.
  func reconcileCircuits() async {
    let asked = fabric.circuits(of: router)
    let request = CtrlInspectRequest.with { $0.requestedValues = [Self.circuitsKey] }
    guard let reply = try? await channel.request(Wire.Message(.inspect, request), timeout: .seconds(30)),
      let answer = try? reply.decode(CtrlInspectResponse.self),
      let text = answer.values.first(where: { $0.name == Self.circuitsKey })?.value
    else { return log.write(.info, "router does not tell its circuits", ["known": "\(asked.count)"]) }
    guard let held = Self.circuits(in: text, of: core.pki.controllerID) else {
      return log.write(
        .warning, "router tells its circuits in a form that is not known", ["bytes": "\(text.utf8.count)"])
    }
    // There are more than are looked at: from a part it does not follow that the others are lost.
    guard held.count <= Self.idLimit else {
      return log.write(.warning, "router tells of too many circuits", ["circuits": "\(held.count)"])
    }
    let circuits = Set(Self.ids(held))
    for part in Self.parts(asked.sorted()) {
      fabric.handle(.held(router: router, asked: Set(part), circuits: circuits.intersection(part)))
    }
    for part in Self.parts(circuits.subtracting(asked).sorted()) {
      fabric.handle(.held(router: router, asked: [], circuits: Set(part)))
    }
  }

  /// Ids in the answer of one of our routers (a list) or of OpenZiti's (an object by id, with those of other
  /// controllers).
  static func circuits(in text: String, of controller: String) -> [String]? {
    guard let value = try? JSONValue(parsing: text, limits: JSONLimits(bytes: inspectionLimit, depth: 16)) else {
      return nil
    }
    if let list = value.arrayValue { return list.compactMap(\.stringValue) }
    guard let members = value.objectValue else { return nil }
    guard let circuits = members["circuits"]?.objectValue else { return members["circuits"] == .null ? [] : nil }
    return circuits.compactMap { id, circuit in
      let owner = circuit["ctrlId"]?.stringValue ?? controller
      return owner == controller || owner.isEmpty ? id : nil
    }
  }
}
