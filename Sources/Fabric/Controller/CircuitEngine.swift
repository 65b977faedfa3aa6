// Fabric: the I/O-free cores of the network side of controller and router: circuits, terminators, the router's replica
// of the data model, sessions. No socket, no clock, no random source of its own: events, time and random numbers come
// in, actions go out. Start reading at `CircuitEngine` (controller) and `RouterModel` (router).

public import Access
import Foundation
public import Model
import SwiftProtobuf
public import Wire
import WireSchemas

/// Creates, watches and removes circuits and what they end at: the decisions of fabric-planes.md 5, without sockets or
/// clocks.
///
/// Everything that changes here is an event. A router is believed only where its own circuits and terminators are
/// concerned (docs/security.md, what the controller believes of a router).
public struct CircuitEngine: Sendable {
  public struct Settings: Sendable {
    /// For all route results of an attempt, milliseconds.
    public var routeTimeout: Int64 = 10_000
    public var attempts = 2
    /// Dials of one identity that wait for their circuits. A public frontend is one identity and dials for all of its
    /// visitors; an answer takes milliseconds, or up to ten seconds where a host is stuck.
    public var dialsPerIdentity = 1024
    /// Of those, for one service: a stuck host must not use up what its dialler has.
    public var dialsPerService = 256
    /// Milliseconds after which the circuits of a router without a control channel count as ended. More than five
    /// minutes, after which an OpenZiti router that failed to connect tries again (fabric-planes.md 2.8).
    public var routerAbsence: Int64 = 600_000
    /// Bytes that one router may have sent for dials that wait for their circuits; a dial takes a few hundred.
    public var dialBytesPerRouter = 64 << 20
    /// Terminators of one router; about a KB each.
    public var terminatorsPerRouter = 100_000
    /// Bytes of them: what hosts say of themselves has no limit of its own.
    public var terminatorBytesPerRouter = 256 << 20
    public init() {}
  }

  public enum Event: Sendable {
    // Dials and their routers.
    case create(CircuitRequest)
    case routeResult(router: String, circuit: String, attempt: UInt32, outcome: RouteOutcome)
    /// The time for an attempt is over.
    case deadline(circuit: String, attempt: UInt32)
    /// A router reports that its end of the circuit is done, or that it cannot forward.
    case fault(router: String, circuit: String, immediate: Bool)
    /// A router asks whether these circuits still exist.
    /// - Parameter expired: those of them that have been idle for longer than their service allows, or whose service is
    ///   gone.
    case confirmation(router: String, circuits: [String], expired: Set<String>)
    /// A router tells of all its circuits. - Parameter asked: circuits over it when it was asked.
    case held(router: String, asked: Set<String>, circuits: Set<String>)
    /// A router tells the usage of circuits.
    case usage(router: String, [UsageRecord.Claim])
    case routerConnected(String)
    case routerLost(String)

    // Terminators.
    /// A router offers a host, which was authorised. - Parameter identity: what the host's identity says for the
    /// service.
    case offer(LiveTerminator, identity: Standing = Standing())
    /// A host changes its terminator at its router.
    case adjust(
      terminator: String, router: String, by: Grant, cost: Int?, precedence: Precedence?,
      identity: Standing = Standing())
    /// A router takes back what it offered.
    case withdraw(router: String, terminators: [String])
    /// A router takes no new circuits while others can, or does again.
    case quiesce(router: String, Bool)

    // What operators do.
    /// A terminator made or changed over REST.
    case place(LiveTerminator)
    case displace(terminator: String)
    /// An identity's cost and precedence as a host changed. - Parameter of: by service.
    case standing(identity: String, of: [String: Standing])
    /// An operator or an authority other than a router ends a circuit.
    case remove(circuit: String)
    case serviceRemoved(String)
    /// Only these routers may carry a service from now on.
    case serviceKept(String, to: Set<String>)
    /// A router may not take part for now, or begins anew: what it has ends.
    case routerDisabled(String)
    case routerRemoved(String)
    /// An identity may not do that with a service any more.
    case rightLost(Grant, AccessAction)

    /// Now and then, at least once a minute.
    case tick
  }

  public enum RouteOutcome: Sendable {
    case success(peerData: [UInt32: [UInt8]])
    case failure(text: String, code: RouteErrorCode)
  }

  /// Why a router's offer is not taken.
  public enum OfferRefusal: Error, Sendable, Equatable {
    case idTaken
    case instanceTaken
    case tooMany(limit: Int)
    case tooManyBytes(limit: Int)
  }

  public enum Action: Sendable {
    case send(router: String, Wire.Message)
    case created(ticket: UInt64, Circuit, peerData: [UInt32: [UInt8]])
    case failed(ticket: UInt64, circuit: String, StructuredError)
    /// Call back with `.deadline` after this many milliseconds.
    case wake(circuit: String, attempt: UInt32, after: Int64)
    case removeTerminator(String)
    case offered(terminator: String, OfferRefusal?)
    /// Whether the terminator was there and the host's to change.
    case adjusted(terminator: String, Bool)
    case ended(Circuit)
    /// Hosts at routers that may no longer carry their service.
    case stranded([LiveTerminator])
    case charged([UsageRecord])
    /// A router told of more than it can have carried.
    case usageClamped(router: String)
    /// A router stayed away for too long.
    case givenUp(router: String, circuits: Int, terminators: Int)
  }

  let settings: Settings
  public internal(set) var terminators = TerminatorTable()
  private var online: Set<String> = []
  private(set) var pending = DialsInFlight()
  private(set) var circuits = CircuitTable()
  /// Routers without a control channel that may have circuits or terminators, and since when.
  private var away: [String: Timestamp] = [:]
  private var usage = UsageAccount()
  private var lastDecay: Timestamp?

  public init(settings: Settings = Settings()) { self.settings = settings }

  public var all: [Circuit] { circuits.all }
  public var count: Int { circuits.count }
  public subscript(id: String) -> Circuit? { circuits[id] }
  /// Ids of the circuits over a router.
  public func circuits(of router: String) -> Set<String> { circuits.ids(of: router) }

  /// Circuits that survived a restart of the controller, from its lease file. Their routers are expected back.
  public mutating func restore(_ known: [Circuit], now: Timestamp) {
    for circuit in known {
      circuits.insert(circuit)
      terminators.opened(circuit.terminatorID)
      for router in circuit.path where !online.contains(router) { away[router] = now }
    }
  }

  public func isOnline(_ router: String) -> Bool { online.contains(router) }

  public mutating func handle(_ event: Event, now: Timestamp, random: inout some RandomNumberGenerator) -> [Action] {
    switch event {
    case .create(let request): return create(request, now: now, random: &random)
    case .routeResult(let router, let id, let number, let outcome):
      return routeResult(router, id, number, outcome, now: now, random: &random)
    case .deadline(let id, let number):
      guard let attempt = pending[id], attempt.number == number else { return [] }
      return fail(
        attempt, text: "timed out waiting for router \(attempt.circuit.path.last ?? "")", code: .dialTimedOut, now: now,
        random: &random)
    case .fault(let router, let id, let immediate):
      guard let circuit = circuits[id] else {
        return immediate && pending[id] == nil ? [.send(router: router, unroute(id, now: true))] : []
      }
      guard circuit.path.contains(router) else { return [] }
      return end(circuit, immediate: immediate, now: now)
    case .confirmation(let router, let ids, let expired): return confirm(router, ids, expired, now: now)
    case .held(let router, let asked, let held): return reconcile(router, asked, held, now: now)
    case .usage(let router, let claims):
      let (charged, isClamped) = usage.charge(claims, by: router, circuits: circuits, now: now)
      return (charged.isEmpty ? [] : [.charged(charged)]) + (isClamped ? [.usageClamped(router: router)] : [])
    case .routerConnected(let router):
      online.insert(router)
      away[router] = nil
      return []
    case .routerLost(let router):
      online.remove(router)
      // Circuits keep running while the control channel is gone; only what waits for the router's answer fails.
      away[router] = now
      return pending.of(router: router).flatMap {
        fail($0, text: "router \(router) lost its control channel", code: .generic, now: now, random: &random)
      }
    case .offer, .adjust, .standing, .withdraw, .quiesce, .place, .displace: return handleTerminators(event)
    case .remove(let id): return circuits[id].map { end($0, immediate: true, now: now) } ?? []
    case .serviceRemoved(let service):
      for terminator in terminators.of(service: service) { terminators.remove(terminator.id) }
      return circuits.of(service: service).flatMap { end($0, immediate: true, now: now) }
    case .serviceKept(let service, let routers):
      let stranded = terminators.of(service: service).filter { $0.isLease && !routers.contains($0.routerID) }
      for terminator in stranded { terminators.remove(terminator.id) }
      return [.stranded(stranded)]
        + circuits.of(service: service).filter { !routers.isSuperset(of: $0.path) }.flatMap {
          end($0, immediate: true, now: now)
        }
    case .routerDisabled(let router): return abandon(router, now: now).actions
    case .routerRemoved(let router):
      usage.forget(router: router)
      for terminator in terminators.of(router: router) { terminators.remove(terminator.id) }
      return abandon(router, now: now).actions
    case .rightLost(let grant, let action): return loseRight(grant, action, now: now)
    case .tick: return tick(now: now)
    }
  }

  // MARK: Creation

  private mutating func create(_ request: CircuitRequest, now: Timestamp, random: inout some RandomNumberGenerator)
    -> [Action]
  {
    func refuse(_ error: StructuredError) -> [Action] { [.failed(ticket: request.ticket, circuit: "", error)] }
    let dial = Grant(identity: request.clientID, service: request.serviceID)
    guard pending.count(client: request.clientID) < settings.dialsPerIdentity,
      pending.count(dial: dial) < settings.dialsPerService
    else {
      let message =
        "identity \(request.clientID) has \(pending.count(dial: dial)) dials of service \(request.serviceID) and \(pending.count(client: request.clientID)) in all under way; dial again when some of them are answered"
      return refuse(StructuredError(message: message, code: .internal, retryHint: .tooBusy))
    }
    guard pending.weight(router: request.ingressRouter) + request.weight <= settings.dialBytesPerRouter else {
      let message =
        "router \(request.ingressRouter) has dials of \(settings.dialBytesPerRouter) bytes under way, as many as it may have"
      return refuse(StructuredError(message: message, code: .internal, retryHint: .tooBusy))
    }
    if request.encryptionRequired, request.peerData[HeaderID.publicKey.peerDataKey] == nil {
      return refuse(
        StructuredError(
          message: "encryption required on service, initiator did not send public header", code: .encryptionDataMissing,
          retryHint: .startOver))
    }
    // At most 15 bytes, so that links can carry it in a compact form (fabric-planes.md 7.4).
    let id = String(EntityID.uuidBase62(using: &random).prefix(14))
    return attempt(
      request, circuitID: id, number: 0, tried: [], deadline: now.adding(milliseconds: settings.routeTimeout), now: now,
      random: &random)
  }

  private mutating func attempt(
    _ request: CircuitRequest, circuitID: String, number: UInt32, tried: Set<String>, deadline: Timestamp,
    now: Timestamp,
    random: inout some RandomNumberGenerator
  ) -> [Action] {
    let choice = terminators.select(
      service: request.serviceID, instance: request.instance, strategy: request.strategy,
      online: { online.contains($0) },
      pathCost: { $0 == request.ingressRouter ? 0 : nil }, sticky: request.sticky, excluding: tried, random: &random)
    switch choice {
    case .failure(let failure):
      pending.remove(circuitID)
      return [
        .failed(ticket: request.ticket, circuit: circuitID, StructuredError(message: failure.text, code: .internal))
      ]
    case .success(let terminator):
      if request.encryptionRequired, terminator.binding == "edge",
        terminator.peerData[HeaderID.publicKey.peerDataKey] == nil
      {
        pending.remove(circuitID)
        let error = StructuredError(
          message: "encryption required on service, terminator did not send public header", code: .encryptionDataMissing
        )
        return [.failed(ticket: request.ticket, circuit: circuitID, error)]
      }
      let circuit = Circuit(
        id: circuitID, serviceID: request.serviceID, clientID: request.clientID, hostID: terminator.hostID,
        terminatorID: terminator.id,
        path: [request.ingressRouter], ingressAddress: EntityID.uuidBase62(using: &random),
        egressAddress: EntityID.uuidBase62(using: &random),
        createdAt: now)
      pending.put(
        DialsInFlight.Attempt(
          request: request, circuit: circuit, number: number, deadline: deadline, tried: tried.union([terminator.id])))
      return [
        .send(
          router: request.ingressRouter,
          route(
            circuit, terminator: terminator, attempt: number, remaining: deadline.milliseconds(since: now),
            peerData: request.peerData)),
        .wake(circuit: circuitID, attempt: number, after: max(1, deadline.milliseconds(since: now))),
      ]
    }
  }

  private mutating func routeResult(
    _ router: String, _ id: String, _ number: UInt32, _ outcome: RouteOutcome, now: Timestamp,
    random: inout some RandomNumberGenerator
  ) -> [Action] {
    guard let attempt = pending[id], attempt.circuit.path.contains(router) else {
      // Also for another router's dial: whoever was not asked has nothing to keep.
      return circuits[id]?.path.contains(router) == true ? [] : [.send(router: router, unroute(id, now: true))]
    }
    guard attempt.number == number else { return [] }
    switch outcome {
    case .success(let peerData): return complete(attempt, peerData: peerData, from: router, now: now, random: &random)
    case .failure(let text, let code):
      return fail(attempt, text: text, code: code, now: now, random: &random)
    }
  }

  private mutating func complete(
    _ attempt: DialsInFlight.Attempt, peerData: [UInt32: [UInt8]], from router: String, now: Timestamp,
    random: inout some RandomNumberGenerator
  ) -> [Action] {
    let circuit = attempt.circuit
    // The host may have lost its right, or left, since it was asked.
    guard let terminator = terminators[circuit.terminatorID], terminator.hostID == circuit.hostID else {
      return fail(attempt, text: "the host has been withdrawn meanwhile", code: .generic, now: now, random: &random)
    }
    pending.remove(circuit.id)
    var merged = PeerData.ofHost(terminator.peerData)
    // Only the router that dialled the host speaks for it.
    if router == circuit.path.last { merged.merge(PeerData.ofHost(peerData)) { _, later in later } }
    if attempt.request.strategy == .sticky {
      merged[ControlHeader.stickinessToken.peerDataKey] = Array(circuit.terminatorID.utf8)
    }
    if attempt.request.encryptionRequired, merged[HeaderID.publicKey.peerDataKey] == nil {
      let error = StructuredError(
        message: "encryption required on service, terminator did not send public header", code: .encryptionDataMissing)
      return unroutes(circuit, now: true) + [.failed(ticket: attempt.request.ticket, circuit: circuit.id, error)]
    }
    circuits.insert(circuit)
    terminators.succeeded(circuit.terminatorID)
    terminators.opened(circuit.terminatorID)
    return [.created(ticket: attempt.request.ticket, circuit, peerData: merged)]
  }

  private mutating func fail(
    _ attempt: DialsInFlight.Attempt, text: String, code: RouteErrorCode, now: Timestamp,
    random: inout some RandomNumberGenerator
  ) -> [Action] {
    let circuit = attempt.circuit
    var actions = unroutes(circuit, now: true)
    // The host is gone for good: its router does not know the terminator any more.
    if code == .invalidTerminator, let terminator = terminators[circuit.terminatorID], terminator.isLease,
      terminator.routerID == circuit.path.last
    {
      terminators.remove(circuit.terminatorID)
      actions.append(.removeTerminator(circuit.terminatorID))
    } else {
      terminators.failed(circuit.terminatorID, now: now)
    }
    if Int(attempt.number) + 1 < settings.attempts, now < attempt.deadline {
      return actions
        + self.attempt(
          attempt.request, circuitID: circuit.id, number: attempt.number + 1, tried: attempt.tried,
          deadline: attempt.deadline, now: now,
          random: &random)
    }
    pending.remove(circuit.id)
    let message =
      "exceeded maximum [\(settings.attempts)] retries creating circuit [c/\(circuit.id)] (error creating route for [s/\(circuit.clientID)] on [r/\(circuit.path.last ?? "")] (\(text)))"
    return actions + [
      .failed(ticket: attempt.request.ticket, circuit: circuit.id, StructuredError(message: message, code: .internal))
    ]
  }

  // MARK: Ends

  private mutating func end(_ circuit: Circuit, immediate: Bool, now: Timestamp) -> [Action] {
    circuits.remove(circuit.id)
    terminators.closed(circuit.terminatorID)
    usage.ended(circuit, now: now)
    return unroutes(circuit, now: immediate) + [.ended(circuit)]
  }

  /// Whatever hangs on the right ends now: circuits, dials on their way, and hosts.
  private mutating func loseRight(_ grant: Grant, _ action: AccessAction, now: Timestamp) -> [Action] {
    switch action {
    case .dial:
      let refused = pending.of(dial: grant).flatMap { attempt -> [Action] in
        pending.remove(attempt.circuit.id)
        let error = StructuredError(
          message: "access denied: dial access to service \(grant.service) was taken away", code: .accessDenied)
        return unroutes(attempt.circuit, now: true) + [
          .failed(ticket: attempt.request.ticket, circuit: attempt.circuit.id, error)
        ]
      }
      return refused + circuits.of(dial: grant).flatMap { end($0, immediate: true, now: now) }
    case .bind:
      // Those that operators made are theirs to take away.
      for terminator in terminators.of(host: grant) where terminator.isLease { terminators.remove(terminator.id) }
      return circuits.of(bind: grant).filter { terminators[$0.terminatorID] == nil }.flatMap {
        end($0, immediate: true, now: now)
      }
    }
  }

  private mutating func tick(now: Timestamp) -> [Action] {
    usage.forget(now: now)
    // Once a minute (fabric-planes.md 5.4).
    if lastDecay.map({ now.milliseconds(since: $0) >= 60_000 || now < $0 }) ?? true {
      if lastDecay != nil { terminators.decay(now: now) }
      lastDecay = now
    }
    return away.filter { now.milliseconds(since: $0.value) >= settings.routerAbsence }.keys.sorted().flatMap {
      giveUp($0, now: now)
    }
  }

  private mutating func giveUp(_ router: String, now: Timestamp) -> [Action] {
    let (circuits, leases, actions) = abandon(router, now: now)
    return circuits + leases == 0 ? [] : [.givenUp(router: router, circuits: circuits, terminators: leases)] + actions
  }

  /// Ends the circuits of a router and the hosts that only it knows.
  private mutating func abandon(_ router: String, now: Timestamp) -> (circuits: Int, leases: Int, actions: [Action]) {
    away[router] = nil
    let leases = terminators.of(router: router).filter(\.isLease)
    for terminator in leases { terminators.remove(terminator.id) }
    let lost = circuits.of(router: router)
    return (lost.count, leases.count, lost.flatMap { end($0, immediate: true, now: now) })
  }

  // MARK: Reconciliation (fabric-planes.md 3.7)

  private mutating func confirm(_ router: String, _ ids: [String], _ expired: Set<String>, now: Timestamp) -> [Action] {
    ids.flatMap { id -> [Action] in
      guard let circuit = circuits[id], circuit.path.contains(router) else {
        return pending[id]?.circuit.path.contains(router) == true ? [] : [.send(router: router, unroute(id, now: true))]
      }
      // Only an end knows whether anything moves.
      guard expired.contains(id), circuit.path.first == router || circuit.path.last == router else { return [] }
      return end(circuit, immediate: true, now: now)
    }
  }

  /// Circuits that the router has lost end, and it is told of those that ended without it.
  private mutating func reconcile(_ router: String, _ asked: Set<String>, _ held: Set<String>, now: Timestamp)
    -> [Action]
  {
    let lost = asked.subtracting(held).sorted().compactMap { circuits[$0] }.filter { $0.path.contains(router) }
    return lost.flatMap { end($0, immediate: true, now: now) } + confirm(router, held.sorted(), [], now: now)
  }

  // MARK: Messages

  private func unroutes(_ circuit: Circuit, now: Bool) -> [Action] {
    circuit.path.map { .send(router: $0, unroute(circuit.id, now: now)) }
  }

  /// The route of the only node of a path: both ends on one router (fabric-planes.md 5.2).
  private func route(
    _ circuit: Circuit, terminator: LiveTerminator, attempt: UInt32, remaining: Int64, peerData: [UInt32: [UInt8]]
  ) -> Wire.Message {
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
