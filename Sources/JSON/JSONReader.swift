/// Why a text is not a JSON document. `offset` counts bytes from 0.
public enum JSONError: Error, Equatable, Sendable, CustomStringConvertible {
  case tooLong(bytes: Int, limit: Int)
  case tooDeep(limit: Int, offset: Int)
  case unexpected(offset: Int, expected: String)
  case unexpectedEnd(expected: String)
  case invalidString(offset: Int, reason: String)
  case invalidNumber(offset: Int)
  case trailingData(offset: Int)

  public var description: String {
    switch self {
    case .tooLong(let bytes, let limit): "JSON document of \(bytes) bytes exceeds the limit of \(limit) bytes"
    case .tooDeep(let limit, let offset): "JSON document is nested deeper than \(limit) levels at byte \(offset)"
    case .unexpected(let offset, let expected): "invalid JSON at byte \(offset): expected \(expected)"
    case .unexpectedEnd(let expected): "invalid JSON: the document ends where \(expected) is expected"
    case .invalidString(let offset, let reason): "invalid JSON string at byte \(offset): \(reason)"
    case .invalidNumber(let offset): "invalid JSON number at byte \(offset)"
    case .trailingData(let offset): "invalid JSON at byte \(offset): data after the end of the document"
    }
  }
}

/// The bounds a reader of foreign documents works within. Memory is bounded by the size: every value takes at least one
/// byte of text.
public struct JSONLimits: Sendable {
  public var bytes: Int
  public var depth: Int

  /// 1 MiB is the body limit of the REST APIs (management spec 4.1), 64 levels are ours.
  public static let document = JSONLimits(bytes: 1 << 20, depth: 64)
  /// For our own stored documents, which may exceed a request body once references are resolved.
  public static let stored = JSONLimits(bytes: 64 << 20, depth: 128)

  public init(bytes: Int, depth: Int) {
    self.bytes = bytes
    self.depth = depth
  }
}

extension JSONValue {
  /// Reads exactly one document (RFC 8259): no comments, no trailing commas, no bytes after it but white space.
  public init(parsing bytes: [UInt8], limits: JSONLimits = .document) throws(JSONError) {
    guard bytes.count <= limits.bytes else { throw .tooLong(bytes: bytes.count, limit: limits.bytes) }
    let result: Result<JSONValue, JSONError> = bytes.withUnsafeBufferPointer { buffer in
      var reader = JSONReader(bytes: buffer, depthLimit: limits.depth)
      do throws(JSONError) { return .success(try reader.document()) } catch { return .failure(error) }
    }
    self = try result.get()
  }

  public init(parsing text: String, limits: JSONLimits = .document) throws(JSONError) {
    try self.init(parsing: Array(text.utf8), limits: limits)
  }
}

/// A recursive-descent reader over bytes it does not own; recursion is bounded by `depthLimit`.
struct JSONReader {
  private let bytes: UnsafeBufferPointer<UInt8>
  private let depthLimit: Int
  private var position = 0
  private var depth = 0

  init(bytes: UnsafeBufferPointer<UInt8>, depthLimit: Int) {
    self.bytes = bytes
    self.depthLimit = depthLimit
  }

  mutating func document() throws(JSONError) -> JSONValue {
    let value = try value()
    skipSpace()
    guard position == bytes.count else { throw .trailingData(offset: position) }
    return value
  }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  private mutating func value() throws(JSONError) -> JSONValue {
    skipSpace()
    guard let byte = next else { throw .unexpectedEnd(expected: "a value") }
    switch byte {
    case UInt8(ascii: "{"): return try object()
    case UInt8(ascii: "["): return try array()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    default: throw .unexpected(offset: position, expected: "a value")
    }
  }

  private mutating func enter() throws(JSONError) {
    depth += 1
    guard depth <= depthLimit else { throw .tooDeep(limit: depthLimit, offset: position) }
    position += 1
  }

  private mutating func object() throws(JSONError) -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var members: JSONObject = [:]
    skipSpace()
    if next == UInt8(ascii: "}") {
      position += 1
      return .object(members)
    }
    while true {
      skipSpace()
      guard let byte = next else { throw .unexpectedEnd(expected: "a member name") }
      guard byte == UInt8(ascii: "\"") else {
        throw .unexpected(offset: position, expected: "a member name in double quotes")
      }
      let name = try string()
      skipSpace()
      guard let colon = next else { throw .unexpectedEnd(expected: "':'") }
      guard colon == UInt8(ascii: ":") else { throw .unexpected(offset: position, expected: "':'") }
      position += 1
      members[name] = try value()
      skipSpace()
      switch next {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "}"):
        position += 1
        return .object(members)
      case nil: throw .unexpectedEnd(expected: "',' or '}'")
      default: throw .unexpected(offset: position, expected: "',' or '}'")
      }
    }
  }

  private mutating func array() throws(JSONError) -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var elements: [JSONValue] = []
    skipSpace()
    if next == UInt8(ascii: "]") {
      position += 1
      return .array(elements)
    }
    while true {
      elements.append(try value())
      skipSpace()
      switch next {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "]"):
        position += 1
        return .array(elements)
      case nil: throw .unexpectedEnd(expected: "',' or ']'")
      default: throw .unexpected(offset: position, expected: "',' or ']'")
      }
    }
  }

  private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
    let length = text.utf8CodeUnitCount
    guard position + length <= bytes.count else { throw .unexpectedEnd(expected: "\(text)") }
    for index in 0..<length where bytes[position + index] != text.utf8Start[index] {
      throw .unexpected(offset: position, expected: "\(text)")
    }
    position += length
    return value
  }

  private mutating func number() throws(JSONError) -> JSONValue {
    let start = position
    var isWhole = true
    if next == UInt8(ascii: "-") { position += 1 }
    if next == UInt8(ascii: "0") {
      position += 1
    } else {
      guard skipDigits() else { throw .invalidNumber(offset: start) }
    }
    if next == UInt8(ascii: ".") {
      isWhole = false
      position += 1
      guard skipDigits() else { throw .invalidNumber(offset: start) }
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      isWhole = false
      position += 1
      if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
      guard skipDigits() else { throw .invalidNumber(offset: start) }
    }
    guard position - start <= 400 else { throw .invalidNumber(offset: start) }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isWhole, let value = Int64(text) { return .int(value) }
    guard let value = Double(text), value.isFinite else { throw .invalidNumber(offset: start) }
    return .double(value)
  }

  /// False when there is no digit.
  private mutating func skipDigits() -> Bool {
    let start = position
    while let byte = next, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
    return position > start
  }

  private mutating func string() throws(JSONError) -> String {
    let start = position
    position += 1
    let content = position
    // Nearly every string is free of escapes and can be taken in one piece.
    while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
    if next == UInt8(ascii: "\"") {
      let piece = bytes[content..<position]
      position += 1
      guard let text = String(validating: piece, as: UTF8.self) else {
        throw .invalidString(offset: start, reason: "it is not UTF-8")
      }
      return text
    }
    var unescaped = Array(bytes[content..<position])
    while let byte = next {
      switch byte {
      case UInt8(ascii: "\""):
        position += 1
        guard let text = String(validating: unescaped, as: UTF8.self) else {
          throw .invalidString(offset: start, reason: "it is not UTF-8")
        }
        return text
      case UInt8(ascii: "\\"):
        position += 1
        try escape(into: &unescaped)
      case 0..<0x20:
        throw .invalidString(offset: position, reason: "control characters must be escaped")
      default:
        unescaped.append(byte)
        position += 1
      }
    }
    throw .unexpectedEnd(expected: "'\"'")
  }

  private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
    guard let byte = next else { throw .unexpectedEnd(expected: "an escape character") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      let start = position - 2
      var code = UInt32(try codeUnit())
      if code & 0xFC00 == 0xD800, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
        bytes[position + 1] == UInt8(ascii: "u")
      {
        position += 2
        let low = UInt32(try codeUnit())
        guard low & 0xFC00 == 0xDC00 else { throw .invalidString(offset: start, reason: "half of a surrogate pair") }
        code = 0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF)
      }
      guard let scalar = Unicode.Scalar(code) else {
        throw .invalidString(offset: start, reason: "half of a surrogate pair")
      }
      text.append(contentsOf: UTF8.encode(scalar).map(Array.init) ?? [])
    default:
      throw .invalidString(offset: position - 2, reason: "unknown escape")
    }
  }

  private mutating func codeUnit() throws(JSONError) -> UInt16 {
    guard position + 4 <= bytes.count else { throw .unexpectedEnd(expected: "four hexadecimal digits") }
    var value: UInt16 = 0
    for _ in 0..<4 {
      guard let digit = Self.hexDigit(bytes[position]) else {
        throw .invalidString(offset: position, reason: "\\u needs four hexadecimal digits")
      }
      value = value << 4 | UInt16(digit)
      position += 1
    }
    return value
  }

  private static func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
