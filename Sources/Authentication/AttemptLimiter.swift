import Transport

/// Counts failed logins and admits attempts per address (of IPv6 per network, `ClientNetwork`): a bucket that refills with time. A pure value; time comes from the caller.
public struct AttemptLimiter: Sendable {
  private struct Bucket {
    var tokens: Double
    var at: Int64
  }

  private let burst: Double
  private let perSecond: Double
  private let capacity: Int
  private var buckets: [String: Bucket] = [:]

  /// - Parameters:
  ///   - burst: failures an address may have at once.
  ///   - perSecond: failures it regains each second.
  ///   - capacity: addresses remembered; when full, the refilled ones are forgotten first.
  public init(burst: Int = 20, perSecond: Double = 0.5, capacity: Int = 10_000) {
    self.burst = Double(burst)
    self.perSecond = perSecond
    self.capacity = capacity
  }

  /// Whether another attempt from `address` is admitted. - Parameter now: milliseconds.
  ///
  /// While every remembered address is guessing, unknown ones wait too: they could not be counted.
  public func admits(_ address: String, now: Int64) -> Bool {
    if let bucket = buckets[ClientNetwork.key(address)] { return tokens(bucket, now: now) >= 1 }
    return buckets.count < capacity || buckets.values.contains { tokens($0, now: now) >= burst }
  }

  public mutating func failed(_ address: String, now: Int64) {
    let key = ClientNetwork.key(address)
    if buckets.count >= capacity, buckets[key] == nil {
      buckets = buckets.filter { tokens($0.value, now: now) < burst }
      // All of them are guessing: forgetting any would help a guesser, so `admits` makes new addresses wait for the old ones to cool down.
      if buckets.count >= capacity { return }
    }
    buckets[key] = Bucket(tokens: max(0, tokens(buckets[key], now: now) - 1), at: now)
  }

  private func tokens(_ bucket: Bucket?, now: Int64) -> Double {
    guard let bucket else { return burst }
    return min(burst, bucket.tokens + Double(max(0, now - bucket.at)) / 1000 * perSecond)
  }
}
