package import Model
import NIOConcurrencyHelpers

/// How often an identity may do what costs a transaction on disk: log in, have a certificate made, have a session for a
/// service made. Each identity has a bucket of permits, which fills again with time. Only callers that have proven who
/// they are are counted, so that nobody uses up another's.
package final class LoginPace: Sendable {
  /// Permits of a full bucket: so many at once.
  private let burst: Double
  /// Permits that come back in a second.
  private let rate: Double
  /// Buckets beyond which full ones, which say nothing, are forgotten.
  private static let remembered = 10_000

  private struct Bucket {
    var left: Double
    var at: Timestamp

    mutating func fill(_ now: Timestamp, _ pace: LoginPace) {
      left = min(pace.burst, left + Double(max(0, now.milliseconds(since: at))) / 1000 * pace.rate)
      // Set back as well, where the clock was ahead.
      at = now
    }
  }

  private let buckets = NIOLockedValueBox<[String: Bucket]>([:])

  /// - Parameters:
  ///   - burst: all replicas that use an identity file start together.
  ///   - rate: a second.
  package init(burst: Double = 300, rate: Double = 10) {
    self.burst = burst
    self.rate = rate
  }

  /// Counts one. - Returns: false when there have been too many.
  package func admits(_ identity: String, now: Timestamp) -> Bool {
    buckets.withLockedValue { buckets in
      if buckets.count > Self.remembered {
        buckets = buckets.filter { _, bucket in
          var bucket = bucket
          bucket.fill(now, self)
          return bucket.left < burst
        }
      }
      var bucket = buckets[identity] ?? Bucket(left: burst, at: now)
      bucket.fill(now, self)
      let isAdmitted = bucket.left >= 1
      if isAdmitted { bucket.left -= 1 }
      buckets[identity] = bucket
      return isAdmitted
    }
  }
}
