import Authentication

/// What the password of an account of the share service must have (zrok.md 1.1).
enum AccountPassword {
  /// The longest is our own: the most that is hashed.
  static let rule = PasswordRule([
    .charactersAtLeast(8), .bytesAtMost(512), .upperCase, .plainDigit,
    .oneOf(Set("!@#$%^&*()_+-=[]{};':\"\\|,.<>")),
  ])
  /// The rule as the page tells it beforehand.
  static let hint = "8 characters or more, with a capital, a digit and a sign"

  /// nil when the password will do, otherwise what it lacks.
  static func weakness(_ password: String) -> String? {
    rule.unmet(by: password).map { "password must \($0.words)" }
  }
}
