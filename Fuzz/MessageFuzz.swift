// HTTP/1.1 as strangers and servers of strangers send it. What was told of some bytes must not depend on the pieces
// they came in, and what is written of it must be read as the same.

let parsers: [String: Parser] = [
  "http-requests": { bytes in check(.requests, Array(bytes)) },
  "http-answers": { bytes in check(.answers, Array(bytes)) },
  "octet-text": { bytes in
    let octets = Array(bytes)
    let text = OctetText.text(bytes)
    precondition(OctetText.octets(text) == octets, "octets change on their way through a text")
    precondition(
      Array(OctetText.text(text).utf8) == Array(text.utf8) || !OctetText.isPlain(text), "a plain text changes")
    precondition(OctetText.isPlain(OctetText.latin(text)), "a text for others keeps a stand-in")
    let shown = OctetText.shown(text, limit: 100)
    precondition(
      OctetText.isPlain(shown) && shown.utf8.count <= 100, "a text for people keeps a stand-in, or is too long")
    var line: [UInt8] = []
    MessageText.write(field: "x", text, to: &line)
    precondition(
      line.count { $0 == 0x0A } == 1 && line.count { $0 == 0x0D } == 1 && !line.contains(0), "a field ends its line")
  },
]

private enum Told: Equatable {
  case head(MessageHead.Start, minor: Int, fields: [[UInt8]])
  case body([UInt8])
  case end([[UInt8]])
}

private struct Reading: Equatable {
  var told: [Told] = []
  var fault: MessageFault?

  mutating func add(_ event: MessageEvent, _ input: [UInt8]) {
    switch event {
    case .head(let head): told.append(.head(head.start, minor: head.minor, fields: flat(head.fields)))
    case .body(let range):
      var bytes = Array(input[range])
      if case .body(let before) = told.last {
        bytes = before + bytes
        told.removeLast()
      }
      told.append(.body(bytes))
    case .end(let trailers): told.append(.end(flat(trailers)))
    }
  }

  /// What belongs to messages of which all was told.
  var whole: ArraySlice<Told> {
    let end = told.lastIndex { if case .end = $0 { true } else { false } }
    return told[..<(end.map { $0 + 1 } ?? 0)]
  }
}

private func flat(_ fields: [(String, String)]) -> [[UInt8]] {
  fields.flatMap { [Array($0.0.utf8), Array($0.1.utf8)] }
}
private func pairs(_ flat: [[UInt8]]) -> [(String, String)] {
  stride(from: 0, to: flat.count, by: 2).map {
    (String(decoding: flat[$0], as: UTF8.self), String(decoding: flat[$0 + 1], as: UTF8.self))
  }
}

private func read(_ kind: MessageParser.Kind, _ pieces: some Sequence<[UInt8]>, _ limits: MessageLimits) -> Reading {
  var parser = MessageParser(kind, limits: limits)
  // Every third request was HEAD.
  if kind == .answers { for number in 0..<12 { parser.expectAnswer(toHEAD: number % 3 == 2) } }
  var reading = Reading()
  do {
    for piece in pieces {
      var position = 0
      while let event = try piece.withUnsafeBytes({ try parser.next($0, &position) }) { reading.add(event, piece) }
    }
    if let event = try parser.finish() { reading.add(event, []) }
  } catch {
    reading.fault = error as? MessageFault
  }
  return reading
}

private func check(_ kind: MessageParser.Kind, _ bytes: [UInt8]) {
  let limits = MessageLimits(line: 200, head: 600, fields: 6)
  let reading = read(kind, [bytes], limits)
  precondition(read(kind, bytes.map { [$0] }, limits) == reading, "bytes one by one are told otherwise")
  let half = Int(bytes.first ?? 0) % (bytes.count + 1)
  precondition(
    read(kind, [Array(bytes[..<half]), Array(bytes[half...])], limits) == reading,
    "bytes in two pieces are told otherwise")
  // A request of HTTP/1.0 is written as one of HTTP/1.1, which must have a host.
  let hasOld = reading.whole.contains {
    if case .head(_, let minor, _) = $0 { minor == 0 && kind == .requests } else { false }
  }
  guard !hasOld else { return }
  let again = read(kind, [written(reading.whole)], MessageLimits(line: 4096, head: 8192, fields: 64))
  precondition(again.told[...] == reading.whole && again.fault == nil, "what is written is read otherwise")
}

private func written(_ told: ArraySlice<Told>) -> [UInt8] {
  var bytes: [UInt8] = []
  var isChunked = false
  for (index, item) in zip(told.indices, told) {
    switch item {
    case .head(let start, let minor, let fields):
      let begin = bytes.count
      switch start {
      case .request(let method, let target): MessageText.write(requestLine: method, target, to: &bytes)
      case .answer(let status, let reason): MessageText.write(statusLine: status, reason, minor: minor, to: &bytes)
      }
      for (name, value) in pairs(fields) { MessageText.write(field: name, value, to: &bytes) }
      bytes += [0x0D, 0x0A]
      precondition(bytes[begin...].count { $0 == 0x0A } == fields.count / 2 + 2, "a head has more lines than fields")
      isChunked = pairs(fields).contains { Octet.isNamed($0.0, "transfer-encoding") }
      // An answer to HEAD and the like: nothing follows.
      if index + 1 < told.endIndex, case .end(let trailers) = told[index + 1], trailers.isEmpty,
        start.hasNoBody(told[..<index])
      {
        isChunked = false
      }
    case .body(let body):
      if isChunked { bytes += Array(String(body.count, radix: 16).utf8) + [0x0D, 0x0A] }
      bytes += body
      if isChunked { bytes += [0x0D, 0x0A] }
    case .end(let trailers):
      guard isChunked else { continue }
      bytes += Array("0\r\n".utf8)
      for (name, value) in pairs(trailers) { MessageText.write(field: name, value, to: &bytes) }
      bytes += [0x0D, 0x0A]
    }
  }
  return bytes
}

extension MessageHead.Start {
  /// - Parameter before: what was told before it.
  fileprivate func hasNoBody(_ before: ArraySlice<Told>) -> Bool {
    guard case .answer(let status, _) = self else { return false }
    let answers = before.count { if case .end = $0 { true } else { false } }
    return status == 304 || answers % 3 == 2
  }
}
