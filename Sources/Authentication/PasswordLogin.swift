package import Model

/// Login by user name and password (edge-client-api.md 3).
package struct PasswordLogin: Sendable {
  private let attempts: LoginAttempts
  private let passwords: PasswordHasher
  private let clock: @Sendable () -> Timestamp

  package init(attempts: LoginAttempts, passwords: PasswordHasher, clock: @escaping @Sendable () -> Timestamp) {
    self.attempts = attempts
    self.passwords = passwords
    self.clock = clock
  }

  /// Every refusal counts as a failed attempt, whatever its reason: how long one has to wait must not tell whether the
  /// password was right.
  ///
  /// - Parameters:
  ///   - source: who asks, as an address.
  ///   - lookup: authenticator by user name.
  ///   - policy: the auth policy of an authenticator's identity.
  ///   - mayLogIn: whether an authenticator's identity may log in at this moment.
  ///   - lockOut: called when as many passwords in a row were wrong as the policy allows (management-and-model.md
  ///     1.16).
  /// - Returns: the authenticator that was proven; nil for a refusal, whatever its reason.
  /// - Throws: `LoginAttempts.TooMany`, `AuthenticationError.busy`, and what the closures throw.
  package func judge(
    _ username: String, _ password: String, from source: String, lookup: (String) async throws -> Authenticator?,
    policy: (Authenticator) -> PrimaryAuthPolicy.Password, mayLogIn: (Authenticator) -> Bool,
    lockOut: (Authenticator, PrimaryAuthPolicy.Password) async throws -> Void
  ) async throws -> Authenticator? {
    try attempts.begin(username, from: source, now: clock())
    let authenticator = try await lookup(username)
    let isRight: Bool
    do {
      isRight = try await passwords.verify(password, against: authenticator?.password, from: source)
    } catch AuthenticationError.busy {
      attempts.withdraw(username, from: source, now: clock())
      throw AuthenticationError.busy
    }
    guard let authenticator else { return nil }
    let rules = policy(authenticator)
    if !isRight, attempts.isOneTooMany(authenticator.id, limit: rules.maxAttempts) {
      try await lockOut(authenticator, rules)
    }
    guard isRight, rules.allowed, mayLogIn(authenticator) else { return nil }
    attempts.forget(authenticator.id)
    attempts.proved(username, from: source, now: clock())
    return authenticator
  }
}
