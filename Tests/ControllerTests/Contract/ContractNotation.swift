import JSON
import Model

/// A type of the documents, read from the notation of `DeclaredOperations`.
indirect enum DeclaredType {
  case text(ClosedRange<Int>?)
  case words([String])
  case boolean
  case integer(ClosedRange<Int>?)
  case time
  case object
  case list(DeclaredType)
  case map(DeclaredType)
  case members([(name: String, isRequired: Bool, type: DeclaredType)])
  case reference
  case links
  case nullable(DeclaredType)

  init(_ text: String) {
    var rest = Substring(text)
    self = Self.read(&rest)
    precondition(rest.isEmpty, "notation: \(rest)")
  }

  private static func read(_ text: inout Substring) -> DeclaredType {
    let type = readBare(&text)
    guard text.first == "?" else { return type }
    text.removeFirst()
    return .nullable(type)
  }

  private static func readBare(_ text: inout Substring) -> DeclaredType {
    switch text.first {
    case "[":
      text.removeFirst()
      defer { text.removeFirst() }
      return .list(read(&text))
    case "<":
      text.removeFirst()
      defer { text.removeFirst() }
      return .map(read(&text))
    case "{": return readMembers(&text)
    default: return readWord(&text)
    }
  }

  private static func readMembers(_ text: inout Substring) -> DeclaredType {
    text.removeFirst()
    var members: [(name: String, isRequired: Bool, type: DeclaredType)] = []
    while text.first != "}" {
      let name = text.prefix { $0 != ":" }
      text = text.dropFirst(name.count + 1)
      members.append((String(name.filter { $0 != "*" }), name.hasSuffix("*"), read(&text)))
      if text.first == " " { text.removeFirst() }
    }
    text.removeFirst()
    return .members(members)
  }

  private static func readWord(_ text: inout Substring) -> DeclaredType {
    let word = text.prefix { $0.isLetter || $0.isNumber || "|_-".contains($0) }
    text = text.dropFirst(word.count)
    var range: ClosedRange<Int>?
    if text.first == "(" {
      let inside = text.dropFirst().prefix { $0 != ")" }
      let bounds = inside.split(separator: ".").compactMap { Int($0) }
      range = bounds[0]...bounds[1]
      text = text.dropFirst(inside.count + 2)
    }
    switch word {
    case "s": return .text(range)
    case "b": return .boolean
    case "i": return .integer(range)
    case "t": return .time
    case "o": return .object
    case "ref": return .reference
    case "links": return .links
    default: return .words(word.split(separator: "|").map(String.init))
    }
  }

  // MARK: Requests

  /// A value that fits.
  var sample: JSONValue {
    switch self {
    case .text(let range): .string(String(repeating: "x", count: max(1, range?.lowerBound ?? 1)))
    case .words(let words): .string(words[0])
    case .boolean: true
    case .integer(let range): .int(Int64(range?.lowerBound ?? 1))
    case .time: "2126-11-30T00:00:00.000Z"
    case .object, .links, .reference, .map: [:]
    case .list(let element): [element.sample]
    case .members(let members): .object(Dictionary(uniqueKeysWithValues: members.map { ($0.name, $0.type.sample) }))
    case .nullable(let type): type.sample
    }
  }

  /// Values that do not fit, each for one reason.
  var breaches: [(reason: String, value: JSONValue)] {
    switch self {
    case .text(let range):
      let long =
        range.map { [("is too long", JSONValue.string(String(repeating: "x", count: $0.upperBound + 1)))] } ?? []
      let short = range.flatMap { $0.lowerBound > 1 ? [("is too short", JSONValue.string("x"))] : nil } ?? []
      return [("is a number", 5), ("is an object", [:])] + long + short
    case .words: return [("is no word of the document", "bogus"), ("is a number", 5)]
    case .boolean: return [("is a text", "true"), ("is a number", 1)]
    case .integer(let range):
      return [("is a text", "1"), ("is a fraction", 1.5)]
        + (range.map {
          [("is too great", .int(Int64($0.upperBound + 1))), ("is too small", .int(Int64($0.lowerBound - 1)))]
        } ?? [])
    case .time: return [("is no time", "yesterday"), ("is a number", 5)]
    case .object, .links, .reference: return [("is a list", []), ("is a text", "x")]
    case .list(let element):
      return [("is a text", "x"), ("is an object", [:])]
        + element.breaches.map { ("has an element that " + $0.reason, [element.sample, $0.value]) }
    case .map(let value):
      return [("is a list", [])] + value.breaches.map { ("has a member that " + $0.reason, ["k": $0.value]) }
    case .nullable(let type): return type.breaches
    case .members(let members): return [("is a list", []), ("is a text", "x")] + members.flatMap(breaches)
    }
  }

  private func breaches(_ member: (name: String, isRequired: Bool, type: DeclaredType)) -> [(
    reason: String, value: JSONValue
  )] {
    guard let whole = sample.objectValue else { return [] }
    func with(_ value: JSONValue?) -> JSONValue {
      var changed = whole
      changed[member.name] = value
      return .object(changed)
    }
    let missing =
      member.isRequired ? [("lacks \(member.name)", with(nil)), ("has null for \(member.name)", with(.null))] : []
    return missing + member.type.breaches.map { ("has a \(member.name) that \($0.reason)", with($0.value)) }
  }

  // MARK: Answers

  /// Where a value of an answer is not what the document says, nil when it is.
  func misfit(_ value: JSONValue, _ path: String = "") -> String? {
    func wrong(_ expected: String) -> String { "\(path): \(expected) expected, is \(value.text.prefix(200))" }
    switch self {
    case .nullable(let type): return value.isNull ? nil : type.misfit(value, path)
    case .text: return value.stringValue == nil ? wrong("a text") : nil
    case .words(let words): return words.contains(value.stringValue ?? "") ? nil : wrong("one of \(words)")
    case .boolean: return value.boolValue == nil ? wrong("a truth value") : nil
    case .integer: return value.intValue == nil ? wrong("an integer") : nil
    case .time: return value.stringValue.flatMap { Timestamp($0) } == nil ? wrong("a time") : nil
    case .object: return value.objectValue == nil ? wrong("an object") : nil
    case .list(let element):
      guard let elements = value.arrayValue else { return wrong("a list") }
      return elements.enumerated().lazy.compactMap { element.misfit($1, "\(path)[\($0)]") }.first
    case .map(let type):
      guard let object = value.objectValue else { return wrong("an object") }
      return object.lazy.compactMap { type.misfit($0.value, "\(path).\($0.key)") }.first
    case .links:
      guard let links = value.objectValue, !links.isEmpty else { return wrong("links") }
      return links.allSatisfy { $0.value["href"]?.stringValue?.hasPrefix("./") == true } ? nil : wrong("relative links")
    case .reference:
      guard let id = value["id"]?.stringValue, let entity = value["entity"]?.stringValue, let links = value["_links"]
      else {
        return wrong("a reference")
      }
      return DeclaredLinks.misfit(links, entity, id, path)
    case .members(let members):
      guard let object = value.objectValue else { return wrong("an object") }
      for member in members {
        guard let found = object[member.name] else {
          if member.isRequired { return "\(path).\(member.name) is required" }
          continue
        }
        if let misfit = member.type.misfit(found, "\(path).\(member.name)") { return misfit }
      }
      return nil
    }
  }
}

/// The links that entities of a kind and references to them have.
enum DeclaredLinks {
  private static let names = lines(DeclaredOperations.links).reduce(into: [String: [String]]()) {
    $0[$1[0]] = Array($1.dropFirst())
  }

  /// - Parameter isWhole: whether there may be no others.
  static func misfit(_ links: JSONValue, _ collection: String, _ id: String, _ path: String) -> String? {
    guard links["self"]?["href"] == .string("./\(collection)/\(id)") else {
      return "\(path)._links.self is \(links["self"]?.text ?? "missing")"
    }
    let missing = (names[collection] ?? []).filter { links[$0]?["href"]?.stringValue == nil }
    guard missing.isEmpty else { return "\(path)._links of one of \(collection) lacks \(missing)" }
    let own = missing.isEmpty ? (names[collection] ?? []).filter { $0 != "auth-policies" } : []
    return own.first { links[$0]?["href"] != .string("./\(collection)/\(id)/\($0)") }.map {
      "\(path)._links.\($0) leads elsewhere"
    }
  }

  static func lines(_ table: String) -> [[String]] {
    table.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
  }
}

/// One operation as a document declares it.
struct DeclaredOperation: CustomStringConvertible, Sendable {
  let method: String
  let path: String
  let statuses: Set<Int>
  let isOpen: Bool
  let isPaged: Bool
  let words: [(name: String, words: [String])]
  let mediaTypes: [String]
  let isBodyRequired: Bool
  /// In the notation; nil for operations without one.
  let body: String?

  var description: String { "\(method) \(path)" }

  init(_ line: Substring) {
    let head = line.prefix { $0 != "!" && $0 != "~" }
    let rest = line.dropFirst(head.count)
    let parts = head.split(separator: " ")
    method = String(parts[0])
    path = String(parts[1])
    statuses = Set(parts[2].split(separator: ",").compactMap { Int($0) })
    isOpen = parts.contains("open")
    isPaged = parts.contains("paged")
    words = parts.filter { $0.hasPrefix("?") }.map { part in
      let sides = part.dropFirst().split(separator: "=")
      return (String(sides[0].filter { $0 != "*" }), sides[1].split(separator: "|").map(String.init))
    }
    mediaTypes =
      parts.first { $0.hasPrefix("as=") }.map { $0.dropFirst(3).split(separator: ",").map(String.init) } ?? [
        "application/json"
      ]
    isBodyRequired = rest.first == "!"
    body = rest.isEmpty ? nil : String(rest.dropFirst())
  }

  static func table(_ text: String) -> [DeclaredOperation] { text.split(separator: "\n").map { DeclaredOperation($0) } }

  /// Whether a list of paths, or of methods with paths, names it; a path names what is below it.
  func isAmong(_ names: [String]) -> Bool {
    names.contains { name in
      name.hasPrefix("/") ? path == name || path.hasPrefix(name + "/") : name == description
    }
  }
}
