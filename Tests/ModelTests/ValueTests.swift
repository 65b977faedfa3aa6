import JSON
import Model
import Testing

@Suite struct ValueTests {
  @Test(arguments: [
    ("2025-03-01T12:34:56.789Z", "2025-03-01T12:34:56.789Z"), ("2025-03-01T12:34:56Z", "2025-03-01T12:34:56.000Z"),
    ("2024-02-29T23:59:59.9+01:30", "2024-02-29T22:29:59.900Z"),
    ("1970-01-01T00:00:00.0004Z", "1970-01-01T00:00:00.000Z"),
    ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"), ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
    ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
  ])
  func timestampsHaveOneText(_ text: String, _ canonical: String) throws {
    #expect(try #require(Timestamp(text)).text == canonical)
  }

  @Test(arguments: [
    "", "2025-02-29T00:00:00Z", "2025-13-01T00:00:00Z", "2025-01-01T24:00:00Z", "2025-01-01 00:00:00",
    "2025-01-01T00:00:00.Z",
    "2025-01-01T00:00:00+1:00",
  ])
  func timestampsRefuse(_ text: String) { #expect(Timestamp(text) == nil) }

  @Test func timestampKnowsTheCalendar() {
    #expect(Timestamp(secondsSinceEpoch: 951_782_400).text == "2000-02-29T00:00:00.000Z")
    for day in stride(from: Int64(-700_000), to: 2_900_000, by: 997) {
      let moment = Timestamp(secondsSinceEpoch: day * 86_400)
      #expect(Timestamp(moment.text) == moment)
    }
    #expect(Timestamp(secondsSinceEpoch: .max).text == "9999-12-31T23:59:59.999Z")
  }

  @Test func idsKeepToTheirAlphabets() {
    var random = Seeded(1)
    var seen: Set<String> = []
    for _ in 0..<2000 {
      let short = EntityID.short(using: &random)
      #expect(
        (9...11).contains(short.count)
          && short.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "." || $0 == "-") })
      let long = EntityID.uuidBase62(using: &random)
      #expect(long.count == 22 && long.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) })
      let uuid = EntityID.uuid(using: &random)
      #expect(uuid.count == 36 && Array(uuid)[14] == "4" && "89ab".contains(Array(uuid)[19]))
      seen.formUnion([short, long, uuid])
    }
    #expect(seen.count == 6000)
  }

  @Test func entitiesSurviveTheirDocument() throws {
    let identity = Identity(
      id: "a", name: "alice", roleAttributes: ["x"], appData: ["k": ["n": 1]],
      serviceHostingPrecedences: ["s": .required],
      serviceHostingCosts: ["s": 7], disabledAt: Timestamp(secondsSinceEpoch: 5), sdkInfo: SDKInfo(appId: "app"),
      serviceConfigs: ["s": ["t": "c"]],
      tags: ["t": true], createdAt: Timestamp(secondsSinceEpoch: 1), updatedAt: Timestamp(secondsSinceEpoch: 2))
    let document = try JSONValue(encoding: identity)
    #expect(document["typeId"] == "Default" && document["createdAt"] == "1970-01-01T00:00:01.000Z")
    #expect(try document.decode(Identity.self) == identity)
    let policy = BuiltIn.authPolicy()
    #expect(try JSONValue(encoding: policy).decode(AuthPolicy.self) == policy)
    let authenticator = Authenticator(
      id: "x", method: .updb, identityId: "a", username: "u",
      password: PasswordHash(algorithm: "argon2id", salt: "s", hash: "h", opslimit: 2, memlimit: 1 << 26))
    #expect(
      try JSONValue(parsing: JSONValue(encoding: authenticator).serialized()).decode(Authenticator.self)
        == authenticator)
  }

  @Test func olderDocumentsReadWithZeroValues() throws {
    let identity = try (["id": "a", "name": "alice"] as JSONValue).decode(Identity.self)
    #expect(
      identity.roleAttributes.isEmpty && identity.typeId == .default && identity.defaultHostingPrecedence == .default
        && !identity.isAdmin)
    let policy = try (["id": "p", "name": "p"] as JSONValue).decode(AuthPolicy.self)
    #expect(!policy.primary.cert.allowed)
    #expect(throws: (any Error).self) { try (["id": "a", "name": 7] as JSONValue).decode(Identity.self) }
  }

  @Test func validationNamesTheField() {
    func field(_ entity: some Entity) -> String? {
      do throws(ModelError) {
        try entity.validate()
        return nil
      } catch { return error.field }
    }
    #expect(field(Identity(id: "a", name: "alice")) == nil)
    #expect(field(Identity(id: "a", name: " ")) == "name")
    #expect(field(Identity(id: "a", name: "a", roleAttributes: ["#x"])) == "roleAttributes")
    #expect(field(Identity(id: "a", name: "a", roleAttributes: ["@x"])) == "roleAttributes")
    #expect(field(Identity(id: "a", name: "a", defaultHostingCost: 65536)) == "defaultHostingCost")
    #expect(field(EdgeService(id: "s", name: "s", terminatorStrategy: "zzz")) == "terminatorStrategy")
    #expect(field(EdgeRouterEntity(id: "r", name: "r", cost: -1)) == "cost")
    #expect(field(ServicePolicy(id: "p", name: "p", type: .dial, serviceRoles: ["x"])) == "serviceRoles")
    #expect(field(ServicePolicy(id: "p", name: "p", type: .dial, identityRoles: ["#all", "#x"])) == "identityRoles")
    #expect(field(ConfigType(id: "c", name: "all")) == "name")
    #expect(field(ConfigType(id: "c", name: "c", schema: ["type": "string"])) == "schema")
    #expect(field(Enrollment(id: "e", method: .updb, token: "t", expiresAt: .epoch, identityId: "i")) == "username")
    #expect(
      field(Enrollment(id: "e", method: .erott, token: "t", expiresAt: .epoch, identityId: "i")) == "edgeRouterId")
  }

  @Test func rolesMatchAsSpecified() throws {
    func matches(_ roles: [String], _ attributes: [String], _ semantic: Semantic) throws -> Bool {
      try RoleList(roles, field: "r").matches(id: "me", attributes: attributes, semantic: semantic)
    }
    #expect(try !matches([], ["a"], .anyOf))
    #expect(try matches(["#all"], [], .allOf))
    #expect(try matches(["@me", "#a"], [], .allOf))
    #expect(try matches(["#a", "#b"], ["b"], .anyOf))
    #expect(try !matches(["#a", "#b"], ["b"], .allOf))
    #expect(try matches(["#a", "#b"], ["a", "b", "c"], .allOf))
    #expect(try !matches(["@other"], ["other"], .anyOf))
    #expect(Precedence(text: "Required") == .required && Precedence(text: "nonsense") == .default)
  }

  @Test func disabledEndsWithItsTime() {
    var identity = Identity(id: "a", name: "a")
    let now = Timestamp(secondsSinceEpoch: 100)
    #expect(!identity.isDisabled(at: now))
    identity.disabledAt = now
    #expect(identity.isDisabled(at: now))
    identity.disabledUntil = now
    #expect(!identity.isDisabled(at: now))
  }
}
