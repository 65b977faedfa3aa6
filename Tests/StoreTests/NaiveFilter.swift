import Model

/// What stands in a row of the naive model.
enum NaiveValue: Equatable {
  case absent
  case text(String)
  /// A number with its digits.
  case number(Double, String)
  case truth(Bool)
  case moment(Timestamp)
}

enum NaiveKind: CaseIterable, Sendable {
  case text, number, bool, datetime, any
}

/// An entity as the naive model sees it; the elements of its sets are rows as well.
struct NaiveRow {
  var id: String
  var values: [String: NaiveValue] = [:]
  var sets: [String: [NaiveRow]] = [:]
}

/// What the names mean.
struct NaiveSchema: Sendable {
  var kinds: [String: NaiveKind]
  var sets: [String: NaiveSet] = [:]
}

enum NaiveSet: Sendable {
  case strings
  case entities(NaiveSchema)
}

/// A filter in words, made at random by upstream's grammar, with what it selects by the rules of management spec 4.3,
/// in the plainest way: every part is made together with its meaning, and nothing is parsed.
struct NaiveFilter {
  var text: String
  var isRefused = false
  var hasSubquery = false
  var holds: (NaiveRow) -> Bool = { _ in false }
}

struct NaiveFilterMaker<Random: RandomNumberGenerator> {
  var random: Random

  static var words: [String] { ["alpha", "Beta", "gamma", "ÄÖÜ", "äöü", "3", "a%b_c", "it's", ""] }
  /// As written, and its digits.
  static var numbers: [(String, Double, String)] {
    [("3", 3, "3"), ("2.5", 2.5, "2.5"), ("3.0", 3, "3"), ("-1", -1, "-1"), ("1e1", 10, "10"), ("0", 0, "0")]
  }
  static var moments: [String] { ["2027-01-15T08:00:02Z", "2027-01-15T08:00:04Z", "2027-01-15T09:00:01+01:00"] }

  private enum Literal {
    case text(String)
    case number(String, Double, String)
    case truth(Bool)
    case moment(String)
    case null

    var words: String {
      switch self {
      case .text(let text): "\"\(text)\""
      case .number(let words, _, _): words
      case .truth(let value): value ? "true" : "FALSE"
      case .moment(let text): "datetime(\(text))"
      case .null: "null"
      }
    }
  }

  private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
  private mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[Int.random(in: 0..<elements.count, using: &random)]
  }
  private mutating func keyword(_ word: String) -> String { chance(80) ? word : word.uppercased() }

  // MARK: logic

  /// `and` and `or` bind alike, to the right; `not` takes all that follows.
  mutating func condition(_ schema: NaiveSchema, depth: Int) -> NaiveFilter {
    if chance(15) {
      let inner = condition(schema, depth: depth - 1)
      return joined(keyword("not") + " \(inner.text)", [inner]) { row in !inner.holds(row) }
    }
    let left = term(schema, depth: depth)
    guard depth > 0, chance(60) else { return left }
    let right = condition(schema, depth: depth - 1)
    return chance(50)
      ? joined("\(left.text) \(keyword("and")) \(right.text)", [left, right]) { left.holds($0) && right.holds($0) }
      : joined("\(left.text) \(keyword("or")) \(right.text)", [left, right]) { left.holds($0) || right.holds($0) }
  }

  private func joined(_ text: String, _ parts: [NaiveFilter], _ holds: @escaping (NaiveRow) -> Bool) -> NaiveFilter {
    NaiveFilter(
      text: text, isRefused: parts.contains(where: \.isRefused), hasSubquery: parts.contains(where: \.hasSubquery),
      holds: holds)
  }

  private mutating func term(_ schema: NaiveSchema, depth: Int) -> NaiveFilter {
    if depth > 0, chance(25) {
      let inner = condition(schema, depth: depth - 1)
      return joined("(\(inner.text))", [inner], inner.holds)
    }
    let scalars = schema.kinds.keys.sorted()
    let sets = schema.sets.keys.sorted()
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<4:
      let value = chance(50)
      return NaiveFilter(text: value ? "true" : "false") { _ in value }
    case 4..<12:
      // A name alone must be able to be true.
      let conditions = scalars.filter { schema.kinds[$0] == .bool || schema.kinds[$0] == .any }
      guard !conditions.isEmpty else { return NaiveFilter(text: "true") { _ in true } }
      let name = pick(conditions)
      return NaiveFilter(text: name) { $0.values[name] == .truth(true) }
    case 12..<14:
      let name = pick(["nosuch"] + sets + scalars.filter { schema.kinds[$0] == .text })
      return NaiveFilter(text: name, isRefused: true)
    case 14..<15: return NaiveFilter(text: "anyOf(\(pick(scalars))) = \"x\"", isRefused: true)
    case 15..<62 where !scalars.isEmpty:
      let name = pick(scalars)
      let (words, test) = test(schema.kinds[name] ?? .any)
      return NaiveFilter(text: "\(name) \(words)", isRefused: test == nil) {
        test?($0.values[name] ?? .absent) ?? false
      }
    case _ where sets.isEmpty: return NaiveFilter(text: "true") { _ in true }
    case 62..<74:
      let name = pick(sets)
      let (words, test) = test(.text)
      return NaiveFilter(text: "\(keyword("anyOf"))(\(name)) \(words)", isRefused: test == nil) { row in
        (row.sets[name] ?? []).contains { test?(.text($0.id)) ?? false }
      }
    case 74..<82:
      let name = pick(sets)
      let (words, test) = test(.text)
      return NaiveFilter(text: "allOf(\(name)) \(words)", isRefused: test == nil) { row in
        (row.sets[name] ?? []).allSatisfy { test?(.text($0.id)) ?? false }
      }
    case 82..<91:
      let set = set(schema, pick(sets), depth: depth)
      return joined("isEmpty(\(set.filter.text))", [set.filter]) { set.count($0) == 0 }
    default:
      let set = set(schema, pick(sets), depth: depth)
      let (words, test) = test(.number)
      var filter = joined("count(\(set.filter.text)) \(words)", [set.filter]) { row in
        let count = set.count(row)
        return test?(.number(Double(count), "\(count)")) ?? false
      }
      if test == nil { filter.isRefused = true }
      return filter
    }
  }

  private mutating func set(_ schema: NaiveSchema, _ name: String, depth: Int) -> (
    filter: NaiveFilter, count: (NaiveRow) -> Int
  ) {
    guard case .entities(let members)? = schema.sets[name], chance(60) else {
      return (NaiveFilter(text: name), { $0.sets[name]?.count ?? 0 })
    }
    let inner = condition(members, depth: min(depth - 1, 1))
    var filter = NaiveFilter(text: "from \(name) where \(inner.text)", isRefused: inner.isRefused, hasSubquery: true)
    if chance(20) { filter.text += " sort by \(pick(members.kinds.keys.sorted())) desc" }
    let skip = chance(20) ? Int.random(in: -1...2, using: &random) : nil
    if let skip { filter.text += " skip \(skip)" }
    let limit: Int? = chance(20) ? Int.random(in: -1...2, using: &random) : nil
    if let limit { filter.text += limit == -1 ? " limit none" : " limit \(limit)" }
    return (
      filter,
      { row in
        let left = (row.sets[name] ?? []).filter(inner.holds).dropFirst(max(skip ?? 0, 0)).count
        return min(left, limit.map { $0 < 0 ? .max : $0 } ?? .max)
      }
    )
  }

  // MARK: values

  /// An operator with its right side, and whether a value meets it; nil is refused by upstream.
  private mutating func test(_ kind: NaiveKind) -> (String, ((NaiveValue) -> Bool)?) {
    switch Int.random(in: 0..<10, using: &random) {
    case 0..<6:
      let literal = literal(for: kind)
      var operation = pick(["=", "!=", "<", "<=", ">", ">="])
      switch literal {
      case .truth, .null: operation = pick(["=", "!="])
      default: break
      }
      return ("\(operation) \(literal.words)", Self.compare(kind, operation, literal))
    case 6..<8:
      let not = chance(40)
      let first = listable(for: kind)
      let literals = [first, sameKind(as: first), sameKind(as: first)]
      let tests = literals.map { Self.compare(kind == .number && Self.isText(first) ? .text : kind, "=", $0) }
      let text = "\(not ? "not " : "")in [\(literals.map(\.words).joined(separator: ", "))]"
      let isRefused = tests.contains { $0 == nil } || kind == .bool
      return (text, isRefused ? nil : { value in tests.contains { $0?(value) ?? false } != not })
    case 8:
      let not = chance(40)
      let isMoment = kind == .datetime ? chance(95) : chance(8)
      let (low, high): (Literal, Literal) =
        isMoment
        ? (.moment(pick(Self.moments)), .moment(pick(Self.moments)))
        : (.number("0", 0, "0"), pick(Self.numbers.map { Literal.number($0.0, $0.1, $0.2) }))
      let (from, to) = (Self.compare(kind, ">=", low), Self.compare(kind, "<", high))
      let text = "\(not ? "not " : "")between \(low.words) and \(high.words)"
      guard kind != .text, let from, let to else { return (text, nil) }
      return (text, { (from($0) && to($0)) != not })
    default:
      let (not, folds) = (chance(40), chance(50))
      let literal: Literal =
        folds || chance(70) ? .text(pick(["a", "A", "äö", "%b_", "", "3", "."])) : .number("3", 3, "3")
      let text = "\(not ? "not " : "")\(folds ? "iContains" : "contains") \(literal.words)"
      guard kind == .text || kind == .any || kind == .number && !folds else { return (text, nil) }
      let part = if case .text(let word) = literal { word } else { "3" }
      return (
        text,
        { value in
          let found =
            Self.digits(value).map { Self.occurs(folds ? part.lowercased() : part, in: folds ? $0.lowercased() : $0) }
            ?? false
          return found != not
        }
      )
    }
  }

  private static func occurs(_ part: String, in text: String) -> Bool {
    let (part, text) = (Array(part.utf8), Array(text.utf8))
    return part.isEmpty
      || (0..<max(text.count - part.count + 1, 0)).contains { Array(text[$0..<$0 + part.count]) == part }
  }

  private static func isText(_ literal: Literal) -> Bool { if case .text = literal { true } else { false } }

  private mutating func listable(for kind: NaiveKind) -> Literal {
    while true {
      switch literal(for: kind) {
      case .truth, .null: if kind == .bool { return .number("3", 3, "3") }
      case let literal: return literal
      }
    }
  }

  private mutating func sameKind(as literal: Literal) -> Literal {
    switch literal {
    case .text: return .text(pick(Self.words))
    case .moment: return .moment(pick(Self.moments))
    default:
      let (words, value, digits) = pick(Self.numbers)
      return .number(words, value, digits)
    }
  }

  /// One that fits, most of the time.
  private mutating func literal(for kind: NaiveKind) -> Literal {
    if chance(6) { return .null }
    var kind = kind
    if kind == .any { kind = pick([.text, .number, .bool, .datetime]) }
    if chance(4) { kind = pick(NaiveKind.allCases) }
    switch kind {
    case .text, .any: return .text(pick(Self.words))
    case .number: return sameKind(as: .number("", 0, ""))
    case .bool: return .truth(chance(50))
    case .datetime: return .moment(pick(Self.moments))
    }
  }

  private static func digits(_ value: NaiveValue) -> String? {
    switch value {
    case .absent, .moment: nil
    case .text(let text): text
    case .number(_, let digits): digits
    case .truth(let truth): "\(truth)"
    }
  }

  private static func compare(_ kind: NaiveKind, _ operation: String, _ literal: Literal) -> ((NaiveValue) -> Bool)? {
    func bytes(_ left: String, _ right: String) -> Int {
      let (left, right) = (Array(left.utf8), Array(right.utf8))
      return left == right ? 0 : left.lexicographicallyPrecedes(right) ? -1 : 1
    }
    /// nil: the value is none of the kind.
    let order: (NaiveValue) -> Int?
    switch (kind, literal) {
    case (_, .null):
      return { value in (kind != .bool && value == .absent) == (operation == "=") }
    case (.text, .text(let word)), (.any, .text(let word)): order = { Self.digits($0).map { bytes($0, word) } }
    case (.text, .number(_, _, let digits)): order = { Self.digits($0).map { bytes($0, digits) } }
    case (.number, .number(_, let right, _)), (.any, .number(_, let right, _)):
      order = { if case .number(let left, _) = $0 { left < right ? -1 : left == right ? 0 : 1 } else { nil } }
    case (.bool, .truth(let truth)), (.any, .truth(let truth)): order = { ($0 == .truth(true)) == truth ? 0 : 1 }
    case (.datetime, .moment(let text)):
      guard let right = Timestamp(text) else { return nil }
      order = { if case .moment(let left) = $0 { left < right ? -1 : left == right ? 0 : 1 } else { nil } }
    case (.any, .moment): order = { _ in nil }
    default: return nil
    }
    return { value in
      guard let sign = order(value) else { return operation == "!=" }
      return switch operation {
      case "=": sign == 0
      case "!=": sign != 0
      case "<": sign < 0
      case "<=": sign <= 0
      case ">": sign > 0
      default: sign >= 0
      }
    }
  }
}
