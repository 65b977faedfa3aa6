import Access
import Model
import Testing
import Wire
import WireSchemas

@testable import Fabric

@Suite("Circuits and what they hang on")
struct CircuitLifeTests {
  // MARK: Routers that go and come back

  @Test("a router that comes back without its circuits ends them; what ended without it is ended there")
  func reconciliation() throws {
    var bench = CircuitBench.ready()
    let (kept, lost) = (try bench.circuit(), try bench.circuit())
    _ = bench.handle(.routerLost("r1"))
    #expect(bench.engine.count == 2, "circuits go on without a control channel")
    _ = bench.handle(.routerConnected("r1"))
    let asked = bench.engine.circuits(of: "r1")
    #expect(asked == [kept, lost])
    let fresh = try bench.circuit()
    let pending = try CircuitBench.route(in: bench.handle(.create(CircuitBench.request()))).circuitID
    let actions = bench.handle(.held(router: "r1", asked: asked, circuits: [kept, "ended-meanwhile", pending]))
    #expect(CircuitBench.ended(in: actions) == [lost])
    #expect(Set(CircuitBench.unrouted("r1", in: actions)) == [lost, "ended-meanwhile"])
    #expect(bench.engine[kept] != nil && bench.engine[fresh] != nil)
    #expect(bench.engine.terminators.dynamicCost("t1") == 4, "two circuits are left to be counted")
  }

  @Test("circuits outlive a control channel for ten minutes, and then their router is told when it returns")
  func absence() throws {
    var bench = CircuitBench.ready()
    let circuit = try bench.circuit()
    _ = bench.handle(.routerLost("r1"))
    bench.now = bench.now.adding(seconds: 599)
    #expect(bench.handle(.tick).isEmpty)
    bench.now = bench.now.adding(seconds: 1)
    #expect(CircuitBench.ended(in: bench.handle(.tick)) == [circuit])
    #expect(bench.engine.terminators.count == 0)
    _ = bench.handle(.routerConnected("r1"))
    #expect(
      CircuitBench.unrouted("r1", in: bench.handle(.held(router: "r1", asked: [], circuits: [circuit]))) == [circuit])
  }

  @Test("circuits of the lease file wait for their routers too")
  func restart() throws {
    var before = CircuitBench.ready()
    _ = try before.circuit()
    var bench = CircuitBench()
    bench.engine.restore(before.engine.all, now: bench.now)
    bench.now = bench.now.adding(seconds: 30)
    _ = bench.handle(.tick)
    #expect(bench.engine.count == 1)
    bench.now = bench.now.adding(seconds: 600)
    _ = bench.handle(.tick)
    #expect(bench.engine.count == 0)
  }

  @Test("a router that is disabled or deleted, and a service that is deleted, take their circuits with them")
  func removal() throws {
    var bench = CircuitBench.ready()
    _ = bench.handle(.place(CircuitBench.terminator("fixed", isLease: false)))
    let first = try bench.circuit()
    #expect(CircuitBench.unrouted("r1", in: bench.handle(.routerDisabled("r1"))) == [first])
    #expect(bench.engine.terminators.all.map(\.id) == ["fixed"], "what an operator made waits for the router")
    let second = try bench.circuit()
    #expect(CircuitBench.ended(in: bench.handle(.serviceRemoved("svc"))) == [second])
    _ = bench.handle(.place(CircuitBench.terminator("fixed", isLease: false)))
    let third = try bench.circuit()
    #expect(CircuitBench.ended(in: bench.handle(.routerRemoved("r1"))) == [third])
    #expect(bench.engine.terminators.count == 0 && bench.engine.count == 0)
  }

  // MARK: Rights that are taken away

  @Test("a right that is lost between route and result makes no circuit")
  func lostWhileDialling() throws {
    var bench = CircuitBench.ready()
    let other = try bench.circuit(client: "carol")
    let open = try bench.circuit()
    let route = try CircuitBench.route(in: bench.handle(.create(CircuitBench.request())))
    let actions = bench.handle(.rightLost(Grant(identity: "alice", service: "svc"), .dial))
    #expect(CircuitBench.failure(in: actions)?.code == .accessDenied)
    #expect(
      Set(CircuitBench.unrouted("r1", in: actions)) == [open, route.circuitID]
        && CircuitBench.ended(in: actions) == [open])
    let late = bench.handle(
      .routeResult(router: "r1", circuit: route.circuitID, attempt: 0, outcome: .success(peerData: [:])))
    #expect(CircuitBench.unrouted("r1", in: late) == [route.circuitID] && late.count == 1)
    #expect(bench.engine.all.map(\.id) == [other])
  }

  @Test("a host that loses its right while it is dialled gets no circuit, another one does")
  func hostLost() throws {
    var bench = CircuitBench.ready()
    let open = try bench.circuit()
    let route = try CircuitBench.route(in: bench.handle(.create(CircuitBench.request())))
    let actions = bench.handle(.rightLost(Grant(identity: "bob", service: "svc"), .bind))
    #expect(CircuitBench.ended(in: actions) == [open] && bench.engine.terminators.count == 0)
    _ = bench.handle(.offer(CircuitBench.terminator("t2", host: "dave")))
    let retry = try CircuitBench.route(
      in: bench.handle(
        .routeResult(router: "r1", circuit: route.circuitID, attempt: 0, outcome: .success(peerData: [:]))))
    #expect(retry.egress.destination == "t2" && retry.attempt == 1)
    _ = bench.handle(.routeResult(router: "r1", circuit: route.circuitID, attempt: 1, outcome: .success(peerData: [:])))
    #expect(bench.engine[route.circuitID]?.hostID == "dave")
  }

  // MARK: Shares of an identity

  @Test("one identity has so many dials under way, for a service and in all; others are served")
  func dialsInFlight() throws {
    var bench = CircuitBench.ready {
      $0.dialsPerIdentity = 5
      $0.dialsPerService = 3
    }
    for service in ["s1", "s2"] { _ = bench.handle(.offer(CircuitBench.terminator(service, service: service))) }
    func dial(_ client: String, _ service: String) -> [CircuitEngine.Action] {
      var wish = CircuitBench.request(client: client)
      wish.serviceID = service
      return bench.handle(.create(wish))
    }
    let first = try CircuitBench.route(in: dial("alice", "s1"))
    for _ in 0..<2 { _ = try CircuitBench.route(in: dial("alice", "s1")) }
    #expect(CircuitBench.failure(in: dial("alice", "s1"))?.retryHint == .tooBusy)
    for _ in 0..<2 { _ = try CircuitBench.route(in: dial("alice", "s2")) }
    #expect(CircuitBench.failure(in: dial("alice", "s2"))?.retryHint == .tooBusy)
    _ = try CircuitBench.route(in: dial("carol", "s1"))
    _ = bench.handle(.routeResult(router: "r1", circuit: first.circuitID, attempt: 0, outcome: .success(peerData: [:])))
    _ = try CircuitBench.route(in: dial("alice", "s2"))
    #expect(bench.engine.pending.count == 6)
    // Those that fail, time out or are refused leave their places as well.
    _ = bench.handle(.routerLost("r1"))
    #expect(bench.engine.pending.count == 0 && bench.engine.pending.count(client: "alice") == 0)
  }
}
