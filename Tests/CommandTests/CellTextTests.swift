import Testing

@testable import SwiftletCommand

@Suite("Text in the cells of a terminal")
struct CellTextTests {
  @Test("nothing that a peer sends moves the cursor, hides or reorders text")
  func clean() {
    #expect(CellText.clean("/index.html?a=b") == "/index.html?a=b")
    #expect(CellText.clean("/\u{1B}[2J\r\n\u{7F}") == "/\u{FFFD}[2J\u{FFFD}\u{FFFD}\u{FFFD}")
    #expect(CellText.clean("/\u{9B}2J") == "/\u{FFFD}2J")
    #expect(CellText.clean("/\u{202E}gpj.exe\u{200B}\u{2028}") == "/\u{FFFD}gpj.exe\u{FFFD}\u{FFFD}")
    #expect(CellText.clean("/日本語/é") == "/日本語/é")
  }

  @Test(
    "widths count cells",
    arguments: [("abc", 3), ("日本", 4), ("é", 1), ("e\u{301}", 1), ("🙂", 2), ("한글", 4), ("ｱ", 1), ("Ａ", 2), ("", 0)])
  func width(text: String, cells: Int) { #expect(CellText.width(text) == cells) }

  @Test("fitted text has exactly the cells it was given")
  func fitted() {
    #expect(CellText.fitted("abc", 5) == "abc  ")
    #expect(CellText.fitted("abcdef", 4) == "abc…")
    #expect(CellText.fitted("日本語", 6) == "日本語")
    #expect(CellText.fitted("日本語", 5) == "日本…")
    // Half a wide character cannot be shown.
    #expect(CellText.fitted("日本語", 4) == "日… ")
    #expect(CellText.fitted("abc", 1) == "…")
    #expect(CellText.fitted("abc", 0) == "")
    for columns in 0..<12 { #expect(CellText.width(CellText.fitted("a日b本c🙂d", columns)) == columns) }
  }

  @Test("wrapping leaves nothing out and comes to an end")
  func wrapped() {
    #expect(CellText.wrapped("abcdef", 4) == ["abcd", "ef"])
    #expect(CellText.wrapped("", 4) == [""])
    #expect(CellText.wrapped("日本", 1) == ["日", "本"])
  }

  @Test("colours of log lines are taken off, other sequences are not")
  func withoutStyle() {
    #expect(CellText.withoutStyle("\u{1B}[2m12:00\u{1B}[0m \u{1B}[1;31merror\u{1B}[0m") == "12:00 error")
    #expect(CellText.withoutStyle("\u{1B}[2Jx") == "\u{1B}[2Jx")
  }
}

@Suite("What a failed command prints")
struct CommandFailureTests {
  @Test("the words of a peer cannot move the cursor; lines stay lines")
  func harmless() {
    let failure = CommandFailure("cannot ask\u{202E} it", reason: "agent: \u{1B}]52;c;AAAA\u{07}\u{9B}2J\nsecond line")
    #expect(failure.words == "cannot ask\u{FFFD} it: agent: \u{FFFD}]52;c;AAAA\u{FFFD}\u{FFFD}2J\nsecond line")
  }
}
