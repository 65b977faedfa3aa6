/// The `If` field of WebDAV (RFC 4918, 10.4): lists of conditions on lock tokens and entity tags, of which one list
/// must hold. Every token in it counts as submitted.
struct IfHeader: Sendable {
  struct Condition: Equatable, Sendable {
    enum Subject: Equatable, Sendable {
      case token(String)
      case tag(EntityTag)
    }

    let isNegated: Bool
    let subject: Subject
  }

  struct List: Sendable {
    /// The URL it is about; nil for the request's own.
    let resource: String?
    var conditions: [Condition]
  }

  /// Conditions of one field; each costs a look at the disk at most.
  private static let conditionLimit = 256

  private(set) var lists: [List] = []

  var tokens: Set<String> {
    Set(
      lists.flatMap { list in
        list.conditions.compactMap { condition -> String? in
          guard case .token(let token) = condition.subject else { return nil }
          return token
        }
      })
  }

  /// nil for what is no such field.
  init?(_ text: String) {
    var rest = Substring(text).utf8
    var resource: String?
    var count = 0

    func skipSpace() { rest = rest.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") } }
    /// `<...>`
    func reference() -> String? {
      guard rest.first == UInt8(ascii: "<"), let end = rest.firstIndex(of: UInt8(ascii: ">")) else { return nil }
      let content = String(Substring(rest[rest.index(after: rest.startIndex)..<end]))
      rest = rest[rest.index(after: end)...]
      return content.isEmpty ? nil : content
    }
    func condition() -> Condition? {
      let isNegated = rest.prefix(3).elementsEqual("Not".utf8)
      if isNegated { rest = rest.dropFirst(3) }
      skipSpace()
      if rest.first == UInt8(ascii: "<") {
        return reference().map { Condition(isNegated: isNegated, subject: .token($0)) }
      }
      guard rest.first == UInt8(ascii: "[") else { return nil }
      rest = rest.dropFirst()
      guard let tag = EntityTag(taking: &rest), rest.first == UInt8(ascii: "]") else { return nil }
      rest = rest.dropFirst()
      return Condition(isNegated: isNegated, subject: .tag(tag))
    }

    skipSpace()
    while let byte = rest.first {
      switch byte {
      case UInt8(ascii: "<"):
        // A tag is followed by lists.
        guard let found = reference() else { return nil }
        resource = found
        skipSpace()
        guard rest.first == UInt8(ascii: "(") else { return nil }
      case UInt8(ascii: "("):
        rest = rest.dropFirst()
        var list = List(resource: resource, conditions: [])
        skipSpace()
        while rest.first != UInt8(ascii: ")") {
          count += 1
          guard count <= Self.conditionLimit, let found = condition() else { return nil }
          list.conditions.append(found)
          skipSpace()
        }
        guard !list.conditions.isEmpty else { return nil }
        rest = rest.dropFirst()
        lists.append(list)
      default: return nil
      }
      skipSpace()
    }
    guard !lists.isEmpty else { return nil }
  }
}
