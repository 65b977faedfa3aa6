/// Text as cells of a terminal.
enum CellText {
  /// What a peer sent, made harmless: it can neither move the cursor nor hide or reorder what stands beside it.
  static func clean(_ text: String) -> String {
    if text.utf8.allSatisfy({ (0x20..<0x7F).contains($0) }) { return text }
    return String(String.UnicodeScalarView(text.unicodeScalars.map { isHarmful($0) ? "\u{FFFD}" : $0 }))
  }

  private static func isHarmful(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: true
    default: false
    }
  }

  /// Without the colours of our own log lines.
  static func withoutStyle(_ text: String) -> String {
    guard text.utf8.contains(0x1B) else { return text }
    return text.replacing(#/\x{1B}\[[0-9;]*m/#, with: "")
  }

  /// Cells that a clean text takes. Terminals disagree on some emoji; whoever draws must not rely on it for what stands
  /// to the right.
  static func width(_ text: String) -> Int {
    if text.utf8.allSatisfy({ (0x20..<0x7F).contains($0) }) { return text.utf8.count }
    return text.reduce(0) { $0 + width($1) }
  }

  static func width(_ character: Character) -> Int {
    guard let first = character.unicodeScalars.first else { return 0 }
    if first.isASCII { return 1 }
    switch first.properties.generalCategory {
    case .nonspacingMark, .enclosingMark: return 0
    default: break
    }
    let isEmoji =
      first.properties.isEmojiPresentation
      || (first.properties.isEmoji && character.unicodeScalars.contains("\u{FE0F}"))
    return isEmoji || wide.contains { $0.contains(first.value) } ? 2 : 1
  }

  /// The blocks of East Asian wide and fullwidth characters (Unicode's annex 11), coarsely.
  private static let wide: [ClosedRange<UInt32>] = [
    0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0xA4CF, 0xA960...0xA97F,
    0xAC00...0xD7A3, 0xF900...0xFAFF,
    0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x17000...0x18DFF, 0x1B000...0x1B2FF, 0x20000...0x3FFFD,
  ]

  /// Exactly so many cells: cut with an ellipsis, or filled up.
  static func fitted(_ text: String, _ columns: Int) -> String {
    guard columns > 0 else { return "" }
    let own = width(text)
    if own <= columns { return text + String(repeating: " ", count: columns - own) }
    let (head, used) = prefix(text[...], columns - 1)
    return head + "…" + String(repeating: " ", count: columns - 1 - used)
  }

  /// Lines of at most so many cells, nothing left out.
  static func wrapped(_ text: String, _ columns: Int) -> [String] {
    var lines: [String] = []
    var rest = text[...]
    repeat {
      // One character a line where not even that fits: the text must end.
      let (head, _) = prefix(rest, columns)
      let line = head.isEmpty ? rest.prefix(1) : head
      lines.append(String(line))
      rest = rest.dropFirst(line.count)
    } while !rest.isEmpty
    return lines
  }

  private static func prefix(_ text: Substring, _ columns: Int) -> (text: Substring, width: Int) {
    var used = 0
    var end = text.startIndex
    while end < text.endIndex, used + width(text[end]) <= columns {
      used += width(text[end])
      end = text.index(after: end)
    }
    return (text[..<end], used)
  }
}
