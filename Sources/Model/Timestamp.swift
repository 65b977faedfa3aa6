import FoundationEssentials
public import JSON

/// A moment in UTC with millisecond precision, and its one text form `YYYY-MM-DDTHH:MM:SS.sssZ` (client spec 8.2:
/// deployed clients compare such texts byte by byte, so there is exactly one serialisation everywhere).
public struct Timestamp: Sendable, Hashable, Comparable {
  public let millisecondsSinceEpoch: Int64

  /// The years 0001 to 9999, what the text form can carry; other moments are clamped.
  private static let range: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999

  public static let epoch = Timestamp(millisecondsSinceEpoch: 0)

  public init(millisecondsSinceEpoch: Int64) {
    self.millisecondsSinceEpoch = min(max(millisecondsSinceEpoch, Self.range.lowerBound), Self.range.upperBound)
  }

  public init(secondsSinceEpoch: Int64) {
    let (milliseconds, overflow) = secondsSinceEpoch.multipliedReportingOverflow(by: 1000)
    self.init(millisecondsSinceEpoch: overflow ? (secondsSinceEpoch < 0 ? .min : .max) : milliseconds)
  }

  /// The clock. Only shells (sockets, disks, REST handlers) call it; everything below takes the time as an argument.
  public static func now() -> Timestamp {
    Timestamp(millisecondsSinceEpoch: Int64((Date().timeIntervalSince1970 * 1000).rounded(.down)))
  }

  public var secondsSinceEpoch: Int64 { Self.floorDivide(millisecondsSinceEpoch, 1000) }

  public static func < (left: Timestamp, right: Timestamp) -> Bool {
    left.millisecondsSinceEpoch < right.millisecondsSinceEpoch
  }

  public func adding(milliseconds: Int64) -> Timestamp {
    let (sum, overflow) = millisecondsSinceEpoch.addingReportingOverflow(milliseconds)
    return Timestamp(millisecondsSinceEpoch: overflow ? (milliseconds < 0 ? .min : .max) : sum)
  }

  public func adding(seconds: Int64) -> Timestamp {
    let (milliseconds, overflow) = seconds.multipliedReportingOverflow(by: 1000)
    return adding(milliseconds: overflow ? (seconds < 0 ? .min : .max) : milliseconds)
  }

  /// Milliseconds from `earlier` to self; negative when self is before it.
  public func milliseconds(since earlier: Timestamp) -> Int64 {
    millisecondsSinceEpoch - earlier.millisecondsSinceEpoch
  }
}

extension Timestamp: CustomStringConvertible {
  public var description: String { text }

  public var text: String {
    let day = Self.floorDivide(millisecondsSinceEpoch, 86_400_000)
    let inDay = millisecondsSinceEpoch - day * 86_400_000
    let (year, month, dayOfMonth) = Self.civil(day: day)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(24)
    func digits(_ value: Int64, _ count: Int) {
      var divisor: Int64 = 1
      for _ in 1..<count { divisor *= 10 }
      while divisor > 0 {
        bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / divisor % 10))
        divisor /= 10
      }
    }
    digits(year, 4)
    bytes.append(UInt8(ascii: "-"))
    digits(month, 2)
    bytes.append(UInt8(ascii: "-"))
    digits(dayOfMonth, 2)
    bytes.append(UInt8(ascii: "T"))
    digits(inDay / 3_600_000, 2)
    bytes.append(UInt8(ascii: ":"))
    digits(inDay / 60_000 % 60, 2)
    bytes.append(UInt8(ascii: ":"))
    digits(inDay / 1000 % 60, 2)
    bytes.append(UInt8(ascii: "."))
    digits(inDay % 1000, 3)
    bytes.append(UInt8(ascii: "Z"))
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Reads RFC 3339 with any fraction (cut to milliseconds) and any offset; nil for every other text.
  public init?(_ text: String) {
    let bytes = Array(text.utf8)
    guard bytes.count >= 20, bytes.count <= 64 else { return nil }
    func number(_ start: Int, _ count: Int) -> Int64? {
      guard start + count <= bytes.count else { return nil }
      var value: Int64 = 0
      for byte in bytes[start..<start + count] {
        guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
        value = value * 10 + Int64(byte - UInt8(ascii: "0"))
      }
      return value
    }
    guard bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
      [UInt8(ascii: "T"), UInt8(ascii: "t"), 0x20].contains(bytes[10]),
      bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":"),
      let year = number(0, 4), year >= 1, let month = number(5, 2), (1...12).contains(month), let day = number(8, 2),
      day >= 1, day <= Self.daysIn(month: month, year: year), let hour = number(11, 2), hour < 24,
      let minute = number(14, 2), minute < 60,
      let second = number(17, 2), second <= 60
    else { return nil }
    var position = 19
    var milliseconds: Int64 = 0
    if bytes[position] == UInt8(ascii: ".") {
      position += 1
      var digits = 0
      while position < bytes.count, bytes[position] >= UInt8(ascii: "0"), bytes[position] <= UInt8(ascii: "9") {
        if digits < 3 { milliseconds = milliseconds * 10 + Int64(bytes[position] - UInt8(ascii: "0")) }
        digits += 1
        position += 1
      }
      guard digits > 0 else { return nil }
      for _ in min(digits, 3)..<3 { milliseconds *= 10 }
    }
    guard position < bytes.count else { return nil }
    var offsetMinutes: Int64 = 0
    switch bytes[position] {
    case UInt8(ascii: "Z"), UInt8(ascii: "z"):
      guard position + 1 == bytes.count else { return nil }
    case UInt8(ascii: "+"), UInt8(ascii: "-"):
      guard position + 6 == bytes.count, bytes[position + 3] == UInt8(ascii: ":"), let hours = number(position + 1, 2),
        hours < 24,
        let minutes = number(position + 4, 2), minutes < 60
      else { return nil }
      offsetMinutes = (hours * 60 + minutes) * (bytes[position] == UInt8(ascii: "-") ? -1 : 1)
    default: return nil
    }
    let days = Self.days(year: year, month: month, day: day)
    let seconds = days * 86_400 + hour * 3600 + (minute - offsetMinutes) * 60 + second
    self.init(millisecondsSinceEpoch: seconds * 1000 + milliseconds)
  }
}

extension Timestamp: Codable, EncodableAsText {
  public init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let value = Timestamp(text) else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "\"\(text)\" is not an RFC 3339 date-time"))
    }
    self = value
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }
}

// The proleptic Gregorian calendar in days since 1970-01-01, counted from 1 March so that the leap day is the last of
// its year.
extension Timestamp {
  private static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
    let quotient = value / divisor
    return value % divisor < 0 ? quotient - 1 : quotient
  }

  private static func isLeap(_ year: Int64) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

  private static func daysIn(month: Int64, year: Int64) -> Int64 {
    switch month {
    case 2: isLeap(year) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
    let marchYear = month <= 2 ? year - 1 : year
    let monthFromMarch = (month + 9) % 12
    let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
    return marchYear * 365 + floorDivide(marchYear, 4) - floorDivide(marchYear, 100) + floorDivide(marchYear, 400)
      + dayOfYear - 719_468
  }

  private static func civil(day: Int64) -> (year: Int64, month: Int64, day: Int64) {
    // Estimate the year from the mean length of 400 years and correct by at most one step.
    let shifted = day + 719_468
    let era = floorDivide(shifted, 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
  }
}
