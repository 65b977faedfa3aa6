/// What the values of a symbol are.
public enum FilterType: String, Sendable {
  case text = "a text"
  case number = "a number"
  case bool = "a truth value"
  case datetime = "a datetime"
  /// Whatever the document holds: tags and config data.
  case any = "anything"
}

/// What a name means where a filter is used.
public enum FilterSymbol: Sendable {
  case scalar(FilterType)
  /// A set of texts; `members` are the names that a sub-query over it may use, nil where its elements are no entities.
  case set(members: (any FilterSymbols)?)
}

/// The names that a filter may use.
public protocol FilterSymbols: Sendable {
  func symbol(_ name: String) throws(FilterError) -> FilterSymbol
}

/// A condition on one value, its meaning decided by the symbol's type as upstream decides it (openziti/storage;
/// management spec 4.3). SQL and memory both judge by it.
///
/// | symbol | may be compared with | by |
/// | --- | --- | --- |
/// | text | texts and numbers | text: a number stands for its digits |
/// | number | numbers; lists of texts and `contains` by its digits | number |
/// | truth value | `=` and `!=` true, false | truth: an absent one is false |
/// | datetime | datetimes | moment |
/// | anything | all of these | what is written decides; a value of another kind is like none |
///
/// No value meets no comparison, and every negative is the opposite of its positive: what is absent passes `!=`, `not
/// in`, `not between` and `not contains`, and a text is never greater than a number.
public struct FilterTest: Sendable, Equatable {
  public enum Basis: Sendable {
    case presence, truth, text, number, moment
  }

  public enum Operation: Sendable, Equatable {
    case isAbsent
    /// Never `.notEqual`, which is `.equal`, negated.
    case compare(FilterComparison, FilterLiteral)
    case oneOf([FilterLiteral])
    case between(FilterLiteral, FilterLiteral)
    case contains(String, ignoringCase: Bool)
  }

  /// What a value is taken as. The literals of the operation are of this kind: strings, numbers, truth values or
  /// datetimes.
  public let basis: Basis
  public let operation: Operation
  public let isNegated: Bool

  /// - Throws: `FilterError.wrongUse` for what upstream refuses.
  public init(_ condition: FilterCondition, of type: FilterType, symbol: String) throws(FilterError) {
    func refused(_ what: String) -> FilterError {
      .wrongUse(symbol: symbol, reason: "is \(type.rawValue) and cannot be compared by \(what)")
    }
    switch condition {
    case .compare(let comparison, .null):
      (basis, operation, isNegated) = (.presence, .isAbsent, comparison == .notEqual)
    case .compare(let comparison, let literal):
      guard let basis = Self.basis(type, literal) else {
        throw refused("'\(comparison.rawValue)' with \(literal.kindText)")
      }
      let positive = comparison == .notEqual ? FilterComparison.equal : comparison
      (self.basis, operation, isNegated) = (
        basis, .compare(positive, literal.taken(as: basis)), comparison == .notEqual
      )
    case .oneOf(let literals, let negated):
      // Upstream's numbers have digits to be found in a list of texts.
      let first = literals.first ?? .null
      let asText = if type == .number, case .string = first { true } else { false }
      guard let basis = Self.basis(asText ? .text : type, first) else { throw refused("'in' with \(first.kindText)") }
      let taken = literals.map { $0.taken(as: basis) }
      (self.basis, operation, isNegated) = (basis, .oneOf(taken), negated)
    case .between(let low, let high, let negated):
      guard type != .text, let basis = Self.basis(type, low) else { throw refused("'between' with \(low.kindText)") }
      (self.basis, operation, isNegated) = (basis, .between(low, high), negated)
    case .contains(let literal, let ignoringCase, let negated):
      guard type == .text || type == .any || (type == .number && !ignoringCase) else {
        throw refused(ignoringCase ? "'icontains'" : "'contains'")
      }
      (basis, operation, isNegated) = (.text, .contains(literal.text, ignoringCase: ignoringCase), negated)
    }
  }

  private static func basis(_ type: FilterType, _ literal: FilterLiteral) -> Basis? {
    switch (type, literal) {
    case (.text, .string), (.text, .int), (.text, .double), (.any, .string): .text
    case (.number, .int), (.number, .double), (.any, .int), (.any, .double): .number
    case (.bool, .bool), (.any, .bool): .truth
    case (.datetime, .datetime), (.any, .datetime): .moment
    default: nil
    }
  }

  public func holds(for value: FilterLiteral) -> Bool { isMet(by: value) != isNegated }

  private func isMet(by value: FilterLiteral) -> Bool {
    if case .isAbsent = operation { return value == .null }
    guard let value = value.projected(on: basis) else { return false }
    switch operation {
    case .isAbsent: return false
    case .compare(let comparison, let literal):
      guard let order = value.order(to: literal) else { return false }
      switch comparison {
      case .equal: return order == 0
      case .notEqual: return order != 0
      case .less: return order < 0
      case .lessOrEqual: return order <= 0
      case .greater: return order > 0
      case .greaterOrEqual: return order >= 0
      }
    case .oneOf(let literals): return literals.contains { value.order(to: $0) == 0 }
    case .between(let low, let high):
      guard let fromLow = value.order(to: low), let fromHigh = value.order(to: high) else { return false }
      return fromLow >= 0 && fromHigh < 0
    case .contains(let part, let ignoringCase):
      return ignoringCase ? value.text.lowercased().hasBytes(part.lowercased()) : value.text.hasBytes(part)
    }
  }
}

extension FilterLiteral {
  /// What may stand in one list, or on both ends of a range.
  func isSameKind(as other: FilterLiteral) -> Bool {
    switch (self, other) {
    case (.string, .string), (.datetime, .datetime), (.int, .int), (.int, .double), (.double, .int), (.double, .double):
      true
    default: false
    }
  }

  var kindText: String {
    switch self {
    case .string: "a text"
    case .int, .double: "a number"
    case .bool: "a truth value"
    case .datetime: "a datetime"
    case .null: "null"
    }
  }

  fileprivate func taken(as basis: FilterTest.Basis) -> FilterLiteral { basis == .text ? .string(text) : self }

  /// The value as one of the kind, nil when it is none.
  fileprivate func projected(on basis: FilterTest.Basis) -> FilterLiteral? {
    switch (basis, self) {
    case (.text, .null): nil
    case (.text, _): .string(text)
    case (.number, .int), (.number, .double), (.moment, .datetime): self
    case (.truth, _): .bool(self == .bool(true))
    default: nil
    }
  }

  /// The value in letters and digits; numbers have no exponent.
  public var text: String {
    switch self {
    case .string(let value): value
    case .int(let value): String(value)
    case .double(let value): value.plainText
    case .bool(let value): String(value)
    case .null: ""
    case .datetime(let value): value.text
    }
  }
}

extension Double {
  /// The shortest digits that name the number, without an exponent: `5`, `0.25`, `100000000000000000000`.
  public var plainText: String {
    guard isFinite else { return "\(self)" }
    let parts = "\(magnitude)".split(separator: "e")
    let exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
    let halves = (parts.first ?? "0").split(separator: ".")
    let whole = halves.first.map(String.init) ?? "0"
    let fraction = halves.count > 1 && halves[1] != "0" ? String(halves[1]) : ""
    let digits = whole + fraction
    let point = whole.count + exponent
    let sign = self.sign == .minus ? "-" : ""
    if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + digits }
    if point >= digits.count { return sign + digits + String(repeating: "0", count: point - digits.count) }
    return sign + digits.prefix(point) + "." + digits.dropFirst(point)
  }
}

extension String {
  /// Whether the bytes of `part` occur; letters that Unicode calls equal are not.
  func hasBytes(_ part: String) -> Bool {
    let (bytes, wanted) = (Array(utf8), Array(part.utf8))
    guard let first = wanted.first else { return true }
    guard bytes.count >= wanted.count else { return false }
    for start in 0...(bytes.count - wanted.count) where bytes[start] == first {
      if bytes[start..<start + wanted.count].elementsEqual(wanted) { return true }
    }
    return false
  }
}
