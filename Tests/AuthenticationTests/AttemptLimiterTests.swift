import Testing

@testable import Authentication

@Suite("The limit of attempts")
struct AttemptLimiterTests {
  private static func limiter(_ change: (inout AttemptLimiter.Limits) -> Void = { _ in }) -> AttemptLimiter {
    var limits = AttemptLimiter.Limits()
    change(&limits)
    return AttemptLimiter(limits: limits)
  }

  /// Attempts that are admitted when one is made every second.
  private static func admitted(_ limiter: inout AttemptLimiter, _ source: String, _ account: String, seconds: Int64)
    -> Int
  {
    (0..<seconds).count { limiter.begin(source: source, account: account, now: $0 * 1000) == nil }
  }

  @Test(
    "the wait doubles with each failure for an account from a source, up to the longest; other accounts and sources do not wait"
  )
  func grows() {
    var limiter = Self.limiter()
    for _ in 0..<10 { #expect(limiter.begin(source: "a", account: "eve", now: 0) == nil) }
    var waits: [Int64] = []
    var now: Int64 = 0
    for _ in 0..<14 {
      let wait = limiter.begin(source: "a", account: "eve", now: now) ?? 0
      waits.append(wait)
      #expect(limiter.begin(source: "a", account: "eve", now: now + wait - 1) == 1)
      now += wait
      #expect(limiter.begin(source: "a", account: "eve", now: now) == nil)
    }
    #expect(waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900].map { $0 * 1000 })
    #expect(limiter.begin(source: "a", account: "bob", now: now) == nil)
    #expect(limiter.begin(source: "b", account: "eve", now: now) == nil)
  }

  @Test("a day of guessing at one account from one source is some hundred guesses")
  func dayOfGuessing() {
    var limiter = Self.limiter()
    #expect(Self.admitted(&limiter, "a", "eve", seconds: 86_400) < 120)
  }

  @Test("attempts count when they begin: of many at once no more are admitted than one after the other")
  func atOnce() {
    var limiter = Self.limiter()
    #expect((0..<1000).count { _ in limiter.begin(source: "a", account: "eve", now: 0) == nil } == 10)
  }

  @Test(
    "a source that tries many accounts runs out of its budget; whoever proved a password there does not wait for it")
  func neighbour() {
    var limiter = Self.limiter()
    #expect(limiter.begin(source: "nat", account: "ann", now: 0) == nil)
    limiter.proved(source: "nat", account: "ann", now: 0)
    #expect((0..<1000).count { limiter.begin(source: "nat", account: "guess \($0)", now: 0) == nil } == 60)
    #expect(limiter.begin(source: "nat", account: "bob", now: 0) == 2000)
    #expect(limiter.begin(source: "nat", account: "ann", now: 0) == nil)
    #expect(limiter.begin(source: "elsewhere", account: "bob", now: 0) == nil)
    #expect(limiter.begin(source: "nat", account: "bob", now: 2000) == nil)
  }

  @Test("a right password forgets what failed before, what was not judged counts for nothing")
  func provedAndWithdrawn() {
    var limiter = Self.limiter()
    for round in 0..<100 {
      for _ in 0..<9 { #expect(limiter.begin(source: "a", account: "ann", now: 0) == nil, "\(round)") }
      limiter.proved(source: "a", account: "ann", now: 0)
    }
    for _ in 0..<100 {
      #expect(limiter.begin(source: "b", account: "ann", now: 0) == nil)
      limiter.withdraw(source: "b", account: "ann", now: 0)
    }
  }

  @Test("a clock that goes back gives nothing, and takes no more than the wait")
  func clockGoesBack() {
    var limiter = Self.limiter { $0.freeFailures = 1 }
    #expect(limiter.begin(source: "a", account: "ann", now: 1_000_000) == nil)
    #expect(limiter.begin(source: "a", account: "ann", now: 0) == 1000)
    #expect(limiter.begin(source: "a", account: "ann", now: 1000) == nil)
  }

  @Test("strangers by the hundred thousand take no more memory, shut nobody out, and do not clear whoever guesses")
  func flood() {
    var limiter = Self.limiter { $0.capacity = 256 }
    for _ in 0..<20 { _ = limiter.begin(source: "guesser", account: "ann", now: 0) }
    for number in 0..<100_000 {
      _ = limiter.begin(
        source: "2001:db8:\(String(number / 65536, radix: 16)):\(String(number % 65536, radix: 16))::1", account: "x",
        now: 0)
    }
    #expect(limiter.begin(source: "newcomer", account: "ann", now: 0) == nil)
    #expect(limiter.begin(source: "guesser", account: "ann", now: 0) != nil)
  }

  @Test("addresses of one IPv6 network count as one")
  func network() {
    var limiter = Self.limiter()
    for host in 0..<10 { #expect(limiter.begin(source: "2001:db8::\(host)", account: "ann", now: 0) == nil) }
    #expect(limiter.begin(source: "[2001:db8::ffff]", account: "ann", now: 0) == 1000)
  }

  @Test("one source holds a quarter of the queue of password checks at most")
  func queueShare() async throws {
    let hasher = try PasswordHasher(threads: 1, queueLimit: 16)
    let outcomes = await withTaskGroup(of: Bool.self) { group in
      for _ in 0..<12 {
        group.addTask {
          do {
            _ = try await hasher.verify("x", against: nil, from: "crowd")
            return false
          } catch { return true }
        }
      }
      let other = try? await hasher.verify("x", against: nil, from: "elsewhere")
      #expect(other == false)
      return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
    }
    #expect(outcomes >= 1 && outcomes <= 8)
  }
}
