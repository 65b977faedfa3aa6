import Model
import Testing
import Wire
import WireSchemas

@testable import Fabric

@Suite("Terminators", .timeLimit(.minutes(2)))
struct TerminatorTableTests {
  private func choose(
    _ table: TerminatorTable, _ strategy: TerminatorStrategy = .smartRouting, excluding: Set<String> = [],
    sticky: String? = nil
  ) -> String? {
    var random = SystemRandomNumberGenerator()
    return try? table.select(
      service: "svc", instance: "", strategy: strategy, online: { _ in true }, pathCost: { _ in 0 }, sticky: sticky,
      excluding: excluding,
      random: &random
    ).get().id
  }

  @Test("the chosen terminator has the best precedence, then the lowest cost")
  func selection() {
    var table = TerminatorTable()
    for item in [
      CircuitBench.terminator("a", cost: 10), CircuitBench.terminator("b", cost: 3),
      CircuitBench.terminator("c", cost: 900, precedence: .required),
      CircuitBench.terminator("d", precedence: .failed),
    ] {
      table.put(item)
    }
    #expect(choose(table) == "c")
    #expect(choose(table, excluding: ["c"]) == "b")
    table.remove("c")
    #expect(choose(table, .sticky, sticky: "a") == "a")
    for _ in 0..<4 { table.opened("b") }
    #expect(choose(table) == "a")
    table.failed("a", now: .epoch)
    #expect(choose(table) == "b")
    #expect(choose(table, .sticky, sticky: "gone") == "b")
  }

  @Test("failures fade once a minute, and what is known of a host outlives a change of its cost")
  func decay() {
    var table = TerminatorTable()
    table.put(CircuitBench.terminator("a"))
    table.failed("a", now: .epoch)
    table.put(CircuitBench.terminator("a", cost: 7))
    #expect(table.dynamicCost("a") == 20)
    table.decay(now: Timestamp.epoch.adding(seconds: 60))
    #expect(table.dynamicCost("a") == 10)
    for _ in 0..<10_000 { table.failed("a", now: .epoch) }
    #expect(table.dynamicCost("a") == 65_535)

    var bench = CircuitBench.ready()
    _ = bench.handle(.tick)
    let route = try? CircuitBench.route(in: bench.handle(.create(CircuitBench.request())))
    _ = bench.handle(
      .routeResult(
        router: "r1", circuit: route?.circuitID ?? "", attempt: 0, outcome: .failure(text: "no", code: .generic)))
    #expect(bench.engine.terminators.dynamicCost("t1") == 20)
    for _ in 0..<11 {
      bench.now = bench.now.adding(seconds: 5)
      _ = bench.handle(.tick)
    }
    #expect(bench.engine.terminators.dynamicCost("t1") == 20, "55 seconds are no minute")
    bench.now = bench.now.adding(seconds: 5)
    _ = bench.handle(.tick)
    #expect(bench.engine.terminators.dynamicCost("t1") == 10)
  }

  @Test("a router that is quiesced loses nothing of what its hosts asked for")
  func quiesced() {
    var table = TerminatorTable()
    table.put(CircuitBench.terminator("a", precedence: .required))
    table.put(CircuitBench.terminator("b", router: "r2"))
    table.quiesce("r1", true)
    #expect(choose(table) == "b")
    table.put(CircuitBench.terminator("c", precedence: .required))
    #expect(choose(table) == "b")
    table.quiesce("r1", false)
    #expect(choose(table) == "a" && table["a"]?.precedence == .required)
  }

  /// The rules of fabric-planes.md 5.4 as they are written, on a list.
  private struct Naive {
    var terminators: [String: LiveTerminator] = [:]
    var loads: [String: (open: Int, failures: Int)] = [:]

    func dynamicCost(_ id: String) -> Int { min(65535, 2 * (loads[id]?.open ?? 0) + (loads[id]?.failures ?? 0)) }

    /// All that the strategy may answer; empty when it fails.
    func candidates(
      _ instance: String, _ strategy: TerminatorStrategy, online: Set<String>, paths: [String: Int], sticky: String?,
      excluding: Set<String>
    )
      -> Set<String>
    {
      func band(_ terminator: LiveTerminator) -> Int {
        [.required, .default, .failed].firstIndex(of: terminator.precedence) ?? 0
      }
      let rated = terminators.values.filter { $0.instance == instance && online.contains($0.routerID) }.compactMap {
        item in
        paths[item.routerID].map { (item: item, cost: item.cost + dynamicCost(item.id) + min($0, 1 << 20)) }
      }.sorted { (band($0.item), $0.cost, $0.item.id) < (band($1.item), $1.cost, $1.item.id) }
      let fresh = rated.filter { !excluding.contains($0.item.id) }
      let pool = fresh.isEmpty ? rated : fresh
      guard let first = pool.first else { return [] }
      let best = pool.prefix { band($0.item) == band(first.item) }.map(\.item.id)
      switch strategy {
      case .smartRouting: return [first.item.id]
      case .sticky: return [best.contains(sticky ?? "") ? sticky ?? "" : first.item.id]
      case .random, .weighted: return Set(best)
      }
    }
  }

  @Test("ordered selection answers what a search of the whole list would", arguments: 1...2)
  func property(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var table = TerminatorTable()
    var naive = Naive()
    let precedences: [Precedence] = [.required, .default, .default, .default, .failed]
    let paths = ["r1": 0, "r2": 7, "r3": 2_000_000]
    for step in 0..<2000 {
      let id = "t\(Int.random(in: 0..<250, using: &random))"
      switch Int.random(in: 0..<10, using: &random) {
      case 0...3:
        let item = CircuitBench.terminator(
          id, cost: Int.random(in: 0..<40, using: &random), router: "r\(Int.random(in: 1...4, using: &random))",
          instance: ["", "i"][Int.random(in: 0...1, using: &random)],
          precedence: precedences[Int.random(in: 0..<5, using: &random)])
        if naive.terminators[id].map({ $0.routerID != item.routerID }) ?? true { naive.loads[id] = nil }
        naive.terminators[id] = item
        table.put(item)
      case 4:
        naive.terminators[id] = nil
        naive.loads[id] = nil
        table.remove(id)
      case 5 where naive.terminators[id] != nil:
        naive.loads[id, default: (0, 0)].open += 1
        table.opened(id)
      case 6 where naive.loads[id]?.open ?? 0 > 0:
        naive.loads[id]?.open -= 1
        table.closed(id)
      case 7 where naive.terminators[id] != nil:
        naive.loads[id, default: (0, 0)].failures += 20
        table.failed(id, now: .epoch)
      case 8 where naive.loads[id] != nil:
        let failures = naive.loads[id]?.failures ?? 0
        naive.loads[id]?.failures = max(0, failures - 2)
        table.succeeded(id)
      case 9 where naive.terminators[id] != nil:
        let (cost, precedence) = (
          Int.random(in: 0..<40, using: &random), precedences[Int.random(in: 0..<5, using: &random)]
        )
        naive.terminators[id]?.ask(cost: cost, precedence: precedence, identity: Standing())
        table.update(id) { $0.ask(cost: cost, precedence: precedence, identity: Standing()) }
      default: break
      }
      #expect(table.dynamicCost(id) == naive.dynamicCost(id))
      guard step.isMultiple(of: 8) else { continue }
      let online = Set(["r1", "r2", "r3", "r4"].filter { _ in Bool.random(using: &random) })
      let instance = ["", "i"][Int.random(in: 0...1, using: &random)]
      let sticky = "t\(Int.random(in: 0..<250, using: &random))"
      var excluding: Set<String> = []
      for strategy in [TerminatorStrategy.smartRouting, .sticky, .random, .weighted] {
        let allowed = naive.candidates(
          instance, strategy, online: online, paths: paths, sticky: sticky, excluding: excluding)
        let chosen = try? table.select(
          service: "svc", instance: instance, strategy: strategy, online: { online.contains($0) },
          pathCost: { paths[$0] }, sticky: sticky,
          excluding: excluding, random: &random
        ).get().id
        #expect(
          chosen.map { allowed.contains($0) } ?? allowed.isEmpty, "step \(step), \(strategy): \(chosen ?? "none")")
        if let chosen { excluding.insert(chosen) }
      }
    }
    #expect(table.count == naive.terminators.count)
    for id in naive.terminators.keys { table.remove(id) }
    #expect(table.count == 0 && !table.isHosted("svc") && !table.hasRival(of: "x", service: "svc", instance: ""))
  }

  @Test("entries keep their order and their ranks, however they come and go")
  func order() {
    var random = SeededGenerator(seed: 3)
    var order = CostOrder()
    var all: Set<Int> = []
    func entry(_ number: Int) -> CostOrder.Entry { CostOrder.Entry(cost: number % 50, id: "t\(number)") }
    for step in 0..<30_000 {
      // First it grows, then it shrinks to nothing.
      let number = Int.random(in: 0..<5000, using: &random)
      if step < 15_000, all.insert(number).inserted { order.insert(entry(number)) }
      if step >= 15_000, all.remove(number) != nil { order.remove(entry(number)) }
      order.remove(CostOrder.Entry(cost: 51, id: "absent"))
      guard step.isMultiple(of: 5000) || step == 14_999 else { continue }
      let sorted = all.map(entry).sorted()
      #expect(
        order.count == sorted.count && (0..<sorted.count).allSatisfy { order[$0] == sorted[$0] }
          && order[sorted.count] == nil)
      #expect(order.total == sorted.reduce(0) { $0 + $1.cost } && order.free == sorted.count(where: { $0.cost == 0 }))
      #expect(order.first(excluding: Set(sorted.prefix(2).map(\.id))) == sorted.dropFirst(2).first)
    }
    for number in all { order.remove(entry(number)) }
    #expect(order.isEmpty && order.total == 0 && order.free == 0 && order[0] == nil)
  }

  @Test("weights fall with the cost, and everybody has a chance")
  func weighted() {
    var table = TerminatorTable()
    table.put(CircuitBench.terminator("a", cost: 10))
    table.put(CircuitBench.terminator("b", cost: 30))
    var random = SeededGenerator(seed: 7)
    var counts: [String: Int] = [:]
    for _ in 0..<4000 {
      let chosen = table.select(
        service: "svc", instance: "", strategy: .weighted, online: { _ in true }, pathCost: { _ in 0 }, sticky: nil,
        excluding: [], random: &random)
      counts[(try? chosen.get().id) ?? "", default: 0] += 1
    }
    // 1 - 10/40 to 1 - 30/40: three to one.
    #expect((2800...3200).contains(counts["a"] ?? 0) && counts["b"] == 4000 - (counts["a"] ?? 0))
  }

  /// With a sort for each bind and each dial, as it was, this takes many minutes.
  @Test("40,000 hosts of one service bind and are dialled one by one")
  func many() {
    var bench = CircuitBench.ready()
    for index in 0..<40_000 {
      _ = bench.handle(
        .offer(
          CircuitBench.terminator("h\(index)", host: "host\(index % 7)", instance: index % 2 == 0 ? "" : "i\(index)")))
    }
    #expect(bench.engine.terminators.count == 40_001)
    for _ in 0..<20_000 {
      let route = try? CircuitBench.route(in: bench.handle(.create(CircuitBench.request())))
      _ = bench.handle(
        .routeResult(router: "r1", circuit: route?.circuitID ?? "", attempt: 0, outcome: .success(peerData: [:])))
    }
    #expect(bench.engine.count == 20_000)
    // Each circuit makes its host dearer: nobody had two before everybody had one.
    #expect((0..<40_000).allSatisfy { bench.engine.terminators.dynamicCost("h\($0)") <= 2 })
  }
}

/// Numbers that a seed decides (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}
