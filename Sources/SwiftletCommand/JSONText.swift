import JSON
import Model

extension JSONValue {
  /// Indented by four spaces with sorted members: the same document gives the same text.
  var indented: String { indented(level: 0) }

  private func indented(level: Int) -> String {
    let inner = String(repeating: "    ", count: level + 1)
    let outer = String(repeating: "    ", count: level)
    switch self {
    case .object(let members) where !members.isEmpty:
      let lines = members.sorted { $0.key < $1.key }.map {
        "\(inner)\(JSONValue.string($0.key).text): \($0.value.indented(level: level + 1))"
      }
      return "{\n\(lines.joined(separator: ",\n"))\n\(outer)}"
    case .array(let items) where !items.isEmpty:
      return "[\n\(items.map { inner + $0.indented(level: level + 1) }.joined(separator: ",\n"))\n\(outer)]"
    default: return text
    }
  }

  /// A scalar as a person reads it; documents as compact JSON.
  var plain: String {
    switch self {
    case .null: ""
    case .string(let text): text
    case .array(let items) where items.allSatisfy({ $0.stringValue != nil }):
      items.compactMap(\.stringValue).joined(separator: ",")
    case .object(let members) where members.isEmpty: ""
    default: text
    }
  }
}
