/// Reads the one JSON object that the edge protocol carries in a header. Tolerant of unknown members of any shape,
/// strict about syntax, bounded in depth; everything else of JSON lives in `Model`, a floor's neighbour that `Wire`
/// does not import.
struct StructuredErrorReader {
  struct Members {
    var message = ""
    var code: UInt32 = 0
    var retryHint: UInt32 = 0
    var failingPostureCheckIDs: [String] = []
  }

  private static let depthLimit = 32

  private let bytes: [UInt8]
  private var offset = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// - Returns: nil when the bytes are not one whole object, or a known member has the wrong type.
  mutating func read() -> Members? {
    var members = Members()
    guard take(UInt8(ascii: "{")) else { return nil }
    if !take(UInt8(ascii: "}")) {
      repeat {
        guard let name = string(), take(UInt8(ascii: ":")), member(name, into: &members) else { return nil }
      } while take(UInt8(ascii: ","))
      guard take(UInt8(ascii: "}")) else { return nil }
    }
    skipSpace()
    return offset == bytes.count ? members : nil
  }

  private mutating func member(_ name: String, into members: inout Members) -> Bool {
    switch name {
    case "message":
      guard let text = string() else { return false }
      members.message = text
    case "code":
      guard let value = unsigned() else { return false }
      members.code = value
    case "retryHint":
      guard let value = unsigned() else { return false }
      members.retryHint = value
    case "failingPostureCheckIds":
      if peek() == UInt8(ascii: "n") { return skipValue(depth: 1) }
      guard let list = strings() else { return false }
      members.failingPostureCheckIDs = list
    default:
      return skipValue(depth: 1)
    }
    return true
  }

  private mutating func strings() -> [String]? {
    guard take(UInt8(ascii: "[")) else { return nil }
    var list: [String] = []
    if take(UInt8(ascii: "]")) { return list }
    repeat {
      guard let item = string() else { return nil }
      list.append(item)
    } while take(UInt8(ascii: ","))
    return take(UInt8(ascii: "]")) ? list : nil
  }

  private mutating func unsigned() -> UInt32? {
    skipSpace()
    let start = offset
    while let byte = peekRaw(), isDigit(byte) { offset += 1 }
    return UInt32(String(decoding: bytes[start..<offset], as: UTF8.self))
  }

  private mutating func string() -> String? {
    guard take(UInt8(ascii: "\"")) else { return nil }
    var text: [UInt8] = []
    while let byte = next() {
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: text, as: UTF8.self)
      case UInt8(ascii: "\\"):
        guard let scalar = escape() else { return nil }
        text += Array(String(scalar).utf8)
      case 0..<0x20: return nil
      default: text.append(byte)
      }
    }
    return nil
  }

  private mutating func escape() -> Unicode.Scalar? {
    switch next() {
    case UInt8(ascii: "\""): return "\""
    case UInt8(ascii: "\\"): return "\\"
    case UInt8(ascii: "/"): return "/"
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): return unicodeEscape()
    default: return nil
    }
  }

  private mutating func unicodeEscape() -> Unicode.Scalar? {
    guard let unit = hexUnit() else { return nil }
    guard (0xd800..<0xdc00).contains(unit) else { return Unicode.Scalar(unit) ?? "\u{fffd}" }
    let mark = offset
    if next() == UInt8(ascii: "\\"), next() == UInt8(ascii: "u"), let low = hexUnit(), (0xdc00..<0xe000).contains(low) {
      return Unicode.Scalar(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00))
    }
    // Half a surrogate pair: the replacement character stands for it.
    offset = mark
    return "\u{fffd}"
  }

  private mutating func hexUnit() -> UInt32? {
    guard bytes.count - offset >= 4 else { return nil }
    defer { offset += 4 }
    let digits = bytes[offset..<offset + 4]
    return digits.allSatisfy { isDigit($0) || (0x41...0x46).contains($0 & 0xdf) }
      ? UInt32(String(decoding: digits, as: UTF8.self), radix: 16) : nil
  }

  private mutating func skipValue(depth: Int) -> Bool {
    guard depth <= Self.depthLimit, let first = peek() else { return false }
    switch first {
    case UInt8(ascii: "\""): return string() != nil
    case UInt8(ascii: "{"): return skipList(closing: UInt8(ascii: "}"), named: true, depth: depth)
    case UInt8(ascii: "["): return skipList(closing: UInt8(ascii: "]"), named: false, depth: depth)
    default:
      // A number or a word: letters, digits, signs and points.
      let start = offset
      while let byte = peekRaw(),
        isDigit(byte) || (0x61...0x7a).contains(byte | 0x20) || byte == 0x2b || byte == 0x2d || byte == 0x2e
      { offset += 1 }
      return offset > start
    }
  }

  private mutating func skipList(closing: UInt8, named: Bool, depth: Int) -> Bool {
    offset += 1
    if take(closing) { return true }
    repeat {
      if named { guard string() != nil, take(UInt8(ascii: ":")) else { return false } }
      guard skipValue(depth: depth + 1) else { return false }
    } while take(UInt8(ascii: ","))
    return take(closing)
  }

  // MARK: Bytes

  private func peekRaw() -> UInt8? { offset < bytes.count ? bytes[offset] : nil }

  private mutating func peek() -> UInt8? {
    skipSpace()
    return peekRaw()
  }

  private mutating func next() -> UInt8? {
    guard let byte = peekRaw() else { return nil }
    offset += 1
    return byte
  }

  private mutating func take(_ wanted: UInt8) -> Bool {
    guard peek() == wanted else { return false }
    offset += 1
    return true
  }

  private mutating func skipSpace() {
    while let byte = peekRaw(), byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d { offset += 1 }
  }

  private func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
}
