/// What a symbol stands for in one entity, for filtering collections that live in memory.
public enum FilterValue: Sendable, Equatable {
  case scalar(FilterLiteral)
  case set([FilterLiteral])

  public static func string(_ value: String?) -> FilterValue { .scalar(value.map(FilterLiteral.string) ?? .null) }
  public static func strings(_ values: some Sequence<String>) -> FilterValue { .set(values.map(FilterLiteral.string)) }
}

extension FilterLiteral {
  /// Scalars of documents; arrays and objects have no literal.
  public init?(_ value: JSONValue) {
    switch value {
    case .null: self = .null
    case .bool(let value): self = .bool(value)
    case .int(let value): self = .int(value)
    case .double(let value): self = .double(value)
    case .string(let value): self = .string(value)
    case .array, .object: return nil
    }
  }

  /// Order within numbers, strings and datetimes; nil when the two cannot be ordered. A datetime and a text are compared as datetimes.
  func order(to other: FilterLiteral) -> Int? {
    switch (self, other) {
    case (.int(let left), .int(let right)): left < right ? -1 : left == right ? 0 : 1
    case (.int, .double), (.double, .int), (.double, .double): number.flatMap { left in other.number.map { left < $0 ? -1 : left == $0 ? 0 : 1 } }
    case (.string(let left), .string(let right)): left == right ? 0 : left.utf8.lexicographicallyPrecedes(right.utf8) ? -1 : 1
    case (.datetime(let left), .datetime(let right)): left < right ? -1 : left == right ? 0 : 1
    case (.string(let left), .datetime): Timestamp(left).flatMap { FilterLiteral.datetime($0).order(to: other) }
    case (.datetime, .string(let right)): Timestamp(right).flatMap { order(to: .datetime($0)) }
    case (.bool(let left), .bool(let right)): left == right ? 0 : left ? 1 : -1
    // Upstream compares a string symbol with a number by the number's text (capture rest/258).
    case (.string(let left), .int), (.string(let left), .double): FilterLiteral.string(left).order(to: .string(other.text))
    default: nil
    }
  }

  /// A total order for sorting, SQLite's: absent values, then numbers and truth values, then texts.
  func sortOrder(to other: FilterLiteral) -> Int {
    guard sortRank == other.sortRank else { return sortRank < other.sortRank ? -1 : 1 }
    return order(to: other) ?? 0
  }

  private var sortRank: Int {
    switch self {
    case .null: 0
    case .bool, .int, .double: 1
    case .string, .datetime: 2
    }
  }

  private var number: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// The value as `contains` sees it.
  var text: String {
    switch self {
    case .string(let value): value
    case .int(let value): String(value)
    case .double(let value): String(value)
    case .bool(let value): String(value)
    case .null: ""
    case .datetime(let value): value.text
    }
  }
}

extension Filter {
  /// Judges one in-memory entity. `lookup` gives the value of a symbol, nil for symbols the collection does not have.
  public func matches(filterable: [String] = [], _ lookup: (String) -> FilterValue?) throws(FilterError) -> Bool {
    switch self {
    case .constant(let value): return value
    case .symbol(let name): return try Self.scalar(name, filterable, lookup) == .bool(true)
    case .not(let inner): return try !inner.matches(filterable: filterable, lookup)
    case .and(let terms):
      for term in terms { guard try term.matches(filterable: filterable, lookup) else { return false } }
      return true
    case .or(let terms):
      for term in terms where try term.matches(filterable: filterable, lookup) { return true }
      return false
    case .isEmpty(let set): return try Self.elements(set, filterable, lookup).isEmpty
    case .compare(let operand, let comparison, let literal):
      return try Self.judge(operand, filterable, lookup) { Self.compare($0, comparison, literal) }
    case .oneOf(let operand, let literals, let negated):
      return try Self.judge(operand, filterable, lookup) { value in
        value != .null && literals.contains { Self.compare(value, .equal, $0) } != negated
      }
    case .between(let operand, let low, let high, let negated):
      return try Self.judge(operand, filterable, lookup) { value in
        value != .null && (Self.compare(value, .greaterOrEqual, low) && Self.compare(value, .less, high)) != negated
      }
    case .contains(let operand, let literal, let ignoringCase, let negated):
      let part = ignoringCase ? literal.text.lowercased() : literal.text
      return try Self.judge(operand, filterable, lookup) { value in
        guard value != .null else { return false }
        return (ignoringCase ? value.text.lowercased() : value.text).contains(part) != negated
      }
    }
  }

  private static func compare(_ value: FilterLiteral, _ comparison: FilterComparison, _ literal: FilterLiteral) -> Bool {
    if value == .null || literal == .null {
      switch comparison {
      case .equal: return value == literal
      case .notEqual: return value != literal
      default: return false
      }
    }
    guard let order = value.order(to: literal) else { return comparison == .notEqual }
    switch comparison {
    case .equal: return order == 0
    case .notEqual: return order != 0
    case .less: return order < 0
    case .lessOrEqual: return order <= 0
    case .greater: return order > 0
    case .greaterOrEqual: return order >= 0
    }
  }

  private static func judge(
    _ operand: FilterOperand, _ filterable: [String], _ lookup: (String) -> FilterValue?, _ test: (FilterLiteral) -> Bool
  ) throws(FilterError) -> Bool {
    switch operand {
    case .symbol(let name): test(try scalar(name, filterable, lookup))
    case .anyOf(let name): try elements(.symbol(name), filterable, lookup).contains(where: test)
    case .allOf(let name): try elements(.symbol(name), filterable, lookup).allSatisfy(test)
    case .count(let set): test(.int(Int64(try elements(set, filterable, lookup).count)))
    }
  }

  private static func scalar(_ name: String, _ filterable: [String], _ lookup: (String) -> FilterValue?) throws(FilterError) -> FilterLiteral {
    switch lookup(name) {
    case .scalar(let value): return value
    case .set: throw .wrongUse(symbol: name, reason: "is a set: use anyOf, allOf, count or isEmpty")
    case nil: throw .unknownSymbol(name, filterable: filterable)
    }
  }

  private static func elements(_ set: FilterSet, _ filterable: [String], _ lookup: (String) -> FilterValue?) throws(FilterError) -> [FilterLiteral] {
    guard case .symbol(let name) = set else { throw .wrongUse(symbol: set.name, reason: "has no sub-queries here") }
    switch lookup(name) {
    case .set(let values): return values
    case .scalar: throw .wrongUse(symbol: name, reason: "is not a set")
    case nil: throw .unknownSymbol(name, filterable: filterable)
    }
  }
}

extension FilterQuery {
  /// Filters, orders and cuts an in-memory collection. Default order is by `id`; `total` counts the matches before the cut.
  public func apply<Element>(
    to elements: some Sequence<Element>, filterable: [String] = [], page: PageRequest = PageRequest(),
    lookup: (Element, String) -> FilterValue?
  ) throws(FilterError) -> Page<Element> {
    var matches: [Element] = []
    for element in elements {
      if try predicate?.matches(filterable: filterable, { lookup(element, $0) }) ?? true { matches.append(element) }
    }
    let fields = sort.isEmpty ? page.sort : sort
    if let first = matches.first {
      for field in fields where lookup(first, field.name) == nil { throw .unknownSymbol(field.name, filterable: filterable) }
    }
    let keys = (fields + [SortField(name: "id")])
    matches.sort { left, right in
      for field in keys {
        guard case .scalar(let leftValue) = lookup(left, field.name), case .scalar(let rightValue) = lookup(right, field.name) else { continue }
        let order = leftValue.sortOrder(to: rightValue)
        if order != 0 { return field.ascending ? order < 0 : order > 0 }
      }
      return false
    }
    let (limit, offset) = page.resolved(with: self)
    return Page(
      items: Array(matches.dropFirst(offset).prefix(limit.count)), totalCount: matches.count, limit: limit.echoed, offset: offset)
  }
}
