/// Reads HTTP/1.1 messages of one connection, one after the other, from whatever pieces their bytes come in (RFC 9112).
/// No byte is looked at twice, and what is kept between two pieces is one unfinished line; bodies are named as ranges
/// of the input.
///
/// Requests come from strangers, and are read as strictly as the grammar has them, but for a line that ends without its
/// carriage return; answers come from servers that somebody shares, and are mended where RFC 9112 lets a recipient do
/// that. Whatever is read either way leaves here in one form: one Host, one way to tell where the body ends.
///
///     first line CRLF  *( name ":" value CRLF )  CRLF  body
///     body: as many bytes as Content-Length says, or *( size [ ";" extension ] CRLF bytes CRLF ) "0" CRLF *( trailer
///     CRLF ) CRLF, or all that comes
struct MessageParser {
  enum Kind: Sendable {
    case requests
    case answers
  }

  enum State {
    case start
    case fields
    case length(Int)
    case untilEnd
    case chunkSize
    case chunk(Int)
    case chunkEnd(seenReturn: Bool)
    case trailers
    /// All of the message came, but that has not been told.
    case complete
    /// What comes now is another protocol, or unreadable.
    case over
  }

  private struct ChunkLine {
    var size = 0
    var octets = 0
    var hasDigits = false
    var isExtension = false
    var seenReturn = false
  }

  /// Of the line with a chunk's size.
  private static let chunkLineLimit = 1024
  /// Before a first line (RFC 9112, 2.2).
  private static let blankLineLimit = 8

  let kind: Kind
  let limits: MessageLimits
  var state = State.start
  /// The first line of the message that is read.
  var start: (line: MessageHead.Start, minor: Int)?
  var fields: [(String, String)] = []
  /// Whether each request that was sent and not answered was HEAD. Of answers only.
  var awaited: [Bool] = []
  /// The message that is read agrees to another protocol behind it.
  var changesProtocol = false
  /// A line that has not ended.
  private var partial: [UInt8] = []
  /// Octets of the lines before that one.
  private var lineOctets = 0
  private var blankLines = 0
  private var chunkLine = ChunkLine()

  init(_ kind: Kind, limits: MessageLimits) {
    self.kind = kind
    self.limits = limits
  }

  /// A request was sent, whose answer comes behind those to the requests before.
  mutating func expectAnswer(toHEAD isHEAD: Bool) { awaited.append(isHEAD) }

  /// - Parameters:
  ///   - input: what came and was not taken yet.
  ///   - position: where it begins; moved behind what was taken.
  /// - Returns: the next event; nil when all of the input was taken, or when it is no HTTP any more and the rest is for
  ///   others.
  /// - Throws: `MessageFault`; nothing is read any more.
  mutating func next(_ input: UnsafeRawBufferPointer, _ position: inout Int) throws -> MessageEvent? {
    do { return try advance(input, &position) } catch {
      state = .over
      partial = []
      throw error
    }
  }

  /// The bytes have ended.
  /// - Throws: `MessageFault.truncated` in the middle of a message.
  mutating func finish() throws -> MessageEvent? {
    switch state {
    case .untilEnd, .complete:
      state = .over
      return .end([])
    case .over: return nil
    case .start where isBetweenMessages:
      state = .over
      return nil
    default:
      state = .over
      throw MessageFault.truncated
    }
  }

  private var isBetweenMessages: Bool {
    switch state {
    case .start: partial.isEmpty
    case .over: true
    default: false
    }
  }

  private mutating func advance(_ input: UnsafeRawBufferPointer, _ position: inout Int) throws -> MessageEvent? {
    while true {
      switch state {
      case .complete:
        begin(changesProtocol ? .over : .start)
        return .end([])
      case .over: return nil
      default: guard position < input.count else { return nil }
      }
      switch state {
      case .start, .fields, .trailers: if let event = try takeLine(input, &position) { return event }
      case .length(let left):
        let range = Self.take(left, input, &position)
        state = range.count == left ? .complete : .length(left - range.count)
        return .body(range)
      case .chunk(let left):
        let range = Self.take(left, input, &position)
        state = range.count == left ? .chunkEnd(seenReturn: false) : .chunk(left - range.count)
        return .body(range)
      case .untilEnd: return .body(Self.take(.max, input, &position))
      case .chunkSize: try takeChunkSize(input, &position)
      case .chunkEnd(let seenReturn):
        let octet = input[position]
        position += 1
        if octet == Octet.carriageReturn, !seenReturn {
          state = .chunkEnd(seenReturn: true)
        } else {
          guard octet == Octet.lineFeed, seenReturn || kind == .answers else { throw MessageFault.chunk }
          begin(.chunkSize)
        }
      case .complete, .over: break
      }
    }
  }

  /// Begins to count anew.
  mutating func begin(_ next: State) {
    state = next
    fields = []
    lineOctets = 0
    blankLines = 0
    chunkLine = ChunkLine()
  }

  private static func take(_ most: Int, _ input: UnsafeRawBufferPointer, _ position: inout Int) -> Range<Int> {
    let start = position
    position += min(most, input.count - start)
    return start..<position
  }

  // MARK: Lines

  private mutating func takeLine(_ input: UnsafeRawBufferPointer, _ position: inout Int) throws -> MessageEvent? {
    let rest = UnsafeRawBufferPointer(rebasing: input[position...])
    let end = Octet.index(of: Octet.lineFeed, in: rest)
    let piece = UnsafeRawBufferPointer(rebasing: rest[..<(end ?? rest.count)])
    if case .start = state { try glance(piece) }
    let octets = partial.count + piece.count + 1
    guard octets <= limits.line, lineOctets + octets <= limits.head else {
      if case .start = state { throw MessageFault.startLineTooLong }
      throw MessageFault.headTooLarge
    }
    position += piece.count
    guard end != nil else {
      partial.append(contentsOf: piece)
      return nil
    }
    position += 1
    lineOctets += octets
    guard !partial.isEmpty else { return try take(line: piece) }
    partial.append(contentsOf: piece)
    let line = partial
    partial = []
    return try line.withUnsafeBytes { try take(line: $0) }
  }

  /// Recognises what is no HTTP before its first line has ended, which it may never do.
  /// - Parameter piece: of that line, behind what is kept of it.
  private func glance(_ piece: UnsafeRawBufferPointer) throws {
    guard partial.count < 5, let first = partial.first ?? piece.first, first != Octet.carriageReturn else { return }
    if kind == .answers, awaited.isEmpty { throw MessageFault.unasked }
    // A record of TLS: a handshake, or an alert.
    if first == 0x16 || first == 0x15 { throw MessageFault.tls }
    switch kind {
    case .requests: guard Octet.isToken(CollectionOfOne(first)) else { throw MessageFault.startLine }
    case .answers:
      for (offset, octet) in "HTTP/".utf8.enumerated() where offset < partial.count + piece.count {
        guard (offset < partial.count ? partial[offset] : piece[offset - partial.count]) == octet else {
          throw MessageFault.startLine
        }
      }
    }
  }

  /// - Parameter raw: without its line feed.
  private mutating func take(line raw: UnsafeRawBufferPointer) throws -> MessageEvent? {
    let line = raw.last == Octet.carriageReturn ? UnsafeRawBufferPointer(rebasing: raw.dropLast()) : raw
    switch state {
    case .start:
      guard !line.isEmpty else {
        blankLines += 1
        guard blankLines <= Self.blankLineLimit else { throw MessageFault.startLine }
        return nil
      }
      start = try kind == .requests ? Self.requestLine(line) : Self.statusLine(line)
      state = .fields
      fields.reserveCapacity(16)
      return nil
    case .trailers where line.isEmpty:
      let trailers = fields.filter { field in !Self.isUnfitTrailer(field.0) }
      begin(.start)
      return .end(trailers)
    case .fields where line.isEmpty: return .head(try head())
    default:
      try takeField(line)
      return nil
    }
  }

  /// What frames a message, routes it or belongs to one connection says nothing behind the body (RFC 9110, 6.5.1).
  private static func isUnfitTrailer(_ name: String) -> Bool {
    Octet.isNamed(name, "content-length") || Octet.isNamed(name, "host")
      || ConnectionFields.names.contains { Octet.isNamed(name, $0) }
  }

  private mutating func takeField(_ line: UnsafeRawBufferPointer) throws {
    guard !Octet.isBlank(line[0]) else { return try fold(line) }
    guard fields.count < limits.fields else { throw MessageFault.headTooLarge }
    guard let colon = Octet.index(of: Octet.colon, in: line) else { throw MessageFault.field }
    var name = UnsafeRawBufferPointer(rebasing: line[..<colon])
    if let last = name.last, Octet.isBlank(last) {
      guard kind == .answers else { throw MessageFault.spaceBeforeColon }
      name = Octet.trimmed(name)
    }
    guard Octet.isToken(name) else { throw MessageFault.field }
    let value = try text(of: Octet.trimmed(UnsafeRawBufferPointer(rebasing: line[(colon + 1)...])))
    fields.append((String(decoding: name, as: UTF8.self), value))
  }

  /// A line that goes on with the field before (RFC 9112, 5.2).
  private mutating func fold(_ line: UnsafeRawBufferPointer) throws {
    guard kind == .answers else { throw MessageFault.folded }
    let more = try text(of: Octet.trimmed(line))
    guard !fields.isEmpty, !more.isEmpty else { return }
    let last = fields.count - 1
    if !fields[last].1.isEmpty { fields[last].1 += " " }
    fields[last].1 += more
  }

  private func text(of octets: UnsafeRawBufferPointer) throws -> String {
    var hasControl = false
    for octet in octets where (octet < Octet.space && octet != Octet.tab) || octet == 0x7F { hasControl = true }
    guard hasControl else { return OctetText.text(octets) }
    guard kind == .answers, !octets.contains(0) else { throw MessageFault.value }
    // A return that ends no line is a space (RFC 9112, 2.2); other control characters say nothing to anybody, and are
    // passed on.
    let mended = octets.map { $0 == Octet.carriageReturn ? Octet.space : $0 }
    return mended.withUnsafeBytes { OctetText.text(Octet.trimmed($0)) }
  }

  // MARK: Chunks

  /// Takes what there is of the line with a chunk's size.
  private mutating func takeChunkSize(_ input: UnsafeRawBufferPointer, _ position: inout Int) throws {
    while position < input.count {
      let octet = input[position]
      position += 1
      chunkLine.octets += 1
      guard chunkLine.octets <= Self.chunkLineLimit else { throw MessageFault.chunk }
      if octet == Octet.lineFeed {
        guard chunkLine.seenReturn || (kind == .answers && chunkLine.hasDigits) else { throw MessageFault.chunk }
        let size = chunkLine.size
        begin(size == 0 ? .trailers : .chunk(size))
        return
      }
      guard !chunkLine.seenReturn else { throw MessageFault.chunk }
      if octet == Octet.carriageReturn {
        guard chunkLine.hasDigits else { throw MessageFault.chunk }
        chunkLine.seenReturn = true
      } else if chunkLine.isExtension {
        guard octet >= Octet.space || octet == Octet.tab, octet != 0x7F else { throw MessageFault.chunk }
      } else if let digit = Self.digit(octet) {
        guard chunkLine.size >> 55 == 0 else { throw MessageFault.chunk }
        chunkLine.size = chunkLine.size << 4 | digit
        chunkLine.hasDigits = true
      } else {
        guard chunkLine.hasDigits, octet == UInt8(ascii: ";") || Octet.isBlank(octet) else { throw MessageFault.chunk }
        chunkLine.isExtension = true
      }
    }
  }

  private static func digit(_ octet: UInt8) -> Int? {
    switch octet {
    case 0x30...0x39: Int(octet) - 0x30
    case 0x41...0x46, 0x61...0x66: Int(octet | 0x20) - 0x61 + 10
    default: nil
    }
  }
}
