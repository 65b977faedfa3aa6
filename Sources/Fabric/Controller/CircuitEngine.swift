import Foundation
public import Model
import SwiftProtobuf
public import Wire
import WireSchemas

/// A path through the fabric from a dialler to a host.
public struct Circuit: Sendable, Equatable {
  public let id: String
  public let serviceID: String
  /// Identity of the dialler.
  public let clientID: String
  public let hostID: String
  public let terminatorID: String
  /// Routers, ingress first.
  public let path: [String]
  public let ingressAddress: String
  public let egressAddress: String
  public let createdAt: Timestamp

  public init(
    id: String, serviceID: String, clientID: String, hostID: String, terminatorID: String, path: [String], ingressAddress: String,
    egressAddress: String,
    createdAt: Timestamp
  ) {
    self.id = id
    self.serviceID = serviceID
    self.clientID = clientID
    self.hostID = hostID
    self.terminatorID = terminatorID
    self.path = path
    self.ingressAddress = ingressAddress
    self.egressAddress = egressAddress
    self.createdAt = createdAt
  }
}

/// An authorised wish for a circuit.
public struct CircuitRequest: Sendable {
  /// Names the request in actions; the shell's choice.
  public var ticket: UInt64
  public var serviceID: String
  public var strategy: TerminatorStrategy
  public var encryptionRequired: Bool
  public var instance: String
  public var ingressRouter: String
  public var clientID: String
  public var peerData: [UInt32: [UInt8]]

  public init(
    ticket: UInt64, serviceID: String, strategy: TerminatorStrategy, encryptionRequired: Bool, instance: String, ingressRouter: String,
    clientID: String,
    peerData: [UInt32: [UInt8]]
  ) {
    self.ticket = ticket
    self.serviceID = serviceID
    self.strategy = strategy
    self.encryptionRequired = encryptionRequired
    self.instance = instance
    self.ingressRouter = ingressRouter
    self.clientID = clientID
    self.peerData = peerData
  }
}

/// Creates, watches and removes circuits: the decisions of fabric-planes.md 5, without sockets or clocks.
public struct CircuitEngine: Sendable {
  public struct Settings: Sendable {
    /// For all route results of an attempt, milliseconds.
    public var routeTimeout: Int64 = 10_000
    public var attempts = 2
    public init() {}
  }

  public enum Event: Sendable {
    case create(CircuitRequest)
    case routeResult(router: String, circuit: String, attempt: UInt32, outcome: RouteOutcome)
    /// The time for an attempt is over.
    case deadline(circuit: String, attempt: UInt32)
    /// A router reports that its end of the circuit is done, or that it cannot forward.
    case fault(router: String, circuit: String, immediate: Bool)
    /// A router asks whether these idle circuits still exist.
    case confirmation(router: String, circuits: [String])
    case routerLost(String)
    /// An operator, a deleted service or a lost right ends a circuit.
    case remove(circuit: String)
  }

  public enum RouteOutcome: Sendable {
    case success(peerData: [UInt32: [UInt8]])
    case failure(text: String, code: UInt8)
  }

  public enum Action: Sendable {
    case send(router: String, Wire.Message)
    case created(ticket: UInt64, Circuit, peerData: [UInt32: [UInt8]])
    case failed(ticket: UInt64, circuit: String, StructuredError)
    /// Call back with `.deadline` after this many milliseconds.
    case wake(circuit: String, attempt: UInt32, after: Int64)
    case removeTerminator(String)
    case ended(Circuit)
  }

  private struct Attempt {
    var request: CircuitRequest
    var circuit: Circuit
    var number: UInt32
    var deadline: Timestamp
    var answered: Bool
    var tried: Set<String>
  }

  public var terminators = TerminatorTable()
  private let settings: Settings
  private var online: Set<String> = []
  private var pending: [String: Attempt] = [:]
  private var circuits: [String: Circuit] = [:]

  public init(settings: Settings = Settings()) { self.settings = settings }

  public var all: [Circuit] { circuits.values.sorted { $0.id < $1.id } }
  public subscript(id: String) -> Circuit? { circuits[id] }

  /// Circuits that survived a restart of the controller, from its lease file.
  public mutating func restore(_ known: [Circuit]) { for circuit in known { circuits[circuit.id] = circuit } }

  public mutating func routerConnected(_ id: String) { online.insert(id) }
  public func isOnline(_ router: String) -> Bool { online.contains(router) }

  public mutating func handle(_ event: Event, now: Timestamp, random: inout some RandomNumberGenerator) -> [Action] {
    switch event {
    case .create(let request): return create(request, now: now, random: &random)
    case .routeResult(let router, let id, let number, let outcome):
      guard let attempt = pending[id], attempt.number == number, attempt.circuit.path.contains(router) else {
        return circuits[id] == nil ? [.send(router: router, unroute(id, now: true))] : []
      }
      switch outcome {
      case .success(let peerData): return complete(attempt, peerData: peerData)
      case .failure(let text, let code): return fail(attempt, text: text, code: code, now: now, random: &random)
      }
    case .deadline(let id, let number):
      guard let attempt = pending[id], attempt.number == number else { return [] }
      return fail(attempt, text: "timed out waiting for router \(attempt.circuit.path.last ?? "")", code: 3, now: now, random: &random)
    case .fault(let router, let id, let immediate):
      guard let circuit = circuits[id] else { return immediate ? [.send(router: router, unroute(id, now: true))] : [] }
      guard circuit.path.contains(router) else { return [] }
      return end(circuit, immediate: immediate)
    case .confirmation(let router, let ids):
      return ids.filter { circuits[$0]?.path.contains(router) != true && pending[$0] == nil }.map { .send(router: router, unroute($0, now: true)) }
    case .routerLost(let router):
      online.remove(router)
      // Circuits of a router that lost its control channel keep running; only what waits for its answer fails.
      return pending.values.filter { $0.circuit.path.contains(router) }.flatMap {
        fail($0, text: "router \(router) lost its control channel", code: 0, now: now, random: &random)
      }
    case .remove(let id): return circuits[id].map { end($0, immediate: true) } ?? []
    }
  }

  private mutating func create(_ request: CircuitRequest, now: Timestamp, random: inout some RandomNumberGenerator) -> [Action] {
    if request.encryptionRequired, request.peerData[UInt32(HeaderID.publicKey.rawValue)] == nil {
      let error = StructuredError(
        message: "encryption required on service, initiator did not send public header", code: .encryptionDataMissing, retryHint: .startOver)
      return [.failed(ticket: request.ticket, circuit: "", error)]
    }
    // At most 15 bytes, so that links can carry it in a compact form (fabric-planes.md 7.4).
    let id = String(EntityID.uuidBase62(using: &random).prefix(14))
    return attempt(request, circuitID: id, number: 0, tried: [], deadline: now.adding(milliseconds: settings.routeTimeout), now: now, random: &random)
  }

  private mutating func attempt(
    _ request: CircuitRequest, circuitID: String, number: UInt32, tried: Set<String>, deadline: Timestamp, now: Timestamp,
    random: inout some RandomNumberGenerator
  ) -> [Action] {
    let sticky = request.peerData[UInt32(ControlHeader.stickinessToken.rawValue)].map { String(decoding: $0, as: UTF8.self) }
    let choice = terminators.select(
      service: request.serviceID, instance: request.instance, strategy: request.strategy, online: { online.contains($0) },
      pathCost: { $0 == request.ingressRouter ? 0 : nil }, sticky: sticky, excluding: tried, random: &random)
    switch choice {
    case .failure(let failure):
      pending[circuitID] = nil
      return [.failed(ticket: request.ticket, circuit: circuitID, StructuredError(message: failure.text, code: .internal))]
    case .success(let terminator):
      if request.encryptionRequired, terminator.binding == "edge", terminator.peerData[UInt32(HeaderID.publicKey.rawValue)] == nil {
        pending[circuitID] = nil
        let error = StructuredError(message: "encryption required on service, terminator did not send public header", code: .encryptionDataMissing)
        return [.failed(ticket: request.ticket, circuit: circuitID, error)]
      }
      let circuit = Circuit(
        id: circuitID, serviceID: request.serviceID, clientID: request.clientID, hostID: terminator.hostID, terminatorID: terminator.id,
        path: [request.ingressRouter], ingressAddress: EntityID.uuidBase62(using: &random), egressAddress: EntityID.uuidBase62(using: &random),
        createdAt: now)
      pending[circuitID] = Attempt(
        request: request, circuit: circuit, number: number, deadline: deadline, answered: false, tried: tried.union([terminator.id]))
      return [
        .send(
          router: request.ingressRouter,
          route(circuit, terminator: terminator, attempt: number, remaining: deadline.milliseconds(since: now), peerData: request.peerData)),
        .wake(circuit: circuitID, attempt: number, after: max(1, deadline.milliseconds(since: now))),
      ]
    }
  }

  private mutating func complete(_ attempt: Attempt, peerData: [UInt32: [UInt8]]) -> [Action] {
    pending[attempt.circuit.id] = nil
    let circuit = attempt.circuit
    var merged = terminators[circuit.terminatorID]?.peerData ?? [:]
    merged.merge(peerData) { _, later in later }
    // Leftovers of the route result that the reference leaks to diallers (fabric-planes.md 5.3).
    for leaked in [HeaderID.replyFor, ControlHeader.routeResultAttempt] { merged[UInt32(leaked.rawValue)] = nil }
    if attempt.request.strategy == .sticky { merged[UInt32(ControlHeader.stickinessToken.rawValue)] = Array(circuit.terminatorID.utf8) }
    if attempt.request.encryptionRequired, merged[UInt32(HeaderID.publicKey.rawValue)] == nil {
      let error = StructuredError(message: "encryption required on service, terminator did not send public header", code: .encryptionDataMissing)
      return circuit.path.map { .send(router: $0, unroute(circuit.id, now: true)) } + [
        .failed(ticket: attempt.request.ticket, circuit: circuit.id, error)
      ]
    }
    circuits[circuit.id] = circuit
    terminators.succeeded(circuit.terminatorID)
    terminators.opened(circuit.terminatorID)
    return [.created(ticket: attempt.request.ticket, circuit, peerData: merged)]
  }

  private mutating func fail(_ attempt: Attempt, text: String, code: UInt8, now: Timestamp, random: inout some RandomNumberGenerator) -> [Action] {
    let circuit = attempt.circuit
    var actions: [Action] = circuit.path.map { .send(router: $0, unroute(circuit.id, now: true)) }
    // The host is gone for good: its router does not know the terminator any more.
    if code == 1, terminators[circuit.terminatorID]?.isLease == true {
      terminators.remove(circuit.terminatorID)
      actions.append(.removeTerminator(circuit.terminatorID))
    } else {
      terminators.failed(circuit.terminatorID, now: now)
    }
    if Int(attempt.number) + 1 < settings.attempts, now < attempt.deadline {
      return actions
        + self.attempt(
          attempt.request, circuitID: circuit.id, number: attempt.number + 1, tried: attempt.tried, deadline: attempt.deadline, now: now,
          random: &random)
    }
    pending[circuit.id] = nil
    let message =
      "exceeded maximum [\(settings.attempts)] retries creating circuit [c/\(circuit.id)] (error creating route for [s/\(circuit.clientID)] on [r/\(circuit.path.last ?? "")] (\(text)))"
    return actions + [.failed(ticket: attempt.request.ticket, circuit: circuit.id, StructuredError(message: message, code: .internal))]
  }

  private mutating func end(_ circuit: Circuit, immediate: Bool) -> [Action] {
    circuits[circuit.id] = nil
    terminators.closed(circuit.terminatorID)
    return circuit.path.map { .send(router: $0, unroute(circuit.id, now: immediate)) } + [.ended(circuit)]
  }

  // MARK: Messages

  /// The route of the only node of a path: both ends on one router (fabric-planes.md 5.2).
  private func route(_ circuit: Circuit, terminator: LiveTerminator, attempt: UInt32, remaining: Int64, peerData: [UInt32: [UInt8]]) -> Wire.Message {
    let body = CtrlRoute.with { route in
      route.circuitID = circuit.id
      route.attempt = attempt
      route.timeout = UInt64(max(1, remaining)) * 1_000_000
      route.tags = ["serviceId": circuit.serviceID, "clientId": circuit.clientID, "hostId": circuit.hostID]
      route.egress = .with { egress in
        egress.binding = terminator.binding
        egress.address = circuit.egressAddress
        egress.destination = terminator.address
        egress.peerData = peerData.mapValues { Data($0) }
      }
      route.forwards = [
        .with {
          $0.srcAddress = circuit.ingressAddress
          $0.dstAddress = circuit.egressAddress
          $0.dstType = .end
        },
        .with {
          $0.srcAddress = circuit.egressAddress
          $0.dstAddress = circuit.ingressAddress
          $0.dstType = .start
        },
      ]
    }
    return Wire.Message(.route, body)
  }

  private func unroute(_ circuit: String, now: Bool) -> Wire.Message {
    let body = CtrlUnroute.with {
      $0.circuitID = circuit
      $0.now = now
    }
    return Wire.Message(.unroute, body)
  }
}
