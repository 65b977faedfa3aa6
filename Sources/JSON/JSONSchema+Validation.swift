extension JSONSchema {
  /// One validation: its budget, and what it found.
  struct Run {
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
      if let dependencies = members["dependencies"]?.objectValue {
        validate(object, dependencies: dependencies, path, depth)
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

    /// Whatever depends on a member that is there.
    private mutating func validate(
      _ object: JSONObject, dependencies: JSONObject, _ path: [String], _ depth: Int
    ) {
      guard spend(dependencies.count, path) else { return }
      for (name, dependency) in dependencies.sorted(by: { $0.key < $1.key }) where object[name] != nil {
        guard let required = dependency.stringArrayValue else {
          validate(.object(object), against: dependency, path: path, depth: depth + 1)
          continue
        }
        guard spend(required.count, path) else { return }
        for other in required where object[other] == nil { fail(path, "Has a dependency on \(other)") }
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
        if Set(elements.map { Self.canonical($0).text }).count != elements.count {
          fail(path, "array items must be unique")
        }
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
      if let step = members["multipleOf"]?.doubleValue, step > 0, !Self.isMultiple(number, of: step) {
        fail(path, "Must be a multiple of \(step)")
      }
    }

    /// As far as doubles tell: 0.0075 is a multiple of 0.0001, though 75 times the double 0.0001 is another double.
    private static func isMultiple(_ number: Double, of step: Double) -> Bool {
      let quotient = number / step
      return quotient.isFinite && (quotient == quotient.rounded() || quotient.rounded() * step == number)
    }

    private static func value(_ value: JSONValue, hasType name: String) -> Bool {
      switch name {
      case "integer":
        if case .double(let number) = value { number == number.rounded() } else { value.typeName == "integer" }
      case "number": value.doubleValue != nil
      default: value.typeName == name
      }
    }

    /// Whether both are the same value as a schema sees it: 1 is 1.0, wherever it stands.
    private static func equal(_ left: JSONValue, _ right: JSONValue) -> Bool {
      switch (left, right) {
      case (.int(let whole), .double(let number)), (.double(let number), .int(let whole)):
        Int64(exactly: number) == whole
      case (.array(let left), .array(let right)):
        left.count == right.count && zip(left, right).allSatisfy { equal($0, $1) }
      case (.object(let left), .object(let right)):
        left.count == right.count
          && left.allSatisfy { name, member in right[name].map { equal(member, $0) } ?? false }
      default: left == right
      }
    }

    /// The value with one form for each number, so that what is equal has equal texts.
    private static func canonical(_ value: JSONValue) -> JSONValue {
      switch value {
      case .double(let number): Int64(exactly: number).map(JSONValue.int) ?? value
      case .array(let elements): .array(elements.map(canonical))
      case .object(let members): .object(members.mapValues(canonical))
      default: value
      }
    }
  }
}
