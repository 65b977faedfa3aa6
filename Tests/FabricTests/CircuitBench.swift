import Fabric
import Model
import SwiftProtobuf
import Testing
import Wire
import WireSchemas

/// Peer data of a circuit, by the headers that carry them.
func peerData(_ values: [HeaderID: [UInt8]]) -> [UInt32: [UInt8]] {
  Dictionary(uniqueKeysWithValues: values.map { ($0.key.peerDataKey, $0.value) })
}

/// An engine with a clock that stands still until it is moved.
struct CircuitBench {
  var engine: CircuitEngine
  var random = SystemRandomNumberGenerator()
  var now = Timestamp(millisecondsSinceEpoch: 1_000_000)

  init(_ configure: (inout CircuitEngine.Settings) -> Void = { _ in }) {
    var settings = CircuitEngine.Settings()
    configure(&settings)
    engine = CircuitEngine(settings: settings)
  }

  /// With router `r1` online and one host, `t1` of `bob`, behind it.
  static func ready(_ configure: (inout CircuitEngine.Settings) -> Void = { _ in }) -> CircuitBench {
    var bench = CircuitBench(configure)
    _ = bench.handle(.routerConnected("r1"))
    _ = bench.handle(.offer(terminator("t1")))
    return bench
  }

  mutating func handle(_ event: CircuitEngine.Event) -> [CircuitEngine.Action] {
    engine.handle(event, now: now, random: &random)
  }

  /// A circuit from `client` through `r1`. - Returns: its id.
  mutating func circuit(client: String = "alice", service: String = "svc") throws -> String {
    var wish = Self.request(client: client)
    wish.serviceID = service
    let route = try Self.route(in: handle(.create(wish)))
    let done = handle(
      .routeResult(router: "r1", circuit: route.circuitID, attempt: 0, outcome: .success(peerData: [:])))
    #expect(done.contains { if case .created = $0 { true } else { false } })
    return route.circuitID
  }

  static func terminator(
    _ id: String, cost: Int = 0, key: Bool = false, router: String = "r1", host: String = "bob",
    service: String = "svc", instance: String = "",
    precedence: Precedence = .default, isLease: Bool = true
  ) -> LiveTerminator {
    LiveTerminator(
      id: id, serviceID: service, routerID: router, hostID: host, instance: instance, address: id, cost: cost,
      precedence: precedence,
      peerData: key ? peerData([.publicKey: [1]]) : [:], createdAt: .epoch, isLease: isLease)
  }

  static func request(encrypted: Bool = false, key: Bool = false, client: String = "alice", ticket: UInt64 = 1)
    -> CircuitRequest
  {
    CircuitRequest(
      ticket: ticket, serviceID: "svc", strategy: .smartRouting, encryptionRequired: encrypted, instance: "",
      ingressRouter: "r1", clientID: client,
      peerData: key ? peerData([.publicKey: [2]]) : [:])
  }

  static func route(in actions: [CircuitEngine.Action]) throws -> CtrlRoute {
    for action in actions {
      if case .send("r1", let message) = action, message.contentType == .route {
        return try message.decode(CtrlRoute.self)
      }
    }
    Issue.record("no route in \(actions)")
    throw CancellationError()
  }

  static func failure(in actions: [CircuitEngine.Action]) -> StructuredError? {
    actions.lazy.compactMap { action in if case .failed(_, _, let error) = action { error } else { nil } }.first
  }

  /// Circuits that a router is told to forget.
  static func unrouted(_ router: String, in actions: [CircuitEngine.Action]) -> [String] {
    actions.compactMap { action in
      guard case .send(router, let message) = action, message.contentType == .unroute else { return nil }
      return try? message.decode(CtrlUnroute.self).circuitID
    }
  }

  static func ended(in actions: [CircuitEngine.Action]) -> [String] {
    actions.compactMap { action in if case .ended(let circuit) = action { circuit.id } else { nil } }
  }

  static func charged(in actions: [CircuitEngine.Action]) -> [UsageRecord] {
    actions.flatMap { action -> [UsageRecord] in if case .charged(let charged) = action { charged } else { [] } }
  }
}
