import PKI

/// Random tokens and the rules for chosen ones (zrok.md 1.1, 1.3).
package enum ShareTokens {
  private static let lower = "abcdefghijklmnopqrstuvwxyz0123456789"
  private static let mixed = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + lower

  /// 12 characters of `a-z0-9`: fits a DNS label.
  package static func share() -> String { RandomSource.text(12, of: lower) }
  /// 12 characters of `A-Za-z0-9`: accounts, accesses, frontends, tickets.
  package static func secret() -> String { RandomSource.text(12, of: mixed) }

  /// - Parameters:
  ///   - lengths: in bytes.
  ///   - dash: whether `-` is allowed.
  package static func isLabel(_ text: String, lengths: ClosedRange<Int>, dash: Bool) -> Bool {
    lengths.contains(text.utf8.count)
      && text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "-"): dash
        default: false
        }
      }
  }
}
