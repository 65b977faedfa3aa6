import CQREncode

/// A text as a QR code, for the camera of a phone.
struct QRCode: Sendable {
  /// Rows of modules, true where it is dark; without the quiet zone.
  let modules: [[Bool]]

  /// The smallest code for the text, with the lowest error correction: a screen has no scratches.
  /// - Returns: nil where it is longer than any code can be, or empty.
  init?(_ text: String) {
    guard let code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L) else { return nil }
    defer { QRcode_free(code) }
    let width = Int(code.pointee.width)
    guard width > 0, let data = code.pointee.data else { return nil }
    // The lowest bit of a byte is the module's colour; the others tell its role.
    modules = (0..<width).map { row in (0..<width).map { column in data[row * width + column] & 1 == 1 } }
  }

  /// The standard's quiet zone, in modules.
  static let quietZone = 4

  /// Draws modules with half blocks, two rows a line. Light modules are the ink: on a dark terminal the code is dark on
  /// light, as scanners want it.
  /// - Parameter quiet: light modules around it.
  static func lines(_ modules: [[Bool]], quiet: Int = quietZone) -> [String] {
    let width = (modules.first?.count ?? 0) + 2 * quiet
    let height = modules.count + 2 * quiet
    func isLight(_ row: Int, _ column: Int) -> Bool {
      let (row, column) = (row - quiet, column - quiet)
      guard modules.indices.contains(row), modules[row].indices.contains(column) else { return true }
      return !modules[row][column]
    }
    return stride(from: 0, to: height, by: 2).map { row in
      String(
        (0..<width).map { column -> Character in
          // Below an odd last row there is nothing: not ink, so that the zone does not grow.
          switch (isLight(row, column), row + 1 < height && isLight(row + 1, column)) {
          case (true, true): "█"
          case (true, false): "▀"
          case (false, true): "▄"
          case (false, false): " "
          }
        })
    }
  }

  /// White on black whatever the terminal's own colours are. Without colours a terminal with a light background shows
  /// it inverted.
  static func painted(_ line: String, hasColour: Bool) -> String { hasColour ? "\u{1B}[40;97m\(line)\u{1B}[0m" : line }
}
