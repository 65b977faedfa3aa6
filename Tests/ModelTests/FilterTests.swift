import Model
import Testing

@Suite struct FilterTests {
  private func condition(_ text: String) throws -> Filter? { try FilterQuery(parsing: text).predicate }

  @Test func readsTheWholeGrammar() throws {
    let (a, b, c) = (Filter.symbol("A"), Filter.symbol("b"), Filter.symbol("c"))
    #expect(try FilterQuery(parsing: "") == .all)
    #expect(
      try FilterQuery(parsing: "true limit none") == FilterQuery(predicate: .constant(true), limit: FilterLimit.none))
    #expect(try condition(#"name = "a\"b""#) == .comparison(.symbol("name"), .compare(.equal, .string("a\"b"))))
    #expect(
      try FilterQuery(
        parsing: #"anyOf(roleAttributes)="x" AND tags.some-key != null SORT BY name DESC, id SKIP 1 LIMIT 2"#)
        == FilterQuery(
          predicate: .and([
            .comparison(.anyOf("roleAttributes"), .compare(.equal, .string("x"))),
            .comparison(.symbol("tags.some-key"), .compare(.notEqual, .null)),
          ]),
          sort: [SortField(name: "name", ascending: false), SortField(name: "id")], skip: 1, limit: .count(2)))
    #expect(
      try condition("x not in [1, 2.5]") == .comparison(.symbol("x"), .oneOf([.int(1), .double(2.5)], negated: true)))
    #expect(
      try condition("x between -1 and 2") == .comparison(.symbol("x"), .between(.int(-1), .int(2), negated: false)))
    #expect(
      try condition(#"x not iContains "A""#)
        == .comparison(.symbol("x"), .contains(.string("A"), ignoringCase: true, negated: true)))
    #expect(
      try condition("createdAt > datetime(1970-01-01T00:00:01Z)")
        == .comparison(.symbol("createdAt"), .compare(.greater, .datetime(Timestamp(secondsSinceEpoch: 1)))))
    let named = FilterQuery(
      predicate: .comparison(.symbol("name"), .compare(.equal, .string("a"))), sort: [SortField(name: "id")],
      limit: .count(3))
    #expect(
      try condition("count(from configs where name = \"a\" sort by id limit 3) > 0")
        == .comparison(.count(.subquery("configs", named)), .compare(.greater, .int(0))))
    #expect(try condition("not isEmpty(roleAttributes)") == .not(.isEmpty(.symbol("roleAttributes"))))
    #expect(try condition("'tags.odd name' = 1") == .comparison(.symbol("tags.odd name"), .compare(.equal, .int(1))))
    #expect(try FilterQuery(parsing: "sort by name") == FilterQuery(sort: [SortField(name: "name")]))
    #expect(try FilterQuery(parsing: "skip -1 limit -7") == FilterQuery(skip: -1, limit: .count(-7)))
    #expect(
      try FilterQuery.sort(parsing: "a asc, b desc") == [SortField(name: "a"), SortField(name: "b", ascending: false)])
    // Seen live upstream: both words bind alike and to the right, and `not` takes all that follows.
    #expect(try condition("A and b or c") == .and([a, .or([b, c])]))
    #expect(try condition("A or b and c") == .or([a, .and([b, c])]))
    #expect(try condition("A and b and c") == .and([a, b, c]))
    #expect(try condition("not A and not b") == .not(.and([a, .not(b)])))
    #expect(try condition("A and not b or c") == .and([a, .not(.or([b, c]))]))
    #expect(try condition("(A and b) or c") == .or([.and([a, b]), c]))
    #expect(try condition("(not A) and b") == .and([.not(a), b]))
  }

  @Test func errorsSayWhereAndWhat() {
    #expect(
      throws: FilterError.syntax(
        column: 7, found: "=", expected: "a string in double quotes, a number, true, false, null or datetime(...)")
    ) {
      try FilterQuery(parsing: "name = = 3")
    }
  }

  @Test(arguments: [
    "name =", "= 1", "(a", "a)", "a b", "name = 'x'", "a in []", "a in [true]", "a < null", "a between \"x\" and \"y\"",
    "limit", "skip x",
    "sort name", "a = \"open", "a = \"\\q\"", "datetime(x) = 1", "a = datetime(yesterday)", "isEmpty()", "anyOf(a)",
    "1 = 1", "a . b", "a = 1e",
    "a!1", "\u{0}", "a = 1 limit 2 skip 1", "a in [1, \"x\"]", "a in [\"x\", 1]",
    "a in [datetime(2020-01-01T00:00:00Z), 1]",
    "a between 1 and datetime(2020-01-01T00:00:00Z)", "a icontains 5", "a contains true", "a = +1", "a = 007", "a = 1.",
    "a = .5", "a = 1x",
    "a = \"tab\u{9}\"", "a = \"\\'\"", "limit 1.5", "skip 1e3", "isEmpty(from b where)", "count(from b where ) = 1",
    "anyOf(from b where true) = 1",
    "not", "a and", "or a", "a and or b", "not in [1]", "a = 1 and sort by a",
  ])
  func refuses(_ text: String) { #expect(throws: FilterError.self) { try FilterQuery(parsing: text) } }

  @Test func limitsSizeDepthAndCount() throws {
    #expect(throws: FilterError.self) { try FilterQuery(parsing: String(repeating: "(", count: 10_000)) }
    #expect(throws: FilterError.self) { try FilterQuery(parsing: String(repeating: "not ", count: 3000) + "a") }
    #expect(throws: FilterError.self) {
      try FilterQuery(parsing: "a in [" + Array(repeating: "1", count: 2000).joined(separator: ",") + "]")
    }
    #expect(throws: FilterError.self) {
      try FilterQuery(parsing: "a = \"" + String(repeating: "x", count: 20_000) + "\"")
    }
    #expect(throws: FilterError.self) { try FilterQuery(parsing: String(repeating: "a and b or ", count: 400) + "a") }
    let nested = (0..<5).reduce("a") { text, _ in "isEmpty(from b where \(text))" }
    #expect(throws: FilterError.self) { try FilterQuery(parsing: nested) }
    _ = try FilterQuery(parsing: Array(repeating: "a", count: 1000).joined(separator: " or "))
    _ = try FilterQuery(parsing: String(repeating: "a and b or ", count: 50) + "a")
  }

  @Test func neverTrapsOnDamagedFilters() {
    var random = Seeded(3)
    let seed = Array(
      #"not anyOf(a.b-c) in ["x", 1.5] and count(from q where z) >= 2 or d between 1 and datetime(2020-01-01T00:00:00Z) sort by n"#
        .unicodeScalars)
    for _ in 0..<5000 {
      var scalars = seed
      for _ in 0..<3 { scalars.remove(at: Int.random(in: 0..<scalars.count, using: &random)) }
      scalars.swapAt(
        Int.random(in: 0..<scalars.count, using: &random), Int.random(in: 0..<scalars.count, using: &random))
      _ = try? FilterQuery(parsing: String(String.UnicodeScalarView(scalars)))
    }
  }

  @Test func numbersAreWrittenWithoutExponent() {
    let numbers: [(Double, String)] = [
      (5, "5"), (0.5, "0.5"), (-0.25, "-0.25"), (1e20, "100000000000000000000"), (1.5e-7, "0.00000015"),
      (123456.789, "123456.789"), (0, "0"),
      (1.25e18, "1250000000000000000"), (100, "100"),
    ]
    for (number, text) in numbers { #expect(FilterLiteral.double(number).text == text) }
  }

  private struct Thing {
    var id: String
    var cost: Int
    var roles: [String]
    var note: String?
    var isGood = false
  }

  private struct Names: FilterSymbols {
    func symbol(_ name: String) throws(FilterError) -> FilterSymbol {
      switch name {
      case "id", "note": .scalar(.text)
      case "cost": .scalar(.number)
      case "isGood": .scalar(.bool)
      case "roles": .set(members: nil)
      default: throw .unknownSymbol(name, filterable: ["cost", "id", "note", "roles"])
      }
    }
  }

  private func find(_ text: String, in things: [Thing]? = nil) throws -> [String] {
    let known = [
      Thing(id: "a", cost: 1, roles: ["x"], note: nil),
      Thing(id: "b", cost: 2, roles: ["x", "y"], note: "Hello", isGood: true),
      Thing(id: "c", cost: 3, roles: [], note: "ähnlich"),
    ]
    return try FilterQuery(parsing: text).apply(to: things ?? known, symbols: Names()) { thing, name in
      switch name {
      case "id": .string(thing.id)
      case "cost": .scalar(.int(Int64(thing.cost)))
      case "isGood": .scalar(.bool(thing.isGood))
      case "roles": .strings(thing.roles)
      default: .string(thing.note)
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
    // What is absent passes the negatives.
    #expect(try find("note not in [\"Hello\"]") == ["a", "c"])
    #expect(try find("note not contains \"ell\"") == ["a", "c"])
    // Letters that Unicode calls equal are other bytes.
    #expect(try find("note contains \"a\u{308}\"") == [])
    #expect(try find("true sort by cost desc limit 2") == ["c", "b"])
    #expect(try find("skip 2") == ["c"])
    #expect(throws: FilterError.unknownSymbol("color", filterable: ["cost", "id", "note", "roles"])) {
      try find("color = 1")
    }
  }

  @Test(
    "what upstream refuses is refused, whether or not there is anything to judge",
    arguments: [
      "note = true", "note", "cost", "roles", "isGood = 1", "isGood = \"true\"", "isGood < 1", "cost = \"1\"",
      "cost icontains \"1\"", "cost = true",
      "note between 1 and 2", "anyOf(roles) between 1 and 2", "roles = \"x\"", "anyOf(note) = \"x\"", "isEmpty(note)",
      "count(cost) = 1",
      "count(roles) = \"1\"", "count(roles) = true", "note = datetime(2020-01-01T00:00:00Z)", "isGood contains \"t\"",
      "isGood in [1]",
      "note in [datetime(2020-01-01T00:00:00Z)]", "cost in [datetime(2020-01-01T00:00:00Z)]", "true or nosuch = 1",
      "true sort by roles",
      "true sort by nosuch", "isEmpty(from roles where true)",
    ])
  func refusesTypes(_ text: String) {
    #expect(throws: FilterError.self) { try find(text) }
    #expect(throws: FilterError.self) { try find(text, in: []) }
  }

  @Test func pagingFollowsTheRules() {
    func limit(_ value: Int?) -> Int { PageRequest(limit: value).resolved().limit.count }
    #expect(
      limit(nil) == 10 && limit(0) == 10 && limit(-5) == 10 && limit(501) == 500 && limit(.max) == 500
        && limit(25) == 25)
    #expect(limit(-1) == Int.max)
    #expect(PageRequest().resolved(with: FilterQuery(limit: FilterLimit.none)).limit.isUnlimited)
    #expect(PageRequest().resolved(with: FilterQuery(limit: .count(600))).limit.count == 500)
    #expect(PageRequest(offset: 200_000).resolved().offset == 100_000 && PageRequest(offset: -3).resolved().offset == 0)
    let inner = FilterQuery(skip: 3, limit: .count(4))
    #expect(PageRequest(limit: 50, offset: 7).resolved(with: inner).limit.count == 4)
    #expect(PageRequest(limit: 50, offset: 7).resolved(with: inner).offset == 3)
    #expect(
      FilterQuery(skip: 2, limit: .count(3)).left(of: 4) == 2 && FilterQuery(skip: 2).left(of: 1) == 0
        && FilterQuery(limit: .count(-1)).left(of: 9) == 9)
  }

  @Test("what a filter demands of a symbol is known before anything is looked at")
  func demandedTexts() throws {
    let cases: [(String, Set<String>?)] = [
      (#"service = "a""#, ["a"]), (#"service in ["a", "b"] and cost > 1"#, ["a", "b"]),
      (#"cost > 1 and (service = "a" or service = "b")"#, ["a", "b"]),
      (#"service in ["a", "b"] and service = "c""#, ["c"]), (#"service = "a" or cost > 1"#, nil),
      (#"not service = "a""#, nil),
      (#"service != "a""#, nil), (#"service not in ["a"]"#, nil), (#"router = "a""#, nil), ("service = 5", nil),
      ("true", nil),
    ]
    for (text, wanted) in cases { #expect(try condition(text)?.texts(of: "service") == wanted, "\(text)") }
  }
}
