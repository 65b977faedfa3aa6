/// Generators of entity ids (management spec 1.1). The random source is the caller's, so that cores and tests stay
/// reproducible.
public enum EntityID {
  private static let shortAlphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-".utf8)
  private static let base62Alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)

  /// 10 characters of `0-9A-Za-z.-`, 60 random bits: identities, routers, enrollments, authenticators. The first and
  /// last character are letters or digits, so that no id reads like an option of a command line or ends a sentence.
  public static func short(using random: inout some RandomNumberGenerator) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(10)
    for position in 0..<10 {
      let isEdge = position == 0 || position == 9
      bytes.append(shortAlphabet[Int.random(in: 0..<(isEdge ? 62 : 64), using: &random)])
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A version-4 UUID written in base 62, 22 characters: everything else that is created through the generic path.
  public static func uuidBase62(using random: inout some RandomNumberGenerator) -> String {
    var value = uuidBits(using: &random)
    var bytes = [UInt8](repeating: base62Alphabet[0], count: 22)
    var position = 21
    while value > 0, position >= 0 {
      let (quotient, remainder) = value.quotientAndRemainder(dividingBy: 62)
      bytes[position] = base62Alphabet[Int(remainder)]
      value = quotient
      position -= 1
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A version-4 UUID in its usual text form: enrollment and API session tokens.
  public static func uuid(using random: inout some RandomNumberGenerator) -> String {
    let value = uuidBits(using: &random)
    let digits = Array("0123456789abcdef".utf8)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(36)
    for index in 0..<32 {
      if [8, 12, 16, 20].contains(index) { bytes.append(UInt8(ascii: "-")) }
      bytes.append(digits[Int(truncatingIfNeeded: value >> UInt128(124 - 4 * index) & 15)])
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The forms without a source draw from the system; like `Timestamp.now()` they are for shells only.
  public static func short() -> String {
    var random = SystemRandomNumberGenerator()
    return short(using: &random)
  }

  public static func uuidBase62() -> String {
    var random = SystemRandomNumberGenerator()
    return uuidBase62(using: &random)
  }

  public static func uuid() -> String {
    var random = SystemRandomNumberGenerator()
    return uuid(using: &random)
  }

  private static func uuidBits(using random: inout some RandomNumberGenerator) -> UInt128 {
    let high = random.next() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000
    let low = random.next() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    return UInt128(high) << 64 | UInt128(low)
  }
}
