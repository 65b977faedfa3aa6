import NIOCore
import Testing

@testable import SwiftletCommand

@Suite("Durations on the command line")
struct DurationArgumentTests {
  @Test("are what Go writes, and days; what would read as nothing is refused")
  func milliseconds() {
    for (text, milliseconds) in [("0", 0), ("250ms", 250), ("1h30m", 5_400_000), ("2d", 172_800_000)] {
      #expect(DurationArgument(argument: text)?.milliseconds == milliseconds)
    }
    for text in ["", "30", "100us", "1ns", "-1s", "soon"] {
      #expect(DurationArgument(argument: text)?.milliseconds == nil)
    }
  }

  @Test("may be bare seconds where a program waits, up to a day of them")
  func seconds() {
    #expect(DurationArgument.orSeconds("0") == .zero && DurationArgument.orSeconds("90") == .seconds(90))
    #expect(DurationArgument.orSeconds("2m") == .minutes(2))
    for text in ["", "-1", "86401", "1d"] { #expect(DurationArgument.orSeconds(text) == nil) }
  }
}
