import Synchronization
import Transport

/// Makes guessing slow without locking anybody out: the wait before the next try grows with each failure for an account
/// from one source, and a source that tries many accounts has a budget of failures. Whoever proves a password is
/// counted for nothing, and passes the source's budget from then on, so that a whole office behind one address does not
/// wait for a neighbour who guesses. An attempt is counted when it begins: of many at once no more are admitted than
/// one after the other.
///
/// A pure value of fixed size; time comes from the caller, in milliseconds. A source is an address (of IPv6 a network,
/// `ClientNetwork`).
public struct AttemptLimiter: Sendable {
  public struct Limits: Sendable {
    /// Failures for one account from one source before the first wait: people mistype.
    public var freeFailures = 10
    /// The first wait; it doubles with each further failure. Milliseconds.
    public var firstWait: Int64 = 1000
    /// The longest wait; milliseconds. Four guesses an hour are no danger to a password of the least length.
    public var longestWait: Int64 = 15 * 60_000
    /// Failures are forgotten this long after the last; milliseconds.
    public var memory: Int64 = 24 * 3_600_000
    /// Failures a source may have at once over all accounts, and those it regains each second: an office on a Monday
    /// morning.
    public var sourceBurst = 60.0
    public var sourcePerSecond = 0.5
    /// Pairs of source and account that are remembered, and sources.
    public var capacity = 16_384

    public init() {}
  }

  private struct Pair: Hashable {
    var source: String
    var account: String
  }

  private struct PairFact: Sendable {
    var failures = 0
    var at: Int64 = 0
    var hasProven = false

    /// The most failures, and pairs that proved themselves, stay longest; among equals the latest.
    var worth: Double { Double(failures + (hasProven ? 4 : 0)) * 1e15 + Double(at) }
  }

  private struct SourceFact: Sendable {
    var tokens: Double
    var at: Int64
  }

  private let limits: Limits
  private var pairs: SeededTable<PairFact>
  private var sources: SeededTable<SourceFact>

  public init(limits: Limits = Limits()) {
    self.limits = limits
    pairs = SeededTable(capacity: limits.capacity)
    sources = SeededTable(capacity: limits.capacity)
  }

  /// Counts an attempt as failed until `proved` or `withdraw` says otherwise.
  /// - Returns: nil when it is admitted, else the milliseconds until another will be; a refused attempt changes
  ///   nothing.
  public mutating func begin(source address: String, account: String, now: Int64) -> Int64? {
    let source = ClientNetwork.key(address)
    let key = Pair(source: source, account: account)
    var pair = fact(key, now: now)
    if pair.at > now {
      // A clock that went back gives nothing and takes no more than one wait.
      pair.at = now
      pairs.set(pair, for: key, worth: \.worth)
    }
    let wait = wait(after: pair.failures) - (now - pair.at)
    if wait > 0 { return wait }
    if !pair.hasProven, let wait = take(source, now: now) { return wait }
    pair.failures += 1
    pair.at = now
    pairs.set(pair, for: key, worth: \.worth)
    return nil
  }

  /// The attempt was right: what failed before is forgotten.
  public mutating func proved(source address: String, account: String, now: Int64) {
    let source = ClientNetwork.key(address)
    let key = Pair(source: source, account: account)
    if !fact(key, now: now).hasProven { giveBack(source, now: now) }
    pairs.set(PairFact(failures: 0, at: now, hasProven: true), for: key, worth: \.worth)
  }

  /// The attempt was not judged.
  public mutating func withdraw(source address: String, account: String, now: Int64) {
    let source = ClientNetwork.key(address)
    let key = Pair(source: source, account: account)
    var pair = fact(key, now: now)
    pair.failures = max(0, pair.failures - 1)
    if !pair.hasProven { giveBack(source, now: now) }
    pairs.set(pair, for: key, worth: \.worth)
  }

  /// Counts a wrong secret that is too long to be guessed, or a request that makes somebody work: only the source has a
  /// budget for those, and a right secret is never asked to wait.
  /// - Returns: nil while the budget lasts, else milliseconds until there is more.
  public mutating func failed(source address: String, now: Int64) -> Int64? {
    take(ClientNetwork.key(address), now: now)
  }

  /// What is left of a source's budget: nil when there is some, else milliseconds until there is.
  public func wait(source address: String, now: Int64) -> Int64? {
    let fact = refilled(ClientNetwork.key(address), now: now)
    return fact.tokens >= 1 ? nil : untilOne(fact)
  }

  private func untilOne(_ fact: SourceFact) -> Int64 {
    max(1, Int64((1 - fact.tokens) / limits.sourcePerSecond * 1000))
  }

  private func fact(_ key: Pair, now: Int64) -> PairFact {
    guard var fact = pairs.fact(of: key) else { return PairFact() }
    if now - fact.at > limits.memory { fact.failures = 0 }
    return fact
  }

  private func wait(after failures: Int) -> Int64 {
    let doublings = failures - limits.freeFailures
    guard doublings >= 0 else { return 0 }
    return doublings < 40 ? min(limits.longestWait, limits.firstWait << doublings) : limits.longestWait
  }

  private mutating func take(_ source: String, now: Int64) -> Int64? {
    var fact = refilled(source, now: now)
    guard fact.tokens >= 1 else { return untilOne(fact) }
    fact.tokens -= 1
    store(fact, source)
    return nil
  }

  private mutating func giveBack(_ source: String, now: Int64) {
    var fact = refilled(source, now: now)
    fact.tokens = min(limits.sourceBurst, fact.tokens + 1)
    store(fact, source)
  }

  private mutating func store(_ fact: SourceFact, _ source: String) {
    // Whoever has used most is kept; among equals the latest.
    let burst = limits.sourceBurst
    sources.set(fact, for: source) { (burst - $0.tokens) * 1e15 + Double($0.at) }
  }

  private func refilled(_ source: String, now: Int64) -> SourceFact {
    guard let fact = sources.fact(of: source) else { return SourceFact(tokens: limits.sourceBurst, at: now) }
    let tokens = min(limits.sourceBurst, fact.tokens + Double(max(0, now - fact.at)) / 1000 * limits.sourcePerSecond)
    return SourceFact(tokens: tokens, at: now)
  }
}

/// The limiter of a process, for all who ask at once.
public final class SharedAttempts: Sendable {
  private let limiter = Mutex(AttemptLimiter())

  public init() {}

  /// See `AttemptLimiter.begin`.
  public func begin(_ account: String, from source: String, now: Int64) -> Int64? {
    limiter.withLock { $0.begin(source: source, account: account, now: now) }
  }

  public func proved(_ account: String, from source: String, now: Int64) {
    limiter.withLock { $0.proved(source: source, account: account, now: now) }
  }

  public func withdraw(_ account: String, from source: String, now: Int64) {
    limiter.withLock { $0.withdraw(source: source, account: account, now: now) }
  }

  /// See `AttemptLimiter.failed`.
  public func failed(from source: String, now: Int64) -> Int64? {
    limiter.withLock { $0.failed(source: source, now: now) }
  }

  public func wait(from source: String, now: Int64) -> Int64? { limiter.withLock { $0.wait(source: source, now: now) } }
}
