import Authentication
import PKI

/// Random tokens and the rules for chosen ones (zrok.md 1.1, 1.3).
enum ShareTokens {
  private static let lower = "abcdefghijklmnopqrstuvwxyz0123456789"
  private static let mixed = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + lower

  /// 12 characters of `a-z0-9`: fits a DNS label.
  static func share() -> String { RandomSource.text(12, of: lower) }
  /// 12 characters of `A-Za-z0-9`: accounts, accesses, frontends, tickets.
  static func secret() -> String { RandomSource.text(12, of: mixed) }

  /// - Parameters:
  ///   - lengths: in bytes.
  ///   - dash: whether `-` is allowed.
  static func isLabel(_ text: String, lengths: ClosedRange<Int>, dash: Bool) -> Bool {
    lengths.contains(text.utf8.count)
      && text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "-"): dash
        default: false
        }
      }
  }

  /// Of accounts (zrok.md 1.1); our own is the most that is hashed.
  static let passwordRule = PasswordRule([
    .charactersAtLeast(8), .bytesAtMost(512), .upperCase, .plainDigit,
    .oneOf(Set("!@#$%^&*()_+-=[]{};':\"\\|,.<>")),
  ])
  /// The rule as the page tells it beforehand.
  static let passwordHint = "8 characters or more, with a capital, a digit and a sign"

  /// nil when the password will do, otherwise what it lacks.
  static func weakness(_ password: String) -> String? {
    passwordRule.unmet(by: password).map { "password must \($0.words)" }
  }
}
