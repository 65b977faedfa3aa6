import NIOCore
import Testing

@testable import SwiftletCommand

@Suite("The live view of a share")
struct LiveViewTests {
  private static let url = "https://k3v9x0a1b2c3.share.example.com"
  private static let subject = LiveView.Subject(
    headline: [url], badges: ["PUBLIC", "PROXY"], target: "http://127.0.0.1:8000", link: url, traffic: "requests")

  private func view(
    _ columns: Int = 100, _ rows: Int = 30, _ subject: LiveView.Subject = subject, wantsCode: Bool = false
  ) -> LiveView {
    LiveView(subject, size: .init(columns: columns, rows: rows), hasColour: false, wantsCode: wantsCode)
  }

  private func entry(_ path: String, status: Int? = 200, method: String = "GET", remote: String = "10.0.0.1")
    -> RequestFeed.Entry
  {
    .init(
      method: method, path: path, remote: remote, status: status, duration: .microseconds(1234), bytesIn: 10,
      bytesOut: 1500)
  }

  private func batch(_ entries: [RequestFeed.Entry]) throws -> RequestFeed.Batch {
    let feed = RequestFeed()
    for entry in entries { feed.add(entry) }
    return try #require(feed.take())
  }

  /// Without the jumps to a column, which stand where the text before them ends anyway.
  private func plain(_ rows: [String]) -> [String] { rows.map { $0.replacing(#/\x{1B}\[[0-9;]*[mG]/#, with: "") } }

  @Test("it says the URL, what is shared, how much passed, and each request, newest first")
  func content() throws {
    var view = view()
    view.add(
      try batch([entry("/first"), entry("/second", status: 404), entry("/third", status: nil, method: "DELETE")]),
      clock: "12:00:01")
    view.add(try batch([entry("/fourth", status: 502)]), clock: "12:00:02")
    let rows = plain(view.frame())
    let text = rows.joined(separator: "\n")
    #expect(rows.count == 30)
    #expect(rows[1].contains(Self.url))
    #expect(text.contains("[PUBLIC] [PROXY]"))
    #expect(text.contains("http://127.0.0.1:8000"))
    #expect(text.contains("4 requests   40 B in   6.0 kB out"))
    let list = rows.filter { $0.contains(" ms") }
    #expect(list.count == 4)
    #expect(list[0].contains("12:00:02  502  GET     /fourth") && list[0].contains("1.2 ms  10.0.0.1"))
    #expect(list[1].contains("12:00:01  ---  DELETE  /third"))
    #expect(list[2].contains("404") && list[3].contains("/first"))
  }

  @Test(
    "every row fits every window, with and without the QR code and the log",
    arguments: [1, 8, 20, 40, 60, 80, 100, 140, 250])
  func fits(columns: Int) throws {
    for rows in [1, 2, 6, 10, 19, 24, 40, 80] {
      for keys in [[], [.code], [.log], [.code, .log], [.code, .code], [.quit]] as [[LiveKey]] {
        var view = view(columns, rows)
        view.add(
          try batch([entry("/" + String(repeating: "日本語", count: 60), remote: String(repeating: "x", count: 300))]),
          clock: "12:00:01")
        for key in keys { view.press(key) }
        let frame = plain(view.frame())
        #expect(frame.count == rows)
        if columns >= 8 { #expect(frame.allSatisfy { CellText.width($0) <= columns }, "\(columns)x\(rows) \(keys)") }
      }
    }
  }

  @Test("colours change nothing but colour, and say how a request went")
  func colours() throws {
    var (bare, coloured) = (view(), LiveView(Self.subject, size: .init(columns: 100, rows: 30), hasColour: true))
    let batch = try batch([entry("/a"), entry("/b", status: 404), entry("/c", status: 500), entry("/d", status: nil)])
    bare.add(batch, clock: "12:00:01")
    coloured.add(batch, clock: "12:00:01")
    let rows = coloured.frame()
    #expect(plain(rows) == plain(bare.frame()))
    let text = rows.joined()
    for status in ["\u{1B}[32m200", "\u{1B}[33m404", "\u{1B}[31m500", "\u{1B}[31m---"] {
      #expect(text.contains(status))
    }
  }

  @Test("what visitors send cannot leave its row")
  func hostile() throws {
    var view = view()
    view.add(
      try batch([
        entry("/\u{1B}[2J\u{1B}]0;owned\u{7}\r\n", method: "G\u{1B}[0mET", remote: "a\u{202E}b"), entry("/ok"),
      ]), clock: "12:00:01")
    view.add(log: "reason=\u{1B}[2Jgone")
    let text = plain(view.frame()).joined()
    #expect(!text.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x202E })
    #expect(text.contains("/\u{FFFD}[2J\u{FFFD}]0;owned"))
  }

  @Test("256 requests are kept and can be scrolled to; who scrolls stays where he is")
  func scrolling() throws {
    var view = view(100, 24)
    view.add(try batch((1...300).map { entry("/\($0).") }), clock: "12:00:01")
    _ = view.frame()
    for _ in 0..<100 { view.press(.pageDown) }
    var rows = plain(view.frame())
    #expect(rows.contains { $0.contains("/45. ") } && !rows.contains { $0.contains("/44. ") })
    let before = rows.filter { $0.contains(" ms") }
    view.press(.up)
    view.press(.down)
    #expect(plain(view.frame()).filter { $0.contains(" ms") } == before)
    for _ in 0..<100 { view.press(.pageUp) }
    view.press(.down)
    let second = plain(view.frame()).first { $0.contains(" ms") }
    view.add(try batch([entry("/new")]), clock: "12:00:02")
    rows = plain(view.frame())
    #expect(rows.first { $0.contains(" ms") } == second)
    #expect(rows.contains { $0.contains("2 newer above") })
  }

  @Test("the QR code is there from the start where there is room, and on the key c elsewhere")
  func code() {
    func shows(_ view: LiveView) -> Bool {
      var view = view
      return view.frame().contains { $0.contains("████") }
    }
    for (columns, rows) in [(110, 30), (60, 50)] {
      var view = view(columns, rows)
      #expect(shows(view))
      view.press(.code)
      #expect(!shows(view))
    }
    for (columns, rows) in [(80, 24), (40, 24)] {
      var view = view(columns, rows)
      #expect(!shows(view))
      view.press(.code)
      #expect(shows(view))
      #expect(shows(self.view(columns, rows, wantsCode: true)))
      view.press(.code)
      #expect(!shows(view))
    }
    var small = view(30, 10)
    small.press(.code)
    #expect(!shows(small))
    var wide = view(60, 10)
    wide.press(.code)
    #expect(wide.frame().last?.contains("too small") == true)
    var without = view(110, 30, .init(headline: ["x"], badges: [], target: "y", link: nil, traffic: nil))
    #expect(!shows(without) && !without.frame().joined().contains("QR"))
  }

  @Test("the log opens with its first line, and as the key l says from then on")
  func log() {
    func shows(_ view: LiveView) -> Bool {
      var view = view
      return plain(view.frame()).contains { $0.contains("─ log ─") }
    }
    var view = view()
    #expect(!shows(view))
    view.add(log: "\u{1B}[33mwarning\u{1B}[0m router lost")
    #expect(shows(view))
    #expect(plain(view.frame()).contains { $0.contains("│ warning router lost") })
    view.press(.log)
    view.add(log: "again")
    #expect(!shows(view))
    view.press(.log)
    #expect(shows(view))
  }

  @Test("it asks to be drawn only when something changed")
  func changes() throws {
    var view = view()
    #expect(view.needsDrawing)
    _ = view.frame()
    view.tick(0)
    view.tick(1)
    view.resize(.init(columns: 100, rows: 30))
    #expect(!view.needsDrawing)
    view.add(try batch([entry("/")]), clock: "12:00:01")
    #expect(view.needsDrawing)
    _ = view.frame()
    view.resize(.init(columns: 90, rows: 30))
    #expect(view.needsDrawing)
  }

  @Test("the rate is that of the last seconds")
  func rate() throws {
    var view = view()
    view.tick(0)
    view.add(try batch(Array(repeating: entry("/"), count: 20)), clock: "12:00:01")
    view.tick(2)
    #expect(view.frame().joined().contains("10.0/s"))
    view.tick(10)
    #expect(view.needsDrawing)
    #expect(!view.frame().joined().contains("/s"))
  }

  @Test("a share whose traffic nobody counts shows none")
  func uncounted() {
    var view = view(
      100, 30,
      .init(headline: ["swiftlet access private ssh"], badges: ["PRIVATE", "TCPTUNNEL"], target: "tcp://127.0.0.1:22"))
    let text = plain(view.frame()).joined()
    #expect(text.contains("[PRIVATE] [TCPTUNNEL]") && text.contains("swiftlet access private ssh"))
    #expect(!text.contains("requests") && !text.contains(" in ") && !text.contains("scroll"))
    #expect(view.summary == "swiftlet access private ssh")
  }

  @Test(
    "sizes are told in decimal units",
    arguments: [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (5_340_000_000_000, "5.3 TB")])
  func bytes(count: Int, text: String) { #expect(LiveView.bytes(count) == text) }
}

@Suite("The way from event loops to the screen")
struct RequestFeedTests {
  private func entry(_ path: String) -> RequestFeed.Entry {
    .init(method: "GET", path: path, remote: "", status: 200, duration: .zero, bytesIn: 1, bytesOut: 2)
  }

  @Test("it keeps the latest in their order and counts all")
  func bounded() throws {
    let feed = RequestFeed()
    for number in 0..<1000 { feed.add(entry("\(number)")) }
    let batch = try #require(feed.take())
    #expect(batch.entries.map(\.path) == (744..<1000).map(String.init))
    #expect((batch.count, batch.bytesIn, batch.bytesOut) == (1000, 1000, 2000))
    #expect(feed.take() == nil)
  }

  @Test("nothing is lost between many writers and a reader")
  func concurrent() async {
    let feed = RequestFeed()
    let total = await withTaskGroup(of: Int.self) { group in
      for _ in 0..<4 {
        group.addTask {
          for _ in 0..<10_000 { feed.add(entry("/")) }
          return 0
        }
      }
      group.addTask {
        var seen = 0
        while seen < 40_000 {
          seen += feed.take()?.count ?? 0
          await Task.yield()
        }
        return seen
      }
      return await group.reduce(0, +)
    }
    #expect(total == 40_000)
  }
}
