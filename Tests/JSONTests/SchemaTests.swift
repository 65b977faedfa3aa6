import JSON
import Testing

@Suite("JSON Schema")
struct SchemaTests {
  @Test func oneOfNotAndReferences() throws {
    let schema = try JSONSchema([
      "type": "object", "definitions": ["word": ["type": "string", "pattern": "^[a-c]{2,3}$"]],
      "properties": [
        "w": ["$ref": "#/definitions/word"], "o": ["oneOf": [["type": "integer"], ["minimum": 5]]],
        "n": ["not": ["type": "null"]],
      ],
    ])
    #expect(schema.violations(of: ["w": "abc", "o": 1, "n": 1]).isEmpty)
    #expect(schema.violations(of: ["w": "abcd"]).map(\.path) == ["w"])
    #expect(schema.violations(of: ["o": 7, "n": nil]).count == 2)
  }

  @Test("what depends on a member is asked for where the member is")
  func dependencies() throws {
    let schema = try JSONSchema([
      "dependencies": ["a": ["b", "c"], "d": ["required": ["e"]], "f": false, "g": []]
    ])
    #expect(schema.violations(of: ["b": 1, "g": 1]).isEmpty)
    #expect(schema.violations(of: ["a": 1, "b": 1, "c": 1, "d": 1, "e": 1]).isEmpty)
    #expect(schema.violations(of: ["a": 1, "b": 1]).map(\.reason) == ["Has a dependency on c"])
    #expect(schema.violations(of: ["d": 1]).count == 1)
    #expect(schema.violations(of: ["f": 1]).count == 1)
    #expect(schema.violations(of: "no object").isEmpty)
    #expect(throws: JSONSchemaError.self) { try JSONSchema(["dependencies": ["a": [1]]]) }
  }

  @Test(
    "a reference is a JSON pointer in a fragment",
    arguments: [
      "#/definitions/a~1b", "#/definitions/c~0d", "#/definitions/e%25f", "#/definitions/g%22h", "#/definitions/",
    ])
  func pointers(_ reference: String) throws {
    let number: JSONValue = ["type": "integer"]
    let schema = try JSONSchema([
      "definitions": ["a/b": number, "c~d": number, "e%f": number, "g\"h": number, "": number],
      "items": ["$ref": .string(reference)],
    ])
    #expect(schema.violations(of: [1]).isEmpty)
    #expect(schema.violations(of: ["a"]).count == 1)
  }

  @Test(
    "references that lead nowhere are refused",
    arguments: [
      "#definitions", "#/definitions/%", "#/definitions/%f", "#/definitions/%ff", "other#", "http://a/b#", "#/",
    ])
  func badPointers(_ reference: String) {
    #expect(throws: JSONSchemaError.self) { try JSONSchema(["items": ["$ref": .string(reference)]]) }
  }

  @Test("numbers are the same however they are written, and whole numbers are told apart to the last digit")
  func numbers() throws {
    let schema = try JSONSchema(["enum": [[1, ["a": 2]], 9_007_199_254_740_993]])
    #expect(schema.violations(of: [1.0, ["a": 2.0]]).isEmpty)
    #expect(schema.violations(of: 9_007_199_254_740_993).isEmpty)
    #expect(!schema.violations(of: 9_007_199_254_740_992).isEmpty)
    #expect(!schema.violations(of: [1, ["a": 2, "b": 3]]).isEmpty)
    let step = try JSONSchema(["multipleOf": 0.0001])
    #expect(step.violations(of: 0.0075).isEmpty && step.violations(of: 7).isEmpty)
    #expect(!step.violations(of: 0.00751).isEmpty && !step.violations(of: 1e308).isEmpty)
    let unique = try JSONSchema(["uniqueItems": true])
    #expect(!unique.violations(of: [1, 1.0]).isEmpty)
    #expect(!unique.violations(of: [["a": [1]], ["a": [1.0]]]).isEmpty)
    #expect(unique.violations(of: [1, true, "1", [1], ["1": 1]]).isEmpty)
  }

  @Test func brokenOrEndlessSchemasAreHarmless() throws {
    #expect(throws: JSONSchemaError.self) { try JSONSchema(["type": "strange"]) }
    #expect(throws: JSONSchemaError.self) { try JSONSchema(["properties": ["a": ["$ref": "#/definitions/none"]]]) }
    #expect(throws: JSONSchemaError.self) { try JSONSchema(["pattern": "(a"]) }
    let endless = try JSONSchema(["$ref": "#"])
    #expect(!endless.violations(of: 1).isEmpty)
    let explosive = try JSONSchema(["properties": ["a": ["pattern": "^(a*)*$"]]])
    #expect(!explosive.violations(of: ["a": .string(String(repeating: "a", count: 5000) + "b")]).isEmpty)
  }

  @Test(
    "one budget of steps for a validation: whatever grows with schema or document spends from it, and a verdict that was not reached is a refusal"
  )
  func budget() throws {
    func object(_ count: Int, _ value: JSONValue = 1) -> JSONValue {
      .object(Dictionary(uniqueKeysWithValues: (0..<count).map { ("a-member-of-some-length-\($0)", value) }))
    }
    func patterns(_ count: Int) -> JSONValue {
      .object(Dictionary(uniqueKeysWithValues: (0..<count).map { ("(.*a.*b|.*c)\($0)$", true) }))
    }
    let long = JSONValue.string(String(repeating: "a", count: 500_000))
    let many = JSONValue.array((0..<20_000).map { .int(Int64($0)) })
    let costly: [(JSONObject, JSONValue)] = [
      (["patternProperties": patterns(300)], object(5000)),
      (["not": ["patternProperties": patterns(300)]], object(5000)),
      (["additionalProperties": ["enum": many]], object(5000, "x")),
      (
        ["items": ["anyOf": .array((0..<2000).map { .object(["minLength": .int(Int64($0 + 1_000_000))]) })]],
        .array(Array(repeating: long, count: 100))
      ),
      (["items": ["not": ["pattern": "(a|aa|a.a)*b[^cdef]{50}"]]], .array(Array(repeating: long, count: 10))),
      (["items": ["uniqueItems": true]], .array(Array(repeating: many, count: 500))),
      (["items": ["const": long]], .array(Array(repeating: long, count: 1000))),
      (["not": ["$ref": "#/not"]], 1),
    ]
    for (schema, document) in costly {
      let violations = try JSONSchema(schema).violations(of: document)
      #expect(
        violations.count == 1 && violations.first?.reason.contains("too complex") == true,
        "\(schema.keys) \(violations)")
    }
    // What people write is far from it.
    #expect(
      try JSONSchema(["patternProperties": ["^[a-z0-9-]+$": ["type": "integer"]], "additionalProperties": false])
        .violations(of: object(1000)).isEmpty
    )
  }

  @Test(
    "patterns that would take memory or stack without end are refused when they are made",
    arguments: [
      String(repeating: "a", count: 5000),
      String(repeating: "(", count: 100) + "a" + String(repeating: ")", count: 100), "(a{1000}){1000}",
      "((((){1000}){1000}){1000}){1000}", "a" + String(repeating: "{1}", count: 1000),
      String(repeating: "{", count: 4000),
    ])
  func hugePatterns(_ pattern: String) {
    // Braces that are no bounds stand for themselves.
    guard pattern.hasPrefix("{") else {
      #expect(throws: JSONSchemaError.self) { try JSONSchema(["pattern": .string(pattern)]) }
      return
    }
    #expect(throws: Never.self) { try JSONSchema(["pattern": .string(pattern)]) }
  }

  @Test("all patterns of a schema together have a limit too")
  func manyPatterns() {
    let properties = JSONObject(
      uniqueKeysWithValues: (0..<100).map { ("p\($0)", ["pattern": .string("\($0)a{1000}")]) })
    #expect(throws: JSONSchemaError.self) { try JSONSchema(["properties": .object(properties)]) }
  }
}
