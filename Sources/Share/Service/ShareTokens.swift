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

  private static let special = Set("!@#$%^&*()_+-=[]{};':\"\\|,.<>")

  /// nil when the password will do, otherwise what it lacks.
  static func weakness(_ password: String) -> String? {
    if password.count < 8 { return "password must have at least 8 characters" }
    if password.utf8.count > 512 { return "password must have at most 512 bytes" }
    if !password.contains(where: \.isUppercase) { return "password must contain an upper-case letter" }
    if !password.contains(where: { ("0"..."9").contains($0) }) { return "password must contain a digit" }
    if !password.contains(where: special.contains) { return "password must contain a special character" }
    return nil
  }
}
