/// A condition of the filter language as a syntax tree (client spec 1.8, management spec 4.3). Symbols are names only;
/// what they mean is decided where the filter is applied: in SQL by `Store`, in memory by `FilterQuery.apply`, in both
/// by the rules of `FilterTest`.
public indirect enum Filter: Sendable, Equatable {
  case constant(Bool)
  /// A boolean symbol used as a condition.
  case symbol(String)
  case not(Filter)
  case and([Filter])
  case or([Filter])
  case isEmpty(FilterSet)
  case comparison(FilterOperand, FilterCondition)
}

extension Filter {
  /// Texts of which a symbol has one in whatever meets the filter; nil where it may have any.
  public func texts(of symbol: String) -> Set<String>? {
    switch self {
    case .comparison(.symbol(symbol), .compare(.equal, let literal)): Self.texts([literal])
    case .comparison(.symbol(symbol), .oneOf(let literals, negated: false)): Self.texts(literals)
    case .and(let terms): terms.compactMap { $0.texts(of: symbol) }.min { $0.count < $1.count }
    case .or(let terms):
      terms.reduce(terms.isEmpty ? nil : Set<String>()) { texts, term in
        texts.flatMap { texts in term.texts(of: symbol).map { texts.union($0) } }
      }
    case .constant, .symbol, .not, .isEmpty, .comparison: nil
    }
  }

  private static func texts(_ literals: [FilterLiteral]) -> Set<String>? {
    literals.reduce(Optional(Set<String>())) { texts, literal in
      guard case .string(let text) = literal else { return nil }
      return texts?.union([text])
    }
  }
}

/// The left side of a comparison.
public enum FilterOperand: Sendable, Equatable {
  case symbol(String)
  case anyOf(String)
  case allOf(String)
  case count(FilterSet)
}

/// What a comparison asks of its left side.
public enum FilterCondition: Sendable, Equatable {
  case compare(FilterComparison, FilterLiteral)
  case oneOf([FilterLiteral], negated: Bool)
  /// Lower bound included, upper bound excluded.
  case between(FilterLiteral, FilterLiteral, negated: Bool)
  case contains(FilterLiteral, ignoringCase: Bool, negated: Bool)
}

/// A set symbol, or those of its members that a sub-query selects.
public indirect enum FilterSet: Sendable, Equatable {
  case symbol(String)
  case subquery(String, FilterQuery)

  public var name: String {
    switch self {
    case .symbol(let name), .subquery(let name, _): name
    }
  }

  public var query: FilterQuery? {
    switch self {
    case .symbol: nil
    case .subquery(_, let query): query
    }
  }
}

public enum FilterComparison: String, Sendable, CaseIterable {
  case equal = "="
  case notEqual = "!="
  case less = "<"
  case lessOrEqual = "<="
  case greater = ">"
  case greaterOrEqual = ">="
}

public enum FilterLiteral: Sendable, Equatable {
  case string(String)
  case int(Int64)
  case double(Double)
  case bool(Bool)
  case null
  case datetime(Timestamp)
}

public struct SortField: Sendable, Equatable {
  public var name: String
  public var ascending: Bool

  public init(name: String, ascending: Bool = true) {
    self.name = name
    self.ascending = ascending
  }
}

public enum FilterLimit: Sendable, Equatable {
  case count(Int)
  case none
}

/// A whole query: condition, order and page, each optional.
public struct FilterQuery: Sendable, Equatable {
  public var predicate: Filter?
  public var sort: [SortField]
  public var skip: Int?
  public var limit: FilterLimit?

  public init(predicate: Filter? = nil, sort: [SortField] = [], skip: Int? = nil, limit: FilterLimit? = nil) {
    self.predicate = predicate
    self.sort = sort
    self.skip = skip
    self.limit = limit
  }

  /// Everything, first page.
  public static let all = FilterQuery()

  /// How many of a sub-query's matches its `skip` and `limit` leave.
  public func left(of matches: Int) -> Int { min(max(matches - max(skip ?? 0, 0), 0), subqueryLimit) }

  /// A sub-query has no limit but its own.
  public var subqueryLimit: Int {
    guard case .count(let count)? = limit, count >= 0 else { return .max }
    return count
  }

  /// Reads a `filter` parameter; the empty text is `all`.
  public init(parsing text: String) throws(FilterError) {
    var parser = try FilterParser(text)
    self = try parser.query()
  }

  /// Reads a `sort` parameter: `name`, `name desc`, `a asc, b desc`.
  public static func sort(parsing text: String) throws(FilterError) -> [SortField] {
    var parser = try FilterParser(text)
    return try parser.sortFieldsOnly()
  }
}

/// Why a filter cannot be used.
public enum FilterError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Columns count Unicode scalars from 0, as upstream's messages do.
  case syntax(column: Int, found: String, expected: String)
  case tooLong(bytes: Int, limit: Int)
  case tooDeep(column: Int, limit: Int)
  case tooManyElements(column: Int, limit: Int)
  /// The entity has no such public symbol.
  case unknownSymbol(String, filterable: [String])
  /// The symbol exists, but not for this use, such as a set compared without `anyOf`.
  case wrongUse(symbol: String, reason: String)

  public var description: String {
    switch self {
    case .syntax(let column, let found, let expected):
      "Unexpected symbol: \"\(found)\" at line: 1 column: \(column): expected \(expected)"
    case .tooLong(let bytes, let limit): "the filter has \(bytes) bytes, at most \(limit) are allowed"
    case .tooDeep(let column, let limit):
      "the filter is nested deeper than \(limit) levels at line: 1 column: \(column)"
    case .tooManyElements(let column, let limit):
      "the filter has more than \(limit) conditions or list elements at line: 1 column: \(column)"
    case .unknownSymbol(let name, let filterable):
      "unknown symbol '\(name)', use one of \(filterable.joined(separator: ", "))"
    case .wrongUse(let symbol, let reason): "symbol '\(symbol)' \(reason)"
    }
  }
}
