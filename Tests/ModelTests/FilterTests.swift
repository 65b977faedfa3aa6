import Model
import Testing

@Suite struct FilterTests {
  @Test func readsTheWholeGrammar() throws {
    #expect(try FilterQuery(parsing: "") == .all)
    #expect(try FilterQuery(parsing: "true limit none") == FilterQuery(predicate: .constant(true), limit: FilterLimit.none))
    #expect(try FilterQuery(parsing: #"name = "a\"b""#).predicate == .compare(.symbol("name"), .equal, .string("a\"b")))
    #expect(
      try FilterQuery(parsing: #"A and b or not c"#).predicate == .or([.and([.symbol("A"), .symbol("b")]), .not(.symbol("c"))]))
    #expect(
      try FilterQuery(parsing: #"anyOf(roleAttributes)="x" AND tags.some-key != null SORT BY name DESC, id SKIP 1 LIMIT 2"#)
        == FilterQuery(
          predicate: .and([.compare(.anyOf("roleAttributes"), .equal, .string("x")), .compare(.symbol("tags.some-key"), .notEqual, .null)]),
          sort: [SortField(name: "name", ascending: false), SortField(name: "id")], skip: 1, limit: .count(2)))
    #expect(try FilterQuery(parsing: "x not in [1, 2.5]").predicate == .oneOf(.symbol("x"), [.int(1), .double(2.5)], negated: true))
    #expect(try FilterQuery(parsing: "x between -1 and 2").predicate == .between(.symbol("x"), .int(-1), .int(2), negated: false))
    #expect(try FilterQuery(parsing: #"x not iContains "A""#).predicate == .contains(.symbol("x"), .string("A"), ignoringCase: true, negated: true))
    #expect(
      try FilterQuery(parsing: "createdAt > datetime(1970-01-01T00:00:01Z)").predicate
        == .compare(.symbol("createdAt"), .greater, .datetime(Timestamp(secondsSinceEpoch: 1))))
    #expect(
      try FilterQuery(parsing: "count(from configs where name = \"a\") > 0").predicate
        == .compare(.count(.subquery("configs", FilterQuery(predicate: .compare(.symbol("name"), .equal, .string("a"))))), .greater, .int(0)))
    #expect(try FilterQuery(parsing: "not isEmpty(roleAttributes)").predicate == .not(.isEmpty(.symbol("roleAttributes"))))
    #expect(try FilterQuery(parsing: "'tags.odd name' = 1").predicate == .compare(.symbol("tags.odd name"), .equal, .int(1)))
    #expect(try FilterQuery(parsing: "sort by name") == FilterQuery(sort: [SortField(name: "name")]))
    #expect(try FilterQuery.sort(parsing: "a asc, b desc") == [SortField(name: "a"), SortField(name: "b", ascending: false)])
  }

  @Test func errorsSayWhereAndWhat() {
    #expect(throws: FilterError.syntax(column: 7, found: "=", expected: "a string in double quotes, a number, true, false, null or datetime(...)")) {
      try FilterQuery(parsing: "name = = 3")
    }
  }

  @Test(arguments: [
    "name =", "= 1", "(a", "a)", "a b", "name = 'x'", "a in []", "a in [true]", "a < null", "a between \"x\" and \"y\"", "limit", "skip x",
    "sort name",
    "a = \"open", "a = \"\\q\"", "datetime(x) = 1", "a = datetime(yesterday)", "isEmpty()", "anyOf(a)", "1 = 1", "a . b", "a = 1e", "a!1", "\u{0}",
    "a = 1 limit 2 skip 1",
  ])
  func refuses(_ text: String) { #expect(throws: FilterError.self) { try FilterQuery(parsing: text) } }

  @Test func limitsSizeDepthAndCount() {
    #expect(throws: FilterError.self) { try FilterQuery(parsing: String(repeating: "(", count: 10_000)) }
    #expect(throws: FilterError.self) { try FilterQuery(parsing: String(repeating: "not ", count: 3000) + "a") }
    #expect(throws: FilterError.self) { try FilterQuery(parsing: "a in [" + Array(repeating: "1", count: 2000).joined(separator: ",") + "]") }
    #expect(throws: FilterError.self) { try FilterQuery(parsing: "a = \"" + String(repeating: "x", count: 20_000) + "\"") }
  }

  @Test func neverTrapsOnDamagedFilters() {
    var random = Seeded(3)
    let seed = Array(
      #"not anyOf(a.b-c) in ["x", 1.5] and count(from q where z) >= 2 or d between 1 and datetime(2020-01-01T00:00:00Z) sort by n"#.unicodeScalars)
    for _ in 0..<5000 {
      var scalars = seed
      for _ in 0..<3 { scalars.remove(at: Int.random(in: 0..<scalars.count, using: &random)) }
      scalars.swapAt(Int.random(in: 0..<scalars.count, using: &random), Int.random(in: 0..<scalars.count, using: &random))
      _ = try? FilterQuery(parsing: String(String.UnicodeScalarView(scalars)))
    }
  }

  private struct Thing {
    var id: String
    var cost: Int
    var roles: [String]
    var note: String?
  }

  private func find(_ text: String) throws -> [String] {
    let things = [
      Thing(id: "a", cost: 1, roles: ["x"], note: nil), Thing(id: "b", cost: 2, roles: ["x", "y"], note: "Hello"),
      Thing(id: "c", cost: 3, roles: [], note: "ähnlich"),
    ]
    return try FilterQuery(parsing: text).apply(to: things, filterable: ["cost", "id", "note", "roles"]) { thing, name in
      switch name {
      case "id": .string(thing.id)
      case "cost": .scalar(.int(Int64(thing.cost)))
      case "roles": .strings(thing.roles)
      case "note": .string(thing.note)
      default: nil
      }
    }.items.map(\.id)
  }

  @Test func judgesInMemory() throws {
    #expect(try find("cost >= 2") == ["b", "c"])
    #expect(try find("cost between 1 and 3") == ["a", "b"])
    #expect(try find("anyOf(roles) = \"y\"") == ["b"])
    #expect(try find("allOf(roles) = \"x\"") == ["a", "c"])
    #expect(try find("isEmpty(roles) or count(roles) = 2") == ["b", "c"])
    #expect(try find("note = null") == ["a"])
    #expect(try find("note != \"Hello\"") == ["a", "c"])
    #expect(try find("not (note contains \"ell\")") == ["a", "c"])
    #expect(try find("note iContains \"ÄHN\"") == ["c"])
    #expect(try find("true sort by cost desc limit 2") == ["c", "b"])
    #expect(try find("skip 2") == ["c"])
    #expect(throws: FilterError.unknownSymbol("color", filterable: ["cost", "id", "note", "roles"])) { try find("color = 1") }
    #expect(throws: FilterError.self) { try find("roles = \"x\"") }
  }

  @Test func pagingFollowsTheRules() {
    func limit(_ value: Int?) -> Int { PageRequest(limit: value).resolved().limit.count }
    #expect(limit(nil) == 10 && limit(0) == 10 && limit(-5) == 10 && limit(-1) == 500 && limit(501) == 500 && limit(25) == 25)
    #expect(PageRequest(limit: -1).resolved().limit.echoed == Int.max)
    #expect(PageRequest(offset: 200_000).resolved().offset == 100_000 && PageRequest(offset: -3).resolved().offset == 0)
    let inner = FilterQuery(skip: 3, limit: .count(4))
    #expect(PageRequest(limit: 50, offset: 7).resolved(with: inner).limit.count == 4)
    #expect(PageRequest(limit: 50, offset: 7).resolved(with: inner).offset == 3)
  }
}
