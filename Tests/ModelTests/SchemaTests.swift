import Model
import Testing

@Suite struct SchemaTests {
  private func isValid(_ type: String, _ data: String) throws -> Bool {
    let type = try #require(BuiltIn.configTypes().first { $0.name == type })
    let config = Config(
      id: "c", name: "c", configTypeId: type.id, data: try #require(JSONValue(parsing: data).objectValue))
    do throws(ModelError) { try config.validate(against: type) } catch { return false }
    return true
  }

  @Test func builtInRowsAreValid() throws {
    #expect(BuiltIn.configTypes().count == 8)
    for type in BuiltIn.configTypes() { try type.validate() }
    #expect(
      Set(BuiltIn.configTypes().map(\.id)).isSuperset(of: [
        "g7cIWbcGg", "NH5p4FpGR", "host.v2", "f2dd2df0-9c04-4b84-a91e-71437ac229f1",
      ]))
    try BuiltIn.authPolicy().validate()
  }

  @Test(arguments: [
    (
      "intercept.v1",
      #"{"protocols":["tcp"],"addresses":["db.ziti","*.corp.ziti","10.0.0.0/8"],"portRanges":[{"low":5432,"high":5432}],"dialOptions":{"identity":"$dst_hostname"}}"#
    ),
    (
      "host.v1",
      #"{"protocol":"tcp","address":"127.0.0.1","port":5432,"listenOptions":{"maxConnections":2,"cost":10,"precedence":"default","bindUsingEdgeIdentity":false}}"#
    ),
    (
      "host.v1",
      #"{"forwardProtocol":true,"allowedProtocols":["tcp","udp"],"forwardAddress":true,"allowedAddresses":["10.0.0.0/8"],"forwardPort":true,"allowedPortRanges":[{"low":1,"high":65535}]}"#
    ),
    (
      "host.v1",
      #"{"protocol":"tcp","address":"a","port":1,"portChecks":[{"address":"a:1","interval":"5s","timeout":"1s","actions":[{"trigger":"fail","action":"mark unhealthy"}]}]}"#
    ),
    ("host.v2", #"{"terminators":[{"protocol":"udp","address":"a","port":1}]}"#),
    ("proxy.v1", #"{"port":8080,"protocols":["tcp"]}"#),
    ("router.link.v1", #"{"dialers":[{"groups":"a","startupDelay":"1.5s"}],"listeners":[{"bind":"tls:0.0.0.0:1"}]}"#),
    ("ziti-tunneler-server.v1", #"{"hostname":"h","port":80,"protocol":"udp"}"#),
  ])
  func accepts(_ type: String, _ data: String) throws { #expect(try isValid(type, data)) }

  @Test(arguments: [
    ("intercept.v1", #"{"protocols":[],"addresses":["a"],"portRanges":[{"low":1,"high":1}]}"#),
    ("intercept.v1", #"{"protocols":["tcp","tcp"],"addresses":["a"],"portRanges":[{"low":1,"high":1}]}"#),
    ("intercept.v1", #"{"protocols":["icmp"],"addresses":["a"],"portRanges":[{"low":1,"high":1}]}"#),
    ("intercept.v1", #"{"protocols":["tcp"],"addresses":[""],"portRanges":[{"low":1,"high":1}]}"#),
    ("intercept.v1", #"{"protocols":["tcp"],"addresses":["a"],"portRanges":[{"low":1}]}"#),
    ("intercept.v1", #"{"protocols":["tcp"],"addresses":["a"],"portRanges":[{"low":1,"high":65536}]}"#),
    ("host.v1", #"{"protocol":7}"#), ("host.v1", #"{"protocol":"tcp","address":"a"}"#),
    ("host.v1", #"{"forwardProtocol":true,"address":"a","port":1}"#),
    ("host.v1", #"{"protocol":"tcp","address":"a","port":1,"extra":1}"#), ("host.v2", #"{"terminators":[]}"#),
    ("proxy.v1", #"{"port":0,"protocols":["tcp"]}"#),
    ("router.link.v1", #"{"dialers":[{"startupDelay":"soon"}]}"#),
    ("ziti-tunneler-client.v1", #"{"hostname":"h","port":1.5}"#),
  ])
  func refuses(_ type: String, _ data: String) throws { #expect(try !isValid(type, data)) }

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

  @Test func brokenOrEndlessSchemasAreHarmless() throws {
    #expect(throws: ModelError.self) { try JSONSchema(["type": "strange"]) }
    #expect(throws: ModelError.self) { try JSONSchema(["properties": ["a": ["$ref": "#/definitions/none"]]]) }
    #expect(throws: ModelError.self) { try JSONSchema(["pattern": "(a"]) }
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
      #expect(throws: ModelError.self) { try JSONSchema(["pattern": .string(pattern)]) }
      return
    }
    #expect(throws: Never.self) { try JSONSchema(["pattern": .string(pattern)]) }
  }

  @Test("all patterns of a schema together have a limit too")
  func manyPatterns() {
    let properties = JSONObject(
      uniqueKeysWithValues: (0..<100).map { ("p\($0)", ["pattern": .string("\($0)a{1000}")]) })
    #expect(throws: ModelError.self) { try JSONSchema(["properties": .object(properties)]) }
  }
}
