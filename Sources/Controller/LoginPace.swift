import Model
import NIOConcurrencyHelpers

/// How often an identity may log in: a bucket that fills while it does not. Proven logins only, so that nobody uses up another's.
final class LoginPace: Sendable {
  /// Logins at once: all replicas that use an identity file start together.
  private static let burst = 300.0
  /// Logins a second, lasting. Each costs a transaction on disk.
  private static let rate = 10.0
  /// Buckets beyond which full ones, which say nothing, are forgotten.
  private static let remembered = 10_000

  private struct Bucket {
    var left = LoginPace.burst
    var at: Timestamp

    mutating func fill(_ now: Timestamp) {
      left = min(LoginPace.burst, left + Double(max(0, now.milliseconds(since: at))) / 1000 * LoginPace.rate)
      at = max(at, now)
    }
  }

  private let buckets = NIOLockedValueBox<[String: Bucket]>([:])

  /// Counts a login. - Returns: false when there have been too many.
  func admits(_ identity: String, now: Timestamp) -> Bool {
    buckets.withLockedValue { buckets in
      if buckets.count > Self.remembered {
        buckets = buckets.filter { _, bucket in
          var bucket = bucket
          bucket.fill(now)
          return bucket.left < Self.burst
        }
      }
      var bucket = buckets[identity] ?? Bucket(at: now)
      bucket.fill(now)
      let isAdmitted = bucket.left >= 1
      if isAdmitted { bucket.left -= 1 }
      buckets[identity] = bucket
      return isAdmitted
    }
  }
}
