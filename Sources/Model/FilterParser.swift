/// Recursive descent over the tokens of a filter, by upstream's grammar: `and` and `or` bind alike and to the right,
/// `not` takes all that follows (management spec 4.3, seen live: `a and b or c` is `a and (b or c)`, `not a and b` is
/// `not (a and b)`).
struct FilterParser {
  /// Filters come in a query parameter; upstream's console writes some hundred bytes.
  static let lengthLimit = 16 * 1024
  /// Parentheses, `not` and sub-queries inside one another.
  static let depthLimit = 32
  /// Changes between `and` and `or` in all of a filter: each is a level of the tree.
  static let alternationLimit = 100
  /// Sub-queries inside one another.
  static let subqueryLimit = 4
  static let elementLimit = 1000

  private var lexer: FilterLexer
  private var token: FilterToken
  private var depth = 0
  private var alternations = 0
  private var subqueries = 0
  private var elements = 0

  init(_ text: String) throws(FilterError) {
    guard text.utf8.count <= Self.lengthLimit else { throw .tooLong(bytes: text.utf8.count, limit: Self.lengthLimit) }
    lexer = FilterLexer(text)
    token = try lexer.token()
  }

  mutating func query() throws(FilterError) -> FilterQuery {
    let query = token.kind == .end ? .all : try queryBody()
    guard token.kind == .end else { throw unexpected("'and', 'or', 'sort by', 'skip', 'limit' or the end") }
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
    if !isKeyword("sort"), !isKeyword("skip"), !isKeyword("limit") { query.predicate = try condition() }
    if try accept("sort") {
      guard try accept("by") else { throw unexpected("'by'") }
      query.sort = try sortFields()
    }
    if try accept("skip") { query.skip = try count("a number of entries to skip") }
    if try accept("limit") {
      query.limit = try accept("none") ? FilterLimit.none : .count(try count("a number of entries or 'none'"))
    }
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

  /// Any whole number: what is out of range means the default or the maximum (`PageRequest.resolved`).
  private mutating func count(_ expected: String) throws(FilterError) -> Int {
    guard case .int(let value) = token.kind, let count = Int(exactly: value) else { throw unexpected(expected) }
    try advance()
    return count
  }

  private mutating func condition() throws(FilterError) -> Filter {
    try enter()
    defer { depth -= 1 }
    var terms: [Filter] = []
    var joinedByOr: [Bool] = []
    while true {
      if try accept("not") {
        terms.append(.not(try condition()))
        break
      }
      terms.append(try primary())
      if try accept("and") {
        joinedByOr.append(false)
      } else if try accept("or") {
        joinedByOr.append(true)
      } else {
        break
      }
    }
    return try joined(terms, joinedByOr)
  }

  /// To the right: `a and b or c` is `a and (b or c)`. Terms joined by the same word are one list.
  private mutating func joined(_ terms: [Filter], _ joinedByOr: [Bool]) throws(FilterError) -> Filter {
    func list(_ reversed: [Filter], isOr: Bool) -> Filter {
      let terms = Array(reversed.reversed())
      return terms.count == 1 ? terms[0] : isOr ? .or(terms) : .and(terms)
    }
    var run = Array(terms.suffix(1))
    var isOr = joinedByOr.last ?? false
    for (term, word) in zip(terms.dropLast(), joinedByOr).reversed() {
      if word != isOr {
        alternations += 1
        guard alternations <= Self.alternationLimit else {
          throw .tooDeep(column: token.column, limit: Self.alternationLimit)
        }
        run = [list(run, isOr: isOr)]
        isOr = word
      }
      run.append(term)
    }
    return list(run, isOr: isOr)
  }

  private mutating func primary() throws(FilterError) -> Filter {
    try countElement()
    if try accept(mark: "(") {
      let inner = try condition()
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
      return .comparison(operand, .compare(comparison, literal))
    }
    let negated = try accept("not")
    if try accept("in") { return .comparison(operand, .oneOf(try list(), negated: negated)) }
    if try accept("between") {
      let low = try bound(like: nil)
      guard try accept("and") else { throw unexpected("'and' and the upper bound") }
      return .comparison(operand, .between(low, try bound(like: low), negated: negated))
    }
    let ignoringCase = isKeyword("icontains")
    if try accept(ignoringCase ? "icontains" : "contains") {
      let column = token.column
      let literal = try literal()
      let isAccepted =
        switch literal {
        case .string: true
        case .int, .double: !ignoringCase
        default: false
        }
      guard isAccepted else {
        throw .syntax(column: column, found: literal.text, expected: ignoringCase ? "a string" : "a string or number")
      }
      return .comparison(operand, .contains(literal, ignoringCase: ignoringCase, negated: negated))
    }
    throw unexpected(negated ? "'in', 'between', 'contains' or 'icontains'" : "a comparison such as '=' or 'contains'")
  }

  private mutating func list() throws(FilterError) -> [FilterLiteral] {
    try require(mark: "[")
    var values: [FilterLiteral] = []
    repeat {
      try countElement()
      let column = token.column
      let value = try literal()
      switch value {
      case .bool, .null: throw .syntax(column: column, found: "\(value)", expected: "a string, number or datetime")
      default: break
      }
      if let first = values.first, !first.isSameKind(as: value) {
        throw .syntax(
          column: column, found: value.text, expected: "strings only, numbers only or datetimes only in one list")
      }
      values.append(value)
    } while try accept(mark: ",")
    try require(mark: "]")
    return values
  }

  private mutating func bound(like low: FilterLiteral?) throws(FilterError) -> FilterLiteral {
    let column = token.column
    let literal = try literal()
    switch literal {
    case .int, .double, .datetime: break
    default: throw .syntax(column: column, found: "\(literal)", expected: "a number or datetime")
    }
    if let low, !low.isSameKind(as: literal) {
      throw .syntax(column: column, found: literal.text, expected: "two numbers or two datetimes")
    }
    return literal
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
      subqueries += 1
      guard subqueries <= Self.subqueryLimit else { throw .tooDeep(column: token.column, limit: Self.subqueryLimit) }
      set = .subquery(name, try queryBody())
      subqueries -= 1
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

  private func unexpected(_ expected: String) -> FilterError {
    .syntax(column: token.column, found: token.text, expected: expected)
  }

  private mutating func enter() throws(FilterError) {
    depth += 1
    guard depth <= Self.depthLimit else { throw .tooDeep(column: token.column, limit: Self.depthLimit) }
  }

  private mutating func countElement() throws(FilterError) {
    elements += 1
    guard elements <= Self.elementLimit else { throw .tooManyElements(column: token.column, limit: Self.elementLimit) }
  }
}
