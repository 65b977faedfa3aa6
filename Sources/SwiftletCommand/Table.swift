/// Rows drawn with box characters, as operators know them from OpenZiti's tool. A cell may hold several lines.
struct Table {
  enum Alignment: Sendable { case left, right }

  let headers: [String]
  let alignments: [Alignment]
  var rows: [[String]] = []

  init(headers: [String], alignments: [Alignment]) {
    self.headers = headers.map { $0.uppercased() }
    self.alignments = alignments
  }

  var text: String {
    let cells = ([headers] + rows).map {
      $0.map { $0.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) }
    }
    let widths = headers.indices.map { column in
      cells.reduce(0) { width, row in max(width, row[column].reduce(0) { max($0, $1.count) }) }
    }
    var lines = [rule("╭", "┬", "╮", widths)]
    for (index, row) in cells.enumerated() {
      let height = row.reduce(1) { max($0, $1.count) }
      for line in 0..<height {
        let parts = row.indices.map { column -> String in
          let text = line < row[column].count ? row[column][line] : ""
          let gap = String(repeating: " ", count: widths[column] - text.count)
          return alignments[column] == .right && index > 0 ? gap + text : text + gap
        }
        lines.append("│ " + parts.joined(separator: " │ ") + " │")
      }
      if index == 0 { lines.append(rule("├", "┼", "┤", widths)) }
    }
    lines.append(rule("╰", "┴", "╯", widths))
    return lines.joined(separator: "\n")
  }

  private func rule(_ left: String, _ middle: String, _ right: String, _ widths: [Int]) -> String {
    left + widths.map { String(repeating: "─", count: $0 + 2) }.joined(separator: middle) + right
  }
}
