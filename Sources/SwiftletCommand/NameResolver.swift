import JSON
import Model
import Transport

/// Turns what people type into ids: `id:x` and `name:x` force one reading, anything else may be either
/// (management-and-model.md 5.4).
struct NameResolver: Sendable {
  let client: ManagementClient

  /// The one entity with this id or name.
  func entity(_ kind: EntityDescription, _ text: String) async throws -> JSONValue {
    let found = try await matches(kind, text)
    if let only = found.first, found.count == 1 { return only }
    guard found.isEmpty else {
      throw CommandFailure(
        "\(found.count) \(kind.plural) have the id or name \(text)", next: "say which: id:\(text) or name:\(text)")
    }
    throw CommandFailure("no \(kind.title) has the id or name \(text)", next: try await suggestion(kind, text))
  }

  func id(_ kind: EntityDescription, _ text: String) async throws -> String {
    guard let id = try await entity(kind, text)["id"]?.stringValue else {
      throw CommandFailure("the controller gave a \(kind.title) without id")
    }
    return id
  }

  func matches(_ kind: EntityDescription, _ text: String) async throws -> [JSONValue] {
    let filter: String
    if text.hasPrefix("id:") {
      filter = "id=" + String(text.dropFirst(3)).filterLiteral
    } else if text.hasPrefix("name:") {
      filter = "name=" + String(text.dropFirst(5)).filterLiteral
    } else {
      filter = kind.hasName ? "id=\(text.filterLiteral) or name=\(text.filterLiteral)" : "id=\(text.filterLiteral)"
    }
    return try await client.send(
      "GET", kind.path, query: [("filter", filter)], doing: "look up the \(kind.title) \(text)")["data"]?.arrayValue
      ?? []
  }

  /// Roles as the API stores them: `@name` becomes `@id`, `#attribute` stays.
  func roles(_ entries: [String], of kind: EntityDescription) async throws -> JSONValue {
    var roles: [JSONValue] = []
    for role in entries {
      if role.hasPrefix("#"), role.count > 1 {
        roles.append(.string(role))
      } else if role.hasPrefix("@"), role.count > 1 {
        roles.append(.string("@" + (try await id(kind, String(role.dropFirst())))))
      } else {
        throw CommandFailure("\(role) is not a role of \(kind.plural)", next: "write #attribute, @name or #all")
      }
    }
    return .array(roles)
  }

  private func suggestion(_ kind: EntityDescription, _ text: String) async throws -> String {
    let list = "see them with: swiftlet list \(kind.plural)"
    guard kind.hasName else { return list }
    let names =
      try await client.send("GET", kind.path, query: [("filter", "true limit 500")], doing: "list \(kind.plural)")[
        "data"]?.arrayValue ?? []
    let close = names.compactMap { $0["name"]?.stringValue }.map { ($0, Self.distance($0, text)) }.filter {
      $0.1 <= max(1, text.count / 3)
    }
    guard let best = close.min(by: { $0.1 < $1.1 }) else { return list }
    return "did you mean \(best.0)?"
  }

  /// Edits that turn one word into the other.
  static func distance(_ left: String, _ right: String) -> Int {
    let left = Array(left.lowercased())
    let right = Array(right.lowercased())
    var row = Array(0...right.count)
    for (i, character) in left.enumerated() {
      var next = [i + 1]
      for (j, other) in right.enumerated() {
        next.append(Swift.min(row[j] + (character == other ? 0 : 1), row[j + 1] + 1, next[j] + 1))
      }
      row = next
    }
    return row[right.count]
  }
}
