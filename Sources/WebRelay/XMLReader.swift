/// Reads the small XML documents of WebDAV into a tree: elements with their namespaces, and text. Strict, and without
/// anything that refers to elsewhere: a document type is refused, and with it every entity but the five of XML itself.
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

  func child(_ name: String, namespace: String = "DAV:") -> XMLElement? {
    children.first { $0.name == name && $0.namespace == namespace }
  }

  init(parsing bytes: some Collection<UInt8>) throws(Failure) {
    guard bytes.count <= Self.sizeLimit else {
      throw Failure(reason: "the document is longer than \(Self.sizeLimit) bytes")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(reason: "the document is not UTF-8")
    }
    guard text.unicodeScalars.allSatisfy(Self.isCharacter) else {
      throw Failure(reason: "the document has characters that XML does not know")
    }
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

  /// A name with or without a prefix (Namespaces in XML 1.0, 4).
  private struct Name: Equatable {
    let prefix: String
    let local: String
  }

  /// By scalars: what combines with a mark in one character must not hide it.
  private struct Reader {
    private typealias Scalars = Substring.UnicodeScalarView

    /// Of one element. What is kept is written again with declarations of its own.
    private static let (attributeLimit, headLimit) = (64, 256)

    private var rest: Scalars
    private var elements = 0

    init(_ text: String) { rest = Substring(text).unicodeScalars }

    private func begins(_ prefix: String) -> Bool { rest.starts(with: prefix.unicodeScalars) }

    private mutating func take(_ prefix: String) -> Bool {
      guard begins(prefix) else { return false }
      rest = rest.dropFirst(prefix.unicodeScalars.count)
      return true
    }

    private mutating func take(while isPart: (Unicode.Scalar) -> Bool) -> Scalars {
      let part = rest.prefix(while: isPart)
      rest = rest[part.endIndex...]
      return part
    }

    private mutating func skipSpace() { _ = take { $0 == " " || $0 == "\t" || $0 == "\n" || $0 == "\r" } }

    /// What is before a mark, which is taken too.
    private mutating func take(until end: String, _ what: String) throws(Failure) -> String {
      let start = rest
      while !rest.isEmpty {
        if begins(end) {
          defer { _ = take(end) }
          return String(Substring(start[..<rest.startIndex]))
        }
        rest = rest.dropFirst()
      }
      throw Failure(reason: "\(what) does not end")
    }

    mutating func document() throws(Failure) -> XMLElement {
      _ = take("\u{FEFF}")
      if take("<?xml") { _ = try take(until: "?>", "the declaration") }
      try skipMisc()
      let root = try element(["xml": XMLElement.xmlNamespace], depth: 0)
      try skipMisc()
      guard rest.isEmpty else { throw Failure(reason: "something follows the document") }
      return root
    }

    private mutating func skipMisc() throws(Failure) {
      while true {
        skipSpace()
        if take("<!--") { _ = try take(until: "-->", "a comment") } else { return }
      }
    }

    /// XML 1.0, 2.3.
    private static func isNameStart(_ scalar: Unicode.Scalar) -> Bool {
      switch scalar.value {
      case 0x41...0x5A, 0x61...0x7A, 0x5F, 0xC0...0xD6, 0xD8...0xF6, 0xF8...0x2FF, 0x370...0x37D, 0x37F...0x1FFF,
        0x200C...0x200D, 0x2070...0x218F,
        0x2C00...0x2FEF, 0x3001...0xD7FF, 0xF900...0xFDCF, 0xFDF0...0xFFFD, 0x10000...0xEFFFF:
        true
      default: false
      }
    }

    private static func isNamePart(_ scalar: Unicode.Scalar) -> Bool {
      switch scalar.value {
      case 0x2D, 0x2E, 0x30...0x39, 0xB7, 0x300...0x36F, 0x203F...0x2040: true
      default: isNameStart(scalar)
      }
    }

    private mutating func name() throws(Failure) -> Name {
      let text = take { Self.isNamePart($0) || $0 == ":" }
      let parts = text.split(separator: ":" as Unicode.Scalar, omittingEmptySubsequences: false)
      guard parts.count <= 2, parts.allSatisfy({ $0.first.map(Self.isNameStart) ?? false }), let local = parts.last
      else {
        throw Failure(reason: "'\(String(Substring(text.prefix(16))))' is no name")
      }
      let name = Name(prefix: parts.count == 2 ? String(Substring(parts[0])) : "", local: String(Substring(local)))
      guard name.prefix.utf8.count + name.local.utf8.count <= 256 else { throw Failure(reason: "a name is too long") }
      return name
    }

    private mutating func element(_ outer: [String: String], depth: Int) throws(Failure) -> XMLElement {
      elements += 1
      guard depth < XMLElement.depthLimit, elements <= XMLElement.elementLimit else {
        throw Failure(reason: "the document is too deep or too large")
      }
      guard take("<") else { throw Failure(reason: "an element is missing") }
      let name = try name()
      var scope = outer
      let attributes = try attributes(&scope)
      var made = XMLElement(namespace: try Self.namespace(name, scope), name: name.local)
      guard made.namespace != XMLElement.xmlNamespace else { throw Failure(reason: "the prefix xml is for attributes") }
      for (name, value) in attributes {
        // An attribute without a prefix has no namespace.
        let namespace = name.prefix.isEmpty ? "" : try Self.namespace(name, scope)
        guard !made.attributes.contains(where: { $0.namespace == namespace && $0.name == name.local }) else {
          throw Failure(reason: "an attribute stands twice")
        }
        made.attributes.append(Attribute(namespace: namespace, name: name.local, value: value))
      }
      if take("/>") { return made }
      guard take(">") else { throw Failure(reason: "an element's head does not end") }
      while true {
        let text = take { $0 != "<" }
        if !text.isEmpty { made.nodes.append(.text(try Self.decoded(text))) }
        if take("</") {
          guard try self.name() == name else { throw Failure(reason: "the elements are not nested") }
          skipSpace()
          guard take(">") else { throw Failure(reason: "an end does not end") }
          return made
        }
        if take("<!--") {
          _ = try take(until: "-->", "a comment")
        } else if take("<![CDATA[") {
          made.nodes.append(.text(try take(until: "]]>", "a CDATA section")))
        } else if begins("<!") || begins("<?") {
          throw Failure(reason: "declarations and instructions are not accepted")
        } else {
          made.nodes.append(.element(try element(scope, depth: depth + 1)))
        }
      }
    }

    /// Those of an element's head; declarations of namespaces go to the scope.
    private mutating func attributes(_ scope: inout [String: String]) throws(Failure) -> [(Name, String)] {
      var attributes: [(Name, String)] = []
      var count = 0
      while true {
        let before = rest.startIndex
        skipSpace()
        if begins(">") || begins("/>") { return attributes }
        count += 1
        guard before != rest.startIndex else { throw Failure(reason: "a name is missing") }
        guard attributes.count < Self.attributeLimit, count <= Self.headLimit else {
          throw Failure(reason: "an element has too many attributes")
        }
        let name = try name()
        skipSpace()
        guard take("=") else { throw Failure(reason: "an attribute has no value") }
        skipSpace()
        guard let quote = rest.first, quote == "\"" || quote == "'" else {
          throw Failure(reason: "an attribute's value is not quoted")
        }
        rest = rest.dropFirst()
        let raw = take { $0 != quote && $0 != "<" }
        guard rest.first == quote else { throw Failure(reason: "an attribute's value does not end") }
        rest = rest.dropFirst()
        let value = try Self.decoded(raw)
        switch (name.prefix, name.local) {
        case ("", "xmlns"): scope[""] = try Self.declared(value, "")
        case ("xmlns", let prefix): scope[prefix] = try Self.declared(value, prefix)
        default: attributes.append((name, value))
        }
      }
    }

    /// What a prefix may stand for (Namespaces in XML 1.0, 3 and 5).
    private static func declared(_ namespace: String, _ prefix: String) throws(Failure) -> String {
      let isPossible =
        prefix != "xmlns" && namespace != "http://www.w3.org/2000/xmlns/"
        && (prefix == "xml") == (namespace == XMLElement.xmlNamespace)
        && (prefix.isEmpty || !namespace.isEmpty)
      guard isPossible else {
        throw Failure(reason: "the prefix '\(prefix)' stands for something that is not possible")
      }
      return namespace
    }

    private static func namespace(_ name: Name, _ scope: [String: String]) throws(Failure) -> String {
      guard !name.prefix.isEmpty else { return scope[""] ?? "" }
      guard let namespace = scope[name.prefix] else {
        throw Failure(reason: "the prefix \(name.prefix) is not declared")
      }
      return namespace
    }

    private static func decoded(_ text: Scalars) throws(Failure) -> String {
      var result = String.UnicodeScalarView()
      var rest = text
      while let mark = rest.firstIndex(of: "&") {
        result.append(contentsOf: rest[..<mark])
        guard let end = rest[mark...].firstIndex(of: ";") else { throw Failure(reason: "a reference does not end") }
        let name = String(Substring(rest[rest.index(after: mark)..<end]))
        switch name {
        case "amp": result.append("&")
        case "lt": result.append("<")
        case "gt": result.append(">")
        case "quot": result.append("\"")
        case "apos": result.append("'")
        default:
          let code =
            name.hasPrefix("#x")
            ? UInt32(name.dropFirst(2), radix: 16) : name.hasPrefix("#") ? UInt32(name.dropFirst()) : nil
          guard let scalar = code.flatMap(Unicode.Scalar.init), XMLElement.isCharacter(scalar) else {
            throw Failure(reason: "the reference &\(name.prefix(16)); is unknown")
          }
          result.append(scalar)
        }
        rest = rest[rest.index(after: end)...]
      }
      result.append(contentsOf: rest)
      return String(result)
    }
  }
}
