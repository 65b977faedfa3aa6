import Access
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
import Transport
import Wire
import WireSchemas

/// The one place where a router's live things are known: model, sessions, connections, circuits, hosts. Asked for every
/// new circuit and every change, never for payload.
final class RouterCore: Sendable {
  typealias Hosted = HostedTerminators<UInt64>.Hosted

  struct BindDetails: Sendable {
    let handle: ConnectionHandle
    let bind: EdgeMessages.Bind
    /// Among the services that the identity hosts.
    let place: IdentityShare.Ticket
  }

  struct State {
    var model = RouterModel()
    var sessions = SessionTable()
    var forwarding = ForwardingTable<CircuitEndpoint>()
    var hosted = HostedTerminators<UInt64>()
    var binds: [String: BindDetails] = [:]
    /// Circuits by the service sessions of their ends.
    var circuitsBySession = Multimap<String, String>()
    var connections = ConnectionTable()
    var waiting: [String: [EventLoopPromise<Void>]] = [:]
    var verifier: TokenVerifier?
    var keyGeneration = 0
    var control: MessageChannel?
    /// Ends of circuits that no controller has heard of yet.
    var unreported: [String: CtrlFaultSubject] = [:]

    mutating func attach(_ end: CircuitEndpoint, at address: String, circuit: String) -> CircuitUsage? {
      guard forwarding.attach(end, at: address, circuit: circuit) else { return nil }
      circuitsBySession.insert(circuit, for: end.sessionID)
      return forwarding[circuit]?.usage
    }

    mutating func removeCircuit(_ id: String) -> ForwardingTable<CircuitEndpoint>.Entry? {
      guard let entry = forwarding.remove(id) else { return nil }
      for end in entry.attached { circuitsBySession.remove(id, for: end.sessionID) }
      return entry
    }
  }

  /// Faults kept while no controller is connected; more circuits than this end only in a catastrophe, and the
  /// controller then asks by itself.
  private static let unreportedLimit = 100_000

  let routerID: String
  let anchors: TrustAnchors
  let logger: Logger
  let state = NIOLockedValueBox(State())
  /// Held by whoever changes the model, so that one change follows the other; never taken inside `state`.
  let modelChange = NIOLock()
  /// Bytes of one circuit that wait for a reader before its channel is not read.
  let circuitQueue: Int
  /// How long others wait for that reader.
  let circuitGrace: TimeAmount
  private let identityLimits: IdentityLimits
  let waitingBytes = WaitingBytes()
  private let counter = Atomic<UInt64>(0)

  init(
    routerID: String, anchors: TrustAnchors, circuitQueue: Int, circuitGrace: TimeAmount,
    identityLimits: IdentityLimits, logger: Logger
  ) {
    self.routerID = routerID
    self.anchors = anchors
    self.circuitQueue = circuitQueue
    self.circuitGrace = circuitGrace
    self.identityLimits = identityLimits
    self.logger = logger
  }

  func nextNumber() -> UInt64 { counter.wrappingAdd(1, ordering: .relaxed).newValue }

  /// A fresh text id, in the alphabet and length of upstream.
  func freshID() -> String { EntityID.uuidBase62() }

  var isConnected: Bool { state.withLockedValue { $0.control?.isOpen ?? false } }
  var circuitCount: Int { state.withLockedValue { $0.forwarding.count } }
  var control: MessageChannel? { state.withLockedValue { $0.control } }
  func handle(_ id: UInt64) -> ConnectionHandle? { state.withLockedValue { $0.connections[id] } }

  // MARK: Connections

  /// The API session of a token; waits a while for one that is on its way, and for the model that its requests will be
  /// judged by.
  func session(_ token: String, within limit: TimeAmount) async -> SessionTable.APISession? {
    // No session will ever come for it: only its own digest would match.
    guard !SessionDigest.isDigest(token) else { return nil }
    var session = await session(digest: SessionDigest.of(token), within: limit)
    session?.token = token
    return session
  }

  private func session(digest: String, within limit: TimeAmount) async -> SessionTable.APISession? {
    let loop = EdgeLoops.group.any()
    let promise = loop.makePromise(of: Void.self)
    let known = state.withLockedValue { state -> SessionTable.APISession? in
      if let session = state.sessions[digest], state.model.index > 0 { return session }
      state.waiting[digest, default: []].append(promise)
      return nil
    }
    if let known {
      promise.succeed(())
      return known
    }
    let deadline = loop.scheduleTask(in: limit) { promise.succeed(()) }
    // Whoever went away waits no longer.
    try? await withTaskCancellationHandler {
      try await promise.futureResult.get()
    } onCancel: {
      promise.succeed(())
    }
    deadline.cancel()
    return state.withLockedValue { state in
      state.waiting[digest]?.removeAll { $0.futureResult === promise.futureResult }
      if state.waiting[digest]?.isEmpty ?? false { state.waiting[digest] = nil }
      return state.sessions[digest]
    }
  }

  /// Those who waited for these sessions and need not wait any longer.
  static func ready(_ digests: some Sequence<String>, _ state: inout State) -> [EventLoopPromise<Void>] {
    guard state.model.index > 0 else { return [] }
    return digests.flatMap { state.sessions[$0] == nil ? [] : state.waiting.removeValue(forKey: $0) ?? [] }
  }

  /// Why an identity gets no channel now, nil when it does.
  func barred(identity: String) -> String? {
    state.withLockedValue { state in
      guard state.model.index > 0, let known = state.model.identities[identity] else { return nil }
      return known.isDisabled ? "invalid api session: identity \"\(known.name)\" is disabled" : nil
    }
  }

  /// What an identity has of this router, and a place for one more channel.
  /// - Throws: `identityLimits.channels` when it has all that it may have.
  func place(for identity: String) throws(TooManyChannels) -> (IdentityShare, IdentityShare.Ticket) {
    let (limits, total) = (identityLimits, waitingBytes)
    let (share, ticket) = state.withLockedValue { state -> (IdentityShare, IdentityShare.Ticket?) in
      let share = state.connections.share(of: identity, limits: limits, total: total)
      return (share, share.take(.channel))
    }
    guard let ticket else { throw TooManyChannels(limit: limits.channels) }
    return (share, ticket)
  }

  struct TooManyChannels: Error {
    let limit: Int
  }

  /// - Returns: false when the session ended since it was judged.
  func register(_ handle: ConnectionHandle) -> Bool {
    let (isValid, isFirst) = state.withLockedValue { state -> (Bool, Bool) in
      guard state.sessions[handle.session.digest] != nil else { return (false, false) }
      return (true, state.connections.insert(handle))
    }
    if isValid, isFirst { reportPresence([handle.session.identityID], isConnected: true) }
    return isValid
  }

  func unregister(_ handle: ConnectionHandle) {
    let (gone, isLast) = state.withLockedValue { state -> ([String], Bool) in
      guard let isLast = state.connections.remove(handle) else { return ([], false) }
      let gone = state.hosted.of(handle.id).map(\.id)
      for id in gone {
        state.hosted.remove(id)
        state.binds[id] = nil
      }
      return (gone, isLast)
    }
    withdraw(gone)
    if isLast { reportPresence([handle.session.identityID], isConnected: false) }
  }

  private func reportPresence(_ identities: [String], isConnected: Bool, isFull: Bool = false) {
    let events = EdgeCtrlConnectEvents.with {
      $0.fullState = isFull
      $0.events = identities.map { id in
        .with {
          $0.identityID = id
          $0.isConnected = isConnected
        }
      }
    }
    control?.post(Wire.Message(.connectEvents, events))
  }

  // MARK: Control channel

  /// A control channel is up: what happened meanwhile is told, hosts are made known again.
  func connected(_ channel: MessageChannel) {
    let (faults, circuits, identities) = state.withLockedValue {
      state -> ([String: CtrlFaultSubject], [String], Set<String>) in
      state.control = channel
      defer { state.unreported = [:] }
      return (state.unreported, state.forwarding.circuits, state.connections.identities)
    }
    for (id, subject) in faults { channel.post(Self.fault(id, subject)) }
    if !circuits.isEmpty {
      channel.post(Wire.Message(.circuitConfirmation, CtrlCircuitConfirmation.with { $0.circuitIds = circuits }))
    }
    reportPresence(identities.sorted(), isConnected: true, isFull: true)
  }

  func disconnected(_ channel: MessageChannel) {
    state.withLockedValue { state in if state.control === channel { state.control = nil } }
  }

  var hostedIDs: [String] { state.withLockedValue { $0.hosted.all.map(\.id) } }
  /// Names of API sessions with an open channel, as that controller wants them.
  func sessionsInUse(for channel: MessageChannel) -> [String] {
    let sessions = state.withLockedValue { $0.connections.sessions }
    return sessions.map { channel.takesSessionDigests ? $0.digest : $0.token }.sorted()
  }
  var modelPosition: (index: UInt64, timeline: String) { state.withLockedValue { ($0.model.index, $0.model.timeline) } }

  private static func fault(_ circuit: String, _ subject: CtrlFaultSubject) -> Wire.Message {
    Wire.Message(
      .fault,
      CtrlFault.with {
        $0.subject = subject
        $0.id = circuit
      })
  }

  // MARK: Tokens

  /// Verifies a service session token with the keys of the model.
  func presentedSession(of token: String) async throws(EdgeRefusal) -> PresentedServiceSession {
    do {
      let claims = try await verifier().verify(token, as: ServiceSessionClaims.self, now: Date())
      guard claims.aud.contains(ServiceSessionClaims.audience) else {
        throw PKIError.badToken("it is not for routers of this network")
      }
      return PresentedServiceSession(
        sessionID: claims.jti, serviceID: claims.sub, apiSessionID: claims.apiSessionID, identityID: claims.identityID,
        tokenType: claims.tokenType,
        sessionType: claims.sessionType)
    } catch {
      logger.info("service session token refused", metadata: ["reason": "\(error)"])
      throw .invalidSession
    }
  }

  private func verifier() async -> TokenVerifier {
    let (known, keys, generation) = state.withLockedValue { ($0.verifier, $0.model.publicKeys, $0.keyGeneration) }
    if let known { return known }
    let fresh = await TokenVerifier(keys: keys.compactMap { try? TokenVerifier.Key(kid: $0.kid, der: $0.der) })
    state.withLockedValue { state in if state.keyGeneration == generation { state.verifier = fresh } }
    return fresh
  }

  // MARK: Circuits

  /// Enters the dialler's end. - Returns: the host's end and where bytes are counted, nil when the circuit ended
  /// meanwhile.
  func attachIngress(_ end: CircuitEndpoint, at address: String, circuit: String) -> (
    far: CircuitEndpoint, usage: CircuitUsage
  )? {
    state.withLockedValue { state in
      guard let far = state.forwarding.destination(from: address, circuit: circuit),
        let usage = state.attach(end, at: address, circuit: circuit)
      else { return nil }
      return (far, usage)
    }
  }

  /// Enters the host's end. - Returns: where bytes are counted, nil when the circuit ended meanwhile.
  func attachEgress(_ end: CircuitEndpoint, at address: String, circuit: String) -> CircuitUsage? {
    state.withLockedValue { $0.attach(end, at: address, circuit: circuit) }
  }

  func takeUsage() -> [UsageSample] { state.withLockedValue { $0.forwarding.takeUsage() } }

  /// An end left. - Returns: the circuit, nil when it had ended already.
  func endCircuit(_ id: String, atIngress: Bool) -> ForwardingTable<CircuitEndpoint>.Entry? {
    guard let entry = state.withLockedValue({ $0.removeCircuit(id) }) else { return nil }
    report(id, atIngress ? .ingressFault : .egressFault)
    return entry
  }

  private func report(_ id: String, _ subject: CtrlFaultSubject) {
    let channel = state.withLockedValue { state -> MessageChannel? in
      if let control = state.control, control.isOpen { return control }
      if state.unreported.count < Self.unreportedLimit { state.unreported[id] = subject }
      return nil
    }
    channel?.post(Self.fault(id, subject))
  }

  /// The dialler is gone before its circuit came to be.
  func abandonCircuit(_ id: String) {
    guard let entry = endCircuit(id, atIngress: true) else { return }
    tell(entry, "close called")
  }

  /// Ends a circuit for a reason that both SDKs see. - Parameter isReported: whether the controller has to be told.
  func cutCircuit(_ id: String, _ text: String, isReported: Bool, metadata: Logger.Metadata = [:]) {
    guard let entry = state.withLockedValue({ $0.removeCircuit(id) }) else { return }
    if isReported { report(id, .ingressFault) }
    logger.info("circuit closed", metadata: ["circuit": "\(id)", "reason": "\(text)"].merging(metadata) { $1 })
    tell(entry, text)
  }

  private func tell(_ entry: ForwardingTable<CircuitEndpoint>.Entry, _ text: String) {
    let id = entry.id
    for end in entry.attached { end.handle.run { $0.finish(end.connID, circuit: id, text: text, sendFIN: false) } }
  }

  // MARK: Hosts

  /// Judges a bind.
  /// - Returns: whether its service demands encryption.
  func judgeBind(_ presented: PresentedServiceSession, on handle: ConnectionHandle) throws(EdgeRefusal) -> Bool {
    try state.withLockedValue { state -> Result<Bool, EdgeRefusal> in Self.judgeBind(presented, on: handle, state) }
      .get()
  }

  private static func judgeBind(_ presented: PresentedServiceSession, on handle: ConnectionHandle, _ state: State)
    -> Result<
      Bool, EdgeRefusal
    >
  {
    do throws(EdgeRefusal) { try state.model.judge(presented, for: .bind, session: handle.session) } catch {
      return .failure(error)
    }
    return .success(state.model.services[presented.serviceID]?.encryptionRequired ?? false)
  }

  /// - Parameters:
  ///   - isEncrypted: whether the service demanded encryption when the bind was judged.
  ///   - place: given back when the service is hosted no longer.
  /// - Throws: when the model has changed since then, so that it would not be judged like that any more: what the
  ///   change ended did not know of this host.
  func host(
    _ request: EdgeMessages.Bind, _ presented: PresentedServiceSession, isEncrypted: Bool, on handle: ConnectionHandle,
    _ place: IdentityShare.Ticket
  ) throws(EdgeRefusal) -> HostedTerminators<UInt64>.BindOutcome {
    let bind = Hosted(
      id: freshID(), connection: handle.id, connID: request.connID, identityID: presented.identityID,
      serviceID: presented.serviceID,
      sessionID: presented.sessionID,
      token: request.token, instance: request.terminatorIdentity ?? "", listenerID: request.listenerID)
    let outcome = try state.withLockedValue { state -> Result<HostedTerminators<UInt64>.BindOutcome, EdgeRefusal> in
      switch Self.judgeBind(presented, on: handle, state) {
      case .failure(let refusal): return .failure(refusal)
      case .success(isEncrypted): break
      case .success: return .failure(.encryptionChanged)
      }
      let outcome = state.hosted.bind(bind)
      switch outcome {
      case .new(let new): state.binds[new.id] = BindDetails(handle: handle, bind: request, place: place)
      case .replaces(let new, let old):
        state.binds[old.id] = nil
        state.binds[new.id] = BindDetails(handle: handle, bind: request, place: place)
      case .duplicate, .stale: break
      }
      return .success(outcome)
    }.get()
    if case .replaces(let new, let old) = outcome, new.id != old.id { withdraw([old.id]) }
    return outcome
  }

  /// The host ended it, or is gone.
  func removeTerminator(_ id: String) {
    let isKnown = state.withLockedValue { state -> Bool in
      state.binds[id] = nil
      return state.hosted.remove(id) != nil
    }
    if isKnown { withdraw([id]) }
  }

  /// Ends hosting for a reason that the host sees.
  func dropTerminator(_ id: String, _ error: StructuredError) {
    guard let hosted = state.withLockedValue({ $0.hosted[id] }) else { return }
    removeTerminator(id)
    logger.info("hosting ended", metadata: ["terminator": "\(id)", "reason": "\(error.message)"])
    handle(hosted.connection)?.run { $0.endBind(hosted.connID, terminator: id, error: error) }
  }

  private func withdraw(_ ids: [String]) {
    guard !ids.isEmpty, let control else { return }
    for start in stride(from: 0, to: ids.count, by: 50) {
      let part = Array(ids[start..<min(start + 50, ids.count)])
      control.post(Wire.Message(.removeTerminators, CtrlRemoveTerminatorsRequest.with { $0.terminatorIds = part }))
    }
  }
}

/// Event loops for waiting that belongs to no connection.
enum EdgeLoops {
  static let group = MultiThreadedEventLoopGroup.singleton
}
