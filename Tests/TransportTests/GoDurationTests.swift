import NIOCore
import Testing
import Transport

@Suite("Durations as Go writes them")
struct GoDurationTests {
  @Test(
    "are read in every unit, added up, and as a bare 0",
    arguments: [
      ("0", 0), ("0s", 0), ("1ns", 1), ("2us", 2_000), ("2\u{b5}s", 2_000), ("2\u{3bc}s", 2_000),
      ("250ms", 250_000_000),
      ("10s", 10_000_000_000), ("5m", 300_000_000_000), ("1h30m", 5_400_000_000_000), ("1.5h", 5_400_000_000_000),
      (".5s", 500_000_000), ("1m1s1ms", 61_001_000_000),
    ] as [(String, Int64)])
  func good(_ text: String, _ nanoseconds: Int64) { #expect(GoDuration.parse(text) == .nanoseconds(nanoseconds)) }

  @Test(
    "are nothing else",
    arguments: ["", "1", "s", "1x", "1 s", "-1s", "1s ", "1..5s", "٣s", "1S", "1d", "9999999999h", "1e3s", "infs"])
  func bad(_ text: String) { #expect(GoDuration.parse(text) == nil) }

  @Test("have days where somebody says so")
  func days() { #expect(GoDuration.parse("1d12h", withDays: true) == .hours(36)) }
}
