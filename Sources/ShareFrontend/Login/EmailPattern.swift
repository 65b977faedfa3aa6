/// Which e-mail addresses may visit a share: globs as upstream writes them (zrok.md 4.5): `*` any characters, `?` one,
/// `[a-z]` and `[!a-z]` one of a set, `{a,b}` one of several. Upper and lower case are the same.
package struct EmailPattern: Sendable, Equatable {
  /// Bytes of one.
  static let sizeLimit = 256
  /// Patterns of one share.
  package static let countLimit = 64
  private static let alternativesLimit = 16
  /// Bytes of all its alternatives.
  private static let expandedLimit = 1024
  /// Steps that one look at an address may take: it runs where requests are carried.
  private static let stepLimit = 2048

  private enum Piece: Sendable, Equatable {
    case one(UInt8)
    case any
    case many
    /// A bit for each character of ASCII.
    case set(low: UInt64, high: UInt64)

    func matches(_ byte: UInt8) -> Bool {
      switch self {
      case .one(let own): own == byte
      case .any: true
      case .many: false
      case .set(let low, let high):
        byte < 64 ? low >> UInt64(byte) & 1 == 1 : byte < 128 && high >> UInt64(byte - 64) & 1 == 1
      }
    }
  }

  private let alternatives: [[Piece]]

  /// - Returns: nil for a text that is no pattern.
  package init?(_ text: String) {
    let bytes = Array(text.lowercased().utf8)
    guard (1...Self.sizeLimit).contains(bytes.count), bytes.allSatisfy({ (0x21...0x7E).contains($0) }),
      let texts = Self.expanded(bytes),
      texts.reduce(0, { $0 + $1.count }) <= Self.expandedLimit
    else {
      return nil
    }
    var alternatives: [[Piece]] = []
    for text in texts {
      guard let pieces = Self.pieces(text) else { return nil }
      if !alternatives.contains(pieces) { alternatives.append(pieces) }
    }
    self.alternatives = alternatives
  }

  func matches(_ email: String) -> Bool {
    let bytes = Array(email.lowercased().utf8)
    var steps = 0
    return alternatives.contains { Self.matches($0, bytes, &steps) }
  }

  /// Braces become several texts; they do not nest.
  private static func expanded(_ text: [UInt8]) -> [[UInt8]]? {
    var results: [[UInt8]] = [[]]
    var rest = text[...]
    while let open = rest.firstIndex(of: UInt8(ascii: "{")) {
      guard let close = rest[open...].firstIndex(of: UInt8(ascii: "}")), !rest[..<open].contains(UInt8(ascii: "}"))
      else { return nil }
      let choices = rest[(open + 1)..<close].split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
      guard !choices.contains(where: { $0.contains(UInt8(ascii: "{")) }),
        results.count * choices.count <= alternativesLimit
      else { return nil }
      let before = rest[..<open]
      results = results.flatMap { result in choices.map { result + before + $0 } }
      rest = rest[(close + 1)...]
    }
    guard !rest.contains(UInt8(ascii: "}")) else { return nil }
    return results.map { $0 + rest }
  }

  private static func pieces(_ text: [UInt8]) -> [Piece]? {
    var pieces: [Piece] = []
    var index = 0
    while index < text.count {
      switch text[index] {
      case UInt8(ascii: "*"): if pieces.last != .many { pieces.append(.many) }
      case UInt8(ascii: "?"): pieces.append(.any)
      case UInt8(ascii: "["):
        guard let end = text[index...].firstIndex(of: UInt8(ascii: "]")) else { return nil }
        var members = text[(index + 1)..<end]
        let isNegated = members.first == UInt8(ascii: "!") || members.first == UInt8(ascii: "^")
        if isNegated { members = members.dropFirst() }
        guard !members.isEmpty else { return nil }
        var (below, above): (UInt64, UInt64) = (0, 0)
        func add(_ byte: UInt8) { if byte < 64 { below |= 1 << UInt64(byte) } else { above |= 1 << UInt64(byte - 64) } }
        while let low = members.popFirst() {
          if members.first == UInt8(ascii: "-"), members.count >= 2 {
            let high = members[members.startIndex + 1]
            guard low <= high else { return nil }
            for byte in low...high { add(byte) }
            members = members.dropFirst(2)
          } else {
            add(low)
          }
        }
        pieces.append(isNegated ? .set(low: ~below, high: ~above) : .set(low: below, high: above))
        index = end
      case let byte: pieces.append(.one(byte))
      }
      index += 1
    }
    return pieces
  }

  /// Goes back to the last `*` only: linear in both for one, their product at worst.
  private static func matches(_ pieces: [Piece], _ bytes: [UInt8], _ steps: inout Int) -> Bool {
    var (piece, byte) = (0, 0)
    var retry: (piece: Int, byte: Int)?
    while byte < bytes.count {
      steps += 1
      // A pattern that goes astray like this was written to.
      guard steps <= stepLimit else { return false }
      if piece < pieces.count, pieces[piece] == .many {
        retry = (piece, byte)
        piece += 1
      } else if piece < pieces.count, pieces[piece].matches(bytes[byte]) {
        piece += 1
        byte += 1
      } else if let last = retry {
        retry = (last.piece, last.byte + 1)
        piece = last.piece + 1
        byte = last.byte + 1
      } else {
        return false
      }
    }
    return pieces[piece...].allSatisfy { $0 == .many }
  }
}
