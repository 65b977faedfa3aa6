import Fabric
import Model
import SwiftProtobuf
import Testing
import Wire
import WireSchemas

@Suite("The controller's circuits")
struct CircuitEngineTests {
  @Test("a request becomes a route, a good result a circuit, a fault its end")
  func life() throws {
    var bench = CircuitBench()
    _ = bench.handle(.routerConnected("r1"))
    _ = bench.handle(.place(CircuitBench.terminator("t1", key: true)))
    let route = try CircuitBench.route(in: bench.handle(.create(CircuitBench.request(encrypted: true, key: true))))
    #expect(route.circuitID.utf8.count <= 15)
    #expect(route.egress.destination == "t1" && route.egress.binding == "edge")
    #expect(route.tags["clientId"] == "alice" && route.tags["hostId"] == "bob")
    #expect(route.forwards.count == 2)
    let done = bench.handle(
      .routeResult(
        router: "r1", circuit: route.circuitID, attempt: 0,
        outcome: .success(peerData: peerData([.replyFor: [9], ControlHeader.terminatorLocalAddress: [3]]))))
    guard case .created(1, let circuit, let told)? = done.first else {
      Issue.record("not created: \(done)")
      return
    }
    #expect(circuit.clientID == "alice" && bench.engine[circuit.id] != nil)
    #expect(told == peerData([.publicKey: [1]]))
    let end = bench.handle(.fault(router: "r1", circuit: circuit.id, immediate: false))
    #expect(end.contains { if case .ended(let ended) = $0 { ended.id == circuit.id } else { false } })
    #expect(bench.engine.all.isEmpty)
  }

  @Test("missing keys, terminators and routers are told apart")
  func refusals() {
    var bench = CircuitBench()
    _ = bench.handle(.routerConnected("r1"))
    #expect(
      CircuitBench.failure(in: bench.handle(.create(CircuitBench.request(encrypted: true))))?.code
        == .encryptionDataMissing)
    #expect(
      CircuitBench.failure(in: bench.handle(.create(CircuitBench.request())))?.message
        == "service svc has no terminators")
    _ = bench.handle(.place(CircuitBench.terminator("t1", router: "r2")))
    #expect(
      CircuitBench.failure(in: bench.handle(.create(CircuitBench.request())))?.message.hasPrefix(
        "service svc has no online terminators") == true)
  }

  @Test("a failed host makes way for another; after two attempts the dialler gets the text")
  func retries() throws {
    var bench = CircuitBench()
    _ = bench.handle(.routerConnected("r1"))
    _ = bench.handle(.place(CircuitBench.terminator("t1")))
    _ = bench.handle(.place(CircuitBench.terminator("t2", cost: 5)))
    let first = try CircuitBench.route(in: bench.handle(.create(CircuitBench.request())))
    #expect(first.egress.destination == "t1")
    let retry = bench.handle(
      .routeResult(router: "r1", circuit: first.circuitID, attempt: 0, outcome: .failure(text: "no", code: .generic)))
    let second = try CircuitBench.route(in: retry)
    #expect(second.egress.destination == "t2" && second.attempt == 1 && second.circuitID == first.circuitID)
    let end = bench.handle(
      .routeResult(
        router: "r1", circuit: first.circuitID, attempt: 1, outcome: .failure(text: "never", code: .invalidTerminator)))
    #expect(CircuitBench.failure(in: end)?.message.contains("(never)") == true)
    // Its router does not know the second terminator at all.
    #expect(bench.engine.terminators["t2"] == nil && bench.engine.terminators["t1"] != nil)
  }
}
