package import Model
package import Store

/// What a policy says about wrong passwords in a row (management-and-model.md 1.16). A lock-out stands beside what an
/// operator disabled and never changes that.
extension StoreTransaction {
  /// Locks an identity out. Guesses at one that is locked out already change nothing.
  /// - Returns: whether it is locked out from now on.
  package func lockOut(_ identity: String, _ rules: PrimaryAuthPolicy.Password, now: Timestamp) throws -> Bool {
    guard var identity = try get(Identity.self, identity), !identity.isLockedOut(at: now),
      try mayBeLockedOut(identity)
    else { return false }
    identity.lockedAt = now
    identity.lockedUntil =
      rules.lockoutDurationMinutes > 0 ? now.adding(seconds: Int64(rules.lockoutDurationMinutes) * 60) : nil
    try put(identity)
    return true
  }

  /// Whether wrong passwords may take an identity off the network. Strangers must not shut out the last one who could
  /// let others in again: the default administrator, whom nobody may disable either, and any administrator beside whom
  /// no enabled one with an authenticator would be left.
  private func mayBeLockedOut(_ identity: Identity) throws -> Bool {
    guard !identity.isDefaultAdmin else { return false }
    guard identity.isAdmin else { return true }
    return try all(Identity.self).contains { other in
      try other.id != identity.id && other.isAdmin && other.disabledAt == nil && other.lockedAt == nil
        && first(Authenticator.self, field: "identityId", equals: other.id) != nil
    }
  }
}
