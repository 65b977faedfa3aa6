internal import GRDB
import JSON
internal import Model

/// Turns a filter into an SQL condition, with the meaning that `FilterTest` gives it in memory. Every value and every
/// JSON path is a bound argument; the text consists of our own words.
///
/// Conditions are 1 or 0, never NULL. What only the running controller knows is asked for once, as a set of ids.
struct FilterSQL {
  private let reader: StoreReader
  private let runtime: (any RuntimeSymbols)?
  private var aliases = 0
  /// Groups of relations, by kind and symbol.
  private var relations: [String: [RelationGroup]] = [:]

  init(_ reader: StoreReader, _ runtime: (any RuntimeSymbols)?) {
    self.reader = reader
    self.runtime = runtime
  }

  mutating func nextAlias() -> String {
    aliases += 1
    return "t\(aliases)"
  }

  // MARK: logic

  /// One flat CASE, whatever is nested at the end of lists: SQLite's expressions may be 1,000 deep, and its parser's
  /// stack holds 100 words.
  mutating func condition(_ filter: Filter, _ table: SymbolTable, alias: String) throws -> SQLText {
    var branches: SQLText = ""
    var rest = filter
    var isPositive = true
    walk: while true {
      switch rest {
      case .not(let inner):
        isPositive.toggle()
        rest = inner
      case .and(let terms), .or(let terms):
        let isAnd = if case .and = rest { true } else { false }
        let deepest = terms.indices.max { terms[$0].height < terms[$1].height } ?? 0
        let outcome = isAnd == isPositive ? "0" : "1"
        for index in terms.indices where index != deepest {
          let term = try condition(terms[index], table, alias: alias)
          branches += isAnd ? "WHEN NOT (\(term)) THEN \(own: outcome) " : "WHEN \(term) THEN \(own: outcome) "
        }
        rest = terms.isEmpty ? .constant(isAnd) : terms[deepest]
      default: break walk
      }
    }
    let last = try leaf(rest, table, alias)
    let outcome: SQLText = isPositive ? last : "NOT (\(last))"
    return branches.text.isEmpty ? outcome : "CASE \(branches)ELSE \(outcome) END"
  }

  private mutating func leaf(_ filter: Filter, _ table: SymbolTable, _ alias: String) throws -> SQLText {
    switch filter {
    case .constant(let value): return value ? "1" : "0"
    case .symbol(let name):
      try table.requireCondition(name)
      return Self.taken(try scalar(name, table, alias), as: .truth)
    case .isEmpty(let set):
      if let query = set.query, query.skip ?? 0 > 0 || query.limit != nil {
        return try comparison(.count(set), .compare(.equal, .int(0)), table, alias)
      }
      if let members = try relation(set, table) {
        return "NOT \(Self.isOne(of: members.groups.holders(among: members.selected), alias))"
      }
      return "NOT EXISTS (\(try elements(of: set, table, alias, selecting: "1") { _ in nil }))"
    case .comparison(let operand, let condition): return try comparison(operand, condition, table, alias)
    case .not, .and, .or: return try self.condition(filter, table, alias: alias)
    }
  }

  // MARK: symbols

  /// A value in SQL, NULL where there is none.
  private enum Value {
    case text(SQLText)
    case number(SQLText)
    case bool(SQLText)
    /// Milliseconds in columns, RFC 3339 of one length in documents.
    case datetime(SQLText, isMilliseconds: Bool)
    /// A member of a document with its JSON type.
    case any(SQLText, type: SQLText)
  }

  private static func path(_ members: [String], symbol: String) throws(FilterError) -> String {
    guard members.allSatisfy({ !$0.isEmpty && !$0.contains("\"") }) else {
      throw .wrongUse(symbol: symbol, reason: "is no valid member name")
    }
    return "$" + members.map { ".\"\($0)\"" }.joined()
  }

  private mutating func scalar(_ name: String, _ table: SymbolTable, _ alias: String) throws -> Value {
    switch try table.source(of: name) {
    case .id: return .text("\(own: alias).id")
    case .name: return .text("\(own: alias).name")
    case .createdAt: return .datetime("\(own: alias).created_at", isMilliseconds: true)
    case .updatedAt: return .datetime("\(own: alias).updated_at", isMilliseconds: true)
    case .isSystem: return .bool("\(own: alias).is_system")
    case .member(let members, let type):
      let path = try Self.path(members, symbol: name)
      let value: SQLText = "json_extract(\(own: alias).document, \(bind: path))"
      switch type {
      case .text: return .text(value)
      case .number: return .number(value)
      case .bool: return .bool(value)
      case .datetime: return .datetime(value, isMilliseconds: false)
      case .any: return .any(value, type: "json_type(\(own: alias).document, \(bind: path))")
      }
    case .linked(let members, let kind, let target, _):
      let (inner, path, link) = (nextAlias(), try Self.path(target, symbol: name), try Self.path(members, symbol: name))
      let found: SQLText = "SELECT json_extract(\(own: inner).document, \(bind: path)) FROM documents \(own: inner)"
      return .text(
        "(\(found) WHERE \(own: inner).kind = \(bind: kind.rawValue) AND \(own: inner).id = json_extract(\(own: alias).document, \(bind: link)))"
      )
    case .live:
      guard let runtime else { throw FilterError.wrongUse(symbol: name, reason: "cannot be used here") }
      return .bool(Self.isOne(of: runtime.entities(table.kind, where: name), alias))
    case .set, .reverse, .relation, .object:
      _ = try table.type(of: name)
      throw FilterError.wrongUse(symbol: name, reason: "has no value")
    }
  }

  mutating func order(by name: String, _ table: SymbolTable, alias: String) throws -> SQLText {
    switch try scalar(name, table, alias) {
    case .text(let sql), .number(let sql), .datetime(let sql, _): return sql
    case .bool(let sql): return "coalesce(\(sql), 0)"
    case .any(let sql, let type): return "iif(\(type) IN ('array', 'object'), NULL, \(sql))"
    }
  }

  // MARK: sets

  /// The groups of a relation, and the members that a sub-query selects.
  private struct Members {
    var groups: [RelationGroup]
    var selected: Set<String>?
  }

  /// nil for the sets of the store.
  private mutating func relation(_ set: FilterSet, _ table: SymbolTable) throws -> Members? {
    guard case .relation(let elements) = try table.source(of: set.name) else { return nil }
    guard let runtime else { throw FilterError.wrongUse(symbol: set.name, reason: "cannot be used here") }
    let key = table.kind.rawValue + " " + set.name
    let groups = relations[key] ?? runtime.relation(table.kind, set.name)
    relations[key] = groups
    guard let query = set.query else { return Members(groups: groups) }
    guard let elements else { throw FilterError.wrongUse(symbol: set.name, reason: "has no sub-queries here") }
    try Self.checkSort(query, .of(elements))
    guard let predicate = query.predicate else { return Members(groups: groups) }
    let selected =
      try runtime.members(elements, matching: predicate, reader) ?? reader.ids(elements, matching: predicate, runtime)
    return Members(groups: groups, selected: selected)
  }

  private static func isOne(of ids: Set<String>, _ alias: String) -> SQLText {
    "(\(own: alias).id IN (SELECT value FROM json_each(\(bind: JSONValue(ids.sorted()).text))))"
  }

  /// The order of a sub-query decides nothing, but its names must be right.
  private static func checkSort(_ query: FilterQuery, _ symbols: SymbolTable) throws(FilterError) {
    for field in query.sort { _ = try symbols.type(of: field.name) }
  }

  /// A SELECT of `columns` of the elements of a set of the store.
  /// - Parameter test: a condition on the element's value.
  private mutating func elements(
    of set: FilterSet, _ table: SymbolTable, _ alias: String, selecting columns: String, where test: (Value) -> SQLText?
  ) throws -> SQLText {
    let inner = nextAlias()
    var sql: SQLText
    let value: Value
    let element: (EntityKind, String)?
    switch try table.source(of: set.name) {
    case .set(let members, let kind):
      let path = try Self.path(members, symbol: set.name)
      sql = "SELECT \(own: columns) FROM json_each(\(own: alias).document, \(bind: path)) \(own: inner)"
      value = .text("\(own: inner).value")
      element = set.query == nil ? nil : kind.map { ($0, "\(inner)e") }
      if let (kind, joined) = element {
        sql +=
          " JOIN documents \(own: joined) ON \(own: joined).kind = \(bind: kind.rawValue) AND \(own: joined).id = \(own: inner).value"
      }
      sql += " WHERE 1"
    case .reverse(let kind, let members):
      value = .text("\(own: inner).id")
      element = (kind, inner)
      if let field = members.first, members.count == 1, SymbolTable.of(kind).indexed.contains(field) {
        let lookup = nextAlias()
        sql = "SELECT \(own: columns) FROM lookups \(own: lookup) JOIN documents \(own: inner)"
        sql += " ON \(own: inner).kind = \(own: lookup).kind AND \(own: inner).id = \(own: lookup).id"
        sql +=
          " WHERE \(own: lookup).kind = \(bind: kind.rawValue) AND \(own: lookup).field = \(bind: field) AND \(own: lookup).value = \(own: alias).id"
      } else {
        let path = try Self.path(members, symbol: set.name)
        sql = "SELECT \(own: columns) FROM documents \(own: inner) WHERE \(own: inner).kind = \(bind: kind.rawValue)"
        sql += " AND json_extract(\(own: inner).document, \(bind: path)) = \(own: alias).id"
      }
    default:
      _ = try table.members(of: set.name)
      throw FilterError.wrongUse(symbol: set.name, reason: "is not a set")
    }
    if let query = set.query {
      guard let (kind, joined) = element else {
        throw FilterError.wrongUse(symbol: set.name, reason: "is a set of strings and has no sub-queries")
      }
      try Self.checkSort(query, .of(kind))
      if let predicate = query.predicate { sql += " AND (\(try condition(predicate, .of(kind), alias: joined)))" }
    }
    if let test = test(value) { sql += " AND (\(test))" }
    return sql
  }

  // MARK: comparisons

  private mutating func comparison(
    _ operand: FilterOperand, _ condition: FilterCondition, _ table: SymbolTable, _ alias: String
  ) throws -> SQLText {
    switch operand {
    case .symbol(let name):
      let test = try FilterTest(condition, of: table.type(of: name), symbol: name)
      return Self.meets(test, try scalar(name, table, alias))
    case .anyOf(let name):
      let test = try FilterTest(condition, of: .text, symbol: name)
      if let members = try relation(.symbol(name), table) {
        return Self.isOne(of: members.groups.holders { test.holds(for: .string($0)) }, alias)
      }
      return "EXISTS (\(try elements(of: .symbol(name), table, alias, selecting: "1") { Self.meets(test, $0) }))"
    case .allOf(let name):
      let test = try FilterTest(condition, of: .text, symbol: name)
      if let members = try relation(.symbol(name), table) {
        return "NOT \(Self.isOne(of: members.groups.holders { !test.holds(for: .string($0)) }, alias))"
      }
      return
        "NOT EXISTS (\(try elements(of: .symbol(name), table, alias, selecting: "1") { "NOT (\(Self.meets(test, $0)))" }))"
    case .count(let set):
      let test = try FilterTest(condition, of: .number, symbol: set.name)
      guard let members = try relation(set, table) else {
        return Self.meets(test, .number(try count(set, table, alias)))
      }
      // Those who have none are not among the counts: where none passes, the others are named.
      let counts = members.groups.counts(among: members.selected).mapValues { set.query?.left(of: $0) ?? $0 }
      let nonePasses = test.holds(for: .int(0))
      let named = Self.isOne(
        of: Set(counts.filter { test.holds(for: .int(Int64($0.value))) != nonePasses }.keys), alias)
      return nonePasses ? "NOT \(named)" : named
    }
  }

  private mutating func count(_ set: FilterSet, _ table: SymbolTable, _ alias: String) throws -> SQLText {
    let count = try elements(of: set, table, alias, selecting: "count(*)") { _ in nil }
    guard let query = set.query else { return "(\(count))" }
    return "min(max((\(count)) - \(bind: max(query.skip ?? 0, 0)), 0), \(bind: query.subqueryLimit))"
  }

  private static func meets(_ test: FilterTest, _ value: Value) -> SQLText {
    let sql = meetsPositive(test, value)
    return test.isNegated ? "NOT (\(sql))" : sql
  }

  private static func meetsPositive(_ test: FilterTest, _ value: Value) -> SQLText {
    let taken = taken(value, as: test.basis)
    func argument(_ literal: FilterLiteral) -> (any DatabaseValueConvertible)? { Self.argument(literal, for: value) }
    switch test.operation {
    case .isAbsent: return isAbsent(value)
    case .compare(.equal, let literal): return "\(taken) IS \(bind: argument(literal))"
    case .compare(let comparison, let literal):
      return "coalesce(\(taken) \(own: comparison.rawValue) \(bind: argument(literal)), 0)"
    case .oneOf(let literals): return "coalesce(\(taken) IN (\(list: literals.map(argument))), 0)"
    case .between(let low, let high):
      return "coalesce(\(taken) >= \(bind: argument(low)) AND \(taken) < \(bind: argument(high)), 0)"
    case .contains(let part, ignoringCase: true):
      return "coalesce(instr(fold(\(taken)), \(bind: part.lowercased())) > 0, 0)"
    case .contains(let part, ignoringCase: false): return "coalesce(instr(\(taken), \(bind: part)) > 0, 0)"
    }
  }

  /// The value as one of the kind, NULL when it is none; a truth value is never NULL.
  private static func taken(_ value: Value, as basis: FilterTest.Basis) -> SQLText {
    switch (basis, value) {
    case (.text, .text(let sql)), (.number, .number(let sql)), (.moment, .datetime(let sql, _)): sql
    case (.text, .number(let sql)): "plain(\(sql))"
    case (.text, .any(let sql, let type)): "plain(\(sql), \(type))"
    case (.number, .any(let sql, let type)): "iif(\(type) IN ('integer', 'real'), \(sql), NULL)"
    case (.truth, .bool(let sql)): "coalesce(\(sql), 0)"
    case (.truth, .any(_, let type)): "coalesce(\(type) = 'true', 0)"
    default: "NULL"
    }
  }

  private static func isAbsent(_ value: Value) -> SQLText {
    switch value {
    case .text(let sql), .number(let sql), .datetime(let sql, _): "\(sql) IS NULL"
    case .bool: "0"
    case .any(_, let type): "coalesce(\(type) IN ('null', 'array', 'object'), 1)"
    }
  }

  private static func argument(_ literal: FilterLiteral, for value: Value) -> (any DatabaseValueConvertible)? {
    switch literal {
    case .string(let text): text
    case .int(let number): number
    case .double(let number): number
    case .bool(let truth): truth
    case .datetime(let moment):
      if case .datetime(_, isMilliseconds: true) = value { moment.millisecondsSinceEpoch } else { moment.text }
    case .null: nil
    }
  }

  // MARK: indexes

  /// A condition that an index answers, and that whatever meets the filter meets; nil when everything has to be looked
  /// at.
  static func seek(_ filter: Filter, _ table: SymbolTable, alias: String) -> SQLText? {
    switch filter {
    case .and(let terms): return terms.lazy.compactMap { seek($0, table, alias: alias) }.first
    case .or(let terms):
      var seeks: SQLText = ""
      for term in terms {
        guard let found = seek(term, table, alias: alias) else { return nil }
        seeks += seeks.text.isEmpty ? found : " OR \(found)"
      }
      return seeks.text.isEmpty ? nil : "(\(seeks))"
    case .comparison(.symbol(let name), .compare(.equal, let literal)): return seek(name, [literal], table, alias)
    case .comparison(.symbol(let name), .oneOf(let literals, negated: false)): return seek(name, literals, table, alias)
    default: return nil
    }
  }

  private static func seek(_ name: String, _ literals: [FilterLiteral], _ table: SymbolTable, _ alias: String)
    -> SQLText?
  {
    var texts: [(any DatabaseValueConvertible)?] = []
    for literal in literals {
      // Empty values are not indexed.
      guard case .string(let text) = literal, !text.isEmpty else { return nil }
      texts.append(text)
    }
    switch try? table.source(of: name) {
    case .id?: return "\(own: alias).id IN (\(list: texts))"
    case .name?: return "\(own: alias).name IN (\(list: texts))"
    case .member(let members, .text)?:
      guard let field = members.first, members.count == 1, table.indexed.contains(field) else {
        return nil
      }
      let found: SQLText =
        "SELECT id FROM lookups WHERE kind = \(bind: table.kind.rawValue) AND field = \(bind: field) AND value IN (\(list: texts))"
      return "\(own: alias).id IN (\(found))"
    default: return nil
    }
  }
}

extension Filter {
  /// Levels below this one.
  fileprivate var height: Int {
    switch self {
    case .not(let inner): inner.height + 1
    case .and(let terms), .or(let terms): (terms.map(\.height).max() ?? 0) + 1
    case .constant, .symbol, .isEmpty, .comparison: 0
    }
  }
}
