import JSON

/// What names are made of. A name is shown on terminals, in logs and pages, compared in SQL and by people: characters
/// that end a text early, move a cursor, or turn around how the rest is read, have no business in one.
public enum NameText {
  /// The first character that no name may have: controls (NUL among them), DEL, C1, line and paragraph separators, and
  /// the overrides, embeddings and isolates of the bidirectional algorithm.
  public static func forbidden(in text: String) -> Unicode.Scalar? {
    text.unicodeScalars.first { scalar in
      switch scalar.value {
      case 0...0x1F, 0x7F...0x9F, 0x2028...0x202E, 0x2066...0x2069: true
      default: false
      }
    }
  }

  /// - Throws: an error that names the field and the character.
  public static func check(_ text: String, field: String) throws(ModelError) {
    guard let scalar = forbidden(in: text) else { return }
    let code = String(scalar.value, radix: 16, uppercase: true)
    throw ModelError(
      field: field,
      reason:
        "\(field) must not contain the control character U+\(String(repeating: "0", count: max(0, 4 - code.utf8.count)))\(code)",
      value: .string(text))
  }
}
