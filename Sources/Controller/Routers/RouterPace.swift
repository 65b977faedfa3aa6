import NIOConcurrencyHelpers

/// How often routers get what costs the controller much and them nothing: everything there is, or certificates. Kept by
/// router and not by channel, so that a new channel is no new start.
final class RouterPace: Sendable {
  struct Rate: Sendable {
    let burst: Double
    /// Seconds until one more is granted.
    let seconds: Double

    /// Whole states of sessions and of the data model. A connection needs two, so ten reconnections in a row are free.
    static let wholeStates = Rate(burst: 20, seconds: 1)
    /// Certificates: signed, stored, and told to every router. One lasts an hour at the least.
    static let certificates = Rate(burst: 10, seconds: 60)
    /// Quiescing: each of a router's terminators gets another place among those of its service. An operator does it, by
    /// hand.
    static let quiesces = Rate(burst: 10, seconds: 30)
  }

  private struct Bucket {
    /// Below zero when grants are taken in advance.
    var left: Double
    var at: ContinuousClock.Instant
  }

  private let rate: Rate
  private let buckets = NIOLockedValueBox<[String: Bucket]>([:])

  init(_ rate: Rate) { self.rate = rate }

  /// Takes one grant, in advance if need be. - Returns: how long to wait until it is due.
  func take(_ router: String, now: ContinuousClock.Instant = .now) -> Duration {
    buckets.withLockedValue { buckets in
      let left = filled(buckets[router], now) - 1
      buckets[router] = Bucket(left: left, at: now)
      return .seconds(max(0, -left) * rate.seconds)
    }
  }

  /// Takes a grant if there is one now.
  func admits(_ router: String, now: ContinuousClock.Instant = .now) -> Bool {
    buckets.withLockedValue { buckets in
      let left = filled(buckets[router], now)
      guard left >= 1 else { return false }
      buckets[router] = Bucket(left: left - 1, at: now)
      return true
    }
  }

  func forget(_ router: String) { buckets.withLockedValue { $0[router] = nil } }

  private func filled(_ bucket: Bucket?, _ now: ContinuousClock.Instant) -> Double {
    guard let bucket else { return rate.burst }
    return min(rate.burst, bucket.left + (now - bucket.at) / .seconds(1) / rate.seconds)
  }
}
