import NIOCore
import Testing
import Transport

@Suite("Answers to what belongs to nobody")
struct StrayAnswersTests {
  @Test("one id is answered once a second, many get 64 at once and 64 a second")
  func limits() {
    var answers = StrayAnswers()
    let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    func allowed(_ ids: some Sequence<Int>, at now: NIODeadline) -> Int {
      var count = 0
      for id in ids where answers.allows(UInt32(id), now: now) { count += 1 }
      return count
    }
    #expect(allowed(Array(repeating: 7, count: 100), at: start) == 1)
    #expect(allowed([7], at: start + .milliseconds(1100)) == 1)
    #expect(allowed(100..<10_100, at: start + .seconds(10)) == 64)
    #expect(allowed(100..<10_100, at: start + .milliseconds(10_500)) <= 32)
  }
}
