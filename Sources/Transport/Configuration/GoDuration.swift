package import NIOCore

/// Durations in the notation of Go, as upstream's files and commands have them: `30s`, `1h30m`, `1.5h`, `250ms`, `0`.
/// The only reader of such text; what may be said where (a least value, bare seconds) is its callers' business.
package enum GoDuration {
  private static let units: [String: Double] = [
    "ns": 1, "us": 1e3, "\u{b5}s": 1e3, "\u{3bc}s": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9,
  ]

  /// - Parameter withDays: `d` is a unit too, which Go does not know.
  /// - Returns: nil for what is no such text, has a sign, or is longer than 285 years.
  package static func parse(_ text: String, withDays: Bool = false) -> TimeAmount? {
    if text == "0" { return .zero }
    var rest = Substring(text)
    var total = 0.0
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
      let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
      rest = rest.dropFirst(digits.count)
      let unit = rest.prefix { !($0.isASCII && ($0.isNumber || $0 == ".")) }
      rest = rest.dropFirst(unit.count)
      guard let number = Double(digits), let factor = units[String(unit)] ?? (withDays && unit == "d" ? 86_400e9 : nil)
      else { return nil }
      total += number * factor
    }
    guard total < 9e18 else { return nil }
    return .nanoseconds(Int64(total))
  }
}
