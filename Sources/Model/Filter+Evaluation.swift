public import JSON

/// What a symbol stands for in one entity, for filtering collections that live in memory.
public enum FilterValue: Sendable, Equatable {
  case scalar(FilterLiteral)
  case set([FilterLiteral])

  public static func string(_ value: String?) -> FilterValue { .scalar(value.map(FilterLiteral.string) ?? .null) }
  public static func strings(_ values: some Sequence<String>) -> FilterValue { .set(values.map(FilterLiteral.string)) }

  fileprivate var literal: FilterLiteral { if case .scalar(let value) = self { value } else { .null } }
  fileprivate var elements: [FilterLiteral] { if case .set(let values) = self { values } else { [] } }
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

  /// Order within numbers, texts, truth values and datetimes; nil between them. Texts are ordered by their bytes.
  func order(to other: FilterLiteral) -> Int? {
    switch (self, other) {
    case (.int(let left), .int(let right)): left < right ? -1 : left == right ? 0 : 1
    case (.int, .double), (.double, .int), (.double, .double):
      number.flatMap { left in other.number.map { left < $0 ? -1 : left == $0 ? 0 : 1 } }
    case (.string(let left), .string(let right)):
      left.utf8.elementsEqual(right.utf8) ? 0 : left.utf8.lexicographicallyPrecedes(right.utf8) ? -1 : 1
    case (.datetime(let left), .datetime(let right)): left < right ? -1 : left == right ? 0 : 1
    case (.bool(let left), .bool(let right)): left == right ? 0 : left ? 1 : -1
    default: nil
    }
  }

  /// A total order for sorting, SQLite's: absent values, then numbers and truth values, then texts.
  func sortOrder(to other: FilterLiteral) -> Int {
    guard sortRank == other.sortRank else { return sortRank < other.sortRank ? -1 : 1 }
    return sortKey.order(to: other.sortKey) ?? 0
  }

  private var sortRank: Int {
    switch self {
    case .null: 0
    case .bool, .int, .double: 1
    case .string, .datetime: 2
    }
  }

  private var sortKey: FilterLiteral {
    switch self {
    case .bool(let value): .int(value ? 1 : 0)
    case .datetime(let value): .string(value.text)
    default: self
    }
  }

  private var number: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }
}

/// A filter whose names and types are checked, to judge entities in memory.
private indirect enum CheckedFilter {
  case constant(Bool)
  case truth(String)
  case not(CheckedFilter)
  case all([CheckedFilter])
  case any([CheckedFilter])
  case isEmpty(String)
  case value(String, FilterTest)
  case anyOf(String, FilterTest)
  case allOf(String, FilterTest)
  case count(String, FilterTest)

  init(_ filter: Filter, _ symbols: some FilterSymbols) throws(FilterError) {
    switch filter {
    case .constant(let value): self = .constant(value)
    case .symbol(let name):
      try symbols.requireCondition(name)
      self = .truth(name)
    case .not(let inner): self = .not(try CheckedFilter(inner, symbols))
    case .and(let terms): self = .all(try Self.checked(terms, symbols))
    case .or(let terms): self = .any(try Self.checked(terms, symbols))
    case .isEmpty(let set): self = .isEmpty(try Self.name(of: set, symbols))
    case .comparison(let operand, let condition):
      switch operand {
      case .symbol(let name): self = .value(name, try FilterTest(condition, of: symbols.type(of: name), symbol: name))
      case .anyOf(let name):
        _ = try symbols.members(of: name)
        self = .anyOf(name, try FilterTest(condition, of: .text, symbol: name))
      case .allOf(let name):
        _ = try symbols.members(of: name)
        self = .allOf(name, try FilterTest(condition, of: .text, symbol: name))
      case .count(let set):
        self = .count(try Self.name(of: set, symbols), try FilterTest(condition, of: .number, symbol: set.name))
      }
    }
  }

  private static func checked(_ terms: [Filter], _ symbols: some FilterSymbols) throws(FilterError) -> [CheckedFilter] {
    var checked: [CheckedFilter] = []
    for term in terms { checked.append(try CheckedFilter(term, symbols)) }
    return checked
  }

  private static func name(of set: FilterSet, _ symbols: some FilterSymbols) throws(FilterError) -> String {
    _ = try symbols.members(of: set.name)
    // What lives in memory has no sets of entities.
    guard case .symbol(let name) = set else { throw .wrongUse(symbol: set.name, reason: "has no sub-queries here") }
    return name
  }

  func matches(_ lookup: (String) -> FilterValue) -> Bool {
    switch self {
    case .constant(let value): value
    case .truth(let name): lookup(name).literal == .bool(true)
    case .not(let inner): !inner.matches(lookup)
    case .all(let terms): terms.allSatisfy { $0.matches(lookup) }
    case .any(let terms): terms.contains { $0.matches(lookup) }
    case .isEmpty(let name): lookup(name).elements.isEmpty
    case .value(let name, let test): test.holds(for: lookup(name).literal)
    case .anyOf(let name, let test): lookup(name).elements.contains { test.holds(for: $0) }
    case .allOf(let name, let test): lookup(name).elements.allSatisfy { test.holds(for: $0) }
    case .count(let name, let test): test.holds(for: .int(Int64(lookup(name).elements.count)))
    }
  }
}

extension FilterSymbols {
  /// The type of a name that is no set.
  public func type(of name: String) throws(FilterError) -> FilterType {
    guard case .scalar(let type) = try symbol(name) else {
      throw .wrongUse(symbol: name, reason: "is a set: use anyOf, allOf, count or isEmpty")
    }
    return type
  }

  /// The names of a set's elements, nil where they are no entities.
  public func members(of name: String) throws(FilterError) -> (any FilterSymbols)? {
    guard case .set(let members) = try symbol(name) else { throw .wrongUse(symbol: name, reason: "is not a set") }
    return members
  }

  /// That a name can stand alone as a condition.
  public func requireCondition(_ name: String) throws(FilterError) {
    let type = try type(of: name)
    guard type == .bool || type == .any else {
      throw .wrongUse(symbol: name, reason: "is \(type.rawValue) and no condition: compare it with something")
    }
  }
}

extension FilterQuery {
  /// Filters, orders and cuts an in-memory collection. Default order is by `id`; `total` counts the matches before the
  /// cut.
  /// - Parameter lookup: the value of a symbol that `symbols` knows.
  public func apply<Element>(
    to elements: some Sequence<Element>, symbols: some FilterSymbols, page: PageRequest = PageRequest(),
    lookup: (Element, String) -> FilterValue
  ) throws(FilterError) -> Page<Element> {
    let filter = try CheckedFilter(predicate ?? .constant(true), symbols)
    let keys = (sort.isEmpty ? page.sort : sort) + [SortField(name: "id")]
    for field in keys.dropLast() { _ = try symbols.type(of: field.name) }
    var matches: [Element] = []
    for element in elements where filter.matches({ lookup(element, $0) }) { matches.append(element) }
    matches.sort { left, right in
      for field in keys {
        let order = lookup(left, field.name).literal.sortOrder(to: lookup(right, field.name).literal)
        if order != 0 { return field.ascending ? order < 0 : order > 0 }
      }
      return false
    }
    let (limit, offset) = page.resolved(with: self)
    return Page(
      items: Array(matches.dropFirst(offset).prefix(limit.count)), totalCount: matches.count, limit: limit.count,
      offset: offset)
  }
}
