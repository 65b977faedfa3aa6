// What a head says, judged when all of it is there: whom it is for, and where its body ends (RFC 9112, 3 and 6).

extension MessageParser {
  /// Of the longest method that anybody registered there are 17.
  private static let methodLimit = 32

  static func requestLine(_ line: UnsafeRawBufferPointer) throws -> (line: MessageHead.Start, minor: Int) {
    guard let first = Octet.index(of: Octet.space, in: line), let last = line.lastIndex(of: Octet.space), first < last
    else {
      throw MessageFault.startLine
    }
    let method = UnsafeRawBufferPointer(rebasing: line[..<first])
    let target = UnsafeRawBufferPointer(rebasing: line[(first + 1)..<last])
    guard method.count <= methodLimit, Octet.isToken(method) else { throw MessageFault.startLine }
    let minor = try minorVersion(UnsafeRawBufferPointer(rebasing: line[(last + 1)...]))
    guard !target.isEmpty, !target.contains(where: { $0 <= Octet.space || $0 == 0x7F }) else {
      throw MessageFault.target
    }
    let name = String(decoding: method, as: UTF8.self)
    guard name != "CONNECT" else { throw MessageFault.connect }
    return (.request(method: name, target: OctetText.text(target)), minor)
  }

  static func statusLine(_ line: UnsafeRawBufferPointer) throws -> (line: MessageHead.Start, minor: Int) {
    let end = Octet.index(of: Octet.space, in: line) ?? line.count
    let minor = try minorVersion(UnsafeRawBufferPointer(rebasing: line[..<end]))
    let rest = UnsafeRawBufferPointer(rebasing: line[min(end + 1, line.count)...])
    guard rest.count >= 3, rest.count == 3 || rest[3] == Octet.space,
      rest.prefix(3).allSatisfy({ (0x30...0x39).contains($0) })
    else {
      throw MessageFault.startLine
    }
    let status = rest.prefix(3).reduce(0) { $0 * 10 + Int($1) - 0x30 }
    guard status >= 100 else { throw MessageFault.startLine }
    let phrase = rest.dropFirst(4).filter { $0 >= Octet.space && $0 != 0x7F }
    return (.answer(status: status, reason: phrase.withUnsafeBytes { OctetText.text(Octet.trimmed($0)) }), minor)
  }

  /// Of HTTP/1 every later minor version is read as the last one that is known (RFC 9110, 2.5).
  private static func minorVersion(_ octets: UnsafeRawBufferPointer) throws -> Int {
    guard octets.count >= 5, octets.prefix(5).elementsEqual("HTTP/".utf8) else { throw MessageFault.startLine }
    guard octets.count == 8, octets[5] == UInt8(ascii: "1"), octets[6] == UInt8(ascii: "."),
      (0x30...0x39).contains(octets[7])
    else {
      throw MessageFault.version
    }
    return octets[7] == 0x30 ? 0 : 1
  }

  /// The fields that say whom a message is for and how long it is.
  private struct Marks {
    var hosts: [String] = []
    var lengths: [String] = []
    var codings: [String] = []

    init(_ fields: [(String, String)]) {
      for (name, value) in fields {
        switch name.utf8.count {
        case 4: if Octet.isNamed(name, "host") { hosts.append(value) }
        case 14: if Octet.isNamed(name, "content-length") { lengths.append(value) }
        case 17: if Octet.isNamed(name, "transfer-encoding") { codings.append(value) }
        default: continue
        }
      }
    }
  }

  /// All fields are there.
  mutating func head() throws -> MessageHead {
    guard let start else { throw MessageFault.startLine }
    var head = MessageHead(start: start.line, minor: start.minor, fields: fields)
    self.start = nil
    begin(.complete)
    switch head.start {
    case .request(let method, let target): try judge(&head, method, target)
    case .answer(let status, _): try judge(&head, status)
    }
    return head
  }

  // MARK: Requests

  private mutating func judge(_ head: inout MessageHead, _ method: String, _ target: String) throws {
    let marks = Marks(head.fields)
    guard marks.hosts.count == 1 || (marks.hosts.isEmpty && head.minor == 0),
      marks.hosts.allSatisfy(RequestTarget.isHost)
    else {
      throw MessageFault.host
    }
    if target.utf8.first != UInt8(ascii: "/"), target != "*" || method != "OPTIONS" {
      guard let absolute = RequestTarget(absolute: target, method: method) else { throw MessageFault.target }
      // RFC 9112, 3.2.2: whatever Host says.
      head.start = .request(method: method, target: absolute.path)
      head.fields.removeAll { field in Octet.isNamed(field.0, "host") }
      head.fields.insert(("Host", absolute.host), at: 0)
    }
    switch (marks.lengths.count, marks.codings.count) {
    case (0, 0): return
    case (1, 0):
      guard let length = RequestTarget.length(marks.lengths[0]) else { throw MessageFault.length }
      if length > 0 { state = .length(length) }
    case (0, 1):
      // HTTP/1.0 has no codings: whoever adds one there did not mean us (RFC 9112, 6.1).
      guard head.minor > 0, Octet.isNamed(marks.codings[0], "chunked") else { throw MessageFault.coding }
      state = .chunkSize
    case (0, _): throw MessageFault.coding
    case (_, 0): throw MessageFault.severalLengths
    default: throw MessageFault.lengthAndCoding
    }
  }

  // MARK: Answers

  private mutating func judge(_ head: inout MessageHead, _ status: Int) throws {
    // What goes before the answer.
    if (100..<200).contains(status), status != 101 {
      state = .start
      Self.remove(["content-length", "transfer-encoding"], from: &head)
      return
    }
    guard let isHEAD = awaited.first else { throw MessageFault.unasked }
    awaited.removeFirst()
    changesProtocol = status == 101
    let marks = Marks(head.fields)
    let isChunked = try Self.isChunked(marks, &head)
    let length = try isChunked ? nil : Self.length(marks.lengths, &head)
    let hasNone = status == 101 || status == 204
    if hasNone { Self.remove(["content-length", "transfer-encoding"], from: &head) }
    guard !isHEAD, !hasNone, status != 304 else { return }
    if isChunked {
      state = .chunkSize
    } else if let length {
      if length > 0 { state = .length(length) }
    } else {
      state = .untilEnd
      head.endsConnection = true
    }
  }

  private static func remove(_ names: [String], from head: inout MessageHead) {
    head.fields.removeAll { field in names.contains { Octet.isNamed(field.0, $0) } }
  }

  private static func elements(_ values: [String]) -> [Substring] {
    values.flatMap { value in
      value.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false).map { element -> Substring in
        var element = element
        while let first = element.first, Octet.isBlank(first) { element.removeFirst() }
        while let last = element.last, Octet.isBlank(last) { element.removeLast() }
        return Substring(element)
      }
    }
  }

  /// Transfer codings count whatever Content-Length says, which goes with them (RFC 9112, 6.3). The coding that earlier
  /// versions called `identity` is none.
  private static func isChunked(_ marks: Marks, _ head: inout MessageHead) throws -> Bool {
    guard !marks.codings.isEmpty else { return false }
    let codings = elements(marks.codings).filter { !$0.isEmpty && !Octet.isNamed(String($0), "identity") }
    guard codings.count <= 1, codings.allSatisfy({ Octet.isNamed(String($0), "chunked") }) else {
      throw MessageFault.coding
    }
    remove(["transfer-encoding"], from: &head)
    guard !codings.isEmpty else { return false }
    if head.minor == 0 || !marks.lengths.isEmpty { head.endsConnection = true }
    remove(["content-length"], from: &head)
    head.fields.append(("Transfer-Encoding", "chunked"))
    return true
  }

  /// Equal lengths are one (RFC 9110, 8.6).
  private static func length(_ values: [String], _ head: inout MessageHead) throws -> Int? {
    guard let value = values.first else { return nil }
    if values.count == 1, let length = RequestTarget.length(value) { return length }
    let lengths = elements(values).map { RequestTarget.length($0) }
    guard let first = lengths.first, let length = first, !lengths.contains(nil) else { throw MessageFault.length }
    guard lengths.allSatisfy({ $0 == length }) else { throw MessageFault.severalLengths }
    remove(["content-length"], from: &head)
    head.fields.append(("Content-Length", "\(length)"))
    return length
  }
}
