import Model
import SwiftProtobuf
import Testing
import Wire
import WireSchemas

@testable import Fabric

/// Kind 1 of the attackers' review: what a router says counts for its own circuits and hosts, and for nothing else.
@Suite("What the controller believes of a router")
struct RouterBeliefTests {
  /// `r1` carries a circuit; `r2` is enrolled, connected, and lies.
  private func bench() throws -> (CircuitBench, circuit: String) {
    var bench = CircuitBench.ready()
    _ = bench.handle(.routerConnected("r2"))
    let circuit = try bench.circuit()
    return (bench, circuit)
  }

  @Test("another router's confirmation, fault or silence ends no circuit")
  func othersCircuits() throws {
    var (bench, circuit) = try bench()
    let confirmed = bench.handle(.confirmation(router: "r2", circuits: [circuit], expired: [circuit]))
    #expect(CircuitBench.unrouted("r2", in: confirmed) == [circuit] && CircuitBench.ended(in: confirmed).isEmpty)
    _ = bench.handle(.fault(router: "r2", circuit: circuit, immediate: false))
    _ = bench.handle(.fault(router: "r2", circuit: circuit, immediate: true))
    _ = bench.handle(.held(router: "r2", asked: [circuit], circuits: []))
    _ = bench.handle(.routerLost("r2"))
    bench.now = bench.now.adding(seconds: 3600)
    _ = bench.handle(.tick)
    #expect(bench.engine[circuit] != nil)
    let own = bench.handle(.confirmation(router: "r1", circuits: [circuit], expired: [circuit]))
    #expect(CircuitBench.ended(in: own) == [circuit])
  }

  @Test("only the router that was asked answers for a dial, and says nothing but what a host may say")
  func answers() throws {
    var (bench, _) = try bench()
    var wish = CircuitBench.request()
    wish.strategy = .sticky
    let route = try CircuitBench.route(in: bench.handle(.create(wish)))
    let forged = bench.handle(
      .routeResult(
        router: "r2", circuit: route.circuitID, attempt: 0, outcome: .success(peerData: peerData([.publicKey: [6]]))))
    #expect(CircuitBench.unrouted("r2", in: forged) == [route.circuitID] && bench.engine[route.circuitID] == nil)
    let failed = bench.handle(
      .routeResult(
        router: "r2", circuit: route.circuitID, attempt: 0, outcome: .failure(text: "x", code: .invalidTerminator)))
    #expect(CircuitBench.failure(in: failed) == nil && bench.engine.terminators["t1"] != nil)
    let claims = peerData([
      .publicKey: [7], .replyFor: [9], ControlHeader.routeResultAttempt: [9],
      ControlHeader.terminatorLocalAddress: [9], ControlHeader.terminatorRemoteAddress: [9],
      ControlHeader.stickinessToken: Array("else".utf8), ControlHeader.dialingIdentityID: Array("root".utf8),
      ControlHeader.dialingIdentityName: [9], .xgressCircuitID: [9],
    ])
    let done = bench.handle(
      .routeResult(router: "r1", circuit: route.circuitID, attempt: 0, outcome: .success(peerData: claims)))
    guard case .created(_, _, let told)? = done.first else {
      Issue.record("not created: \(done)")
      return
    }
    #expect(told == peerData([.publicKey: [7], ControlHeader.stickinessToken: Array("t1".utf8)]))
  }

  @Test("who dials is what the session says, whatever the router claims")
  func dialler() {
    let claims = peerData([
      .publicKey: [1], .appData: [2], ControlHeader.dialingIdentityID: Array("root".utf8),
      ControlHeader.dialingIdentityName: Array("Root".utf8), ControlHeader.stickinessToken: [3], .replyFor: [4],
      .dialerIdentityID: [5], .xgressCircuitID: [6],
    ])
    let data = PeerData.toHost(claims, identity: "alice", name: "Alice")
    let told = peerData([
      .publicKey: [1], .appData: [2], ControlHeader.dialingIdentityID: Array("alice".utf8),
      ControlHeader.dialingIdentityName: Array("Alice".utf8),
    ])
    #expect(data == told)
  }

  @Test("a host's terminator is changed by its host at its router, and ids and instances are not taken over")
  func terminators() throws {
    var (bench, _) = try bench()
    func offer(_ terminator: LiveTerminator) -> CircuitEngine.OfferRefusal? {
      for case .offered(_, let refusal) in bench.handle(.offer(terminator)) { return refusal }
      return nil
    }
    #expect(offer(CircuitBench.terminator("t1", router: "r2")) == .idTaken)
    #expect(offer(CircuitBench.terminator("t1", host: "eve")) == .idTaken)
    #expect(offer(CircuitBench.terminator("a", instance: "db")) == nil)
    #expect(offer(CircuitBench.terminator("b", host: "eve", instance: "db")) == .instanceTaken)
    #expect(offer(CircuitBench.terminator("b", router: "r2", instance: "db")) == nil, "the same host at another router")
    _ = bench.handle(.place(CircuitBench.terminator("fixed", isLease: false)))
    #expect(offer(CircuitBench.terminator("fixed")) == .idTaken)
    let bob = Grant(identity: "bob", service: "svc")
    func adjusted(_ id: String, _ router: String, _ host: Grant) -> Bool {
      for case .adjusted(_, let isDone) in bench.handle(
        .adjust(terminator: id, router: router, by: host, cost: 5, precedence: .failed))
      {
        return isDone
      }
      return false
    }
    #expect(
      !adjusted("t1", "r2", bob) && !adjusted("t1", "r1", Grant(identity: "eve", service: "svc"))
        && !adjusted("fixed", "r1", bob))
    #expect(bench.engine.terminators["t1"]?.cost == 0)
    #expect(adjusted("t1", "r1", bob) && bench.engine.terminators["t1"]?.precedence == .failed)
    _ = bench.handle(.withdraw(router: "r2", terminators: ["t1", "a", "fixed"]))
    _ = bench.handle(.withdraw(router: "r1", terminators: ["fixed", "nobody"]))
    #expect(bench.engine.terminators.count == 4)
    #expect(offer(CircuitBench.terminator("c")) == nil)
    let key = offer(
      LiveTerminator(
        id: "d", serviceID: "svc", routerID: "r1", hostID: "bob", address: "d",
        peerData: peerData([.publicKey: [1], .replyFor: [2], ControlHeader.stickinessToken: [3]]), createdAt: .epoch))
    #expect(key == nil && bench.engine.terminators["d"]?.peerData == peerData([.publicKey: [1]]))
  }

  @Test(
    "a host that says nothing of cost and precedence, or what its identity says, follows its identity; one that says something else does not"
  )
  func standing() throws {
    var bench = CircuitBench()
    _ = bench.handle(.routerConnected("r1"))
    let bob = Grant(identity: "bob", service: "svc")
    func now(_ id: String) -> Standing? { bench.engine.terminators[id]?.standing }
    func identity(_ cost: Int, _ precedence: Precedence) -> Standing {
      let standing = Standing(cost: cost, precedence: precedence)
      _ = bench.handle(.standing(identity: "bob", of: ["svc": standing, "other": Standing(cost: 1)]))
      return standing
    }
    var said = Standing(cost: 7, precedence: .required)
    for (id, cost, precedence) in [
      ("silent", 0, Precedence.default), ("same", 7, .required), ("own", 5, .failed),
    ] {
      _ = bench.handle(.offer(CircuitBench.terminator(id, cost: cost, precedence: precedence), identity: said))
    }
    _ = bench.handle(.place(CircuitBench.terminator("fixed", isLease: false)))
    #expect(now("silent") == said && now("same") == said && now("own") == Standing(cost: 5, precedence: .failed))
    said = identity(9, .default)
    #expect(
      now("silent") == said && now("same") == said && now("own") == Standing(cost: 5, precedence: .failed)
        && now("fixed") == Standing())
    // Told once more by its router, as it was bound.
    _ = bench.handle(.offer(CircuitBench.terminator("same", cost: 7, precedence: .required), identity: said))
    #expect(now("same") == said)
    func ask(_ id: String, _ cost: Int?, _ precedence: Precedence?) {
      _ = bench.handle(
        .adjust(terminator: id, router: "r1", by: bob, cost: cost, precedence: precedence, identity: said))
    }
    ask("silent", nil, .failed)
    said = identity(3, .required)
    #expect(now("silent") == Standing(cost: 3, precedence: .failed))
    ask("silent", 4, .default)
    #expect(now("silent") == Standing(cost: 4, precedence: .required))
    ask("silent", 0, nil)
    #expect(now("silent") == said)
  }

  @Test("what changed while it was told is told again, until what was told stands")
  func followed() {
    var changes = [1, 2, 2].map { Standing(cost: $0) }
    var told: [Int] = []
    Standing.follow(from: Standing(), now: { changes.removeFirst() }, tell: { told.append($0.cost) })
    #expect(told == [1, 2] && changes.isEmpty)
    Standing.follow(from: Standing(cost: 2), now: { Standing(cost: 2) }, tell: { told.append($0.cost) })
    #expect(told == [1, 2])
  }

  @Test("a router has so many terminators")
  func tooMany() {
    var bench = CircuitBench.ready { $0.terminatorsPerRouter = 3 }
    var refusals = 0
    for index in 0..<5 {
      for case .offered(_, .some(.tooMany)) in bench.handle(.offer(CircuitBench.terminator("x\(index)"))) {
        refusals += 1
      }
    }
    #expect(refusals == 3 && bench.engine.terminators.count == 3)
  }

  // MARK: Usage

  private func claim(_ circuit: String, _ bytes: UInt64) -> UsageRecord.Claim {
    UsageRecord.Claim(circuit: circuit, toHost: bytes, fromHost: 1)
  }

  @Test("bytes are charged for circuits that end at the very router, to the service of the circuit")
  func usage() throws {
    var (bench, circuit) = try bench()
    bench.now = bench.now.adding(seconds: 10)
    #expect(CircuitBench.charged(in: bench.handle(.usage(router: "r1", [claim("invented", 10)]))).isEmpty)
    #expect(CircuitBench.charged(in: bench.handle(.usage(router: "r2", [claim(circuit, 10)]))).isEmpty)
    let charged = CircuitBench.charged(
      in: bench.handle(.usage(router: "r1", [claim(circuit, 10), claim("invented", 10)])))
    #expect(charged == [UsageRecord(circuit: circuit, serviceID: "svc", toHost: 10, fromHost: 1)])
    // The last report of a circuit comes after its end.
    _ = bench.handle(.fault(router: "r1", circuit: circuit, immediate: false))
    bench.now = bench.now.adding(seconds: 60)
    #expect(CircuitBench.charged(in: bench.handle(.usage(router: "r1", [claim(circuit, 20)]))).first?.toHost == 20)
    bench.now = bench.now.adding(seconds: 1000)
    _ = bench.handle(.tick)
    #expect(CircuitBench.charged(in: bench.handle(.usage(router: "r1", [claim(circuit, 20)]))).isEmpty)
  }

  @Test("9,000 reports of 2^50 bytes count as no more than the time can carry")
  func poison() throws {
    var (bench, circuit) = try bench()
    bench.now = bench.now.adding(seconds: 60)
    let flood = (0..<9000).map { _ in UsageRecord.Claim(circuit: circuit, toHost: .max, fromHost: 1 << 50) }
    let actions = bench.handle(.usage(router: "r1", flood))
    let total = CircuitBench.charged(in: actions).reduce(0) { $0 + $1.toHost + $1.fromHost }
    #expect(total > 0 && total <= 61_000 * UsageAccount.bytesPerMillisecond)
    #expect(actions.contains { if case .usageClamped("r1") = $0 { true } else { false } })
    #expect(CircuitBench.charged(in: bench.handle(.usage(router: "r1", flood))).isEmpty, "no time has passed since")
    // An honest figure counts again a minute later, also when the clock had been ahead.
    bench.now = bench.now.adding(seconds: 365 * 86_400)
    _ = bench.handle(.usage(router: "r1", [claim(circuit, 1)]))
    bench.now = bench.now.adding(seconds: -365 * 86_400)
    _ = bench.handle(.usage(router: "r1", [claim(circuit, 1)]))
    bench.now = bench.now.adding(seconds: 60)
    #expect(
      CircuitBench.charged(in: bench.handle(.usage(router: "r1", [claim(circuit, 1 << 30)]))).first?.toHost == 1 << 30)
  }

  @Test("of a metrics message numbers are read, never whose they are")
  func claims() {
    let message = MetricsMetricsMessage.with {
      $0.usageCounters = [
        .with {
          $0.buckets["c1"] = .with {
            $0.values = ["usage.egress.tx": 5, "egress.rx": .max, "ingress.rx": 77]
            $0.tags = ["serviceId": "someone else's"]
          }
          $0.buckets["c2"] = .with { $0.values = ["ingress.tx": 9] }
        }
      ]
    }
    #expect(UsageRecord.claims(message) == [UsageRecord.Claim(circuit: "c1", toHost: 5, fromHost: .max)])
  }

  @Test("what one router may make the controller keep is counted in bytes, and given back")
  func bytes() throws {
    var bench = CircuitBench.ready {
      $0.terminatorBytesPerRouter = 100_000
      $0.dialBytesPerRouter = 100_000
    }
    func offer(_ id: String, _ bytes: Int, router: String = "r1") -> LiveTerminator {
      var terminator = CircuitBench.terminator(id, router: router)
      // What no host may say is not kept, and not counted.
      terminator.peerData = peerData([
        .publicKey: Array(repeating: 1, count: bytes), 77: Array(repeating: 1, count: 1 << 20),
      ])
      return terminator
    }
    func refusal(_ terminator: LiveTerminator) -> CircuitEngine.OfferRefusal? {
      for case .offered(_, let refusal) in bench.handle(.offer(terminator)) { return refusal }
      return nil
    }
    #expect(refusal(offer("big", 90_000)) == nil && refusal(offer("big", 91_000)) == nil)
    #expect(refusal(offer("more", 20_000)) == .tooManyBytes(limit: 100_000))
    #expect(refusal(offer("elsewhere", 90_000, router: "r2")) == nil)
    _ = bench.handle(.withdraw(router: "r1", terminators: ["big"]))
    #expect(refusal(offer("more", 20_000)) == nil)

    var wish = CircuitBench.request(ticket: 5)
    wish.weight = 60_000
    let route = try CircuitBench.route(in: bench.handle(.create(wish)))
    #expect(CircuitBench.failure(in: bench.handle(.create(wish))) != nil)
    _ = bench.handle(.routeResult(router: "r1", circuit: route.circuitID, attempt: 0, outcome: .success(peerData: [:])))
    #expect(CircuitBench.failure(in: bench.handle(.create(wish))) == nil)
  }
}
