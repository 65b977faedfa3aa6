/// A JSON Schema (draft-07) as far as config types use it: type, enum, const, required, properties,
/// additionalProperties, patternProperties, min/maxProperties, items, min/maxItems, uniqueItems, minimum, maximum,
/// exclusiveMinimum, exclusiveMaximum, multipleOf, min/maxLength, pattern, allOf, anyOf, oneOf, not, if/then/else and
/// `$ref` into the same document. `format` and annotations are accepted and not judged, as draft-07 permits.
///
/// Schemas come from administrators, documents from users. One validation has one budget of steps, which everything
/// spends whose cost grows with the schema or the document: members, patterns, comparisons, lengths. A document that
/// needs more is refused, whatever it says.
public struct JSONSchema: Sendable {
  public struct Violation: Sendable, Equatable, CustomStringConvertible {
    /// Dotted path of the offending member; `(root)` is the document.
    public var path: String
    public var reason: String
    public var description: String { "\(path): \(reason)" }
  }

  private static let depthLimit = 64
  /// Some 10 ns each: a validation takes a small part of a second at most. A document of the greatest size has a tenth
  /// of it in members.
  private static let stepLimit = 2_000_000
  /// Instructions of all patterns of a schema; some 50 bytes each.
  private static let patternLimit = 65_536

  private let root: JSONValue
  private let patterns: [String: Pattern]

  /// Compiles the schema: wrong keyword types, references that lead nowhere and patterns that cannot be read are
  /// errors.
  public init(_ schema: JSONObject) throws(ModelError) {
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

  // MARK: compiling

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
  private static let schemaMaps = ["properties", "patternProperties", "definitions", "$defs"]
  private static let numbers = [
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems",
    "maxItems", "minProperties",
    "maxProperties",
  ]

  private static func check(
    _ schema: JSONValue, root: JSONValue, path: String, depth: Int, patterns: inout Patterns
  ) throws(ModelError) {
    guard depth <= depthLimit else {
      throw ModelError(field: path, reason: "the schema is nested deeper than \(depthLimit) levels")
    }
    if case .bool = schema { return }
    guard case .object(let members) = schema else {
      throw ModelError(field: path, reason: "a schema must be an object or a boolean", value: schema)
    }
    if let type = members["type"] {
      let names = type.stringValue.map { [$0] } ?? type.stringArrayValue ?? []
      guard !names.isEmpty, types.isSuperset(of: names) else {
        throw ModelError(
          field: "\(path).type", reason: "type must be one or a list of \(types.sorted().joined(separator: ", "))",
          value: type)
      }
    }
    if let reference = members["$ref"] {
      guard let text = reference.stringValue, resolve(text, in: root) != nil else {
        throw ModelError(
          field: "\(path).$ref", reason: "the reference must lead into this document and exist", value: reference)
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
      guard let text = pattern.stringValue else {
        throw ModelError(field: "\(path).pattern", reason: "pattern must be a string", value: pattern)
      }
      try compile(text, path: "\(path).pattern", &patterns)
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
      guard let map = value.objectValue else {
        throw ModelError(field: "\(path).\(name)", reason: "\(name) must be an object", value: value)
      }
      for (key, entry) in map {
        if name == "patternProperties" { try compile(key, path: "\(path).\(name)", &patterns) }
        try check(entry, root: root, path: "\(path).\(name).\(key)", depth: depth + 1, patterns: &patterns)
      }
    }
  }

  private static func compile(_ text: String, path: String, _ patterns: inout Patterns) throws(ModelError) {
    guard patterns.byText[text] == nil else { return }
    do throws(Pattern.Failure) {
      let pattern = try Pattern(text)
      patterns.size += pattern.size
      guard patterns.size <= patternLimit else { throw Pattern.Failure(reason: "all patterns together are too large") }
      patterns.byText[text] = pattern
    } catch {
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
    var steps = JSONSchema.stepLimit
    /// Whether anything was refused, also where the reasons are dropped (inside anyOf, not, if).
    var failed = false
    /// Where the budget or the depth ran out.
    var gaveUp: String?
    private var isAsking = false

    init(schema: JSONSchema) { self.schema = schema }

    private static func text(_ path: [String]) -> String { path.isEmpty ? "(root)" : path.joined(separator: ".") }

    mutating func fail(_ path: [String], _ reason: @autoclosure () -> String) {
      failed = true
      if !isAsking, violations.count < 32 {
        violations.append(Violation(path: Self.text(path), reason: String(reason().prefix(1000))))
      }
    }

    /// - Returns: whether the budget lasts; a run that gave up judges nothing any more.
    mutating func spend(_ cost: Int, _ path: [String]) -> Bool {
      guard gaveUp == nil else { return false }
      steps -= cost
      if steps <= 0 { gaveUp = Self.text(path) }
      return steps > 0
    }

    /// What comparing a value or writing it down costs.
    private static func weight(_ value: JSONValue) -> Int {
      switch value {
      case .string(let text): 1 + text.utf8.count / 16
      case .array(let elements): elements.reduce(1) { $0 + weight($1) }
      case .object(let members): members.reduce(1) { $0 + 1 + $1.key.utf8.count / 16 + weight($1.value) }
      default: 1
      }
    }

    private mutating func matches(_ text: String, _ pattern: String, _ path: [String]) -> Bool {
      guard spend(1, path), let compiled = schema.patterns[pattern] else { return false }
      guard let result = compiled.matches(text, steps: &steps) else {
        _ = spend(0, path)
        return false
      }
      return result
    }

    /// Whether the value is valid, without reporting why not.
    mutating func accepts(_ value: JSONValue, _ part: JSONValue, path: [String], depth: Int) -> Bool {
      let before = (failed, isAsking)
      (failed, isAsking) = (false, true)
      validate(value, against: part, path: path, depth: depth)
      defer { (failed, isAsking) = before }
      return !failed
    }

    mutating func validate(_ value: JSONValue, against part: JSONValue, path: [String], depth: Int) {
      guard spend(1, path) else { return }
      guard depth <= JSONSchema.depthLimit else {
        gaveUp = gaveUp ?? Self.text(path)
        return
      }
      if case .bool(let accepts) = part {
        if !accepts { fail(path, "no value is allowed here") }
        return
      }
      guard case .object(let members) = part else { return }
      if let reference = members["$ref"]?.stringValue {
        // Draft-07: members beside a reference are ignored.
        guard spend(reference.utf8.count, path) else { return }
        guard let target = JSONSchema.resolve(reference, in: schema.root) else {
          return fail(path, "unresolved reference \(reference)")
        }
        return validate(value, against: target, path: path, depth: depth + 1)
      }
      if let type = members["type"] {
        let names = type.stringValue.map { [$0] } ?? type.stringArrayValue ?? []
        guard names.contains(where: { Self.value(value, hasType: $0) }) else {
          return fail(path, "Invalid type. Expected: \(names.joined(separator: "/")), given: \(value.typeName)")
        }
      }
      if let allowed = members["enum"], !spend(Self.weight(allowed), path) { return }
      if let constant = members["const"], !spend(Self.weight(constant), path) { return }
      if let allowed = members["enum"]?.arrayValue, !allowed.contains(where: { Self.equal($0, value) }) {
        fail(path, "must be one of the following: \(allowed.map(\.text).joined(separator: ", "))")
      }
      if let constant = members["const"], !Self.equal(constant, value) {
        fail(path, "does not match: \(constant.text)")
      }
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
      if let not = members["not"], accepts(value, not, path: path, depth: depth + 1) {
        fail(path, "Must not validate the schema (not)")
      }
      if let condition = members["if"] {
        let holds = accepts(value, condition, path: path, depth: depth + 1)
        guard let branch = members[holds ? "then" : "else"] else { return }
        validate(value, against: branch, path: path, depth: depth + 1)
      }
    }

    private mutating func validate(_ object: JSONObject, _ members: JSONObject, _ path: [String], _ depth: Int) {
      let required = members["required"]?.stringArrayValue ?? []
      guard spend(required.count + object.count, path) else { return }
      for name in required where object[name] == nil { fail(path, "\(name) is required") }
      if let limit = members["minProperties"]?.doubleValue, Double(object.count) < limit {
        fail(path, "Must have at least \(Int(limit)) properties")
      }
      if let limit = members["maxProperties"]?.doubleValue, Double(object.count) > limit {
        fail(path, "Must have at most \(Int(limit)) properties")
      }
      let properties = members["properties"]?.objectValue ?? [:]
      let byPattern = members["patternProperties"]?.objectValue ?? [:]
      for (name, member) in object.sorted(by: { $0.key < $1.key }) {
        var isKnown = false
        if let names = members["propertyNames"] {
          validate(.string(name), against: names, path: path + [name], depth: depth + 1)
        }
        if let part = properties[name] {
          isKnown = true
          validate(member, against: part, path: path + [name], depth: depth + 1)
        }
        guard gaveUp == nil else { return }
        for (pattern, part) in byPattern where matches(name, pattern, path) {
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
      if let limit = members["minItems"]?.doubleValue, Double(elements.count) < limit {
        fail(path, "Array must have at least \(Int(limit)) items")
      }
      if let limit = members["maxItems"]?.doubleValue, Double(elements.count) > limit {
        fail(path, "Array must have at most \(Int(limit)) items")
      }
      if members["uniqueItems"] == true {
        guard spend(elements.reduce(0) { $0 + Self.weight($1) }, path) else { return }
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
        guard gaveUp == nil else { return }
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
      guard members["minLength"] != nil || members["maxLength"] != nil || members["pattern"] != nil,
        spend(string.utf8.count / 16, path)
      else {
        return
      }
      let length = Double(string.unicodeScalars.count)
      if let limit = members["minLength"]?.doubleValue, length < limit {
        fail(path, "String length must be greater than or equal to \(Int(limit))")
      }
      if let limit = members["maxLength"]?.doubleValue, length > limit {
        fail(path, "String length must be less than or equal to \(Int(limit))")
      }
      if let pattern = members["pattern"]?.stringValue, !matches(string, pattern, path) {
        fail(path, "Does not match pattern '\(pattern)'")
      }
    }

    private mutating func validate(_ number: Double, _ members: JSONObject, _ path: [String]) {
      if let limit = members["minimum"]?.doubleValue, number < limit {
        fail(path, "Must be greater than or equal to \(members["minimum"]?.text ?? "")")
      }
      if let limit = members["maximum"]?.doubleValue, number > limit {
        fail(path, "Must be less than or equal to \(members["maximum"]?.text ?? "")")
      }
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
      case "integer":
        if case .double(let number) = value { number == number.rounded() } else { value.typeName == "integer" }
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
