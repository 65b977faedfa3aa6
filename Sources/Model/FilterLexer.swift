/// The words of a filter text.
struct FilterToken: Equatable {
  enum Kind: Equatable {
    /// A word or a quoted identifier; keywords are told apart by the parser, quoted identifiers never are keywords.
    case word(String, isQuoted: Bool)
    case string(String)
    case int(Int64)
    case double(Double)
    case datetime(Timestamp)
    /// `= != < <= > >= ( ) [ ] ,`
    case mark(String)
    case end
  }

  var kind: Kind
  /// In Unicode scalars from 0.
  var column: Int
  var text: String
}

/// Splits a filter into tokens; every character is looked at once.
struct FilterLexer {
  private let scalars: [Unicode.Scalar]
  private var position = 0

  init(_ text: String) { scalars = Array(text.unicodeScalars) }

  private var next: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

  mutating func token() throws(FilterError) -> FilterToken {
    while let scalar = next, scalar.properties.isWhitespace { position += 1 }
    let start = position
    guard let scalar = next else { return FilterToken(kind: .end, column: start, text: "<EOF>") }
    switch scalar {
    case "(", ")", "[", "]", ",", "=":
      position += 1
      return make(.mark(String(scalar)), from: start)
    case "!":
      position += 1
      guard next == "=" else { throw .syntax(column: start, found: "!", expected: "'!='") }
      position += 1
      return make(.mark("!="), from: start)
    case "<", ">":
      position += 1
      if next == "=" { position += 1 }
      return make(.mark(String(String.UnicodeScalarView(scalars[start..<position]))), from: start)
    case "\"": return make(.string(try quoted(by: "\"")), from: start)
    case "'": return make(.word(try quoted(by: "'"), isQuoted: true), from: start)
    case "0"..."9", "-": return try number(from: start)
    default: break
    }
    guard Self.isLetter(scalar) else {
      throw .syntax(column: start, found: String(scalar), expected: "a name, a value or an operator")
    }
    var sawDot = false
    while let scalar = next {
      if scalar == "." {
        sawDot = true
      } else if !Self.isLetter(scalar), !Self.isDigit(scalar), scalar != "_", !(sawDot && scalar == "-") {
        break
      }
      position += 1
    }
    let word = String(String.UnicodeScalarView(scalars[start..<position]))
    guard !word.hasSuffix("."), !word.contains("..") else {
      throw .syntax(column: start, found: word, expected: "a name after '.'")
    }
    if word.lowercased() == "datetime", let literal = try datetime(from: start) { return literal }
    return make(.word(word, isQuoted: false), from: start)
  }

  private func make(_ kind: FilterToken.Kind, from start: Int) -> FilterToken {
    FilterToken(kind: kind, column: start, text: String(String.UnicodeScalarView(scalars[start..<position])))
  }

  private static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
    ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar)
  }
  private static func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }

  private mutating func quoted(by quote: Unicode.Scalar) throws(FilterError) -> String {
    let start = position
    position += 1
    var result = String.UnicodeScalarView()
    while let scalar = next {
      position += 1
      if scalar == quote { return String(result) }
      // No control characters, by the grammar; at a NUL, SQLite would end the text.
      guard scalar.value >= 0x20 else {
        throw .syntax(
          column: position - 1, found: "U+\(String(scalar.value, radix: 16))",
          expected: "an escape such as \\n in place of a control character")
      }
      guard scalar == "\\" else {
        result.append(scalar)
        continue
      }
      guard let escaped = next else { break }
      position += 1
      switch escaped {
      case quote, "\"", "\\": result.append(escaped)
      case "f": result.append("\u{0C}")
      case "n": result.append("\n")
      case "r": result.append("\r")
      case "t": result.append("\t")
      default:
        throw .syntax(
          column: position - 2, found: "\\\(escaped)", expected: "one of the escapes \\\" \\\\ \\f \\n \\r \\t")
      }
    }
    throw .syntax(column: start, found: "<EOF>", expected: "a closing \(quote)")
  }

  /// `-?` whole `.` fraction `e` exponent, without leading zeros. Whole numbers that fit 64 bits are integers.
  private mutating func number(from start: Int) throws(FilterError) -> FilterToken {
    var isWhole = true
    if next == "-" { position += 1 }
    var isNumber = takeWhole()
    if isNumber, next == "." {
      position += 1
      isWhole = false
      isNumber = takeDigits()
    }
    if isNumber, next == "e" || next == "E" {
      position += 1
      isWhole = false
      if next == "-" || next == "+" { position += 1 }
      isNumber = takeWhole()
    }
    // What goes on like a word or another number is one wrong token, not two right ones.
    while let scalar = next, Self.isDigit(scalar) || Self.isLetter(scalar) || scalar == "." || scalar == "_" {
      position += 1
      isNumber = false
    }
    let text = make(.end, from: start).text
    if isNumber, isWhole, let value = Int64(text) { return make(.int(value), from: start) }
    if isNumber, text.utf8.count <= 400, let value = Double(text), value.isFinite {
      return make(.double(value), from: start)
    }
    throw .syntax(column: start, found: text, expected: "a number")
  }

  private mutating func takeDigits() -> Bool {
    let start = position
    while let scalar = next, Self.isDigit(scalar) { position += 1 }
    return position > start
  }

  private mutating func takeWhole() -> Bool {
    guard next == "0" else { return takeDigits() }
    position += 1
    return true
  }

  /// `datetime(2020-01-01T00:00:00Z)`; nil when no parenthesis follows, so that the word can still be a symbol.
  private mutating func datetime(from start: Int) throws(FilterError) -> FilterToken? {
    var cursor = position
    while cursor < scalars.count, scalars[cursor].properties.isWhitespace { cursor += 1 }
    guard cursor < scalars.count, scalars[cursor] == "(" else { return nil }
    let open = cursor + 1
    guard let close = scalars[open...].firstIndex(of: ")") else {
      throw .syntax(column: start, found: "<EOF>", expected: "')' after the date-time")
    }
    let text = String(
      String.UnicodeScalarView(scalars[open..<close].filter { !$0.properties.isWhitespace && $0 != "\"" }))
    guard let value = Timestamp(text) else {
      throw .syntax(column: open, found: text, expected: "an RFC 3339 date-time")
    }
    position = close + 1
    return make(.datetime(value), from: start)
  }
}
