import NIOCore
import Testing
import Transport

@Suite("Waits between attempts")
struct BackoffTests {
  @Test("double up to the longest, each somewhere in its upper half, and begin again after a success")
  func growth() {
    for _ in 0..<100 {
      var backoff = Backoff(minimum: .milliseconds(100), maximum: .milliseconds(350))
      for ceiling in [100, 200, 350, 350] as [Int64] {
        let wait = backoff.next().nanoseconds
        #expect(wait >= ceiling * 500_000 && wait <= ceiling * 1_000_000)
      }
      backoff.reset()
      #expect(backoff.next() <= .milliseconds(100))
    }
  }
}
