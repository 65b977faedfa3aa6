import JSON
import Model
import Testing

@testable import Store

/// Filters made at random by upstream's grammar, in SQL and in memory, against a naive model of the rules.
@Suite("Filters against a naive model", .timeLimit(.minutes(5)))
struct FilterPropertyTests {
  /// Policies that bring edge routers and services together, and who is online.
  private struct Runtime: RuntimeSymbols {
    var groups: [RelationGroup]
    var online: Set<String>

    func entities(_ kind: EntityKind, where symbol: String) -> Set<String> { online }
    func relation(_ kind: EntityKind, _ symbol: String) -> [RelationGroup] { symbol == "services" ? groups : [] }
    func members(_ kind: EntityKind, matching condition: Filter, _ reader: StoreReader) throws -> Set<String>? { nil }
  }

  private static let configs = NaiveSchema(kinds: ["id": .text, "name": .text, "type": .text, "data.port": .any])
  private static let enrollments = NaiveSchema(kinds: ["method": .text, "edgeRouter": .text, "expiresAt": .datetime])
  private static let services = NaiveSchema(
    kinds: ["name": .text, "isFabricOnly": .bool, "createdAt": .datetime],
    sets: ["roleAttributes": .strings, "configs": .entities(configs)])
  private static let routers = NaiveSchema(
    kinds: [
      "id": .text, "name": .text, "fingerprint": .text, "cost": .number, "disabled": .bool, "online": .bool,
      "createdAt": .datetime,
      "tags.region": .any, "tags.rank": .any, "tags.flag": .any, "tags.mixed": .any,
    ],
    sets: [
      "roleAttributes": .strings, "configs": .entities(configs), "services": .entities(services),
      "enrollments": .entities(enrollments),
    ])

  private struct World {
    var store: Store
    var runtime: Runtime
    var rows: [NaiveRow]
  }

  private static func world(_ seed: UInt64) async throws -> World {
    var random = SeededGenerator(seed: seed)
    let store = try await Store.inMemory()
    let words = NaiveFilterMaker<SeededGenerator>.words.filter { !$0.isEmpty }
    func texts(_ ids: [String]) -> [NaiveRow] { ids.map { NaiveRow(id: $0) } }
    func part<Element>(_ elements: [Element], _ percent: Int) -> [Element] {
      elements.filter { _ in Int.random(in: 0..<100, using: &random) < percent }
    }
    func moment() -> Timestamp { start.adding(seconds: Int64.random(in: 0..<6, using: &random)) }

    var configRows: [NaiveRow] = []
    for number in 0..<5 {
      let (id, name, type) = ("c\(number)", "\(words[number]) c", number < 3 ? "host.v1" : "intercept.v1")
      // A list has no value.
      let data: JSONObject = number == 4 ? ["port": [1, 2]] : number == 3 ? [:] : ["port": JSONValue(number)]
      try await store.change { try $0.put(Config(id: id, name: name, configTypeId: type, data: data)) }
      configRows.append(
        NaiveRow(
          id: id,
          values: [
            "id": .text(id), "name": .text(name), "type": .text(type),
            "data.port": number > 2 ? .absent : .number(Double(number), "\(number)"),
          ]))
    }
    var serviceRows: [NaiveRow] = []
    for number in 0..<6 {
      let (id, name, made) = ("s\(number)", "\(words[number]) s", moment())
      let (roles, configs, isFabricOnly) = (part(words, 25), part(configRows, 40), number % 3 == 0)
      let configIDs = configs.map(\.id)
      try await store.change {
        try $0.put(
          EdgeService(
            id: id, name: name, roleAttributes: roles, configs: configIDs, isFabricOnly: isFabricOnly, createdAt: made))
      }
      serviceRows.append(
        NaiveRow(
          id: id, values: ["name": .text(name), "isFabricOnly": .truth(isFabricOnly), "createdAt": .moment(made)],
          sets: ["roleAttributes": texts(roles), "configs": configs]))
    }
    var rows: [NaiveRow] = []
    for number in 0..<30 {
      let (id, name, made) = ("r\(number)", "\(words[number % words.count]) \(number)", moment())
      let (roles, configs, cost) = (part(words, 25), part(configRows, 30), number % 4)
      let fingerprint = number % 3 == 0 ? nil : number == 1 ? "3" : "\(words[number % words.count])-\(number)"
      var tags: JSONObject = [:]
      var row = NaiveRow(id: id, sets: ["roleAttributes": texts(roles), "configs": configs])
      row.values = [
        "id": .text(id), "name": .text(name), "fingerprint": fingerprint.map(NaiveValue.text) ?? .absent,
        "cost": .number(Double(cost), "\(cost)"),
        "disabled": .truth(number % 5 == 0), "online": .truth(number % 2 == 0), "createdAt": .moment(made),
      ]
      func put(_ name: String, _ json: JSONValue?, _ value: NaiveValue) {
        if let json { tags[name] = json }
        row.values["tags." + name] = value
      }
      switch Int.random(in: 0..<4, using: &random) {
      case 0: put("region", nil, .absent)
      case 1: put("region", .null, .absent)
      default:
        let word = words.randomElement(using: &random) ?? ""
        put("region", .string(word), .text(word))
      }
      switch Int.random(in: 0..<4, using: &random) {
      case 0: put("rank", nil, .absent)
      case 1: put("rank", .double(2.5), .number(2.5, "2.5"))
      default:
        let rank = Int.random(in: 0..<5, using: &random)
        put("rank", JSONValue(rank), .number(Double(rank), "\(rank)"))
      }
      switch Int.random(in: 0..<3, using: &random) {
      case 0: put("flag", nil, .absent)
      default:
        let flag = Bool.random(using: &random)
        put("flag", .bool(flag), .truth(flag))
      }
      switch Int.random(in: 0..<5, using: &random) {
      case 0: put("mixed", .string("3"), .text("3"))
      case 1: put("mixed", 3, .number(3, "3"))
      case 2: put("mixed", .bool(true), .truth(true))
      default: put("mixed", nil, .absent)
      }
      let router = EdgeRouterEntity(
        id: id, name: name, roleAttributes: roles, cost: cost, disabled: number % 5 == 0, configs: configs.map(\.id),
        fingerprint: fingerprint,
        tags: tags,
        createdAt: made)
      try await store.change { try $0.put(router) }
      for invitation in 0..<(number % 3) {
        let ends = moment()
        let enrollment = Enrollment(
          id: "e\(number)-\(invitation)", method: .erott, token: "t\(number)-\(invitation)", expiresAt: ends,
          edgeRouterId: id)
        try await store.change { try $0.put(enrollment) }
        row.sets["enrollments", default: []].append(
          NaiveRow(
            id: enrollment.id, values: ["method": .text("erott"), "edgeRouter": .text(id), "expiresAt": .moment(ends)]))
      }
      rows.append(row)
    }
    var groups: [RelationGroup] = []
    for _ in 0..<4 {
      let (holders, members) = (Set(part(rows, 40).map(\.id)), part(serviceRows, 40))
      groups.append(RelationGroup(holders: holders, members: Set(members.map(\.id))))
      for index in rows.indices where holders.contains(rows[index].id) {
        for member in members where !(rows[index].sets["services"] ?? []).contains(where: { $0.id == member.id }) {
          rows[index].sets["services", default: []].append(member)
        }
      }
    }
    let online = Set(rows.indices.filter { $0 % 2 == 0 }.map { rows[$0].id })
    return World(store: store, runtime: Runtime(groups: groups, online: online), rows: rows)
  }

  /// The row as a collection in memory gives it.
  private static func lookup(_ row: NaiveRow, _ name: String) -> FilterValue {
    if routers.sets[name] != nil { return .strings((row.sets[name] ?? []).map(\.id)) }
    return switch row.values[name] ?? .absent {
    case .absent: .scalar(routers.kinds[name] == .bool ? .bool(false) : .null)
    case .text(let text): .string(text)
    case .number(let number, let digits): .scalar(Int64(digits).map(FilterLiteral.int) ?? .double(number))
    case .truth(let truth): .scalar(.bool(truth))
    case .moment(let moment): .scalar(.datetime(moment))
    }
  }

  @Test(
    "SQL and memory select and refuse what the rules of upstream select and refuse",
    arguments: 1...3 as ClosedRange<UInt64>)
  func agree(_ seed: UInt64) async throws {
    let world = try await Self.world(seed)
    var maker = NaiveFilterMaker(random: SeededGenerator(seed: seed &* 77))
    var (selective, refused, inMemory) = (0, 0, 0)
    for _ in 0..<400 {
      let filter = maker.condition(Self.routers, depth: Int.random(in: 0...4, using: &maker.random))
      let expected = filter.isRefused ? nil : world.rows.filter(filter.holds).map(\.id).sorted()
      let text = filter.text
      let runtime = world.runtime
      let found: [String]? = try await world.store.read { reader in
        do {
          let query = try FilterQuery(parsing: text)
          return try reader.query(EdgeRouterEntity.self, filter: query, page: PageRequest(limit: -1), runtime: runtime)
            .items.map(\.id)
        } catch is FilterError { return nil }
      }
      #expect(found == expected, "SQL: \(text)")
      if !filter.hasSubquery {
        let page = try? FilterQuery(parsing: text).apply(
          to: world.rows, symbols: SymbolTable.of(.edgeRouters), page: PageRequest(limit: -1), lookup: Self.lookup)
        #expect(page?.items.map(\.id) == expected, "memory: \(text)")
        inMemory += 1
      }
      if let expected, !expected.isEmpty, expected.count < world.rows.count { selective += 1 }
      if filter.isRefused { refused += 1 }
    }
    // The filters must be such that agreement means something.
    #expect(selective > 100 && refused > 30 && inMemory > 150, "\(selective) \(refused) \(inMemory)")
  }

  @Test("filters as deep and as long as they may be are answered")
  func extremes() async throws {
    let world = try await Self.world(9)
    var texts = [
      Array(repeating: "name = \"x\"", count: 900).joined(separator: " or "),
      Array(repeating: "true", count: 900).joined(separator: " and "),
    ]
    texts.append(String(repeating: "disabled and tags.rank > 1 or ", count: 50) + "true")
    texts.append(String(repeating: "not (", count: 14) + "disabled" + String(repeating: ")", count: 14))
    texts.append(String(repeating: "(", count: 28) + "disabled" + String(repeating: " and online)", count: 28))
    texts.append(
      "isEmpty(from services where not isEmpty(from configs where name contains \"c\" sort by name) and count(configs) > 0)"
    )
    texts.append(
      (0..<4).reduce("(disabled or online)") { text, level in "(\(text) \(level % 2 == 0 ? "and" : "or") \(text))" })
    for text in texts {
      let query = try FilterQuery(parsing: text)
      let runtime = world.runtime
      let page = try await world.store.read { try $0.query(EdgeRouterEntity.self, filter: query, runtime: runtime) }
      #expect((0...30).contains(page.totalCount))
    }
  }
}
