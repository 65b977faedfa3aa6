import Testing

@testable import WebRelay

@Suite("HTTP/1.1 as it comes")
struct MessageParserTests {
  /// `^E9` is the octet E9.
  static func octets(_ text: String) -> [UInt8] {
    var octets: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let octet = rest.popFirst() {
      guard octet == UInt8(ascii: "^") else {
        octets.append(octet)
        continue
      }
      octets.append(UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) ?? 0)
      rest = rest.dropFirst(2)
    }
    return octets
  }

  /// What is told, a line each: `> GET /path 1 [Name: value]`, `= body`, `. [Trailer: value]`, and `! fault` in words.
  static func told(
    _ kind: MessageParser.Kind, _ pieces: some Sequence<[UInt8]>,
    limits: MessageLimits = MessageLimits(line: 400, head: 1000, fields: 8),
    toHEAD: [Bool] = [false, false, false]
  ) -> [String] {
    var parser = MessageParser(kind, limits: limits)
    if kind == .answers { for isHEAD in toHEAD { parser.expectAnswer(toHEAD: isHEAD) } }
    var lines: [String] = []
    var isBody = false
    func add(_ event: MessageEvent, _ piece: [UInt8]) {
      switch event {
      case .head(let head):
        let start =
          switch head.start {
          case .request(let method, let target): "\(method) \(OctetText.shown(target, limit: 500))"
          case .answer(let status, let reason): "\(status) \(OctetText.shown(reason, limit: 500))"
          }
        lines.append("> \(start) \(head.minor)" + shown(head.fields) + (head.endsConnection ? " last" : ""))
      case .body(let range):
        let text = String(decoding: piece[range], as: UTF8.self)
        if isBody { lines[lines.count - 1] += text } else { lines.append("= " + text) }
      case .end(let trailers): lines.append("." + shown(trailers))
      }
      if case .body = event { isBody = true } else { isBody = false }
    }
    do {
      for piece in pieces {
        var position = 0
        while let event = try piece.withUnsafeBytes({ try parser.next($0, &position) }) { add(event, piece) }
      }
      if let event = try parser.finish() { add(event, []) }
    } catch {
      lines.append("! \(error)")
    }
    return lines
  }

  private static func shown(_ fields: [(String, String)]) -> String {
    fields.map { " [\($0.0): \(OctetText.shown($0.1, limit: 500))]" }.joined()
  }

  /// Whole, in two pieces cut anywhere, and byte by byte.
  private func check(
    _ kind: MessageParser.Kind, _ text: String, _ expected: [String], toHEAD: [Bool] = [false, false, false]
  ) {
    let octets = Self.octets(text)
    #expect(Self.told(kind, [octets], toHEAD: toHEAD) == expected, "\(text)")
    #expect(Self.told(kind, octets.map { [$0] }, toHEAD: toHEAD) == expected, "byte by byte: \(text)")
    for cut in 0...octets.count {
      let pieces = [Array(octets[..<cut]), Array(octets[cut...])]
      #expect(Self.told(kind, pieces, toHEAD: toHEAD) == expected, "cut at \(cut): \(text)")
    }
  }

  @Test(
    "requests",
    arguments: [
      ("GET /a?b HTTP/1.1\r\nHost: a\r\nX:  v \t\r\n\r\n", ["> GET /a?b 1 [Host: a] [X: v]", "."]),
      ("GET / HTTP/1.1\nHost: a\n\n", ["> GET / 1 [Host: a]", "."]),
      ("\r\n\nGET / HTTP/1.0\r\n\r\n", ["> GET / 0", "."]),
      ("GET / HTTP/1.7\r\nHost:\r\n\r\n", ["> GET / 1 [Host: ]", "."]),
      ("QUERY / HTTP/1.1\r\nHost: a\r\n\r\n", ["> QUERY / 1 [Host: a]", "."]),
      ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", ["> OPTIONS * 1 [Host: a]", "."]),
      ("GET http://b:81/p?q HTTP/1.1\r\nX: 1\r\nHost: a\r\n\r\n", ["> GET /p?q 1 [Host: b:81] [X: 1]", "."]),
      ("GET HTTPS://b HTTP/1.1\r\nHost: a\r\n\r\n", ["> GET / 1 [Host: b]", "."]),
      ("GET http://b?x HTTP/1.0\r\n\r\n", ["> GET /?x 0 [Host: b]", "."]),
      ("OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n", ["> OPTIONS * 1 [Host: b]", "."]),
      (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        ["> POST / 1 [Host: a] [Content-Length: 5]", "= hello", ".", "> GET /b 1 [Host: a]", "."]
      ),
      ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", ["> PUT / 1 [Host: a] [Content-Length: 0]", "."]),
      (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=\"y;\"\r\nhello\r\n00A \r\n0123456789\r\n000\r\nX: y\r\nHost: b\r\n\r\n",
        ["> POST / 1 [Host: a] [Transfer-Encoding: Chunked]", "= hello0123456789", ". [X: y]"]
      ),
      (
        "GET /^E9/^C3^A9 HTTP/1.1\r\nHost: a\r\nX: caf^E9 caf^C3^A9\r\n\r\n",
        ["> GET /%E9/\u{E9} 1 [Host: a] [X: caf%E9 caf\u{E9}]", "."]
      ),
    ] as [(String, [String])])
  func requests(_ text: String, _ expected: [String]) { check(.requests, text, expected) }

  @Test(
    "requests that are refused",
    arguments: [
      ("hello\r\n\r\n", .startLine), ("GET /\r\nHost: a\r\n\r\n", .startLine),
      ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .target),
      ("G@T / HTTP/1.1\r\n", .startLine), (" GET / HTTP/1.1\r\n", .startLine),
      (String(repeating: "\r\n", count: 9), .startLine),
      ("^16^03^01^02", .tls), ("^00", .startLine), ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", .version),
      ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", .version),
      ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", .connect), ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", .target),
      ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", .target), ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", .target),
      ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", .target), ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", .target),
      ("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", .target), ("GET / HTTP/1.1\r\nX: y\r\n\r\n", .host),
      ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", .host), ("GET http://b/ HTTP/1.1\r\n\r\n", .host),
      ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .host), ("GET / HTTP/1.1\r\nHost: a/..\r\n\r\n", .host),
      ("GET / HTTP/1.1\r\nHost: <b>\r\n\r\n", .host),
      ("GET / HTTP/1.1\r\nno field\r\n\r\n", .field),
      ("GET / HTTP/1.1\r\n: y\r\n\r\n", .field), ("GET / HTTP/1.1\r\nX^E9: y\r\n\r\n", .field),
      ("GET / HTTP/1.1\r\nX : y\r\n\r\n", .spaceBeforeColon), ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", .folded),
      ("GET / HTTP/1.1\r\nX: a^00b\r\n\r\n", .value), ("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", .value),
      ("GET / HTTP/1.1\r\nX: a\r\r\n\r\n", .value),
      ("GET / HTTP/1.1\r\nX: " + String(repeating: "y", count: 400) + "\r\n\r\n", .headTooLarge),
      (
        "GET / HTTP/1.1\r\n" + String(repeating: "X: " + String(repeating: "y", count: 300) + "\r\n", count: 4)
          + "\r\n", .headTooLarge
      ),
      ("GET / HTTP/1.1\r\n" + String(repeating: "X: y\r\n", count: 9) + "\r\n", .headTooLarge),
      ("GET /" + String(repeating: "y", count: 400) + " HTTP/1.1\r\n", .startLineTooLong),
      ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", .length),
      ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", .length),
      ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", .length),
      ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n", .length),
      ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", .severalLengths),
      ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", .lengthAndCoding),
      ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .coding),
      ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", .coding),
      ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", .coding),
    ] as [(String, MessageFault)])
  func refused(_ text: String, _ fault: MessageFault) { check(.requests, text, ["! \(fault)"]) }

  @Test(
    "chunks of requests are as the grammar has them",
    arguments: [
      "-1\r\n", "\r\n", "g\r\n", ";x\r\n", "fffffffffffffffff\r\n", "5;\r^00\r\n", "5;a^01\r\n", "1\nx\r\n0\r\n\r\n",
      " 1\r\n",
      "0" + String(repeating: "0", count: 1024) + "\r\n",
    ])
  func chunks(_ body: String) {
    let head = ["> POST / 1 [Host: a] [Transfer-Encoding: chunked]"]
    check(
      .requests, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body,
      head + ["! \(MessageFault.chunk)"])
    check(
      .requests, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx" + "\n",
      head + ["= x", "! \(MessageFault.chunk)"])
    check(
      .requests, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy",
      head + ["= x", "! \(MessageFault.chunk)"])
  }

  @Test("what ends in the middle of a message is not whole")
  func truncated() {
    check(.requests, "GET / HTT", ["! \(MessageFault.truncated)"])
    check(.requests, "GET / HTTP/1.1\r\nHost: a\r\n", ["! \(MessageFault.truncated)"])
    check(
      .requests, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",
      ["> POST / 1 [Host: a] [Content-Length: 5]", "= hel", "! \(MessageFault.truncated)"])
    check(
      .answers, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
      [
        "> 200 OK 1 [Transfer-Encoding: chunked]", "= hello", "! \(MessageFault.truncated)",
      ])
  }

  @Test(
    "answers, mended where that is allowed",
    arguments: [
      ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ["> 200 OK 1 [Content-Length: 2]", "= ok", "."]),
      ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", ["> 200  1 [Content-Length: 0]", "."]),
      (
        "HTTP/1.1 299 Fine ^E9\nX-Odd : v\nContent-Length: 2\n\nok",
        ["> 299 Fine %E9 1 [X-Odd: v] [Content-Length: 2]", "= ok", "."]
      ),
      (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        ["> 200 OK 1 [Content-Length: 2]", "= ok", "."]
      ),
      (
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nX: y\r\n\r\nok",
        ["> 200 OK 1 [X: y] [Content-Length: 2]", "= ok", "."]
      ),
      (
        "HTTP/1.1 200 OK\r\n lost\r\nX: a\r\n\t b \r\n c\r\nContent-Length: 0\r\n\r\n",
        ["> 200 OK 1 [X: a b c] [Content-Length: 0]", "."]
      ),
      (
        "HTTP/1.1 200 OK\r\nX: a\rb^01\r\nContent-Length: 0\r\n\r\n",
        ["> 200 OK 1 [X: a b\u{1}] [Content-Length: 0]", "."]
      ),
      (
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\nContent-Length: 1\r\n\r\n",
        ["> 200 OK 1 [Transfer-Encoding: chunked] last", "= ok", ". [X: y]"]
      ),
      (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
        ["> 200 OK 1 [Transfer-Encoding: chunked]", "= ok", "."]
      ),
      (
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ["> 200 OK 0 [Transfer-Encoding: chunked] last", "= ok", "."]
      ),
      (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
        ["> 200 OK 1 [Content-Length: 2]", "= ok", "."]
      ),
      ("HTTP/1.1 200 OK\r\n\r\nall until the end", ["> 200 OK 1 last", "= all until the end", "."]),
      (
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nHTTP/1.1 304 \r\nContent-Length: 5\r\n\r\n",
        [
          "> 204 No Content 1", ".", "> 304  1 [Content-Length: 5]", ".",
        ]
      ),
      (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ["> 100 Continue 1", "> 103 Early Hints 1 [Link: x]", "> 200 OK 1 [Content-Length: 0]", "."]
      ),
      (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nno HTTP",
        ["> 101 Switching Protocols 1 [Upgrade: x]", "."]
      ),
      (
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: caf^E9^F4^8F^BF^A9\r\n\r\n",
        [
          "> 200 OK 1 [Content-Length: 0] [X: caf%E9%F4%8F%BF%A9]", ".",
        ]
      ),
    ] as [(String, [String])])
  func answers(_ text: String, _ expected: [String]) { check(.answers, text, expected) }

  @Test("an answer to HEAD has no body, whatever it says")
  func toHEAD() {
    check(
      .answers,
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
      ["> 200 OK 1 [Content-Length: 5]", ".", "> 200 OK 1 [Transfer-Encoding: chunked]", ".", "> 200 OK 1", "."],
      toHEAD: [true, true, true])
  }

  @Test(
    "answers that are refused",
    arguments: [
      ("SSH-2.0-what\r\n", .startLine), ("HTTP/1.1 20 OK\r\n", .startLine), ("HTTP/1.1 2000 OK\r\n", .startLine),
      ("HTTP/1.1 099 OK\r\n", .startLine),
      ("ICY 200 OK\r\n", .startLine), ("HTTP/2 200\r\n", .version), ("^15^03^01^00", .tls),
      ("HTTP/1.1 200 OK\r\nX: a^00b\r\n\r\n", .value),
      ("HTTP/1.1 200 OK\r\nno field\r\n\r\n", .field),
      ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", .severalLengths),
      ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", .severalLengths),
      ("HTTP/1.1 200 OK\r\nContent-Length: 5,\r\n\r\n", .length),
      ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", .length),
      ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .coding),
      ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .coding),
      ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", .coding),
    ] as [(String, MessageFault)])
  func refusedAnswers(_ text: String, _ fault: MessageFault) { check(.answers, text, ["! \(fault)"]) }

  @Test("an answer that nobody asked for is none, blank lines behind the last one are nothing")
  func unasked() {
    check(
      .answers, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n", ["> 200 OK 1 [Content-Length: 0]", "."],
      toHEAD: [false])
    check(
      .answers, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n",
      ["> 200 OK 1 [Content-Length: 0]", ".", "! \(MessageFault.unasked)"],
      toHEAD: [false])
  }

  @Test("a thousand fields and 256 KiB of them are an answer")
  func largeAnswers() {
    let many = (0..<1000).map { "X-\($0): y\r\n" }.joined()
    let large = (0..<4).map { "X-\($0): \(String(repeating: "y", count: 64 * 1024 - 10))\r\n" }.joined()
    let long = "X: \(String(repeating: "y", count: 256 * 1024 - 10))\r\n"
    for fields in [many, large, long] {
      let told = Self.told(
        .answers, [Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\(fields)\r\n".utf8)], limits: .answers)
      #expect(told.last == "." && told.count == 2)
    }
    let far = (0..<2000).map { "X-\($0): y\r\n" }.joined()
    for fields in [far, large + large] {
      #expect(
        Self.told(.answers, [Array("HTTP/1.1 200 OK\r\n\(fields)\r\n".utf8)], limits: .answers) == [
          "! \(MessageFault.headTooLarge)"
        ])
    }
  }

  @Test("every octet comes through a text unchanged, alone and beside every other")
  func octetTexts() {
    var all: [[UInt8]] = [
      [0xF4, 0x8F, 0xBE, 0x80], [0xF4, 0x8F, 0xBF, 0xBF], [0xF4, 0x8F, 0xBD, 0xBF], [0xED, 0xA0, 0x80],
      [0xF4, 0x90, 0x80, 0x80],
    ]
    for first in UInt8.min...UInt8.max { for second in UInt8.min...UInt8.max { all.append([first, second]) } }
    var texts: Set<[UInt8]> = []
    for octets in all {
      let text = octets.withUnsafeBytes { OctetText.text($0) }
      #expect(OctetText.octets(text) == octets)
      texts.insert(Array(text.utf8))
    }
    #expect(texts.count == all.count)
    let text = Self.octets("caf^E9").withUnsafeBytes { OctetText.text($0) }
    #expect(
      OctetText.latin(text) == "caf\u{E9}" && OctetText.shown(text, limit: 100) == "caf%E9"
        && OctetText.shown(text, limit: 4) == "caf%")
    #expect(
      OctetText.text("\u{10FFE9}") != "\u{10FFE9}"
        && OctetText.octets(OctetText.text("\u{10FFE9}")) == [0xF4, 0x8F, 0xBF, 0xA9])
  }
}
