import Testing
import Transport

@Suite("Percent-encoding")
struct PercentTextTests {
  @Test("leaves what is unreserved, writes the rest as two capital digits, and comes back byte for byte")
  func roundTrip() {
    #expect(PercentText.encoded(Array("aZ09-._~".utf8)) == "aZ09-._~")
    #expect(PercentText.encoded([0, 0x0A, 0x20, 0x25, 0x2B, 0x2F, 0xE9]) == "%00%0A%20%25%2B%2F%E9")
    #expect("ä b/c".pathSegment == "%C3%A4%20b%2Fc" && "".pathSegment == "")
    let all = (0...255).map { UInt8($0) }
    #expect(PercentText.decoded(Array(PercentText.encoded(all).utf8)[...]) == all)
  }

  @Test("is read in digits of either case, and not at all when a sign has not its two")
  func reading() {
    func decoded(_ text: String) -> [UInt8]? { PercentText.decoded(Array(text.utf8)[...]) }
    #expect(decoded("%4a%4Bc+") == Array("JKc+".utf8))
    for bad in ["%", "%4", "%zz", "a%4g", "%%41"] { #expect(decoded(bad) == nil) }
  }
}
