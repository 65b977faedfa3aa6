import PKI
import Testing

@Suite("The source of random numbers")
struct RandomSourceTests {
  @Test("gives as many bytes and characters as asked for, of the alphabet asked for, and others each time")
  func shapes() {
    for count in [0, 1, 7, 8, 9, 1000] { #expect(RandomSource.bytes(count).count == count) }
    #expect(RandomSource.bytes(32) != RandomSource.bytes(32))
    #expect(Set(RandomSource.bytes(10_000)).count == 256)
    let text = RandomSource.text(1000, of: "aß7")
    #expect(text.count == 1000 && Set(text) == ["a", "ß", "7"])
    let hex = RandomSource.hex(500)
    #expect(hex.utf8.count == 1000 && Set(hex) == Set("0123456789abcdef"))
  }
}
