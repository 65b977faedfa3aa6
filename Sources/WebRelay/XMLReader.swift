/// Reads the small XML documents of WebDAV into a tree: elements with their namespaces, and text. Strict, and without anything that refers to elsewhere: a document
/// type is refused, and with it every entity but the five of XML itself.
struct XMLElement: Equatable, Sendable {
  static let sizeLimit = 64 * 1024
  private static let depthLimit = 32
  private static let elementLimit = 1024

  struct Failure: Error, Equatable { let reason: String }

  /// What an element holds, in its order.
  enum Node: Equatable, Sendable {
    case text(String)
    case element(XMLElement)
  }

  /// One that is no declaration of a namespace.
  struct Attribute: Equatable, Sendable {
    let namespace: String
    let name: String
    let value: String
  }

  /// The prefix `xml` stands for it everywhere.
  static let xmlNamespace = "http://www.w3.org/XML/1998/namespace"

  let namespace: String
  let name: String
  var attributes: [Attribute] = []
  var nodes: [Node] = []

  var children: [XMLElement] {
    nodes.compactMap { node -> XMLElement? in
      guard case .element(let child) = node else { return nil }
      return child
    }
  }
  /// Its own text, without that of its children.
  var text: String { nodes.reduce(into: "") { if case .text(let text) = $1 { $0 += text } } }

  func child(_ name: String, namespace: String = "DAV:") -> XMLElement? { children.first { $0.name == name && $0.namespace == namespace } }

  init(parsing bytes: some Collection<UInt8>) throws(Failure) {
    guard bytes.count <= Self.sizeLimit else { throw Failure(reason: "the document is longer than \(Self.sizeLimit) bytes") }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw Failure(reason: "the document is not UTF-8") }
    guard text.unicodeScalars.allSatisfy(Self.isCharacter) else { throw Failure(reason: "the document has characters that XML does not know") }
    var reader = Reader(text)
    self = try reader.document()
  }

  init(namespace: String, name: String, nodes: [Node] = []) {
    self.namespace = namespace
    self.name = name
    self.nodes = nodes
  }

  /// Whether XML has such a character, written or by its number (XML 1.0, 2.2).
  private static func isCharacter(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value >= 0x20 ? scalar.value != 0xFFFE && scalar.value != 0xFFFF : [9, 10, 13].contains(scalar.value)
  }

  private struct Reader {
    private var rest: Substring
    private var elements = 0

    init(_ text: String) { rest = text[...] }

    private mutating func take(_ prefix: String) -> Bool {
      guard rest.hasPrefix(prefix) else { return false }
      rest = rest.dropFirst(prefix.count)
      return true
    }

    private mutating func skipSpace() { rest = rest.drop { $0 == " " || $0 == "\t" || $0 == "\n" || $0 == "\r" || $0 == "\r\n" } }

    private mutating func skip(past end: String, _ what: String) throws(Failure) {
      guard let found = rest.firstRange(of: end) else { throw Failure(reason: "\(what) does not end") }
      rest = rest[found.upperBound...]
    }

    mutating func document() throws(Failure) -> XMLElement {
      _ = take("\u{FEFF}")
      if take("<?xml") { try skip(past: "?>", "the declaration") }
      try skipMisc()
      let root = try element(["xml": XMLElement.xmlNamespace], depth: 0)
      try skipMisc()
      guard rest.isEmpty else { throw Failure(reason: "something follows the document") }
      return root
    }

    private mutating func skipMisc() throws(Failure) {
      while true {
        skipSpace()
        if take("<!--") { try skip(past: "-->", "a comment") } else { return }
      }
    }

    private mutating func name() throws(Failure) -> String {
      let name = rest.prefix { $0.isLetter || $0.isNumber || "_-.:".contains($0) }
      guard let first = name.first, first.isLetter || first == "_", name.utf8.count <= 256 else { throw Failure(reason: "a name is missing") }
      rest = rest.dropFirst(name.count)
      return String(name)
    }

    private mutating func element(_ outer: [String: String], depth: Int) throws(Failure) -> XMLElement {
      elements += 1
      guard depth < XMLElement.depthLimit, elements <= XMLElement.elementLimit else { throw Failure(reason: "the document is too deep or too large") }
      guard take("<") else { throw Failure(reason: "an element is missing") }
      let qualified = try name()
      var scope = outer
      var attributes: [(name: String, value: String)] = []
      var count = 0
      while true {
        skipSpace()
        if rest.hasPrefix(">") || rest.hasPrefix("/>") { break }
        count += 1
        guard count <= 64 else { throw Failure(reason: "an element has too many attributes") }
        let attribute = try name()
        skipSpace()
        guard take("=") else { throw Failure(reason: "an attribute has no value") }
        skipSpace()
        guard let quote = rest.first, quote == "\"" || quote == "'" else { throw Failure(reason: "an attribute's value is not quoted") }
        rest = rest.dropFirst()
        let raw = rest.prefix { $0 != quote && $0 != "<" }
        rest = rest.dropFirst(raw.count)
        guard take(String(quote)) else { throw Failure(reason: "an attribute's value does not end") }
        let value = try Self.decoded(raw)
        if attribute == "xmlns" {
          scope[""] = value
        } else if attribute.hasPrefix("xmlns:") {
          // A prefix that stands for nothing is none (Namespaces in XML 1.0, 5).
          guard !value.isEmpty else { throw Failure(reason: "the prefix \(attribute.dropFirst(6)) stands for nothing") }
          scope[String(attribute.dropFirst(6))] = value
        } else {
          attributes.append((attribute, value))
        }
      }
      let (namespace, local) = try Self.resolve(qualified, scope)
      var made = XMLElement(namespace: namespace, name: local)
      for (name, value) in attributes {
        // An attribute without a prefix has no namespace.
        let (namespace, local) = try name.contains(":") ? Self.resolve(name, scope) : ("", name)
        made.attributes.append(Attribute(namespace: namespace, name: local, value: value))
      }
      if take("/>") { return made }
      guard take(">") else { throw Failure(reason: "an element's head does not end") }
      while true {
        let text = rest.prefix { $0 != "<" }
        rest = rest.dropFirst(text.count)
        if !text.isEmpty { made.nodes.append(.text(try Self.decoded(text))) }
        if take("</") {
          guard try name() == qualified else { throw Failure(reason: "the elements are not nested") }
          skipSpace()
          guard take(">") else { throw Failure(reason: "an end does not end") }
          return made
        }
        if take("<!--") {
          try skip(past: "-->", "a comment")
        } else if take("<![CDATA[") {
          guard let end = rest.firstRange(of: "]]>") else { throw Failure(reason: "a CDATA section does not end") }
          made.nodes.append(.text(String(rest[..<end.lowerBound])))
          rest = rest[end.upperBound...]
        } else if rest.hasPrefix("<!") || rest.hasPrefix("<?") {
          throw Failure(reason: "declarations and instructions are not accepted")
        } else {
          made.nodes.append(.element(try element(scope, depth: depth + 1)))
        }
      }
    }

    private static func resolve(_ qualified: String, _ scope: [String: String]) throws(Failure) -> (String, String) {
      let parts = qualified.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count <= 2, parts.allSatisfy({ !$0.isEmpty }) else { throw Failure(reason: "'\(qualified)' is no name") }
      guard parts.count == 2 else { return (scope[""] ?? "", qualified) }
      guard let namespace = scope[String(parts[0])] else { throw Failure(reason: "the prefix \(parts[0]) is not declared") }
      return (namespace, String(parts[1]))
    }

    private static func decoded(_ text: Substring) throws(Failure) -> String {
      guard text.contains("&") else { return String(text) }
      var result = ""
      var rest = text
      while let mark = rest.firstIndex(of: "&") {
        result += rest[..<mark]
        guard let end = rest[mark...].firstIndex(of: ";") else { throw Failure(reason: "a reference does not end") }
        let name = rest[rest.index(after: mark)..<end]
        switch name {
        case "amp": result += "&"
        case "lt": result += "<"
        case "gt": result += ">"
        case "quot": result += "\""
        case "apos": result += "'"
        default:
          let code = name.hasPrefix("#x") ? UInt32(name.dropFirst(2), radix: 16) : name.hasPrefix("#") ? UInt32(name.dropFirst()) : nil
          guard let scalar = code.flatMap(Unicode.Scalar.init), XMLElement.isCharacter(scalar) else {
            throw Failure(reason: "the reference &\(name.prefix(16)); is unknown")
          }
          result.unicodeScalars.append(scalar)
        }
        rest = rest[rest.index(after: end)...]
      }
      return result + rest
    }
  }
}
