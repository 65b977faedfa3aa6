import Dispatch
import JSON
import Model
import Synchronization
import Testing

@testable import Store

/// A value that tasks share.
private final class Shared<Value: Sendable>: Sendable {
  private let value: Mutex<Value>
  init(_ value: Value) { self.value = Mutex(value) }
  func withLock<Result: Sendable>(_ body: (inout Value) -> Result) -> Result { value.withLock { body(&$0) } }
}

/// The filter language in SQL, held against the same filter judged in memory.
@Suite("Queries", .timeLimit(.minutes(5)))
struct QueryTests {
  private static let words = ["alpha", "Beta", "gamma", "DELTA", "ÄÖÜ", "äöü", "a%b_c", "it's"]

  /// A store with identities whose members vary, some of them absent.
  private static func store(seed: UInt64) async throws -> Store {
    var random = SeededGenerator(seed: seed)
    let store = try await Store.inMemory()
    for number in 0..<40 {
      var tags: JSONObject = [:]
      if Bool.random(using: &random) { tags["region"] = .string(words.randomElement(using: &random) ?? "") }
      if Bool.random(using: &random) { tags["rank"] = JSONValue(Int.random(in: 0..<5, using: &random)) }
      if Bool.random(using: &random) { tags["flag"] = .bool(Bool.random(using: &random)) }
      let identity = Identity(
        id: "i\(Int.random(in: 0..<1000, using: &random))-\(number)", name: "\(words[number % words.count]) \(number)",
        isAdmin: Bool.random(using: &random),
        roleAttributes: words.filter { _ in Int.random(in: 0..<4, using: &random) == 0 },
        externalId: Bool.random(using: &random) ? "ext \(number)" : nil, tags: tags,
        createdAt: start.adding(seconds: Int64(number % 7)))
      try await store.change { try $0.put(identity) }
    }
    return store
  }

  /// The ids, in order, and the total, by SQL and in memory.
  private static func both(_ store: Store, _ query: FilterQuery, page: PageRequest = PageRequest(limit: -1))
    async throws -> (
      sql: [String], memory: [String], totals: [Int]
    )
  {
    try await store.read { reader in
      let sql = try reader.query(Identity.self, filter: query, page: page)
      let memory = try query.apply(
        to: try reader.all(Identity.self), symbols: SymbolTable.of(.identities), page: page, lookup: value)
      return (sql.items.map(\.id), memory.items.map(\.id), [sql.totalCount, memory.totalCount])
    }
  }

  private static func value(_ identity: Identity, _ name: String) -> FilterValue {
    switch name {
    case "id": .string(identity.id)
    case "name": .string(identity.name)
    case "externalId": .string(identity.externalId)
    case "isAdmin": .scalar(.bool(identity.isAdmin))
    case "isSystem": .scalar(.bool(identity.isSystem))
    case "createdAt": .scalar(.datetime(identity.createdAt))
    case "type": .string(identity.typeId.rawValue)
    case "authPolicyId": .string(identity.authPolicyId)
    case "roleAttributes": .strings(identity.roleAttributes)
    default: .scalar(identity.tags[String(name.dropFirst(5))].flatMap { FilterLiteral($0) } ?? .null)
    }
  }

  private static let filters = [
    "true", "false", "name = \"alpha 0\"", "name != \"alpha 0\"", "name < \"b\"", "name >= \"b\"",
    "name contains \"a\"", "name icontains \"ÄÖ\"",
    "name contains \"a%b_c\"", "not name contains \"a\"", "name not contains \"a\"",
    "name in [\"alpha 0\", \"it's 7\"]",
    "name not in [\"alpha 0\"]", "externalId = null", "externalId != null", "externalId = \"ext 3\"",
    "externalId != \"ext 3\"",
    "not (externalId = \"ext 3\")", "externalId contains \"ext\"", "not externalId contains \"ext\"",
    "externalId not contains \"1\"",
    "externalId in [\"ext 3\", \"ext 4\"]", "not externalId in [\"ext 3\"]", "isAdmin", "not isAdmin", "isAdmin = true",
    "isAdmin != true",
    "isAdmin = false", "createdAt = datetime(2027-01-15T08:00:02Z)", "createdAt > datetime(2027-01-15T08:00:03Z)",
    "createdAt = datetime(2027-01-15T09:00:02+01:00)", "createdAt < datetime(2027-01-15T09:00:03+01:00)",
    "createdAt between datetime(2027-01-15T08:00:01Z) and datetime(2027-01-15T08:00:04Z)",
    "createdAt not between datetime(2027-01-15T08:00:01Z) and datetime(2027-01-15T08:00:04Z)",
    "anyOf(roleAttributes) = \"alpha\"",
    "allOf(roleAttributes) = \"alpha\"", "allOf(roleAttributes) != \"alpha\"", "anyOf(roleAttributes) icontains \"äö\"",
    "anyOf(roleAttributes) in [\"alpha\", \"Beta\"]", "not anyOf(roleAttributes) in [\"alpha\", \"Beta\"]",
    "count(roleAttributes) > 1",
    "count(roleAttributes) = 0", "isEmpty(roleAttributes)", "not isEmpty(roleAttributes)", "tags.region = \"alpha\"",
    "tags.region != \"alpha\"",
    "tags.region = null", "tags.region != null", "tags.region icontains \"ä\"", "tags.rank = 3", "tags.rank > 2",
    "tags.rank != 2",
    "tags.rank between 1 and 3", "tags.rank in [1, 4]", "tags.flag = true", "tags.flag != true", "tags.flag = false",
    "tags.nothing = null",
    "tags.nothing = \"x\"", "type = \"Default\"", "authPolicyId = \"default\"", "isSystem = false",
    "isAdmin = true and tags.rank > 1 or name contains \"a\" and not (externalId = null)",
    "(isAdmin or tags.flag = true) and not isEmpty(roleAttributes)",
    "name = \"' or 1=1 --\"", "tags.rank >= 2 and tags.rank < 4",
  ]

  @Test("SQL and memory agree on every filter")
  func filtersAgree() async throws {
    let store = try await Self.store(seed: 1)
    var selective = 0
    for text in Self.filters {
      let (sql, memory, totals) = try await Self.both(store, try FilterQuery(parsing: text))
      #expect(sql == memory, "\(text)")
      #expect(totals == [sql.count, sql.count], "\(text)")
      if (1..<40).contains(sql.count) { selective += 1 }
    }
    // The data must be such that the filters mean something.
    #expect(selective > 40)
  }

  @Test("and on every combination of them", arguments: 2...4 as ClosedRange<UInt64>)
  func combinationsAgree(_ seed: UInt64) async throws {
    let store = try await Self.store(seed: seed)
    var random = SeededGenerator(seed: seed)
    let terms = try Self.filters.compactMap { try FilterQuery(parsing: $0).predicate }
    func make(_ depth: Int) -> Filter {
      let term = terms.randomElement(using: &random) ?? .constant(true)
      guard depth > 0 else { return term }
      switch Int.random(in: 0..<4, using: &random) {
      case 0: return .not(make(depth - 1))
      case 1: return .and([make(depth - 1), make(depth - 1)])
      case 2: return .or([make(depth - 1), make(depth - 1)])
      default: return term
      }
    }
    for _ in 0..<100 {
      let filter = make(3)
      let (sql, memory, _) = try await Self.both(store, FilterQuery(predicate: filter))
      #expect(sql == memory, "\(filter)")
    }
  }

  @Test(
    "SQL and memory agree on order and page",
    arguments: [
      "true", "true sort by name", "true sort by name desc", "true sort by createdAt, name desc",
      "true sort by createdAt desc",
      "true sort by externalId", "true sort by externalId desc, name", "true sort by isAdmin, id desc",
      "true sort by tags.rank desc, name",
      "true sort by tags.region", "isAdmin sort by name skip 3 limit 5", "true sort by name skip 38 limit 5",
      "true skip 100", "true limit none",
      "true limit 0",
    ])
  func orderAgrees(_ text: String) async throws {
    let store = try await Self.store(seed: 5)
    let (sql, memory, totals) = try await Self.both(store, try FilterQuery(parsing: text))
    #expect(sql == memory)
    #expect(totals.first == totals.last)
  }

  @Test("pages put together are the whole, in order")
  func pages() async throws {
    let store = try await Self.store(seed: 6)
    let query = try FilterQuery(parsing: "true sort by createdAt")
    let whole = try await store.read { try $0.query(Identity.self, filter: query, page: PageRequest(limit: -1)) }
    #expect(whole.items.count == 40)
    #expect(whole.limit == .max)
    var collected: [Identity] = []
    for offset in stride(from: 0, to: 49, by: 7) {
      let page = try await store.read {
        try $0.query(Identity.self, filter: query, page: PageRequest(limit: 7, offset: offset))
      }
      #expect(page.totalCount == 40)
      #expect(page.limit == 7)
      #expect(page.offset == offset)
      collected += page.items
    }
    #expect(collected == whole.items)
    #expect(try await store.read { try $0.query(Identity.self) }.items.count == 10)
  }

  @Test("only the ids that a caller may see are considered")
  func restricted() async throws {
    let store = try await Store.inMemory()
    for id in ["a", "b", "c"] { try await store.change { try $0.put(Identity(id: id, name: id)) } }
    let page = try await store.read {
      try $0.query(Identity.self, filter: FilterQuery(parsing: "id != \"b\""), ids: ["b", "c", "x"])
    }
    #expect(page.items.map(\.id) == ["c"])
    #expect(page.totalCount == 1)
    #expect(try await store.read { try $0.query(Identity.self, ids: []) }.totalCount == 0)
  }

  @Test("all entries are given when all are wanted, and at most 500 of any other number")
  func everything() async throws {
    let store = try await Store.inMemory()
    try await store.change { transaction in
      for number in 0..<1207 { try transaction.put(Identity(id: "i\(number)", name: "n\(number)")) }
    }
    func count(_ text: String?, _ limit: Int?) async throws -> Int {
      let query = try text.map { try FilterQuery(parsing: $0) }
      let page = try await store.read { try $0.query(Identity.self, filter: query, page: PageRequest(limit: limit)) }
      #expect(page.totalCount == 1207)
      let ids = try await store.read {
        try $0.identifiers(filter: query, page: PageRequest(limit: limit), symbols: .of(.identities))
      }
      #expect(ids.items == page.items.map(\.id) && ids.totalCount == 1207)
      return page.items.count
    }
    #expect(try await count("true limit none", nil) == 1207)
    #expect(try await count("limit -1", 5) == 1207)
    #expect(try await count(nil, -1) == 1207)
    #expect(try await count("true skip 1200 limit none", nil) == 7)
    #expect(try await count("limit 600", -1) == 500)
    #expect(try await count("true", 600) == 500)
    #expect(try await count("skip 5000", 600) == 0)
    #expect(try await count(nil, nil) == 10)
  }

  @Test("what an index answers is told from what looks at everything")
  func indexes() throws {
    let table = SymbolTable.of(.identities)
    func isIndexed(_ text: String) throws -> Bool { table.isIndexed(try FilterQuery(parsing: text), sort: []) }
    for text in [
      "", "true limit none", "sort by id", "name = \"a\"", "id = \"a\" or name = \"a\"",
      "isAdmin and id in [\"a\", \"b\"]",
      "externalId = \"x\" and name contains \"a\"",
    ] { #expect(try isIndexed(text), "\(text)") }
    for text in [
      "sort by name", "name contains \"a\"", "name != \"a\"", "not name = \"a\"", "id = \"a\" or isAdmin",
      "anyOf(services) = \"s\"",
      "externalId = \"\"", "false", "id = \"a\" and anyOf(services) = \"s\"", "id = \"a\" and not isEmpty(services)",
      "id = \"a\" and count(from authenticators where method = \"cert\") > 0",
    ] { #expect(try !isIndexed(text), "\(text)") }
  }

  @Test("questions that look at everything leave a connection for those that an index answers")
  func searches() async throws {
    let directory = StoreDirectory()
    let store = try await directory.open()
    let held = Shared(0)
    let release = DispatchSemaphore(value: 0)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<6 {
        group.addTask {
          try await store.search(for: "a") { _ in
            held.withLock { $0 += 1 }
            // Bounded, so that a gate that lets all in ends with a failure.
            _ = release.wait(timeout: .now() + 20)
            held.withLock { $0 -= 1 }
          }
        }
      }
      // Until all are in that are let in: the number no longer grows.
      var settled = 0
      repeat {
        settled = held.withLock { $0 }
        try await Task.sleep(for: .milliseconds(250))
      } while settled == 0 || held.withLock({ $0 }) != settled
      for _ in 0..<10 { _ = try await store.read { try $0.count(.identities) } }
      let during = held.withLock { $0 }
      #expect((1...2).contains(during))
      for _ in 0..<6 { release.signal() }
      try await group.waitForAll()
    }
    #expect(held.withLock { $0 } == 0)
  }

  @Test("whoever gives up waiting leaves its place to the others")
  func givingUp() async throws {
    let gate = SearchGate(places: 1)
    let isIn = Shared(false)
    let mayLeave = Shared(false)
    let first = Task {
      try await gate.pass(for: "a") {
        isIn.withLock { $0 = true }
        while !mayLeave.withLock({ $0 }) { await Task.yield() }
      }
    }
    while !isIn.withLock({ $0 }) { await Task.yield() }
    let second = Task { try await gate.pass(for: "a") { 2 } }
    let third = Task { try await gate.pass(for: "a") { 3 } }
    second.cancel()
    await #expect(throws: CancellationError.self) { try await second.value }
    mayLeave.withLock { $0 = true }
    try await first.value
    #expect(try await third.value == 3)
    #expect(try await gate.pass(for: "a") { 4 } == 4)
  }

  @Test("who asks a hundred times at once keeps another one waiting for one of its questions")
  func turns() async throws {
    let gate = SearchGate(places: 1)
    let order = Shared<[String]>([])
    let mayLeave = Shared(false)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await gate.pass(for: "greedy") { while !mayLeave.withLock({ $0 }) { await Task.yield() } }
      }
      while gate.count == 0 { await Task.yield() }
      for number in 1...100 {
        group.addTask { try await gate.pass(for: "greedy") { order.withLock { $0.append("greedy") } } }
        while gate.count < 1 + number { await Task.yield() }
      }
      group.addTask { try await gate.pass(for: "modest") { order.withLock { $0.append("modest") } } }
      while gate.count < 102 { await Task.yield() }
      mayLeave.withLock { $0 = true }
      try await group.waitForAll()
    }
    #expect(order.withLock { $0.firstIndex(of: "modest") } == 1 && order.withLock { $0.count } == 101)
    #expect(gate.count == 0)
  }

  /// Counts what is asked of the running controller.
  private final class Counting: RuntimeSymbols {
    let asked = Shared(0)

    func entities(_ kind: EntityKind, where symbol: String) -> Set<String> { [] }
    func relation(_ kind: EntityKind, _ symbol: String) -> [RelationGroup] {
      asked.withLock { $0 += 1 }
      return [RelationGroup(holders: ["i1"], members: ["s1"])]
    }
    func members(_ kind: EntityKind, matching condition: Filter, _ reader: StoreReader) throws -> Set<String>? { nil }
  }

  @Test("however often a filter names a relation, the running controller is asked for it once")
  func relationOnce() async throws {
    let store = try await Store.inMemory()
    let runtime = Counting()
    let terms = (0..<50).map { "anyOf(services) = \"s\($0)\" or count(services) > \($0)" }
    let filter = try FilterQuery(parsing: terms.joined(separator: " or "))
    _ = try await store.read {
      try $0.query(Identity.self, filter: filter, symbols: .of(.identities), runtime: runtime)
    }
    #expect(runtime.asked.withLock { $0 } == 1)
  }

  @Test("filters reach over references and into sub-queries")
  func references() async throws {
    let store = try await Store.inMemory()
    try await store.change { transaction in
      try transaction.put(EdgeService(id: "s1", name: "web", configs: ["c1", "c2"]))
      try transaction.put(EdgeService(id: "s2", name: "ssh", configs: ["c2"]))
      try transaction.put(EdgeService(id: "s3", name: "idle"))
      try transaction.put(Config(id: "c1", name: "one", configTypeId: "host.v1"))
      try transaction.put(Config(id: "c2", name: "two", configTypeId: "intercept.v1"))
      for (id, service, cost) in [("t1", "s1", 1), ("t2", "s1", 50), ("t3", "s2", 2)] {
        try transaction.put(
          Terminator(id: id, serviceId: service, routerId: "r1", binding: "edge", address: "a", cost: cost))
      }
    }
    func services(_ text: String) async throws -> [String] {
      let query = try FilterQuery(parsing: text)
      return try await store.read { try $0.query(EdgeService.self, filter: query) }.items.map(\.id)
    }
    #expect(try await services("isEmpty(configs)") == ["s3"])
    #expect(try await services("count(from configs where type = \"host.v1\") = 1") == ["s1"])
    #expect(try await services("count(from configs where true sort by name desc skip 1) = 1") == ["s1"])
    #expect(try await services("not isEmpty(from configs where true limit 0)") == [])
    #expect(try await services("isEmpty(from configs where name = \"two\" skip 1)") == ["s1", "s2", "s3"])
    #expect(try await services("count(configs) between 1 and 3") == ["s1", "s2"])
    #expect(try await services("anyOf(configs) = \"c2\"") == ["s1", "s2"])
    let byName = try FilterQuery(parsing: "service.name = \"web\" sort by service.name desc, cost desc")
    #expect(try await store.read { try $0.query(Terminator.self, filter: byName) }.items.map(\.id) == ["t2", "t1"])
  }

  @Test(
    "names that are not there, or not for this use, are refused",
    arguments: [
      "nope = 1", "roleAttributes = \"a\"", "anyOf(name) = \"a\"", "tags = 1", "true sort by roleAttributes",
      "true sort by nope", "services = 1",
      "isEmpty(name)", "tags.\"x\" = 1", "isEmpty(from roleAttributes where true)", "name = true", "name",
      "isAdmin = 1", "isEmpty(services)",
      "createdAt = \"2027-01-15T08:00:02Z\"", "isEmpty(from authenticators where nope = 1)",
      "isEmpty(from authenticators where true sort by nope)",
      "false and name between 1 and 2",
    ])
  func refused(_ text: String) async throws {
    let store = try await Self.store(seed: 7)
    await #expect(throws: FilterError.self) {
      let query = try FilterQuery(parsing: text)
      _ = try await store.read { try $0.query(Identity.self, filter: query) }
    }
  }
}
