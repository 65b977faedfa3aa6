import Foundation

/// The first line of a message and its fields, as texts (`OctetText`).
struct MessageHead {
  enum Start: Equatable {
    case request(method: String, target: String)
    case answer(status: Int, reason: String)
  }

  var start: Start
  /// Of HTTP/1: 0, or 1 for every later one.
  var minor: Int
  var fields: [(String, String)]
  /// The connection can carry no other message behind this one, whatever the fields say.
  var endsConnection = false
}

/// What a message may have. Octets are those of the lines, with all that ends them.
struct MessageLimits: Sendable {
  /// Octets of one line.
  var line: Int
  /// Octets of all lines of a head, or of a body's trailers.
  var head: Int
  /// Of a head, or of a body's trailers.
  var fields: Int

  /// Of servers that somebody shares: 1,000 fields and 256 KiB of them, and what the relays on the way add.
  static let answers = MessageLimits(line: 264 << 10, head: 272 << 10, fields: 1_040)
}

/// One step of a message.
enum MessageEvent {
  case head(MessageHead)
  /// Where the bytes lie in the input.
  case body(Range<Int>)
  /// With the fields behind the body.
  case end([(String, String)])
}

/// Octets that mean something in a message, and how they are looked for.
enum Octet {
  static let tab: UInt8 = 0x09
  static let lineFeed: UInt8 = 0x0A
  static let carriageReturn: UInt8 = 0x0D
  static let space: UInt8 = 0x20
  static let colon: UInt8 = 0x3A

  static func index(of octet: UInt8, in octets: UnsafeRawBufferPointer) -> Int? {
    guard let base = octets.baseAddress, let found = memchr(base, CInt(octet), octets.count) else { return nil }
    return UnsafeRawPointer(found) - base
  }

  static func isBlank(_ octet: UInt8) -> Bool { octet == space || octet == tab }

  /// Without spaces and tabs at either end.
  static func trimmed(_ octets: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    var (start, end) = (0, octets.count)
    while start < end, isBlank(octets[start]) { start += 1 }
    while end > start, isBlank(octets[end - 1]) { end -= 1 }
    return UnsafeRawBufferPointer(rebasing: octets[start..<end])
  }

  /// One bit for each octet that a token has (RFC 9110, 5.6.2), of those below 40 and of those below 80.
  private static let tokens: (UInt64, UInt64) = {
    var bits: (UInt64, UInt64) = (0, 0)
    for octet in "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8 {
      if octet < 0x40 { bits.0 |= 1 << UInt64(octet) } else { bits.1 |= 1 << UInt64(octet - 0x40) }
    }
    return bits
  }()

  static func isToken(_ octets: some Sequence<UInt8>) -> Bool {
    let (low, high) = tokens
    var isEmpty = true
    for octet in octets {
      isEmpty = false
      let bits = octet < 0x40 ? low : octet < 0x80 ? high : 0
      guard (bits &>> UInt64(octet & 0x3F)) & 1 == 1 else { return false }
    }
    return !isEmpty
  }

  /// - Parameter lowercase: a token in small letters.
  static func isNamed(_ name: String, _ lowercase: String) -> Bool {
    name.utf8.count == lowercase.utf8.count && zip(name.utf8, lowercase.utf8).allSatisfy { $0 | 0x20 == $1 }
  }
}
