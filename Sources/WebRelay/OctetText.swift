/// Octets of a message's head as a `String` and back, none lost: fields and targets are octets (RFC 9110, 5.5), NIO has
/// them as Strings, and a String mends what is not UTF-8.
///
/// What is UTF-8 is itself. Every octet that is not becomes one of the last 128 scalars of plane 16, which nobody
/// writes: U+10FF80 stands for 80, U+10FFFF for FF. Where these scalars come as UTF-8 of their own, they are taken
/// octet by octet too, so every sequence of octets has a text of its own, and that text leads back to it.
enum OctetText {
  /// A stand-in in UTF-8: F4 8F, then BE for octets below C0 and BF for the others, then six bits of the octet.
  private static let lead: UInt8 = 0xF4
  private static let second: UInt8 = 0x8F
  private static let third: ClosedRange<UInt8> = 0xBE...0xBF

  static func text(_ octets: UnsafeRawBufferPointer) -> String {
    var all: UInt8 = 0
    for octet in octets { all |= octet }
    guard all >= 0x80 else { return String(decoding: octets, as: UTF8.self) }
    var utf8: [UInt8] = []
    utf8.reserveCapacity(octets.count + 32)
    var at = 0
    while at < octets.count {
      let length = sequence(octets, at)
      if length > 0, standIn(octets, at) == nil {
        utf8.append(contentsOf: octets[at..<(at + length)])
        at += length
      } else {
        let octet = octets[at]
        utf8.append(lead)
        utf8.append(second)
        utf8.append(octet < 0xC0 ? 0xBE : 0xBF)
        utf8.append(0x80 | (octet & 0x3F))
        at += 1
      }
    }
    return String(decoding: utf8, as: UTF8.self)
  }

  /// Of what came as a String from elsewhere (HTTP/2), so that it leads back to its own octets.
  static func text(_ text: String) -> String {
    guard !isPlain(text) else { return text }
    var text = text
    return text.withUTF8 { self.text(UnsafeRawBufferPointer($0)) }
  }

  static func octets(_ text: String) -> [UInt8] {
    var text = text
    return text.withUTF8 { utf8 in
      let utf8 = UnsafeRawBufferPointer(utf8)
      var octets: [UInt8] = []
      octets.reserveCapacity(utf8.count)
      var at = 0
      while at < utf8.count {
        let octet = standIn(utf8, at)
        octets.append(octet ?? utf8[at])
        at += octet == nil ? 1 : 4
      }
      return octets
    }
  }

  /// Whether no octet of it is replaced.
  static func isPlain(_ text: String) -> Bool {
    guard text.utf8.contains(lead) else { return true }
    return !text.unicodeScalars.contains { (0x10FF80...0x10FFFF).contains($0.value) }
  }

  /// For protocols whose texts are UTF-8: an octet that is not is the character that ISO 8859-1 has for it.
  static func latin(_ text: String) -> String {
    replaced(text) { String(Unicode.Scalar($0)) }
  }

  /// For people, logs and JSON: an octet that is not UTF-8 is written `%E9`.
  ///
  /// - Parameter limit: bytes of the result; what goes beyond is cut off between two characters.
  static func shown(_ text: String, limit: Int) -> String {
    let shown = replaced(text) { "%" + String($0, radix: 16, uppercase: true) }
    guard shown.utf8.count > limit else { return shown }
    var end = shown.utf8.index(shown.startIndex, offsetBy: limit)
    while end > shown.startIndex, end.samePosition(in: shown.unicodeScalars) == nil {
      end = shown.utf8.index(before: end)
    }
    return String(shown[..<end])
  }

  private static func replaced(_ text: String, _ replacement: (UInt8) -> String) -> String {
    guard !isPlain(text) else { return text }
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      guard (0x10FF80...0x10FFFF).contains(scalar.value) else {
        result.append(scalar)
        continue
      }
      result.append(contentsOf: replacement(UInt8(truncatingIfNeeded: scalar.value)).unicodeScalars)
    }
    return String(result)
  }

  /// The octet that four bytes stand for.
  static func standIn(_ utf8: UnsafeRawBufferPointer, _ at: Int) -> UInt8? {
    guard utf8[at] == lead, at + 4 <= utf8.count, utf8[at + 1] == second, third.contains(utf8[at + 2]),
      utf8[at + 3] & 0xC0 == 0x80
    else {
      return nil
    }
    return (utf8[at + 2] == 0xBE ? 0x80 : 0xC0) | (utf8[at + 3] & 0x3F)
  }

  /// Bytes of the UTF-8 sequence that begins here, 0 where none does (Unicode, table 3-7).
  private static func sequence(_ octets: UnsafeRawBufferPointer, _ at: Int) -> Int {
    var length = 4
    var second: ClosedRange<UInt8> = 0x80...0xBF
    switch octets[at] {
    case 0x00...0x7F: return 1
    case 0xC2...0xDF: length = 2
    case 0xE0:
      length = 3
      second = 0xA0...0xBF
    case 0xED:
      length = 3
      second = 0x80...0x9F
    case 0xE1...0xEF: length = 3
    case 0xF0: second = 0x90...0xBF
    case 0xF1...0xF3: break
    case 0xF4: second = 0x80...0x8F
    default: return 0
    }
    guard at + length <= octets.count, second.contains(octets[at + 1]) else { return 0 }
    for offset in 2..<length where octets[at + offset] & 0xC0 != 0x80 { return 0 }
    return length
  }
}
