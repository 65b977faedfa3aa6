import Fabric
import Model
import SwiftProtobuf
import Testing
import Wire
import WireSchemas

@Suite("The controller's circuits")
struct CircuitEngineTests {
  private struct Bench {
    var engine = CircuitEngine()
    var random = SystemRandomNumberGenerator()
    var now = Timestamp(millisecondsSinceEpoch: 1_000_000)

    mutating func handle(_ event: CircuitEngine.Event) -> [CircuitEngine.Action] { engine.handle(event, now: now, random: &random) }
  }

  private func terminator(_ id: String, cost: Int = 0, key: Bool = false, router: String = "r1", precedence: Model.Precedence = .default)
    -> LiveTerminator
  {
    LiveTerminator(
      id: id, serviceID: "svc", routerID: router, hostID: "bob", address: id, cost: cost, precedence: precedence, peerData: key ? [1003: [1]] : [:],
      createdAt: .epoch)
  }

  private func request(encrypted: Bool = false, key: Bool = false) -> CircuitRequest {
    CircuitRequest(
      ticket: 1, serviceID: "svc", strategy: .smartRouting, encryptionRequired: encrypted, instance: "", ingressRouter: "r1", clientID: "alice",
      peerData: key ? [1003: [2]] : [:])
  }

  private func route(in actions: [CircuitEngine.Action]) throws -> CtrlRoute {
    for action in actions { if case .send("r1", let message) = action, message.contentType == .route { return try message.decode(CtrlRoute.self) } }
    Issue.record("no route in \(actions)")
    throw CancellationError()
  }

  private func failure(in actions: [CircuitEngine.Action]) -> StructuredError? {
    actions.lazy.compactMap { action in if case .failed(_, _, let error) = action { error } else { nil } }.first
  }

  @Test("a request becomes a route, a good result a circuit, a fault its end")
  func life() throws {
    var bench = Bench()
    bench.engine.routerConnected("r1")
    bench.engine.terminators.put(terminator("t1", key: true))
    let route = try route(in: bench.handle(.create(request(encrypted: true, key: true))))
    #expect(route.circuitID.utf8.count <= 15)
    #expect(route.egress.destination == "t1" && route.egress.binding == "edge")
    #expect(route.tags["clientId"] == "alice" && route.tags["hostId"] == "bob")
    #expect(route.forwards.count == 2)
    let done = bench.handle(.routeResult(router: "r1", circuit: route.circuitID, attempt: 0, outcome: .success(peerData: [1: [9], 1110: [3]])))
    guard case .created(1, let circuit, let peerData)? = done.first else {
      Issue.record("not created: \(done)")
      return
    }
    #expect(circuit.clientID == "alice" && bench.engine[circuit.id] != nil)
    #expect(peerData[1003] == [1])
    #expect(peerData[1] == nil)
    let end = bench.handle(.fault(router: "r1", circuit: circuit.id, immediate: false))
    #expect(end.contains { if case .ended(let ended) = $0 { ended.id == circuit.id } else { false } })
    #expect(bench.engine.all.isEmpty)
  }

  @Test("missing keys, terminators and routers are told apart")
  func refusals() {
    var bench = Bench()
    bench.engine.routerConnected("r1")
    #expect(failure(in: bench.handle(.create(request(encrypted: true))))?.code == .encryptionDataMissing)
    #expect(failure(in: bench.handle(.create(request())))?.message == "service svc has no terminators")
    bench.engine.terminators.put(terminator("t1", router: "r2"))
    #expect(failure(in: bench.handle(.create(request())))?.message.hasPrefix("service svc has no online terminators") == true)
  }

  @Test("a failed host makes way for another; after two attempts the dialler gets the text")
  func retries() throws {
    var bench = Bench()
    bench.engine.routerConnected("r1")
    bench.engine.terminators.put(terminator("t1"))
    bench.engine.terminators.put(terminator("t2", cost: 5))
    let first = try route(in: bench.handle(.create(request())))
    #expect(first.egress.destination == "t1")
    let retry = bench.handle(.routeResult(router: "r1", circuit: first.circuitID, attempt: 0, outcome: .failure(text: "no", code: 0)))
    let second = try route(in: retry)
    #expect(second.egress.destination == "t2" && second.attempt == 1 && second.circuitID == first.circuitID)
    let end = bench.handle(.routeResult(router: "r1", circuit: first.circuitID, attempt: 1, outcome: .failure(text: "never", code: 1)))
    #expect(failure(in: end)?.message.contains("(never)") == true)
    // Code 1 says that the router does not know the terminator at all.
    #expect(bench.engine.terminators["t2"] == nil && bench.engine.terminators["t1"] != nil)
  }

  @Test("the chosen terminator has the best precedence, then the lowest cost")
  func selection() {
    var table = TerminatorTable()
    var random = SystemRandomNumberGenerator()
    for item in [
      terminator("a", cost: 10), terminator("b", cost: 3), terminator("c", cost: 900, precedence: .required), terminator("d", precedence: .failed),
    ] {
      table.put(item)
    }
    func choose(_ excluding: Set<String> = [], sticky: String? = nil, strategy: TerminatorStrategy = .smartRouting) -> String? {
      try? table.select(
        service: "svc", instance: "", strategy: strategy, online: { _ in true }, pathCost: { _ in 0 }, sticky: sticky, excluding: excluding,
        random: &random
      ).get().id
    }
    #expect(choose() == "c")
    #expect(choose(["c"]) == "b")
    table.remove("c")
    #expect(choose(sticky: "a", strategy: .sticky) == "a")
    for _ in 0..<4 { table.opened("b") }
    #expect(choose() == "a")
    table.failed("a", now: .epoch)
    #expect(choose() == "b")
    #expect(choose(sticky: "gone", strategy: .sticky) == "b")
  }
}
