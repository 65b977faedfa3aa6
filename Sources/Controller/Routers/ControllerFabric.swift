import Fabric
import Logging
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import PKI
import Synchronization
import Transport
import Wire
import WireSchemas

/// The connected routers, the circuits over them, and the way of every message to a router.
///
/// Messages are posted while the lock is held, so that each router sees them in the order in which the decisions were
/// taken; posting never waits.
final class ControllerFabric: Sendable {
  /// Answers the router that asked for a circuit.
  typealias CircuitReply = @Sendable (Result<(circuit: Circuit, peerData: [UInt32: [UInt8]]), CircuitFailure>) -> Void

  struct CircuitFailure: Error {
    let circuit: String
    let error: StructuredError
  }

  /// That a router wants to hear of each change of the data model (fabric-planes.md 4.4).
  struct Subscription {
    var id: String
    var position: UInt64
  }

  private struct Member {
    let channel: MessageChannel
    let connection: UInt64
    var subscription: Subscription?
    /// It may not take part any more; its channel is about to close.
    var isExpelled = false
  }

  private struct State {
    var members: [String: Member] = [:]
    var engine: CircuitEngine
    var replies: [UInt64: CircuitReply] = [:]
    var feed = DataModelFeed()
    var random = RandomSource()
    /// Routers whose reports were cut, and that was said.
    var clamped: Set<String> = []
  }

  private let state: NIOLockedValueBox<State>
  private let counter = Atomic<UInt64>(0)
  private let leases: CircuitLeases
  private let usage: UsageFeed
  private let logger: Logger
  private let clock: @Sendable () -> Timestamp

  init(
    settings: CircuitEngine.Settings, leases: CircuitLeases, usage: UsageFeed,
    clock: @escaping @Sendable () -> Timestamp, logger: Logger
  ) {
    var engine = CircuitEngine(settings: settings)
    engine.restore(leases.restored, now: clock())
    state = NIOLockedValueBox(State(engine: engine))
    self.leases = leases
    self.usage = usage
    self.clock = clock
    self.logger = logger
  }

  func nextNumber() -> UInt64 { counter.add(1, ordering: .relaxed).newValue }

  // MARK: Membership

  /// Admits a router's channel. - Returns: the number of the connection, nil while an older one is still open
  /// (fabric-planes.md 2.5).
  func join(_ router: String, _ channel: MessageChannel) -> UInt64? {
    let connection = nextNumber()
    let now = clock()
    return state.withLockedValue { state in
      if let old = state.members[router], old.channel.isOpen { return nil }
      state.members[router] = Member(channel: channel, connection: connection)
      _ = state.engine.handle(.routerConnected(router), now: now, random: &state.random)
      return connection
    }
  }

  /// - Returns: whether that connection was the router's current one.
  func leave(_ router: String, connection: UInt64) -> Bool {
    let now = clock()
    // At once: a router that joins in between must not count as lost.
    let answers = state.withLockedValue { state -> [() -> Void]? in
      guard state.members[router]?.connection == connection else { return nil }
      state.members[router] = nil
      return perform(state.engine.handle(.routerLost(router), now: now, random: &state.random), &state)
    }
    for answer in answers ?? [] { answer() }
    return answers != nil
  }

  /// Whether what comes over a connection counts: it is the router's current one, and the router was not expelled since
  /// it began.
  func listens(to router: String, connection: UInt64) -> Bool {
    state.withLockedValue { state in
      state.members[router].map { $0.connection == connection && !$0.isExpelled } ?? false
    }
  }

  func isConnected(_ router: String) -> Bool { state.withLockedValue { $0.members[router]?.channel.isOpen ?? false } }
  var connected: [String] { state.withLockedValue { $0.members.keys.sorted() } }

  /// From now on nothing counts that a router says over its present channel: it was deleted, disabled or enrolls anew.
  func expel(_ router: String) { state.withLockedValue { $0.members[router]?.isExpelled = true } }

  /// Ends a router's channel. It gets what was posted before, unless it does not read within a second.
  func disconnect(_ router: String) {
    guard let channel = state.withLockedValue({ $0.members[router]?.channel }) else { return }
    channel.closeAfterFlush()
    _ = MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: .seconds(1)) { channel.close() }
  }

  // MARK: Data model

  /// Hands a change to every subscriber. Called for each change-set, in order.
  func publish(_ changeSet: EdgeCtrlChangeSet) {
    let message = Message(.changeSet, changeSet)
    state.withLockedValue { state in
      state.feed.append(changeSet)
      for (id, member) in state.members {
        guard let subscription = member.subscription, subscription.position == changeSet.previousIndex else { continue }
        state.members[id]?.subscription?.position = changeSet.index
        member.channel.post(Self.addressed(message, subscription.id))
      }
    }
  }

  /// Begins or renews a subscription where the changes that the router missed suffice; they follow at once.
  /// - Parameter index: of the model now; asked while nothing can be published.
  /// - Returns: false when the router needs the whole state.
  func resume(
    _ router: String, connection: UInt64, request: EdgeCtrlSubscribeToDataModelRequest, timeline: String,
    index: () -> UInt64
  ) -> Bool {
    state.withLockedValue { state in
      guard let member = state.members[router], member.connection == connection else { return true }
      var position = request.currentIndex
      let index = index()
      if request.renew, let known = member.subscription, known.id == request.subscriptionID {
        position = known.position
      }
      guard position > 0, request.timelineID == timeline, position <= index,
        let missed = state.feed.changes(after: position, upTo: index)
      else {
        return false
      }
      for change in missed { member.channel.post(Self.addressed(Message(.changeSet, change), request.subscriptionID)) }
      state.members[router]?.subscription = Subscription(id: request.subscriptionID, position: index)
      return true
    }
  }

  /// Begins a subscription with the whole state, and what has changed since that was read.
  /// - Returns: false when it is too old for that.
  func subscribe(_ router: String, connection: UInt64, subscription: String, whole: WholeDataModel.State) -> Bool {
    state.withLockedValue { state in
      guard let member = state.members[router], member.connection == connection else { return true }
      guard let missed = state.feed.changes(after: whole.index) else { return false }
      var message = Self.addressed(whole.message, subscription)
      message.headers.set(ControlHeader.dataModelIndex, whole.index)
      member.channel.post(message)
      for change in missed { member.channel.post(Self.addressed(Message(.changeSet, change), subscription)) }
      state.members[router]?.subscription = Subscription(id: subscription, position: missed.last?.index ?? whole.index)
      return true
    }
  }

  private static func addressed(_ message: Message, _ subscription: String) -> Message {
    var message = message
    message.headers.set(ControlHeader.subscriptionID, subscription)
    return message
  }

  // MARK: Circuits and terminators

  var terminators: [LiveTerminator] { copies { Array($0.idsByRouter.values) } }
  /// By service and by router.
  var terminatorIDs: (byService: [String: Set<String>], byRouter: [String: Set<String>]) {
    state.withLockedValue { ($0.engine.terminators.idsByService, $0.engine.terminators.idsByRouter) }
  }
  var terminatorCount: Int { state.withLockedValue { $0.engine.terminators.count } }
  func terminator(_ id: String) -> LiveTerminator? { state.withLockedValue { $0.engine.terminators[id] } }
  func terminators(ofService service: String) -> [LiveTerminator] {
    copies { $0.idsByService[service].map { [$0] } ?? [] }
  }
  func terminators(of router: String) -> [LiveTerminator] { copies { $0.idsByRouter[router].map { [$0] } ?? [] } }
  func routers(hosting service: String) -> Set<String> {
    state.withLockedValue { $0.engine.terminators.routers(hosting: service) }
  }
  func isHosted(_ service: String) -> Bool { state.withLockedValue { $0.engine.terminators.isHosted(service) } }
  func dynamicCost(_ terminator: String) -> Int {
    state.withLockedValue { $0.engine.terminators.dynamicCost(terminator) }
  }

  var circuitCount: Int { state.withLockedValue { $0.engine.count } }
  /// Ids of the circuits over a router.
  func circuits(of router: String) -> Set<String> { state.withLockedValue { $0.engine.circuits(of: router) } }
  var allCircuits: [Circuit] { state.withLockedValue { $0.engine.all } }
  /// The circuits of these ids; ids that nothing has are passed over.
  func circuits(_ ids: some Sequence<String>) -> [Circuit] {
    state.withLockedValue { state in ids.compactMap { state.engine[$0] } }
  }

  /// How many are copied before the lock is given up for others.
  private static let part = 512

  /// Terminators in the order of their ids. There may be a hundred thousand: they are copied some at a time and sorted
  /// outside the lock, so that no dial waits for them. One that goes meanwhile may be missing.
  private func copies(_ wanted: (TerminatorTable) -> [Set<String>]) -> [LiveTerminator] {
    let ids = state.withLockedValue { wanted($0.engine.terminators) }.joined().sorted()
    var found: [LiveTerminator] = []
    found.reserveCapacity(ids.count)
    for start in stride(from: 0, to: ids.count, by: Self.part) {
      let part = ids[start..<min(start + Self.part, ids.count)]
      found += state.withLockedValue { state in part.compactMap { state.engine.terminators[$0] } }
    }
    return found
  }

  func create(_ request: CircuitRequest, reply: @escaping CircuitReply) {
    state.withLockedValue { $0.replies[request.ticket] = reply }
    handle(.create(request))
  }

  /// Offers a host that was authorised. - Returns: why it is not taken, nil when it is.
  func offer(_ terminator: LiveTerminator, identity: Standing) -> CircuitEngine.OfferRefusal? {
    for case .offered(_, let refusal) in handle(.offer(terminator, identity: identity)) { return refusal }
    return nil
  }

  /// - Returns: whether the terminator is there and that host's to change.
  func adjust(
    _ terminator: String, at router: String, by host: Grant, cost: Int?, precedence: Precedence?,
    identity: Standing
  ) -> Bool {
    let wish = CircuitEngine.Event.adjust(
      terminator: terminator, router: router, by: host, cost: cost, precedence: precedence, identity: identity)
    for case .adjusted(_, let isDone) in handle(wish) { return isDone }
    return false
  }

  /// Ends circuits and hosts of a service at all routers but these. - Returns: the hosts.
  func keep(service: String, to routers: Set<String>) -> [LiveTerminator] {
    for case .stranded(let hosts) in handle(.serviceKept(service, to: routers)) { return hosts }
    return []
  }

  /// - Returns: what was decided, after it was carried out.
  @discardableResult
  func handle(_ event: CircuitEngine.Event) -> [CircuitEngine.Action] {
    let now = clock()
    let (actions, answers) = state.withLockedValue { state in
      let actions = state.engine.handle(event, now: now, random: &state.random)
      return (actions, perform(actions, &state))
    }
    for answer in answers { answer() }
    return actions
  }

  private func perform(_ actions: [CircuitEngine.Action], _ state: inout State) -> [() -> Void] {
    var answers: [() -> Void] = []
    for action in actions {
      switch action {
      case .send(let router, let message): state.members[router]?.channel.post(message)
      case .created(let ticket, let circuit, let peerData):
        leases.opened(circuit)
        if let reply = state.replies.removeValue(forKey: ticket) {
          answers.append { reply(.success((circuit, peerData))) }
        }
      case .failed(let ticket, let circuit, let error):
        if let reply = state.replies.removeValue(forKey: ticket) {
          answers.append { reply(.failure(CircuitFailure(circuit: circuit, error: error))) }
        }
      case .wake(let circuit, let attempt, let after):
        _ = MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: .milliseconds(after)) {
          [weak self] () -> Void in
          self?.handle(.deadline(circuit: circuit, attempt: attempt))
        }
      case .removeTerminator(let id):
        logger.info("terminator removed: its router does not know it", metadata: ["terminator": "\(id)"])
      case .offered, .adjusted, .stranded: break  // For those who asked, see `offer`, `adjust` and `keep`.
      case .ended(let circuit): leases.closed(circuit.id)
      case .charged(let charged): answers.append { [usage] in usage.report(charged) }
      case .usageClamped(let router): answers.append { [self] in sayClamped(router) }
      case .givenUp(let router, let circuits, let terminators):
        logger.warning(
          "a router has stayed away; what it had counts as ended",
          metadata: ["router": "\(router)", "circuits": "\(circuits)", "terminators": "\(terminators)"])
      }
    }
    return answers
  }

  private func sayClamped(_ router: String) {
    let isNew = state.withLockedValue { $0.clamped.insert(router).inserted }
    guard isNew else { return }
    logger.warning(
      "a router tells of more traffic than it can have carried; what is beyond is not counted (said once)",
      metadata: ["router": "\(router)"])
  }
}
