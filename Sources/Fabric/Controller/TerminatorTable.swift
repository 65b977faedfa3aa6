public import Model

/// All terminators of a controller and their dynamic costs (fabric-planes.md 5.4, management-and-model.md 3.1-3.3).
///
/// A bind, a dial and a change of cost take time that grows with the routers that offer the same instance and with the
/// logarithm of its terminators, never with their number: for each instance and router they are kept in order of
/// precedence and cost.
public struct TerminatorTable: Sendable {
  /// Why no terminator can be chosen; the texts are those the reference sends (edge-data-plane.md 4.6).
  public enum Failure: Error, Sendable, Equatable {
    case none(service: String, instance: String)
    case noneOnline(service: String, instance: String)
    case noPath(service: String)

    public var text: String {
      switch self {
      case .none(let service, ""): "service \(service) has no terminators"
      case .none(let service, let instance): "service \(service) has no terminators for instanceId \(instance)"
      case .noneOnline(let service, let instance):
        "service \(service) has no online terminators for instanceId \(instance)"
      case .noPath(let service): "service \(service) has no terminator that can be reached from this router"
      }
    }
  }

  /// Static and dynamic costs end here, as precedences' bands do (management-and-model.md 3.1).
  private static let costLimit = 65_535
  /// What a path adds at most (fabric-planes.md 5.4).
  private static let pathLimit = 1 << 20

  private struct Load {
    var open = 0
    var failures = 0
    var lastFailure = Timestamp.epoch
    var dynamicCost: Int { min(TerminatorTable.costLimit, 2 * open + failures) }
  }

  private struct Record {
    var terminator: LiveTerminator
    var load = Load()
    /// Where it stands in its order.
    var band = 0
    var entry: CostOrder.Entry
  }

  /// What a dial asks for.
  private struct Place: Hashable {
    let service: String
    let instance: String
  }

  /// The terminators of one router, by precedence.
  private struct Bands {
    var orders = [CostOrder(), CostOrder(), CostOrder()]
    var isEmpty: Bool { orders.allSatisfy(\.isEmpty) }
  }

  private struct Offers {
    var routers: [String: Bands] = [:]
    /// How many terminators each host has here.
    var hosts: [String: Int] = [:]
  }

  private var records: [String: Record] = [:]
  private var offers: [Place: Offers] = [:]
  private var byService = IDIndex<String>()
  private var byRouter = IDIndex<String>()
  private var byHost = IDIndex<Grant>()
  /// Those whose failures have not faded yet.
  private var failing: Set<String> = []
  /// Bytes of each router's.
  private var weights: [String: Int] = [:]
  /// Routers that take no new circuits while others can.
  private var quiesced: Set<String> = []

  public init() {}

  public subscript(id: String) -> LiveTerminator? { records[id]?.terminator }
  public var all: [LiveTerminator] { records.values.map(\.terminator).sorted { $0.id < $1.id } }
  public var count: Int { records.count }

  /// Ids, which cost nothing to hand out, however many there are.
  public var idsByService: [String: Set<String>] { byService.all }
  public var idsByRouter: [String: Set<String>] { byRouter.all }

  public func of(service: String) -> [LiveTerminator] { terminators(byService[service]) }
  public func of(router: String) -> [LiveTerminator] { terminators(byRouter[router]) }
  func of(host: Grant) -> [LiveTerminator] { terminators(byHost[host]) }
  /// The routers at which a service is offered.
  public func routers(hosting service: String) -> Set<String> {
    Set(byService[service].lazy.compactMap { records[$0]?.terminator.routerID })
  }
  public func isHosted(_ service: String) -> Bool { byService.count(service) > 0 }
  func count(router: String) -> Int { byRouter.count(router) }
  func weight(router: String) -> Int { weights[router] ?? 0 }
  public func dynamicCost(_ id: String) -> Int { records[id]?.load.dynamicCost ?? 0 }

  /// Whether another identity than this one offers the instance.
  func hasRival(of host: String, service: String, instance: String) -> Bool {
    guard let hosts = offers[Place(service: service, instance: instance)]?.hosts else { return false }
    return hosts.count > (hosts[host] == nil ? 0 : 1)
  }

  private func terminators(_ ids: Set<String>) -> [LiveTerminator] {
    ids.compactMap { records[$0]?.terminator }.sorted { $0.id < $1.id }
  }

  // MARK: Changes

  /// Adds a terminator, or changes the one of that id: what has been learned about it stays while it is the same host
  /// behind the same router.
  public mutating func put(_ terminator: LiveTerminator) {
    let old = records[terminator.id]
    remove(terminator.id)
    var record = Record(terminator: terminator, entry: CostOrder.Entry(cost: 0, id: terminator.id))
    if let old, old.terminator.routerID == terminator.routerID, old.terminator.hostID == terminator.hostID {
      record.load = old.load
    }
    if record.load.failures > 0 { failing.insert(terminator.id) }
    enter(&record)
    records[terminator.id] = record
    byService.insert(terminator.id, terminator.serviceID)
    byRouter.insert(terminator.id, terminator.routerID)
    weights[terminator.routerID, default: 0] += terminator.weight
    byHost.insert(terminator.id, Grant(identity: terminator.hostID, service: terminator.serviceID))
    offers[place(terminator), default: Offers()].hosts[terminator.hostID, default: 0] += 1
  }

  @discardableResult
  public mutating func remove(_ id: String) -> LiveTerminator? {
    guard let record = records.removeValue(forKey: id) else { return nil }
    let old = record.terminator
    leave(record)
    byService.remove(id, old.serviceID)
    byRouter.remove(id, old.routerID)
    let weight = weight(router: old.routerID) - old.weight
    weights[old.routerID] = weight > 0 ? weight : nil
    byHost.remove(id, Grant(identity: old.hostID, service: old.serviceID))
    failing.remove(id)
    let place = place(old)
    if let count = offers[place]?.hosts[old.hostID] { offers[place]?.hosts[old.hostID] = count > 1 ? count - 1 : nil }
    if offers[place]?.hosts.isEmpty ?? false { offers[place] = nil }
    return old
  }

  /// Changes cost or precedence.
  mutating func update(_ id: String, _ body: (inout LiveTerminator) -> Void) { change(id) { body(&$0.terminator) } }

  /// A quiesced router's terminators count as failed, whatever their own precedence, until it is dequiesced.
  mutating func quiesce(_ router: String, _ isQuiesced: Bool) {
    guard isQuiesced != quiesced.contains(router) else { return }
    if isQuiesced { quiesced.insert(router) } else { quiesced.remove(router) }
    for id in byRouter[router] { change(id) { _ in } }
  }

  // MARK: Dynamic cost

  public mutating func opened(_ id: String) { change(id) { $0.load.open += 1 } }
  public mutating func closed(_ id: String) { change(id) { $0.load.open = max(0, $0.load.open - 1) } }

  public mutating func failed(_ id: String, now: Timestamp) {
    guard records[id] != nil else { return }
    failing.insert(id)
    change(id) {
      $0.load.failures = min(Self.costLimit, $0.load.failures + 20)
      $0.load.lastFailure = now
    }
  }

  public mutating func succeeded(_ id: String) { forgive(id, 2) }

  /// Once a minute: old failures fade.
  public mutating func decay(now: Timestamp) {
    for id in failing {
      guard let last = records[id]?.load.lastFailure else { continue }
      let minutes = Int(max(0, now.milliseconds(since: last)) / 60_000)
      forgive(id, max(10, 1 << min(20, minutes / 5)))
    }
  }

  private mutating func forgive(_ id: String, _ failures: Int) {
    guard failing.contains(id) else { return }
    change(id) { $0.load.failures = max(0, $0.load.failures - failures) }
    if records[id]?.load.failures == 0 { failing.remove(id) }
  }

  // MARK: Order

  private func place(_ terminator: LiveTerminator) -> Place {
    Place(service: terminator.serviceID, instance: terminator.instance)
  }

  private mutating func change(_ id: String, _ body: (inout Record) -> Void) {
    guard var record = records[id] else { return }
    let (band, cost) = (record.band, record.entry.cost)
    body(&record)
    let now = standing(record)
    if now != (band, cost) {
      leave(record)
      enter(&record)
    }
    records[id] = record
  }

  private func standing(_ record: Record) -> (band: Int, cost: Int) {
    let terminator = record.terminator
    let band = quiesced.contains(terminator.routerID) ? Self.band(.failed) : Self.band(terminator.precedence)
    return (band, min(Self.costLimit, max(0, terminator.cost)) + record.load.dynamicCost)
  }

  private mutating func enter(_ record: inout Record) {
    let (band, cost) = standing(record)
    record.band = band
    record.entry = CostOrder.Entry(cost: cost, id: record.terminator.id)
    offers[place(record.terminator), default: Offers()].routers[record.terminator.routerID, default: Bands()].orders[
      band
    ].insert(record.entry)
  }

  private mutating func leave(_ record: Record) {
    let (place, router) = (place(record.terminator), record.terminator.routerID)
    offers[place]?.routers[router]?.orders[record.band].remove(record.entry)
    if offers[place]?.routers[router]?.isEmpty ?? false { offers[place]?.routers[router] = nil }
  }

  private static func band(_ precedence: Precedence) -> Int {
    switch precedence {
    case .required: 0
    case .default: 1
    case .failed: 2
    }
  }

  // MARK: Selection

  /// Chooses a terminator of the service.
  ///
  /// - Parameters:
  ///   - pathCost: cost from the ingress router to a router, nil when there is no path.
  ///   - sticky: the terminator a dialler had before, for strategy `sticky`.
  ///   - excluding: terminators that just failed; one of them is tried again only when there is no other.
  public func select(
    service: String, instance: String, strategy: TerminatorStrategy, online: (String) -> Bool,
    pathCost: (String) -> Int?, sticky: String?,
    excluding: Set<String>,
    random: inout some RandomNumberGenerator
  ) -> Result<LiveTerminator, Failure> {
    let place = Place(service: service, instance: instance)
    guard let offers = offers[place], !offers.routers.isEmpty else {
      return .failure(.none(service: service, instance: instance))
    }
    let alive = offers.routers.keys.filter(online)
    guard !alive.isEmpty else { return .failure(.noneOnline(service: service, instance: instance)) }
    // Sorted, so that the same random numbers make the same choice.
    let routes = alive.sorted().compactMap { router in
      pathCost(router).map {
        Route(router: router, orders: offers.routers[router]?.orders ?? [], path: min($0, Self.pathLimit))
      }
    }
    guard !routes.isEmpty else { return .failure(.noPath(service: service)) }
    var choice = Choice(routes: routes)
    let reachable = Set(routes.map(\.router))
    let skipped = excluding.compactMap { records[$0] }.filter {
      self.place($0.terminator) == place && reachable.contains($0.terminator.routerID)
    }
    if skipped.count < routes.reduce(0, { $0 + $1.orders.reduce(0) { $0 + $1.count } }) {
      choice.skipped = Set(skipped.map(\.terminator.id))
    }
    func left(_ band: Int) -> Int {
      routes.reduce(0) { $0 + $1.orders[band].count }
        - skipped.count(where: { choice.skipped.contains($0.terminator.id) && $0.band == band })
    }
    guard let band = (0..<3).first(where: { left($0) > 0 }) else { return .failure(.noPath(service: service)) }
    choice.band = band
    var id: String?
    switch strategy {
    case .smartRouting: break
    case .sticky:
      if let sticky, let record = records[sticky], self.place(record.terminator) == place,
        reachable.contains(record.terminator.routerID),
        record.band == band, !choice.skipped.contains(sticky)
      {
        id = sticky
      }
    case .random: id = choice.random(&random) { _ in 1 }
    case .weighted:
      let paths = Dictionary(routes.map { ($0.router, $0.path) }, uniquingKeysWith: { first, _ in first })
      let total =
        choice.total
        - skipped.reduce(0) { sum, record in
          guard choice.skipped.contains(record.terminator.id), record.band == band else { return sum }
          return sum + max(1, record.entry.cost + (paths[record.terminator.routerID] ?? 0))
        }
      if left(band) > 1 { id = choice.random(&random) { 1 - Double($0) / Double(max(1, total)) } }
    }
    guard let chosen = (id ?? choice.cheapest).flatMap({ records[$0]?.terminator }) else {
      return .failure(.noPath(service: service))
    }
    return .success(chosen)
  }

  /// A router that can be reached, with what it offers.
  private struct Route {
    let router: String
    let orders: [CostOrder]
    let path: Int
  }

  /// What one selection chooses from.
  private struct Choice {
    let routes: [Route]
    var band = 0
    var skipped: Set<String> = []

    /// Of the weights' costs, as `cost(_:_:)` counts them.
    var total: Int {
      routes.reduce(0) { sum, route in
        let order = route.orders[band]
        return sum + order.total + (route.path == 0 ? order.free : order.count * route.path)
      }
    }

    var cheapest: String? {
      routes.compactMap { route in
        route.orders[band].first(excluding: skipped).map { CostOrder.Entry(cost: $0.cost + route.path, id: $0.id) }
      }.min()?.id
    }

    /// Draws until one is taken, each with its own probability. A draw is taken at least every other time on average;
    /// after many misses the cheapest one serves.
    func random(_ random: inout some RandomNumberGenerator, taken probability: (Int) -> Double) -> String? {
      let count = routes.reduce(0) { $0 + $1.orders[band].count }
      for _ in 0..<64 {
        var rank = Int.random(in: 0..<count, using: &random)
        for route in routes {
          guard let entry = route.orders[band][rank] else {
            rank -= route.orders[band].count
            continue
          }
          if !skipped.contains(entry.id),
            Double.random(in: 0..<1, using: &random) < probability(max(1, entry.cost + route.path))
          {
            return entry.id
          }
          break
        }
      }
      return nil
    }
  }
}
