import JSON
import Model
import Testing

@Suite("The schemas of the built-in config types")
struct ConfigSchemaTests {
  private func isValid(_ type: String, _ data: String) throws -> Bool {
    let type = try #require(BuiltIn.configTypes().first { $0.name == type })
    let config = Config(
      id: "c", name: "c", configTypeId: type.id, data: try #require(JSONValue(parsing: data).objectValue))
    do throws(ModelError) { try config.validate(against: type) } catch { return false }
    return true
  }

  @Test("what is wrong with a schema is an error of the model")
  func brokenSchema() {
    let type = ConfigType(id: "t", name: "t", schema: ["type": "object", "pattern": "(a"])
    #expect(throws: ModelError.self) { try type.validate() }
    #expect(throws: ModelError.self) {
      try Config(id: "c", name: "c", configTypeId: "t", data: ["a": 1]).validate(against: type)
    }
    let lost = ConfigType(
      id: "l", name: "l", schema: ["type": "object", "properties": ["a": ["$ref": "#/definitions/none"]]])
    let error = #expect(throws: ModelError.self) { try lost.validate() }
    #expect(error?.field == "schema.properties.a.$ref")
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
}
