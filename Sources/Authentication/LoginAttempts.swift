package import Model
import NIOConcurrencyHelpers

/// Guesses at the secrets of a network. The limiter makes guessing slow at its source; the count by authenticator is
/// what a policy's lock-out asks for.
package final class LoginAttempts: Sendable {
  /// Whoever asks must wait.
  package struct TooMany: Error, Sendable, CustomStringConvertible {
    package let source: String
    /// Until the next attempt.
    package let milliseconds: Int64

    package var description: String {
      "Too many failed attempts came from \(source); try again in \((milliseconds + 999) / 1000) s"
    }
  }

  private let shared = SharedAttempts()
  /// Wrong passwords in a row, by authenticator. Bounded by the authenticators there are: `forget` follows their
  /// deletion.
  private let failures = NIOLockedValueBox<[String: Int]>([:])

  package init() {}

  /// Counts an attempt at a password as failed until it is `proved` or withdrawn.
  package func begin(_ account: String, from source: String, now: Timestamp) throws(TooMany) {
    if let wait = shared.begin(account, from: source, now: now.millisecondsSinceEpoch) {
      throw TooMany(source: source, milliseconds: wait)
    }
  }

  package func proved(_ account: String, from source: String, now: Timestamp) {
    shared.proved(account, from: source, now: now.millisecondsSinceEpoch)
  }

  package func withdraw(_ account: String, from source: String, now: Timestamp) {
    shared.withdraw(account, from: source, now: now.millisecondsSinceEpoch)
  }

  /// Counts a token that nobody has.
  /// - Throws: once too many came from there.
  package func unknownToken(from source: String, now: Timestamp) throws(TooMany) {
    if let wait = shared.failed(from: source, now: now.millisecondsSinceEpoch) {
      throw TooMany(source: source, milliseconds: wait)
    }
  }

  /// Counts a wrong password.
  /// - Parameter limit: wrong passwords in a row that a policy allows before a lock-out; 0 is any number.
  /// - Returns: whether that many came now, this one included; the count then starts anew.
  func isOneTooMany(_ authenticator: String, limit: Int) -> Bool {
    guard limit > 0 else { return false }
    return failures.withLockedValue { failures in
      let count = failures[authenticator, default: 0] + 1
      failures[authenticator] = count < limit ? count : nil
      return count >= limit
    }
  }

  /// Starts the count anew: after a right password, or with the authenticator.
  package func forget(_ authenticator: String) { failures.withLockedValue { $0[authenticator] = nil } }
}
