import NIOHTTP1

/// An entity tag (RFC 9110, 8.8.3).
struct EntityTag: Hashable, Sendable {
  let isWeak: Bool
  /// Without its quotes.
  let opaque: String

  init(opaque: String, isWeak: Bool = false) {
    self.opaque = opaque
    self.isWeak = isWeak
  }

  /// As it stands in a field.
  var text: String { (isWeak ? "W/\"" : "\"") + opaque + "\"" }

  /// The list of a condition: nil for `*`. Tags may hold commas. What is no tag equals none, and is left out.
  static func list(_ text: String) -> [EntityTag]? {
    if text.trimmed == "*" { return nil }
    var tags: [EntityTag] = []
    var rest = text.utf8[...]
    while true {
      rest = rest.drop { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
      guard !rest.isEmpty else { return tags }
      if let tag = EntityTag(taking: &rest) { tags.append(tag) } else { rest = rest.drop { $0 != UInt8(ascii: ",") } }
    }
  }

  /// Takes a tag from the front. nil takes nothing.
  init?(taking rest: inout Substring.UTF8View) {
    var inner = rest
    let isWeak = inner.starts(with: "W/".utf8)
    if isWeak { inner = inner.dropFirst(2) }
    guard inner.first == UInt8(ascii: "\"") else { return nil }
    inner = inner.dropFirst()
    let content = inner.prefix { $0 != UInt8(ascii: "\"") }
    guard content.endIndex < inner.endIndex else { return nil }
    self.init(opaque: String(Substring(content)), isWeak: isWeak)
    rest = inner[content.endIndex...].dropFirst()
  }

  func matchesStrongly(_ other: EntityTag) -> Bool { !isWeak && !other.isWeak && opaque == other.opaque }
  func matchesWeakly(_ other: EntityTag) -> Bool { opaque == other.opaque }
}

/// The conditions that a request sets on what it names (RFC 9110, 13).
enum Preconditions {
  enum Verdict: Equatable {
    case proceed
    /// 304 instead of the content.
    case notModified
    /// 412, and nothing has changed.
    case failed
  }

  /// What a request names: nil where there is nothing. A directory has no tag.
  struct State {
    let tag: EntityTag?
    /// Seconds since 1970.
    let modified: Int64

    init(tag: EntityTag?, modified: Int64) {
      self.tag = tag
      self.modified = modified
    }

    init(_ status: ConfinedRoot.Status) {
      self.init(tag: status.isDirectory ? nil : status.tag, modified: status.modified)
    }
  }

  /// In the order of 13.2.2. `Range` and `If-Range` are the answer's matter.
  static func judge(_ method: HTTPMethod, _ headers: HTTPHeaders, _ state: State?) -> Verdict {
    let reads = method == .GET || method == .HEAD
    if headers.contains(name: "if-match") {
      let wanted = EntityTag.list(headers["if-match"].joined(separator: ","))
      guard wanted.map({ list in list.contains { state?.tag?.matchesStrongly($0) ?? false } }) ?? (state != nil) else {
        return .failed
      }
    } else if let limit = headers.first(name: "if-unmodified-since").flatMap(HTTPDate.seconds), let state,
      state.modified > limit
    {
      return .failed
    }
    if headers.contains(name: "if-none-match") {
      let known = EntityTag.list(headers["if-none-match"].joined(separator: ","))
      if known.map({ list in list.contains { state?.tag?.matchesWeakly($0) ?? false } }) ?? (state != nil) {
        return reads ? .notModified : .failed
      }
    } else if reads, let since = headers.first(name: "if-modified-since").flatMap(HTTPDate.seconds), let state,
      state.modified <= since
    {
      return .notModified
    }
    return .proceed
  }
}

extension StringProtocol {
  /// Without spaces and tabs at its ends.
  var trimmed: String {
    let isSpace = { (character: Character) in character == " " || character == "\t" }
    return String(drop(while: isSpace).reversed().drop(while: isSpace).reversed())
  }
}
