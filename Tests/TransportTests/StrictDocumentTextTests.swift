import Foundation
import Testing

@testable import Transport

@Suite("Configuration files as editors and people leave them")
struct StrictDocumentTextTests {
  private func problem(_ text: String) -> String {
    do {
      let document = try StrictDocument(text: text, file: "f")
      _ = try document.root.string("a")
      _ = try document.root.list("b")
    } catch { return "\(error)" }
    return ""
  }

  @Test("a byte order mark is nothing, in files and in texts")
  func mark() throws {
    #expect(try StrictDocument(text: "\u{FEFF}a: x\r\nb: y\r\n", file: "f").root.string("a") == "x")
    let file = NSTemporaryDirectory() + "swiftlet-mark-\(UUID().uuidString).yml"
    defer { try? FileManager.default.removeItem(atPath: file) }
    try Data([0xEF, 0xBB, 0xBF] + Array("a: x\n".utf8)).write(to: URL(fileURLWithPath: file))
    #expect(try StrictDocument(path: file).root.string("a") == "x")
    #expect(Array(FileText.withoutMark([0xEF, 0xBB])) == [0xEF, 0xBB])
  }

  @Test("a variable that is never closed is refused with its line, also within a list")
  func unclosed() {
    #expect(problem("c: 1\na: ${HOME\n") == "f:2: a: ${ without its }; a variable is written ${NAME}")
    #expect(problem("b:\n- x\n- /y/${HOME\n").hasPrefix("f:3: b: ${ without its }"))
    #expect(problem("a: $HOME and $ {x}\n").isEmpty)
  }

  @Test(
    "a key that is written twice is told in one line, with both places",
    arguments: [
      ("a: 1\nc: 2\n# a: 3\n\na: 4\n", "f:5: the key 'a' is written twice, in line 1 and in line 5"),
      ("x:\n  a: 1\n  c:\n    a: 2\n  a: 3\n", "f:5: the key 'a' is written twice, in line 2 and in line 5"),
      ("x:\n- a: 1\n  \"a\" : 2\n- a: 3\n", "f:3: the key 'a' is written twice, in line 2 and in line 3"),
      ("x: {a: 1, a: 2}\n", "f:1: the key 'a' is written twice"),
      ("\u{FEFF}a: secret\na: secret\n", "f:2: the key 'a' is written twice, in line 1 and in line 2"),
    ])
  func twice(text: String, told: String) { #expect(problem(text) == told) }

  @Test("what is no YAML is told in one line, without the text of the file")
  func unreadable() {
    for text in ["a: [secret\n", "a: secret\n\tb: c\n", "a: 'secret\n", "a: secret\n- b\n", "a: \u{0}secret\n"] {
      let told = problem(text)
      #expect(told.contains("not readable as YAML") && !told.contains("\n") && !told.contains("secret"), "\(told)")
    }
  }

  @Test("addresses: IPv6 in brackets and, in YAML, in quotes; whoever forgets them is told")
  func places() throws {
    let document = try StrictDocument(
      text:
        "a: \"[::1]:1280\"\nb: example.com:80\nc: '::1'\nd: 1280\ntrustedProxies: [\"[2001:db8::1]\", '::1', 192.0.2.1]\n",
      file: "f")
    #expect(try document.root.place("a") == HostPort(host: "::1", port: 1280))
    #expect(try document.root.place("b") == HostPort(host: "example.com", port: 80))
    #expect(try document.root.place("c", defaultPort: 7) == HostPort(host: "::1", port: 7))
    #expect(try document.root.place("none") == nil)
    #expect(throws: ConfigurationError.self) { try document.root.place("d") }
    #expect(try document.root.trustedProxies() == ["2001:db8::1", "::1", "192.0.2.1"])
    #expect(throws: ConfigurationError.self) {
      try StrictDocument(text: "trustedProxies: [example.com]\n", file: "f").root.trustedProxies()
    }
    #expect(
      problem("x:\n  address: [::1]:1280\n").hasSuffix("; an IPv6 address with a port stands in quotes: \"[::1]:1280\"")
    )
    #expect(!problem("a: [\n").contains("quotes"))
  }
}
