import Authentication
import Model
import NIOConcurrencyHelpers
import REST

/// Guesses at the secrets of this network. The limiter makes guessing slow at its source; the count by authenticator is
/// what a policy's lock-out asks for.
final class LoginAttempts: Sendable {
  private let shared = SharedAttempts()
  /// Wrong passwords in a row, by authenticator. Bounded by the authenticators there are: `forget` follows their
  /// deletion.
  private let failures = NIOLockedValueBox<[String: Int]>([:])

  /// Counts an attempt at a password as failed until it is `proved` or withdrawn.
  /// - Throws: `APIError` when it must wait.
  func begin(_ account: String, from source: String, now: Timestamp) throws {
    if let wait = shared.begin(account, from: source, now: now.millisecondsSinceEpoch) {
      throw Self.refusal(source, wait)
    }
  }

  func proved(_ account: String, from source: String, now: Timestamp) {
    shared.proved(account, from: source, now: now.millisecondsSinceEpoch)
  }

  func withdraw(_ account: String, from source: String, now: Timestamp) {
    shared.withdraw(account, from: source, now: now.millisecondsSinceEpoch)
  }

  /// Counts a token that nobody has.
  /// - Throws: `APIError` once too many came from there.
  func unknownToken(from source: String, now: Timestamp) throws {
    if let wait = shared.failed(from: source, now: now.millisecondsSinceEpoch) { throw Self.refusal(source, wait) }
  }

  private static func refusal(_ source: String, _ milliseconds: Int64) -> APIError {
    APIError(
      .rateLimited, "Too many failed attempts came from \(source); try again in \((milliseconds + 999) / 1000) s")
  }

  /// - Returns: wrong passwords in a row, this one included.
  func wrongPassword(_ authenticator: String) -> Int {
    failures.withLockedValue { failures in
      failures[authenticator, default: 0] += 1
      return failures[authenticator] ?? 1
    }
  }

  /// Starts the count anew: after a right password, a lock-out, or with the authenticator.
  func forget(_ authenticator: String) { failures.withLockedValue { $0[authenticator] = nil } }
}
