import Testing

@testable import SwiftletCommand

@Suite("QR codes")
struct QRCodeTests {
  @Test("two rows of modules share a line; light is ink")
  func halfBlocks() {
    let modules = [[true, false, true], [true, true, false], [false, true, true]]
    #expect(QRCode.lines(modules, quiet: 0) == [" ▀▄", "▀  "])
    #expect(QRCode.lines([[true]], quiet: 1) == ["█▀█", "▀▀▀"])
    #expect(QRCode.lines([], quiet: 0) == [])
  }

  @Test("a quiet zone surrounds the code")
  func quietZone() throws {
    let code = try #require(QRCode("https://k3v9x0a1b2c3.share.example.com"))
    let lines = QRCode.lines(code.modules)
    let width = code.modules.count + 2 * QRCode.quietZone
    #expect(lines.allSatisfy { $0.count == width })
    #expect(lines.count == (width + 1) / 2)
    #expect(lines.prefix(2).allSatisfy { $0 == String(repeating: "█", count: width) })
    #expect(lines.allSatisfy { $0.hasPrefix("████") && $0.hasSuffix("████") || $0.allSatisfy { "▀".contains($0) } })
  }

  @Test("it has the finder patterns in three corners and the smallest size that holds the text")
  func finders() throws {
    let modules = try #require(QRCode("http://a.example/")).modules
    #expect(modules.count == 21 || modules.count == 25)
    let last = modules.count - 7
    for (row, column) in [(0, 0), (0, last), (last, 0)] {
      #expect(modules[row][column..<column + 7].allSatisfy { $0 })
      #expect(Array(modules[row + 1][column..<column + 7]) == [true, false, false, false, false, false, true])
      #expect(Array(modules[row + 3][column..<column + 7]) == [true, false, true, true, true, false, true])
    }
  }

  @Test("what no code can say gives none")
  func tooLong() {
    #expect(QRCode(String(repeating: "x", count: 3000)) == nil)
    #expect(QRCode("") == nil)
  }

  @Test("its colours do not depend on the terminal's")
  func painted() {
    #expect(QRCode.painted("█ ", hasColour: true) == "\u{1B}[40;97m█ \u{1B}[0m")
    #expect(QRCode.painted("█ ", hasColour: false) == "█ ")
  }
}
