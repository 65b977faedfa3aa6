/// A JSON Schema (draft-07) as far as config types use it: type, enum, const, required, properties,
/// additionalProperties, patternProperties, min/maxProperties, items, min/maxItems, uniqueItems, minimum, maximum,
/// exclusiveMinimum, exclusiveMaximum, multipleOf, min/maxLength, pattern, dependencies, allOf, anyOf, oneOf, not,
/// if/then/else and `$ref` into the same document, as a JSON pointer. Nothing is fetched, and `$id` names nothing.
/// `format` and annotations are accepted and not judged, as draft-07 permits. `./run conformance` holds it against the
/// public suite of draft-07.
///
/// Schemas come from administrators, documents from users. One validation has one budget of steps, which everything
/// spends whose cost grows with the schema or the document: members, patterns, comparisons, lengths. A document that
/// needs more is refused, whatever it says.
public struct JSONSchema: Sendable {
  /// What is wrong with a document.
  public struct Violation: Sendable, Equatable, CustomStringConvertible {
    /// Dotted path of the offending member; `(root)` is the document.
    public var path: String
    public var reason: String
    public var description: String { "\(path): \(reason)" }
  }

  static let depthLimit = 64
  /// Some 10 ns each: a validation takes a small part of a second at most. A document of the greatest size has a tenth
  /// of it in members.
  static let stepLimit = 2_000_000
  /// Instructions of all patterns of a schema; some 50 bytes each.
  private static let patternLimit = 65_536

  let root: JSONValue
  let patterns: [String: Pattern]

  /// Compiles the schema: wrong keyword types, references that lead nowhere and patterns that cannot be read are
  /// errors.
  public init(_ schema: JSONObject) throws(JSONSchemaError) {
    root = .object(schema)
    var patterns = Patterns()
    try Self.check(root, root: root, path: "schema", depth: 0, patterns: &patterns)
    self.patterns = patterns.byText
  }

  /// Everything wrong with the document, at most 32 entries.
  public func violations(of document: JSONValue) -> [Violation] {
    var run = Run(schema: self)
    run.validate(document, against: root, path: [], depth: 0)
    // What was not judged to the end is refused, also where a `not` would turn that around.
    if let path = run.gaveUp {
      return [Violation(path: path, reason: "the schema is too complex for this document; simplify one of them")]
    }
    return run.violations
  }

  private struct Patterns {
    var byText: [String: Pattern] = [:]
    /// Instructions of all.
    var size = 0
  }

  private static let types: Set<String> = ["null", "boolean", "integer", "number", "string", "array", "object"]
  private static let schemaLists = ["allOf", "anyOf", "oneOf"]
  private static let schemaMembers = [
    "not", "if", "then", "else", "additionalProperties", "additionalItems", "contains", "propertyNames",
  ]
  private static let schemaMaps = ["properties", "patternProperties", "definitions", "$defs", "dependencies"]
  private static let numbers = [
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems",
    "maxItems", "minProperties",
    "maxProperties",
  ]

  private static func check(
    _ schema: JSONValue, root: JSONValue, path: String, depth: Int, patterns: inout Patterns
  ) throws(JSONSchemaError) {
    guard depth <= depthLimit else {
      throw JSONSchemaError(path: path, reason: "the schema is nested deeper than \(depthLimit) levels")
    }
    if case .bool = schema { return }
    guard case .object(let members) = schema else {
      throw JSONSchemaError(path: path, reason: "a schema must be an object or a boolean", value: schema)
    }
    if let type = members["type"] {
      let names = type.stringValue.map { [$0] } ?? type.stringArrayValue ?? []
      guard !names.isEmpty, types.isSuperset(of: names) else {
        throw JSONSchemaError(
          path: "\(path).type", reason: "type must be one or a list of \(types.sorted().joined(separator: ", "))",
          value: type)
      }
    }
    if let reference = members["$ref"] {
      guard let text = reference.stringValue, resolve(text, in: root) != nil else {
        throw JSONSchemaError(
          path: "\(path).$ref", reason: "the reference must lead into this document and exist", value: reference)
      }
    }
    for name in numbers {
      guard let value = members[name], value.doubleValue == nil else { continue }
      throw JSONSchemaError(path: "\(path).\(name)", reason: "\(name) must be a number", value: value)
    }
    if let required = members["required"], required.stringArrayValue == nil {
      throw JSONSchemaError(path: "\(path).required", reason: "required must be a list of strings", value: required)
    }
    if let values = members["enum"], values.arrayValue == nil {
      throw JSONSchemaError(path: "\(path).enum", reason: "enum must be a list", value: values)
    }
    if let pattern = members["pattern"] {
      guard let text = pattern.stringValue else {
        throw JSONSchemaError(path: "\(path).pattern", reason: "pattern must be a string", value: pattern)
      }
      try compile(text, path: "\(path).pattern", &patterns)
    }
    for name in schemaLists {
      guard let value = members[name] else { continue }
      guard let list = value.arrayValue, !list.isEmpty else {
        throw JSONSchemaError(
          path: "\(path).\(name)", reason: "\(name) must be a non-empty list of schemas", value: value)
      }
      for (index, entry) in list.enumerated() {
        try check(entry, root: root, path: "\(path).\(name)[\(index)]", depth: depth + 1, patterns: &patterns)
      }
    }
    for name in schemaMembers {
      guard let value = members[name] else { continue }
      try check(value, root: root, path: "\(path).\(name)", depth: depth + 1, patterns: &patterns)
    }
    if let items = members["items"] {
      for entry in items.arrayValue ?? [items] {
        try check(entry, root: root, path: "\(path).items", depth: depth + 1, patterns: &patterns)
      }
    }
    for name in schemaMaps {
      guard let value = members[name] else { continue }
      guard let map = value.objectValue else {
        throw JSONSchemaError(path: "\(path).\(name)", reason: "\(name) must be an object", value: value)
      }
      for (key, entry) in map {
        if name == "patternProperties" { try compile(key, path: "\(path).\(name)", &patterns) }
        // A dependency is a list of members or a schema.
        if name == "dependencies", entry.stringArrayValue != nil { continue }
        try check(entry, root: root, path: "\(path).\(name).\(key)", depth: depth + 1, patterns: &patterns)
      }
    }
  }

  private static func compile(_ text: String, path: String, _ patterns: inout Patterns) throws(JSONSchemaError) {
    guard patterns.byText[text] == nil else { return }
    do throws(Pattern.Failure) {
      let pattern = try Pattern(text)
      patterns.size += pattern.size
      guard patterns.size <= patternLimit else { throw Pattern.Failure(reason: "all patterns together are too large") }
      patterns.byText[text] = pattern
    } catch {
      throw JSONSchemaError(path: path, reason: "the pattern cannot be read: \(error.reason)", value: .string(text))
    }
  }

  /// Follows `#` and `#/a/b` pointers, percent-encoded as a fragment is (RFC 6901, section 6).
  static func resolve(_ reference: String, in root: JSONValue) -> JSONValue? {
    guard reference.hasPrefix("#"), let pointer = unescaped(fragment: reference.dropFirst()) else { return nil }
    guard !pointer.isEmpty else { return root }
    guard pointer.hasPrefix("/") else { return nil }
    var value = root
    for part in pointer.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
      let name = String(part).split(separator: "~", omittingEmptySubsequences: false)
      var unescaped = String(name.first ?? "")
      for piece in name.dropFirst() { unescaped += (piece.hasPrefix("1") ? "/" : "~") + piece.dropFirst() }
      switch value {
      case .object(let members):
        guard let next = members[unescaped] else { return nil }
        value = next
      case .array(let elements):
        guard let index = Int(unescaped), elements.indices.contains(index) else { return nil }
        value = elements[index]
      default: return nil
      }
    }
    return value
  }

  /// A fragment without its percent-encoding; nil where it is none.
  private static func unescaped(fragment: Substring) -> String? {
    guard fragment.utf8.contains(UInt8(ascii: "%")) else { return String(fragment) }
    let pieces = fragment.utf8.split(separator: UInt8(ascii: "%"), omittingEmptySubsequences: false)
    var bytes = Array(pieces[0])
    for piece in pieces.dropFirst() {
      guard let byte = UInt8(String(decoding: piece.prefix(2), as: UTF8.self), radix: 16), piece.count >= 2 else {
        return nil
      }
      bytes.append(byte)
      bytes += piece.dropFirst(2)
    }
    return String(validating: bytes, as: UTF8.self)
  }
}

/// A schema that cannot be used: where in it, why, and what stands there.
public struct JSONSchemaError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Dotted path of the keyword; `schema` is the root.
  public let path: String
  public let reason: String
  /// What stands there; null where it would not help.
  public let value: JSONValue

  init(path: String, reason: String, value: JSONValue = .null) {
    self.path = path
    self.reason = reason
    self.value = value
  }

  public var description: String { "\(path): \(reason) (value \(value.text))" }
}
