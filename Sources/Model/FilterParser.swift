/// Recursive descent over the tokens of a filter. `and` binds tighter than `or`, `not` tighter than both.
struct FilterParser {
  /// Filters come in a query parameter; upstream's console writes some hundred bytes.
  static let lengthLimit = 16 * 1024
  static let depthLimit = 32
  static let elementLimit = 1000

  private var lexer: FilterLexer
  private var token: FilterToken
  private var depth = 0
  private var elements = 0

  init(_ text: String) throws(FilterError) {
    guard text.utf8.count <= Self.lengthLimit else { throw .tooLong(bytes: text.utf8.count, limit: Self.lengthLimit) }
    lexer = FilterLexer(text)
    token = try lexer.token()
  }

  mutating func query() throws(FilterError) -> FilterQuery {
    let query = try queryBody()
    guard token.kind == .end else { throw unexpected(query.predicate == nil ? "a condition" : "'and', 'or', 'sort by', 'skip', 'limit' or the end") }
    return query
  }

  mutating func sortFieldsOnly() throws(FilterError) -> [SortField] {
    if token.kind == .end { return [] }
    let fields = try sortFields()
    guard token.kind == .end else { throw unexpected("',' or the end") }
    return fields
  }

  private mutating func queryBody() throws(FilterError) -> FilterQuery {
    try enter()
    defer { depth -= 1 }
    var query = FilterQuery()
    if token.kind != .end, token.kind != .mark(")"), !isKeyword("sort"), !isKeyword("skip"), !isKeyword("limit") { query.predicate = try or() }
    if try accept("sort") {
      guard try accept("by") else { throw unexpected("'by'") }
      query.sort = try sortFields()
    }
    if try accept("skip") { query.skip = try count("a number of entries to skip") }
    if try accept("limit") { query.limit = try accept("none") ? FilterLimit.none : .count(try count("a number of entries or 'none'")) }
    return query
  }

  private mutating func sortFields() throws(FilterError) -> [SortField] {
    var fields: [SortField] = []
    repeat {
      try countElement()
      let name = try identifier("a name to sort by")
      if try accept("desc") {
        fields.append(SortField(name: name, ascending: false))
      } else {
        _ = try accept("asc")
        fields.append(SortField(name: name))
      }
    } while try accept(mark: ",")
    return fields
  }

  private mutating func count(_ expected: String) throws(FilterError) -> Int {
    guard case .int(let value) = token.kind, let count = Int(exactly: value), count >= -1 else { throw unexpected(expected) }
    try advance()
    return count
  }

  private mutating func or() throws(FilterError) -> Filter {
    var terms = [try and()]
    while try accept("or") { terms.append(try and()) }
    return terms.count == 1 ? terms[0] : .or(terms)
  }

  private mutating func and() throws(FilterError) -> Filter {
    var terms = [try unary()]
    while try accept("and") { terms.append(try unary()) }
    return terms.count == 1 ? terms[0] : .and(terms)
  }

  private mutating func unary() throws(FilterError) -> Filter {
    try enter()
    defer { depth -= 1 }
    try countElement()
    if try accept("not") { return .not(try unary()) }
    if try accept(mark: "(") {
      let inner = try or()
      try require(mark: ")")
      return inner
    }
    guard case .word(let word, let isQuoted) = token.kind else { throw unexpected("a condition") }
    let keyword = isQuoted ? "" : word.lowercased()
    switch keyword {
    case "true", "false":
      try advance()
      return .constant(keyword == "true")
    case "isempty" where try peekOpensParenthesis():
      try advance()
      return .isEmpty(try parenthesizedSet())
    case "anyof" where try peekOpensParenthesis():
      try advance()
      return try comparison(of: .anyOf(try parenthesizedSymbol()))
    case "allof" where try peekOpensParenthesis():
      try advance()
      return try comparison(of: .allOf(try parenthesizedSymbol()))
    case "count" where try peekOpensParenthesis():
      try advance()
      return try comparison(of: .count(try parenthesizedSet()))
    default:
      let name = try identifier("a condition")
      guard startsOperator else { return .symbol(name) }
      return try comparison(of: .symbol(name))
    }
  }

  private var startsOperator: Bool {
    switch token.kind {
    case .mark(let mark): FilterComparison(rawValue: mark) != nil
    case .word(let word, false): ["in", "between", "contains", "icontains", "not"].contains(word.lowercased())
    default: false
    }
  }

  private mutating func comparison(of operand: FilterOperand) throws(FilterError) -> Filter {
    if case .mark(let mark) = token.kind, let comparison = FilterComparison(rawValue: mark) {
      try advance()
      let column = token.column
      let literal = try literal()
      switch literal {
      case .bool, .null:
        guard comparison == .equal || comparison == .notEqual else {
          throw .syntax(column: column, found: "\(literal)", expected: "a string, number or datetime after '\(mark)'")
        }
      default: break
      }
      return .compare(operand, comparison, literal)
    }
    let negated = try accept("not")
    if try accept("in") {
      try require(mark: "[")
      var values: [FilterLiteral] = []
      repeat {
        try countElement()
        let column = token.column
        let value = try literal()
        if case .bool = value { throw .syntax(column: column, found: "\(value)", expected: "a string, number or datetime") }
        if case .null = value { throw .syntax(column: column, found: "null", expected: "a string, number or datetime") }
        values.append(value)
      } while try accept(mark: ",")
      try require(mark: "]")
      return .oneOf(operand, values, negated: negated)
    }
    if try accept("between") {
      let low = try bound()
      guard try accept("and") else { throw unexpected("'and' and the upper bound") }
      return .between(operand, low, try bound(), negated: negated)
    }
    let ignoringCase = isKeyword("icontains")
    if try accept(ignoringCase ? "icontains" : "contains") {
      let column = token.column
      let literal = try literal()
      switch literal {
      case .string, .int, .double: return .contains(operand, literal, ignoringCase: ignoringCase, negated: negated)
      default: throw .syntax(column: column, found: "\(literal)", expected: "a string or number")
      }
    }
    throw unexpected(negated ? "'in', 'between', 'contains' or 'icontains'" : "a comparison such as '=' or 'contains'")
  }

  private mutating func bound() throws(FilterError) -> FilterLiteral {
    let column = token.column
    let literal = try literal()
    switch literal {
    case .int, .double, .datetime: return literal
    default: throw .syntax(column: column, found: "\(literal)", expected: "a number or datetime")
    }
  }

  private mutating func literal() throws(FilterError) -> FilterLiteral {
    let literal: FilterLiteral
    switch token.kind {
    case .string(let value): literal = .string(value)
    case .int(let value): literal = .int(value)
    case .double(let value): literal = .double(value)
    case .datetime(let value): literal = .datetime(value)
    case .word(let word, false) where word.lowercased() == "true": literal = .bool(true)
    case .word(let word, false) where word.lowercased() == "false": literal = .bool(false)
    case .word(let word, false) where word.lowercased() == "null": literal = .null
    default: throw unexpected("a string in double quotes, a number, true, false, null or datetime(...)")
    }
    try advance()
    return literal
  }

  private mutating func parenthesizedSymbol() throws(FilterError) -> String {
    try require(mark: "(")
    let name = try identifier("the name of a set")
    try require(mark: ")")
    return name
  }

  private mutating func parenthesizedSet() throws(FilterError) -> FilterSet {
    try require(mark: "(")
    let set: FilterSet
    if try accept("from") {
      let name = try identifier("the name of a set")
      guard try accept("where") else { throw unexpected("'where'") }
      set = .subquery(name, try queryBody())
    } else {
      set = .symbol(try identifier("the name of a set or 'from'"))
    }
    try require(mark: ")")
    return set
  }

  private mutating func identifier(_ expected: String) throws(FilterError) -> String {
    guard case .word(let word, _) = token.kind, !word.isEmpty else { throw unexpected(expected) }
    try advance()
    return word
  }

  // MARK: tokens

  private mutating func advance() throws(FilterError) { token = try lexer.token() }

  private func isKeyword(_ keyword: String) -> Bool {
    if case .word(let word, false) = token.kind { word.lowercased() == keyword } else { false }
  }

  private mutating func accept(_ keyword: String) throws(FilterError) -> Bool {
    guard isKeyword(keyword) else { return false }
    try advance()
    return true
  }

  private mutating func accept(mark: String) throws(FilterError) -> Bool {
    guard token.kind == .mark(mark) else { return false }
    try advance()
    return true
  }

  private mutating func require(mark: String) throws(FilterError) {
    guard try accept(mark: mark) else { throw unexpected("'\(mark)'") }
  }

  private func peekOpensParenthesis() throws(FilterError) -> Bool {
    var ahead = lexer
    return try ahead.token().kind == .mark("(")
  }

  private func unexpected(_ expected: String) -> FilterError { .syntax(column: token.column, found: token.text, expected: expected) }

  private mutating func enter() throws(FilterError) {
    depth += 1
    guard depth <= Self.depthLimit else { throw .tooDeep(column: token.column, limit: Self.depthLimit) }
  }

  private mutating func countElement() throws(FilterError) {
    elements += 1
    guard elements <= Self.elementLimit else { throw .tooManyElements(column: token.column, limit: Self.elementLimit) }
  }
}
