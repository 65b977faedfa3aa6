// Fabric: the I/O-free cores of the network side of controller and router: circuits, terminators, the router's replica of the data model, sessions.
// No socket, no clock, no random source of its own: events, time and random numbers come in, actions go out. Start reading at `CircuitEngine`
// (controller) and `RouterModel` (router).

public import Model

/// Where a circuit can end: a host behind a router.
public struct LiveTerminator: Sendable, Equatable {
  public let id: String
  public let serviceID: String
  public let routerID: String
  public let hostID: String
  /// The instance offered (addressable terminators); empty matches only dials that name none.
  public let instance: String
  public let binding: String
  /// What the router knows the host by.
  public let address: String
  public var cost: Int
  public var precedence: Precedence
  public let peerData: [UInt32: [UInt8]]
  public let createdAt: Timestamp
  /// Reported by a router for a live host; lives as long as the router says. Others were made over REST.
  public let isLease: Bool

  public init(
    id: String, serviceID: String, routerID: String, hostID: String, instance: String = "", binding: String = "edge", address: String, cost: Int = 0,
    precedence: Precedence = .default, peerData: [UInt32: [UInt8]] = [:], createdAt: Timestamp, isLease: Bool = true
  ) {
    self.id = id
    self.serviceID = serviceID
    self.routerID = routerID
    self.hostID = hostID
    self.instance = instance
    self.binding = binding
    self.address = address
    self.cost = cost
    self.precedence = precedence
    self.peerData = peerData
    self.createdAt = createdAt
    self.isLease = isLease
  }
}

/// All terminators of a controller and their dynamic costs (fabric-planes.md 5.4, management-and-model.md 3.1-3.3).
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
      case .noneOnline(let service, let instance): "service \(service) has no online terminators for instanceId \(instance)"
      case .noPath(let service): "service \(service) has no terminator that can be reached from this router"
      }
    }
  }

  private struct Load {
    var open = 0
    var failures = 0
    var lastFailure = Timestamp.epoch
    var dynamicCost: Int { min(65535, 2 * open + failures) }
  }

  private var terminators: [String: LiveTerminator] = [:]
  private var byService: [String: Set<String>] = [:]
  private var loads: [String: Load] = [:]

  public init() {}

  public subscript(id: String) -> LiveTerminator? { terminators[id] }
  public var all: [LiveTerminator] { terminators.values.sorted { $0.id < $1.id } }
  public var count: Int { terminators.count }

  public func of(service: String) -> [LiveTerminator] { (byService[service] ?? []).compactMap { terminators[$0] }.sorted { $0.id < $1.id } }
  public func of(router: String) -> [LiveTerminator] { terminators.values.filter { $0.routerID == router }.sorted { $0.id < $1.id } }
  public func dynamicCost(_ id: String) -> Int { loads[id]?.dynamicCost ?? 0 }

  public mutating func put(_ terminator: LiveTerminator) {
    remove(terminator.id)
    terminators[terminator.id] = terminator
    byService[terminator.serviceID, default: []].insert(terminator.id)
  }

  @discardableResult
  public mutating func remove(_ id: String) -> LiveTerminator? {
    guard let old = terminators.removeValue(forKey: id) else { return nil }
    byService[old.serviceID]?.remove(id)
    loads[id] = nil
    return old
  }

  public mutating func update(_ id: String, cost: Int?, precedence: Precedence?) {
    if let cost { terminators[id]?.cost = cost }
    if let precedence { terminators[id]?.precedence = precedence }
  }

  // MARK: Dynamic cost

  public mutating func opened(_ id: String) { if terminators[id] != nil { loads[id, default: Load()].open += 1 } }
  public mutating func closed(_ id: String) { if let open = loads[id]?.open, open > 0 { loads[id]?.open = open - 1 } }
  public mutating func failed(_ id: String, now: Timestamp) {
    guard terminators[id] != nil else { return }
    loads[id, default: Load()].failures += 20
    loads[id]?.lastFailure = now
  }
  public mutating func succeeded(_ id: String) { if let failures = loads[id]?.failures { loads[id]?.failures = max(0, failures - 2) } }
  /// Once a minute: old failures fade.
  public mutating func decay(now: Timestamp) {
    for id in loads.keys {
      guard let load = loads[id], load.failures > 0 else { continue }
      let minutes = Int(now.milliseconds(since: load.lastFailure) / 60_000)
      loads[id]?.failures = max(0, load.failures - max(10, 1 << min(20, minutes / 5)))
    }
  }

  // MARK: Selection

  /// Chooses a terminator of the service.
  ///
  /// - Parameters:
  ///   - pathCost: cost from the ingress router to a router, nil when there is no path.
  ///   - sticky: the terminator a dialler had before, for strategy `sticky`.
  public func select(
    service: String, instance: String, strategy: TerminatorStrategy, online: (String) -> Bool, pathCost: (String) -> Int?, sticky: String?,
    excluding: Set<String>,
    random: inout some RandomNumberGenerator
  ) -> Result<LiveTerminator, Failure> {
    let candidates = of(service: service).filter { $0.instance == instance }
    guard !candidates.isEmpty else { return .failure(.none(service: service, instance: instance)) }
    let alive = candidates.filter { online($0.routerID) }
    guard !alive.isEmpty else { return .failure(.noneOnline(service: service, instance: instance)) }
    let rated = alive.compactMap { terminator -> (terminator: LiveTerminator, cost: Int)? in
      guard let path = pathCost(terminator.routerID) else { return nil }
      return (terminator, terminator.cost + (strategy == .random ? 0 : dynamicCost(terminator.id)) + min(path, 1 << 20))
    }.sorted { (Self.band($0.terminator.precedence), $0.cost, $0.terminator.id) < (Self.band($1.terminator.precedence), $1.cost, $1.terminator.id) }
    guard let cheapest = rated.first else { return .failure(.noPath(service: service)) }
    // A terminator that just failed is tried again only when it is the only one.
    let fresh = rated.filter { !excluding.contains($0.terminator.id) }
    let best = (fresh.isEmpty ? rated : fresh).prefix { $0.terminator.precedence == (fresh.first ?? cheapest).terminator.precedence }
    switch strategy {
    case .smartRouting: return .success((best.first ?? cheapest).terminator)
    case .sticky: return .success(best.first { $0.terminator.id == sticky }?.terminator ?? (best.first ?? cheapest).terminator)
    case .random: return .success((best.randomElement(using: &random) ?? cheapest).terminator)
    case .weighted:
      let total = best.reduce(0) { $0 + max(1, $1.cost) }
      let weights = best.map { best.count == 1 ? 1.0 : 1.0 - Double(max(1, $0.cost)) / Double(total) }
      var point = Double.random(in: 0..<weights.reduce(0, +), using: &random)
      for (entry, weight) in zip(best, weights) {
        if point < weight { return .success(entry.terminator) }
        point -= weight
      }
      return .success((best.last ?? cheapest).terminator)
    }
  }

  private static func band(_ precedence: Precedence) -> Int {
    switch precedence {
    case .required: 0
    case .default: 1
    case .failed: 2
    }
  }
}
