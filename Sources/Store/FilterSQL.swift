internal import GRDB
internal import Model

/// Turns a filter into an SQL condition. Every value and every JSON path is a bound argument; the text consists of our own words.
///
/// Conditions are never NULL: absent members compare like null in the in-memory evaluator, so that `not` means the same in both.
struct FilterSQL {
  private(set) var arguments = StatementArguments()
  private var aliases = 0

  /// A value in SQL and how literals must be bound to be compared with it.
  private struct Expression {
    var sql: String
    var arguments: StatementArguments
    var type: SymbolTable.ValueType
    /// Whether datetimes are stored as milliseconds (columns) instead of text (documents).
    var isMilliseconds = false
    /// For `.any`: the JSON type beside the value, to tell `true` from 1.
    var jsonType: String?
  }

  mutating func nextAlias() -> String {
    aliases += 1
    return "t\(aliases)"
  }

  mutating func condition(_ filter: Filter, _ table: SymbolTable, alias: String) throws(FilterError) -> String {
    switch filter {
    case .constant(let value): return value ? "1" : "0"
    case .symbol(let name):
      let expression = try scalar(name, table, alias)
      return use(expression, "coalesce(\(expression.sql), 0) = 1")
    case .not(let inner): return "NOT (\(try condition(inner, table, alias: alias)))"
    case .and(let terms): return try joined(terms, "AND", table, alias)
    case .or(let terms): return try joined(terms, "OR", table, alias)
    case .isEmpty(let set): return "NOT EXISTS (\(try elements(of: set, table, alias, selecting: "1")))"
    default: return try comparison(filter, table, alias)
    }
  }

  private mutating func joined(_ terms: [Filter], _ word: String, _ table: SymbolTable, _ alias: String) throws(FilterError) -> String {
    var parts: [String] = []
    for term in terms { parts.append("(\(try condition(term, table, alias: alias)))") }
    return parts.joined(separator: " \(word) ")
  }

  mutating func order(by name: String, _ table: SymbolTable, alias: String) throws(FilterError) -> String {
    let expression = try scalar(name, table, alias)
    return use(expression, expression.sql)
  }

  /// Adds the expression's arguments at this place of the text and returns it.
  private mutating func use(_ expression: Expression, _ sql: String) -> String {
    arguments += expression.arguments
    return sql
  }

  // MARK: symbols

  private func path(_ members: [String], symbol: String) throws(FilterError) -> String {
    guard members.allSatisfy({ !$0.isEmpty && !$0.contains("\"") }) else { throw .wrongUse(symbol: symbol, reason: "is no valid member name") }
    return "$" + members.map { ".\"\($0)\"" }.joined()
  }

  private func member(_ members: [String], _ type: SymbolTable.ValueType, _ alias: String, symbol: String) throws(FilterError) -> Expression {
    let path = try path(members, symbol: symbol)
    return Expression(
      sql: "json_extract(\(alias).document, ?)", arguments: [path], type: type, jsonType: "json_type(\(alias).document, ?)")
  }

  private mutating func scalar(_ name: String, _ table: SymbolTable, _ alias: String) throws(FilterError) -> Expression {
    switch try table.source(of: name) {
    case .id: return Expression(sql: "\(alias).id", arguments: [], type: .text)
    case .name: return Expression(sql: "\(alias).name", arguments: [], type: .text)
    case .createdAt: return Expression(sql: "\(alias).created_at", arguments: [], type: .datetime, isMilliseconds: true)
    case .updatedAt: return Expression(sql: "\(alias).updated_at", arguments: [], type: .datetime, isMilliseconds: true)
    case .isSystem: return Expression(sql: "\(alias).is_system", arguments: [], type: .bool)
    case .member(let members, let type): return try member(members, type, alias, symbol: name)
    case .linked(let members, let kind, let target, let type):
      let inner = nextAlias()
      return Expression(
        sql: "(SELECT json_extract(\(inner).document, ?) FROM documents \(inner) WHERE \(inner).kind = ? AND \(inner).id = "
          + "json_extract(\(alias).document, ?))",
        arguments: [try path(target, symbol: name), kind.rawValue, try path(members, symbol: name)], type: type)
    case .set, .reverse: throw .wrongUse(symbol: name, reason: "is a set: use anyOf, allOf, count or isEmpty")
    case .object: throw .wrongUse(symbol: name, reason: "is an object: name one of its members, such as \(name).key")
    case .runtime: throw .wrongUse(symbol: name, reason: "cannot be used here")
    }
  }

  /// A SELECT of the elements of a set, with `value` as the column `columns` may use.
  private mutating func elements(
    of set: FilterSet, _ table: SymbolTable, _ alias: String, selecting columns: String, where test: ((inout FilterSQL, String) -> String)? = nil
  ) throws(FilterError) -> String {
    let source = try table.source(of: set.name)
    let inner = nextAlias()
    let value: String
    var sql: String
    let elementKind: EntityKind
    let elementAlias: String
    switch source {
    case .set(let members, let kind):
      arguments += [try path(members, symbol: set.name)]
      value = "\(inner).value"
      sql = "SELECT \(columns) FROM json_each(\(alias).document, ?) \(inner)"
      guard case .subquery(let name, _) = set else {
        if let test { sql += " WHERE \(test(&self, value))" }
        return sql
      }
      guard let kind else { throw .wrongUse(symbol: name, reason: "is a set of strings and has no sub-queries") }
      elementKind = kind
      elementAlias = nextAlias()
      sql += " JOIN documents \(elementAlias) ON \(elementAlias).kind = ? AND \(elementAlias).id = \(inner).value WHERE 1"
      arguments += [kind.rawValue]
    case .reverse(let kind, let members):
      value = "\(inner).id"
      elementKind = kind
      elementAlias = inner
      if let field = members.first, members.count == 1, StoreSchema.lookups[kind]?.contains(where: { $0.field == field }) ?? false {
        let lookup = nextAlias()
        arguments += [kind.rawValue, field]
        sql =
          "SELECT \(columns) FROM lookups \(lookup) JOIN documents \(inner) ON \(inner).kind = \(lookup).kind AND \(inner).id = \(lookup).id "
          + "WHERE \(lookup).kind = ? AND \(lookup).field = ? AND \(lookup).value = \(alias).id"
      } else {
        arguments += [kind.rawValue, try path(members, symbol: set.name)]
        sql = "SELECT \(columns) FROM documents \(inner) WHERE \(inner).kind = ? AND json_extract(\(inner).document, ?) = \(alias).id"
      }
    default: throw .wrongUse(symbol: set.name, reason: "is not a set")
    }
    if case .subquery(let name, let query) = set {
      guard query.sort.isEmpty, query.skip == nil, query.limit == nil else {
        throw .wrongUse(symbol: name, reason: "takes no sort, skip or limit in a sub-query")
      }
      if let predicate = query.predicate { sql += " AND (\(try condition(predicate, .of(elementKind), alias: elementAlias)))" }
    }
    if let test { sql += " AND (\(test(&self, value)))" }
    return sql
  }

  // MARK: comparisons

  private mutating func comparison(_ filter: Filter, _ table: SymbolTable, _ alias: String) throws(FilterError) -> String {
    guard let (operand, test) = Self.split(filter) else { return "0" }
    switch operand {
    case .symbol(let name): return apply(test, to: try scalar(name, table, alias))
    case .anyOf(let name):
      let inner = try elements(of: .symbol(name), table, alias, selecting: "1") { sql, value in
        sql.apply(test, to: Expression(sql: value, arguments: [], type: .text))
      }
      return "EXISTS (\(inner))"
    case .allOf(let name):
      let inner = try elements(of: .symbol(name), table, alias, selecting: "1") { sql, value in
        "NOT (\(sql.apply(test, to: Expression(sql: value, arguments: [], type: .text))))"
      }
      return "NOT EXISTS (\(inner))"
    case .count(let set):
      let inner = try elements(of: set, table, alias, selecting: "count(*)")
      return apply(test, to: Expression(sql: "(\(inner))", arguments: [], type: .number))
    }
  }

  private enum Test {
    case compare(FilterComparison, FilterLiteral)
    case oneOf([FilterLiteral], negated: Bool)
    case between(FilterLiteral, FilterLiteral, negated: Bool)
    case contains(FilterLiteral, ignoringCase: Bool, negated: Bool)
  }

  private static func split(_ filter: Filter) -> (FilterOperand, Test)? {
    switch filter {
    case .compare(let operand, let comparison, let literal): (operand, .compare(comparison, literal))
    case .oneOf(let operand, let literals, let negated): (operand, .oneOf(literals, negated: negated))
    case .between(let operand, let low, let high, let negated): (operand, .between(low, high, negated: negated))
    case .contains(let operand, let literal, let ignoringCase, let negated):
      (operand, .contains(literal, ignoringCase: ignoringCase, negated: negated))
    default: nil
    }
  }

  /// The arguments of the expression come where its text stands, so tests that repeat it repeat them.
  private mutating func apply(_ test: Test, to expression: Expression) -> String {
    let sql = use(expression, expression.sql)
    switch test {
    case .compare(let comparison, .null):
      switch comparison {
      case .equal: return "\(sql) IS NULL"
      case .notEqual: return "\(sql) IS NOT NULL"
      default: return "(\(sql) IS NULL AND 0)"
      }
    case .compare(let comparison, .bool(let value)) where expression.type == .any:
      // `use` has bound the path already; json_type takes the same one.
      let word = value ? "true" : "false"
      let type = expression.jsonType ?? "typeof(\(sql))"
      arguments += [word]
      return "\(type) \(comparison == .equal ? "IS" : "IS NOT") ?"
    case .compare(let comparison, let literal):
      let value = expression.type == .bool ? "coalesce(\(sql), 0)" : sql
      arguments += [argument(literal, for: expression)]
      switch comparison {
      case .equal: return "\(value) IS ?"
      case .notEqual: return "\(value) IS NOT ?"
      default: return "coalesce(\(value) \(comparison.rawValue) ?, 0)"
      }
    case .oneOf(let literals, let negated):
      for literal in literals { arguments += [argument(literal, for: expression)] }
      let marks = Array(repeating: "?", count: literals.count).joined(separator: ", ")
      return "coalesce(\(sql) \(negated ? "NOT IN" : "IN") (\(marks)), 0)"
    case .between(let low, let high, let negated):
      arguments += [argument(low, for: expression)]
      let upper = use(expression, expression.sql)
      arguments += [argument(high, for: expression)]
      return "coalesce(\(negated ? "NOT " : "")(\(sql) >= ? AND \(upper) < ?), 0)"
    case .contains(let literal, let ignoringCase, let negated):
      let text = Self.text(literal)
      arguments += [ignoringCase ? text.lowercased() : text]
      let value = ignoringCase ? "fold(\(sql))" : "CAST(\(sql) AS TEXT)"
      return "coalesce(instr(\(value), ?) \(negated ? "= 0" : "> 0"), 0)"
    }
  }

  private func argument(_ literal: FilterLiteral, for expression: Expression) -> (any DatabaseValueConvertible)? {
    switch (literal, expression.type) {
    case (.datetime(let value), _): return expression.isMilliseconds ? value.millisecondsSinceEpoch : value.text
    case (.string(let value), .datetime):
      guard let moment = Timestamp(value) else { return value }
      return expression.isMilliseconds ? moment.millisecondsSinceEpoch : moment.text
    // Upstream compares a text with a number by the number's text (capture rest/258).
    case (.int, .text), (.double, .text): return Self.text(literal)
    case (.string(let value), _): return value
    case (.int(let value), _): return value
    case (.double(let value), _): return value
    case (.bool(let value), .text): return value ? "true" : "false"
    case (.bool(let value), _): return value
    case (.null, _): return nil
    }
  }

  private static func text(_ literal: FilterLiteral) -> String {
    switch literal {
    case .string(let value): value
    case .int(let value): String(value)
    case .double(let value): String(value)
    case .bool(let value): String(value)
    case .datetime(let value): value.text
    case .null: ""
    }
  }
}

extension Filter {
  /// Whether a symbol only the running controller knows occurs; such filters are judged in memory.
  func usesRuntime(_ table: SymbolTable) throws(FilterError) -> Bool {
    switch self {
    case .constant: return false
    case .symbol(let name): return try Self.isRuntime(name, table)
    case .not(let inner): return try inner.usesRuntime(table)
    case .and(let terms), .or(let terms):
      for term in terms where try term.usesRuntime(table) { return true }
      return false
    case .isEmpty(let set): return try Self.isRuntime(set.name, table)
    case .compare(let operand, _, _), .oneOf(let operand, _, _), .between(let operand, _, _, _), .contains(let operand, _, _, _):
      switch operand {
      case .symbol(let name), .anyOf(let name), .allOf(let name): return try Self.isRuntime(name, table)
      case .count(let set): return try Self.isRuntime(set.name, table)
      }
    }
  }

  private static func isRuntime(_ name: String, _ table: SymbolTable) throws(FilterError) -> Bool {
    if case .runtime = try table.source(of: name) { true } else { false }
  }
}
