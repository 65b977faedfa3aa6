import Testing

@testable import Wire

/// Bytes from hex digits with any white space between them.
func hex(_ text: String) throws -> [UInt8] {
  let digits = text.filter { !$0.isWhitespace }.map { $0.hexDigitValue }
  try #require(digits.count.isMultiple(of: 2) && digits.allSatisfy { $0 != nil })
  let values = digits.compactMap { $0 }
  return stride(from: 0, to: values.count, by: 2).map { UInt8(values[$0] << 4 | values[$0 + 1]) }
}

extension Message {
  /// Headers in a written order, as a vector shows them.
  init(_ type: ContentType, _ sequence: Int32, _ records: [(HeaderID, [UInt8])], body: String = "") {
    self.init(contentType: type, sequence: sequence, body: Array(body.utf8))
    for (id, value) in records { headers[id] = value }
  }

  /// The same message with another sequence.
  func numbered(_ sequence: Int32) -> Message {
    var copy = self
    copy.sequence = sequence
    return copy
  }
}

func le(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }

/// A seeded generator (SplitMix64), so that a failing case comes back.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}
