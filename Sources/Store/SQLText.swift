internal import GRDB

/// A piece of SQL with the values of its question marks: `"\(own: alias).id = \(bind: id)"`. Values never become text
/// of a statement, and `own` words are the program's.
struct SQLText: ExpressibleByStringInterpolation {
  private(set) var text: String
  private var arguments: [(any DatabaseValueConvertible)?] = []

  init(stringLiteral text: String) { self.text = text }
  init(stringInterpolation: Interpolation) { self = stringInterpolation.sql }

  static func += (left: inout SQLText, right: SQLText) {
    left.text += right.text
    left.arguments += right.arguments
  }

  var statementArguments: StatementArguments { StatementArguments(arguments) }

  struct Interpolation: StringInterpolationProtocol {
    fileprivate var sql = SQLText(stringLiteral: "")

    init(literalCapacity: Int, interpolationCount: Int) {}

    mutating func appendLiteral(_ literal: String) { sql.text += literal }
    mutating func appendInterpolation(_ piece: SQLText) { sql += piece }
    /// Aliases, columns, operators and numbers.
    mutating func appendInterpolation(own word: String) { sql.text += word }

    mutating func appendInterpolation(bind value: (any DatabaseValueConvertible)?) {
      sql.text += "?"
      sql.arguments.append(value)
    }

    /// `?, ?, ?`
    mutating func appendInterpolation(list values: [(any DatabaseValueConvertible)?]) {
      sql.text += repeatElement("?", count: values.count).joined(separator: ", ")
      sql.arguments += values
    }
  }
}
