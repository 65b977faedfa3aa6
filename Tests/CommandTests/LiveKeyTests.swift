import Testing

@testable import SwiftletCommand

@Suite("Keys of a live view")
struct LiveKeyTests {
  private func keys(_ text: String) -> [LiveKey] {
    var reader = LiveKeyReader()
    return reader.keys(in: text.utf8)
  }

  @Test("letters, control characters and arrows")
  func known() {
    #expect(keys("q") == [.quit])
    #expect(keys("\u{3}") == [.quit])
    #expect(keys("lc\u{C}") == [.log, .code, .redraw])
    #expect(keys("\u{1B}[A\u{1B}[B\u{1B}OA\u{1B}[5~\u{1B}[6~jk") == [.up, .down, .up, .pageUp, .pageDown, .down, .up])
  }

  @Test("what is inside another key's sequence is no key of ours")
  func sequences() {
    #expect(keys("\u{1B}Oq\u{1B}q\u{1B}[1;5C\u{1B}[3~xyz") == [])
    #expect(keys("\u{1B}[200~q") == [])
    #expect(keys("\u{1B}") == [])
    #expect(keys("\u{1B}[1;") == [])
  }

  @Test("pasted text is no key, in however many pieces it comes")
  func paste() {
    var reader = LiveKeyReader()
    #expect(reader.keys(in: "\u{1B}[200~https://q".utf8) == [])
    #expect(reader.keys(in: "\u{3}qqq".utf8) == [])
    #expect(reader.keys(in: "q\u{1B}[201~l".utf8) == [.log])
  }
}
