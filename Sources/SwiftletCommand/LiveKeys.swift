/// What a person may ask of a live view.
enum LiveKey: Sendable, Equatable {
  case quit
  case log
  case code
  case redraw
  case up
  case down
  case pageUp
  case pageDown
}

/// Finds keys in what a terminal sends. The rest is dropped, pasted text above all: a `q` in it must not end a share.
struct LiveKeyReader {
  private var isPasting = false

  /// - Parameter bytes: of one read. A terminal sends a key's sequence in one piece, so what a read leaves open was the
  ///   Escape key.
  mutating func keys(in bytes: some Sequence<UInt8>) -> [LiveKey] {
    var keys: [LiveKey] = []
    var rest = bytes.makeIterator()
    while let byte = rest.next() {
      let key = byte == 0x1B ? sequence(&rest) : Self.plain(byte)
      if let key, !isPasting { keys.append(key) }
    }
    return keys
  }

  private static func plain(_ byte: UInt8) -> LiveKey? {
    switch byte {
    // Ctrl-C, q
    case 0x03, 0x71: .quit
    // Ctrl-L
    case 0x0C: .redraw
    case UInt8(ascii: "l"): .log
    case UInt8(ascii: "c"): .code
    case UInt8(ascii: "k"): .up
    case UInt8(ascii: "j"): .down
    default: nil
    }
  }

  /// `ESC [ parameters final`, `ESC O final`, or a key with Alt.
  private mutating func sequence(_ rest: inout some IteratorProtocol<UInt8>) -> LiveKey? {
    switch rest.next() {
    case UInt8(ascii: "O"): return Self.arrow(rest.next())
    case UInt8(ascii: "["): break
    default: return nil
    }
    var parameters = ""
    while let byte = rest.next() {
      guard (0x40...0x7E).contains(byte) else {
        parameters.append(Character(Unicode.Scalar(byte)))
        continue
      }
      guard byte == UInt8(ascii: "~") else { return Self.arrow(byte) }
      switch parameters {
      case "5": return .pageUp
      case "6": return .pageDown
      case "200": isPasting = true
      case "201": isPasting = false
      default: break
      }
      return nil
    }
    return nil
  }

  private static func arrow(_ byte: UInt8?) -> LiveKey? {
    switch byte {
    case UInt8(ascii: "A"): .up
    case UInt8(ascii: "B"): .down
    default: nil
    }
  }
}
