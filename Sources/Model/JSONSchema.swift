/// A JSON Schema (draft-07) as far as config types use it: type, enum, const, required, properties, additionalProperties,
/// patternProperties, min/maxProperties, items, min/maxItems, uniqueItems, minimum, maximum, exclusiveMinimum, exclusiveMaximum,
/// multipleOf, min/maxLength, pattern, allOf, anyOf, oneOf, not, if/then/else and `$ref` into the same document. `format` and
/// annotations are accepted and not judged, as draft-07 permits.
///
/// Schemas come from administrators, documents from users: both recursion and the total number of steps are limited, and patterns
/// run in linear time.
public struct JSONSchema: Sendable {
  public struct Violation: Sendable, Equatable, CustomStringConvertible {
    /// Dotted path of the offending member; `(root)` is the document.
    public var path: String
    public var reason: String
    public var description: String { "\(path): \(reason)" }
  }

  private static let depthLimit = 64
  private static let stepLimit = 200_000

  private let root: JSONValue
  private let patterns: [String: Pattern]

  /// Compiles the schema: wrong keyword types, references that lead nowhere and patterns that cannot be read are errors.
  public init(_ schema: JSONObject) throws(ModelError) {
    root = .object(schema)
    var patterns: [String: Pattern] = [:]
    try Self.check(root, root: root, path: "schema", depth: 0, patterns: &patterns)
    self.patterns = patterns
  }

  /// Everything wrong with the document, at most 32 entries.
  public func violations(of document: JSONValue) -> [Violation] {
    var run = Run(schema: self)
    run.validate(document, against: root, path: [], depth: 0)
    return run.violations
  }

  // MARK: compiling

  private static let types: Set<String> = ["null", "boolean", "integer", "number", "string", "array", "object"]
  private static let schemaLists = ["allOf", "anyOf", "oneOf"]
  private static let schemaMembers = ["not", "if", "then", "else", "additionalProperties", "additionalItems", "contains", "propertyNames"]
  private static let schemaMaps = ["properties", "patternProperties", "definitions", "$defs"]
  private static let numbers = [
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
    "maxProperties",
  ]

  private static func check(
    _ schema: JSONValue, root: JSONValue, path: String, depth: Int, patterns: inout [String: Pattern]
  ) throws(ModelError) {
    guard depth <= depthLimit else { throw ModelError(field: path, reason: "the schema is nested deeper than \(depthLimit) levels") }
    if case .bool = schema { return }
    guard case .object(let members) = schema else { throw ModelError(field: path, reason: "a schema must be an object or a boolean", value: schema) }
    if let type = members["type"] {
      let names = type.stringValue.map { [$0] } ?? type.stringArrayValue ?? []
      guard !names.isEmpty, types.isSuperset(of: names) else {
        throw ModelError(field: "\(path).type", reason: "type must be one or a list of \(types.sorted().joined(separator: ", "))", value: type)
      }
    }
    if let reference = members["$ref"] {
      guard let text = reference.stringValue, resolve(text, in: root) != nil else {
        throw ModelError(field: "\(path).$ref", reason: "the reference must lead into this document and exist", value: reference)
      }
    }
    for name in numbers {
      guard let value = members[name], value.doubleValue == nil else { continue }
      throw ModelError(field: "\(path).\(name)", reason: "\(name) must be a number", value: value)
    }
    if let required = members["required"], required.stringArrayValue == nil {
      throw ModelError(field: "\(path).required", reason: "required must be a list of strings", value: required)
    }
    if let values = members["enum"], values.arrayValue == nil {
      throw ModelError(field: "\(path).enum", reason: "enum must be a list", value: values)
    }
    if let pattern = members["pattern"] {
      guard let text = pattern.stringValue else { throw ModelError(field: "\(path).pattern", reason: "pattern must be a string", value: pattern) }
      patterns[text] = try compile(text, path: "\(path).pattern")
    }
    for name in schemaLists {
      guard let value = members[name] else { continue }
      guard let list = value.arrayValue, !list.isEmpty else {
        throw ModelError(field: "\(path).\(name)", reason: "\(name) must be a non-empty list of schemas", value: value)
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
      guard let map = value.objectValue else { throw ModelError(field: "\(path).\(name)", reason: "\(name) must be an object", value: value) }
      for (key, entry) in map {
        if name == "patternProperties" { patterns[key] = try compile(key, path: "\(path).\(name)") }
        try check(entry, root: root, path: "\(path).\(name).\(key)", depth: depth + 1, patterns: &patterns)
      }
    }
  }

  private static func compile(_ text: String, path: String) throws(ModelError) -> Pattern {
    do throws(Pattern.Failure) { return try Pattern(text) } catch {
      throw ModelError(field: path, reason: "the pattern cannot be read: \(error.reason)", value: .string(text))
    }
  }

  /// Follows `#` and `#/a/b` pointers (RFC 6901).
  private static func resolve(_ reference: String, in root: JSONValue) -> JSONValue? {
    guard reference.hasPrefix("#") else { return nil }
    var value = root
    for part in reference.dropFirst().split(separator: "/", omittingEmptySubsequences: true) {
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

  // MARK: validating

  private struct Run {
    let schema: JSONSchema
    var violations: [Violation] = []
    var steps = 0
    /// Whether anything was refused, also where the reasons are dropped (inside anyOf, not, if).
    var failed = false

    init(schema: JSONSchema) { self.schema = schema }

    mutating func fail(_ path: [String], _ reason: String) {
      failed = true
      if violations.count < 32 {
        violations.append(Violation(path: path.isEmpty ? "(root)" : path.joined(separator: "."), reason: reason))
      }
    }

    /// Whether the value is valid, without reporting why not.
    mutating func accepts(_ value: JSONValue, _ part: JSONValue, path: [String], depth: Int) -> Bool {
      let (kept, wasFailed) = (violations, failed)
      failed = false
      validate(value, against: part, path: path, depth: depth)
      defer { (violations, failed) = (kept, wasFailed) }
      return !failed
    }

    mutating func validate(_ value: JSONValue, against part: JSONValue, path: [String], depth: Int) {
      steps += 1
      guard steps <= JSONSchema.stepLimit, depth <= JSONSchema.depthLimit else { return fail(path, "the schema is too complex for this document") }
      if case .bool(let accepts) = part {
        if !accepts { fail(path, "no value is allowed here") }
        return
      }
      guard case .object(let members) = part else { return }
      if let reference = members["$ref"]?.stringValue {
        // Draft-07: members beside a reference are ignored.
        guard let target = JSONSchema.resolve(reference, in: schema.root) else { return fail(path, "unresolved reference \(reference)") }
        return validate(value, against: target, path: path, depth: depth + 1)
      }
      if let type = members["type"] {
        let names = type.stringValue.map { [$0] } ?? type.stringArrayValue ?? []
        guard names.contains(where: { Self.value(value, hasType: $0) }) else {
          return fail(path, "Invalid type. Expected: \(names.joined(separator: "/")), given: \(value.typeName)")
        }
      }
      if let allowed = members["enum"]?.arrayValue, !allowed.contains(where: { Self.equal($0, value) }) {
        fail(path, "must be one of the following: \(allowed.map(\.text).joined(separator: ", "))")
      }
      if let constant = members["const"], !Self.equal(constant, value) { fail(path, "does not match: \(constant.text)") }
      switch value {
      case .object(let object): validate(object, members, path, depth)
      case .array(let elements): validate(elements, members, path, depth)
      case .string(let string): validate(string, members, path)
      case .int, .double: if let number = value.doubleValue { validate(number, members, path) }
      default: break
      }
      combine(value, members, path, depth)
    }

    private mutating func combine(_ value: JSONValue, _ members: JSONObject, _ path: [String], _ depth: Int) {
      for entry in members["allOf"]?.arrayValue ?? [] { validate(value, against: entry, path: path, depth: depth + 1) }
      if let any = members["anyOf"]?.arrayValue {
        var matches = false
        for entry in any where !matches { matches = accepts(value, entry, path: path, depth: depth + 1) }
        if !matches { fail(path, "Must validate at least one schema (anyOf)") }
      }
      if let one = members["oneOf"]?.arrayValue {
        var count = 0
        for entry in one where accepts(value, entry, path: path, depth: depth + 1) { count += 1 }
        if count != 1 { fail(path, "Must validate one and only one schema (oneOf)") }
      }
      if let not = members["not"], accepts(value, not, path: path, depth: depth + 1) { fail(path, "Must not validate the schema (not)") }
      if let condition = members["if"] {
        let holds = accepts(value, condition, path: path, depth: depth + 1)
        guard let branch = members[holds ? "then" : "else"] else { return }
        validate(value, against: branch, path: path, depth: depth + 1)
      }
    }

    private mutating func validate(_ object: JSONObject, _ members: JSONObject, _ path: [String], _ depth: Int) {
      for name in members["required"]?.stringArrayValue ?? [] where object[name] == nil { fail(path, "\(name) is required") }
      if let limit = members["minProperties"]?.doubleValue, Double(object.count) < limit { fail(path, "Must have at least \(Int(limit)) properties") }
      if let limit = members["maxProperties"]?.doubleValue, Double(object.count) > limit { fail(path, "Must have at most \(Int(limit)) properties") }
      let properties = members["properties"]?.objectValue ?? [:]
      let byPattern = members["patternProperties"]?.objectValue ?? [:]
      for (name, member) in object.sorted(by: { $0.key < $1.key }) {
        var isKnown = false
        if let names = members["propertyNames"] { validate(.string(name), against: names, path: path + [name], depth: depth + 1) }
        if let part = properties[name] {
          isKnown = true
          validate(member, against: part, path: path + [name], depth: depth + 1)
        }
        for (pattern, part) in byPattern where schema.patterns[pattern]?.matches(name) ?? false {
          isKnown = true
          validate(member, against: part, path: path + [name], depth: depth + 1)
        }
        guard !isKnown, let additional = members["additionalProperties"] else { continue }
        if additional == false {
          fail(path, "Additional property \(name) is not allowed")
        } else {
          validate(member, against: additional, path: path + [name], depth: depth + 1)
        }
      }
    }

    private mutating func validate(_ elements: [JSONValue], _ members: JSONObject, _ path: [String], _ depth: Int) {
      if let limit = members["minItems"]?.doubleValue, Double(elements.count) < limit { fail(path, "Array must have at least \(Int(limit)) items") }
      if let limit = members["maxItems"]?.doubleValue, Double(elements.count) > limit { fail(path, "Array must have at most \(Int(limit)) items") }
      if members["uniqueItems"] == true {
        // Equal values have equal texts, but for 1 and 1.0, which are told apart here.
        if Set(elements.map(\.text)).count != elements.count { fail(path, "array items must be unique") }
      }
      if let part = members["contains"] {
        var found = false
        for element in elements where !found { found = accepts(element, part, path: path, depth: depth + 1) }
        if !found { fail(path, "At least one of the items must match") }
      }
      guard let items = members["items"] else { return }
      let tuple = items.arrayValue
      for (index, element) in elements.enumerated() {
        guard steps <= JSONSchema.stepLimit else { return }
        let part: JSONValue
        if let tuple {
          guard let entry = index < tuple.count ? tuple[index] : members["additionalItems"] else { continue }
          part = entry
        } else {
          part = items
        }
        validate(element, against: part, path: path + ["\(index)"], depth: depth + 1)
      }
    }

    private mutating func validate(_ string: String, _ members: JSONObject, _ path: [String]) {
      let length = Double(string.unicodeScalars.count)
      if let limit = members["minLength"]?.doubleValue, length < limit { fail(path, "String length must be greater than or equal to \(Int(limit))") }
      if let limit = members["maxLength"]?.doubleValue, length > limit { fail(path, "String length must be less than or equal to \(Int(limit))") }
      if let pattern = members["pattern"]?.stringValue, schema.patterns[pattern]?.matches(string) == false {
        fail(path, "Does not match pattern '\(pattern)'")
      }
    }

    private mutating func validate(_ number: Double, _ members: JSONObject, _ path: [String]) {
      if let limit = members["minimum"]?.doubleValue, number < limit {
        fail(path, "Must be greater than or equal to \(members["minimum"]?.text ?? "")")
      }
      if let limit = members["maximum"]?.doubleValue, number > limit { fail(path, "Must be less than or equal to \(members["maximum"]?.text ?? "")") }
      if let limit = members["exclusiveMinimum"]?.doubleValue, number <= limit {
        fail(path, "Must be greater than \(members["exclusiveMinimum"]?.text ?? "")")
      }
      if let limit = members["exclusiveMaximum"]?.doubleValue, number >= limit {
        fail(path, "Must be less than \(members["exclusiveMaximum"]?.text ?? "")")
      }
      if let step = members["multipleOf"]?.doubleValue, step > 0, (number / step).rounded() * step != number {
        fail(path, "Must be a multiple of \(step)")
      }
    }

    private static func value(_ value: JSONValue, hasType name: String) -> Bool {
      switch name {
      case "integer": if case .double(let number) = value { number == number.rounded() } else { value.typeName == "integer" }
      case "number": value.doubleValue != nil
      default: value.typeName == name
      }
    }

    private static func equal(_ left: JSONValue, _ right: JSONValue) -> Bool {
      if left == right { return true }
      if let left = left.doubleValue, let right = right.doubleValue { return left == right }
      return false
    }
  }
}
