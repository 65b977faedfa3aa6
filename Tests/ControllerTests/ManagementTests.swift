import Authentication
import Fabric
import Foundation
import JSON
import Logging
import Model
import REST
import Store
import Testing
import Transport

@testable import Controller

/// A management API in process, called by an administrator.
struct ManagementBench: Sendable {
  struct Answer: Sendable {
    let status: Int
    let body: JSONValue
    var data: JSONValue { body["data"] ?? .null }
    var id: String { data["id"]?.stringValue ?? "" }
    var items: [JSONValue] { data.arrayValue ?? [] }
    var names: [String] { items.compactMap { $0["name"]?.stringValue } }
    var code: String? { body["error"]?["code"]?.stringValue }
    var field: String? { body["error"]?["cause"]?["field"]?.stringValue }
  }

  let core: ControllerCore
  let server: APIServer
  let directory: String

  init() async throws {
    let directory = NSTemporaryDirectory() + "swiftlet-management-" + UUID().uuidString
    self.directory = directory
    let core = try await ControllerCore(
      configuration: .init(dataDirectory: directory, host: "127.0.0.1", port: 0), logger: Logger(label: "test"))
    self.core = core
    let api = API(basePaths: ["/edge/management/v1"], endpoints: ManagementAPI.endpoints(core: core))
    server = APIServer(
      apis: [api], root: API(basePaths: [], endpoints: []), standing: [], logger: Logger(label: "test"),
      authenticate: { request in
        guard request.header("zt-session") != nil else { return nil }
        return Caller(identityID: "operator", identityName: "operator", isAdmin: true, apiSessionID: "none")
      }, translate: { ManagementErrors.translate($0) })
  }

  func close() { try? FileManager.default.removeItem(atPath: directory) }

  func send(
    _ method: String, _ path: String, _ query: [(name: String, value: String)] = [], bytes: [UInt8] = [],
    token: Bool = true
  ) async throws
    -> Answer
  {
    let response = await server.respond(
      to: APIRequest(
        method: method, path: "/edge/management/v1" + path, query: query,
        headers: (token ? [("zt-session", "x")] : []) + (bytes.isEmpty ? [] : [("content-type", "application/json")]),
        body: bytes,
        peer: .anonymous(),
        requestID: "r1"))
    return Answer(status: response.status, body: try JSONValue(parsing: response.body))
  }

  func get(_ path: String, _ query: [(name: String, value: String)] = []) async throws -> Answer {
    try await send("GET", path, query)
  }
  func list(_ path: String, filter: String) async throws -> Answer { try await get(path, [("filter", filter)]) }
  func post(_ path: String, _ body: JSONValue) async throws -> Answer {
    try await send("POST", path, bytes: body.serialized())
  }
  func put(_ path: String, _ body: JSONValue) async throws -> Answer {
    try await send("PUT", path, bytes: body.serialized())
  }
  func patch(_ path: String, _ body: JSONValue) async throws -> Answer {
    try await send("PATCH", path, bytes: body.serialized())
  }
  func delete(_ path: String) async throws -> Answer { try await send("DELETE", path) }

  /// Creates, and gives the id.
  func make(_ path: String, _ body: JSONValue) async throws -> String {
    let answer = try await post(path, body)
    #expect(answer.status == 201, "\(answer.body.text)")
    #expect(answer.data["_links"]?["self"]?["href"]?.stringValue == ".\(path)/\(answer.id)")
    return answer.id
  }

  func identity(_ name: String, attributes: [String] = []) async throws -> String {
    try await make(
      "/identities",
      [
        "name": .string(name), "type": "Default", "isAdmin": false, "roleAttributes": JSONValue(attributes),
        "enrollment": ["ott": true],
      ])
  }

  func service(_ name: String, attributes: [String] = []) async throws -> String {
    try await make(
      "/services", ["name": .string(name), "encryptionRequired": true, "roleAttributes": JSONValue(attributes)])
  }
}

@Suite(.timeLimit(.minutes(5)))
struct ManagementTests {
  @Test func strangersAreRefused() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    #expect(try await bench.send("GET", "/identities", token: false).status == 401)
  }

  @Test func anIdentityIsCreatedInvitedChangedAndDeleted() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let id = try await bench.identity("alice", attributes: ["staff"])
    let detail = try await bench.get("/identities/\(id)").data
    #expect(detail["name"] == "alice")
    #expect(detail["type"]?["name"] == "Default")
    #expect(detail["authPolicy"]?["name"] == "Default")
    #expect(detail["enrollment"]?["ott"]?["jwt"]?.stringValue?.isEmpty == false)
    #expect(detail["hasApiSession"] == false)
    #expect(detail["_links"]?["services"]?["href"] == .string("./identities/\(id)/services"))
    #expect(try await bench.patch("/identities/\(id)", ["name": "alice2", "roleAttributes": .null]).status == 200)
    let patched = try await bench.get("/identities/\(id)").data
    #expect(patched["name"] == "alice2")
    #expect(patched["roleAttributes"] == ["staff"])
    #expect(
      try await bench.put("/identities/\(id)", ["name": "alice3", "type": "User", "isAdmin": false]).status == 200)
    #expect(try await bench.get("/identities/\(id)").data["roleAttributes"] == [])
    #expect(try await bench.get("/identities/\(id)/enrollments").items.count == 1)
    #expect(try await bench.delete("/identities/\(id)").status == 200)
    #expect(try await bench.get("/identities/\(id)").code == "NOT_FOUND")
    #expect(try await bench.get("/enrollments").items.isEmpty)
    #expect(try await bench.delete("/identities/\(id)").status == 404)
    #expect(try await bench.patch("/identities/\(id)", ["name": "x"]).status == 404)
  }

  @Test func badDocumentsNameTheirField() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    _ = try await bench.identity("alice")
    let duplicate = try await bench.post("/identities", ["name": "alice", "type": "Default", "isAdmin": false])
    #expect(duplicate.status == 400)
    #expect(duplicate.field == "name")
    #expect(try await bench.post("/identities", ["type": "Default", "isAdmin": false]).field == "name")
    #expect(try await bench.post("/identities", ["name": 5, "type": "Default", "isAdmin": false]).field == "name")
    #expect(try await bench.post("/identities", ["name": "b", "type": "Router", "isAdmin": false]).field == "type")
    #expect(
      try await bench.post("/identities", ["name": "b", "type": "Default", "isAdmin": false, "permissions": ["root"]])
        .field == "permissions")
    #expect(
      try await bench.post("/identities", ["name": "b", "type": "Default", "isAdmin": false, "roleAttributes": ["#x"]])
        .field == "roleAttributes")
    #expect(
      try await bench.post("/identities", ["name": "b", "type": "Default", "isAdmin": false, "authPolicyId": "nope"])
        .status == 404)
    #expect(try await bench.send("POST", "/services", bytes: Array("{nope".utf8)).code == "COULD_NOT_PARSE_BODY")
    #expect(try await bench.post("/services", ["name": "s"]).field == "encryptionRequired")
    let strategy = try await bench.post(
      "/services", ["name": "s", "encryptionRequired": true, "terminatorStrategy": "zzz"])
    #expect(strategy.status == 404)
    #expect(
      try await bench.post("/services", ["name": "s", "encryptionRequired": true, "configs": ["nope"]]).status == 404)
    let roles = try await bench.post(
      "/service-policies", ["name": "p", "type": "Dial", "semantic": "AnyOf", "serviceRoles": ["@nope"]])
    #expect(roles.status == 400)
    #expect(roles.field == "serviceRoles")
    #expect(
      try await bench.post("/service-policies", ["name": "p", "type": "Walk", "semantic": "AnyOf"]).field == "type")
    #expect(
      try await bench.post("/service-policies", ["name": "p", "type": "Dial", "semantic": "Some"]).field == "semantic")
    #expect(try await bench.put("/version-x", [:]).status == 404)
  }

  @Test func configsFitTheirTypeAndServicesHaveOneOfEach() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let type = try await bench.make(
      "/config-types", ["name": "app.v1", "schema": ["type": "object", "properties": ["port": ["type": "integer"]]]])
    #expect(
      try await bench.post("/configs", ["name": "bad", "configTypeId": .string(type), "data": ["port": "x"]]).code
        == "COULD_NOT_VALIDATE")
    let one = try await bench.make("/configs", ["name": "one", "configTypeId": .string(type), "data": ["port": 1]])
    let two = try await bench.make("/configs", ["name": "two", "configTypeId": .string(type), "data": ["port": 2]])
    #expect(try await bench.get("/configs/\(one)").data["configType"]?["name"] == "app.v1")
    #expect(try await bench.get("/config-types/\(type)/configs").names.sorted() == ["one", "two"])
    #expect(
      try await bench.post(
        "/services", ["name": "s", "encryptionRequired": true, "configs": [.string(one), .string(two)]]
      ).field == "configs")
    let service = try await bench.make(
      "/services", ["name": "s", "encryptionRequired": true, "configs": [.string(one)]])
    #expect(try await bench.get("/services/\(service)/configs").names == ["one"])
    #expect(try await bench.get("/configs/\(one)/services").names == ["s"])
    #expect(
      try await bench.get("/services/\(service)", [("configTypes", "app.v1")]).data["config"]?["app.v1"]?["port"] == 1)
    #expect(try await bench.delete("/config-types/\(type)").status == 409)
    let identity = try await bench.identity("alice")
    let override: JSONValue = [["serviceId": .string(service), "configId": .string(two)]]
    #expect(try await bench.post("/identities/\(identity)/service-configs", override).status == 200)
    #expect(try await bench.get("/identities/\(identity)/service-configs").items.first?["config"]?["name"] == "two")
    #expect(try await bench.delete("/configs/\(two)").status == 409)
    #expect(
      try await bench.send("DELETE", "/identities/\(identity)/service-configs", bytes: override.serialized()).status
        == 200)
    #expect(try await bench.delete("/configs/\(two)").status == 200)
    #expect(try await bench.delete("/configs/\(one)").status == 200)
    #expect(try await bench.get("/services/\(service)").data["configs"] == [])
    #expect(try await bench.patch("/config-types/\(type)", ["name": "app.v2"]).status == 200)
    #expect(try await bench.delete("/config-types/\(type)").status == 200)
  }

  @Test func policiesGrantAndDeletionsTakeBack() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let alice = try await bench.identity("alice", attributes: ["staff"])
    let web = try await bench.service("web", attributes: ["intranet"])
    let router = try await bench.make("/edge-routers", ["name": "paris"])
    let policy = try await bench.make(
      "/service-policies",
      [
        "name": "p", "type": "Dial", "semantic": "AnyOf", "identityRoles": ["#staff"],
        "serviceRoles": .array([.string("@" + web)]),
      ])
    let erp = try await bench.make(
      "/edge-router-policies",
      ["name": "e", "semantic": "AnyOf", "identityRoles": ["#all"], "edgeRouterRoles": .array([.string("@" + router)])])
    let serp = try await bench.make(
      "/service-edge-router-policies",
      ["name": "s", "semantic": "AnyOf", "serviceRoles": ["#all"], "edgeRouterRoles": ["#all"]])
    #expect(
      try await bench.get("/service-policies/\(policy)").data["serviceRolesDisplay"]?.arrayValue?.first?["name"]
        == "@web")
    #expect(try await bench.get("/identities/\(alice)/services").names == ["web"])
    #expect(try await bench.get("/identities/\(alice)/services", [("policyType", "bind")]).names == [])
    #expect(try await bench.get("/services/\(web)/identities").names == ["alice"])
    #expect(try await bench.get("/service-policies/\(policy)/services").names == ["web"])
    #expect(try await bench.get("/edge-routers/\(router)/services").names == ["web"])
    #expect(try await bench.get("/edge-router-policies/\(erp)/edge-routers").names == ["paris"])
    #expect(try await bench.get("/service-edge-router-policies/\(serp)/services").names == ["web"])
    let advice = try await bench.get("/identities/\(alice)/policy-advice/\(web)").data
    #expect(advice["isDialAllowed"] == true)
    #expect(advice["isBindAllowed"] == false)
    #expect(advice["commonRouters"]?.arrayValue?.first?["isOnline"] == false)
    #expect(try await bench.patch("/service-policies/\(policy)", ["type": "Bind"]).status == 200)
    #expect(try await bench.get("/identities/\(alice)/policy-advice/\(web)").data["isDialAllowed"] == false)
    #expect(try await bench.list("/identities", filter: #"anyOf(services) = "\#(web)""#).names == ["alice"])
    let terminator = try await bench.make(
      "/terminators",
      ["service": .string(web), "router": .string(router), "binding": "transport", "address": "tcp:127.0.0.1:1"])
    let shown = try await bench.get("/services/\(web)/terminators").items
    #expect(shown.first?["service"]?["name"] == "web")
    #expect(shown.first?["router"]?["name"] == "paris")
    #expect(try await bench.patch("/terminators/\(terminator)", ["cost": 7, "precedence": "required"]).status == 200)
    #expect(try await bench.list("/terminators", filter: #"service.name = "web" and cost = 7"#).items.count == 1)
    #expect(
      try await bench.post("/terminators", ["service": .string(web), "router": "nope", "binding": "b", "address": "a"])
        .status == 404)
    #expect(try await bench.delete("/services/\(web)").status == 200)
    #expect(try await bench.get("/terminators/\(terminator)").status == 404)
    #expect(try await bench.get("/service-policies/\(policy)").data["serviceRoles"] == [])
    #expect(try await bench.delete("/edge-routers/\(router)").status == 200)
    #expect(try await bench.get("/edge-router-policies/\(erp)").data["edgeRouterRoles"] == [])
    for path in [
      "/service-policies/\(policy)", "/edge-router-policies/\(erp)", "/service-edge-router-policies/\(serp)",
    ] {
      #expect(try await bench.delete(path).status == 200)
    }
    #expect(try await bench.get("/summary").data["servicePolicies"] == 0)
  }

  @Test func edgeRoutersAreInvitedAndTunnelersOwnAnIdentity() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let id = try await bench.make(
      "/edge-routers", ["name": "paris", "isTunnelerEnabled": true, "roleAttributes": ["public"]])
    let detail = try await bench.get("/edge-routers/\(id)").data
    #expect(detail["isVerified"] == false)
    #expect(detail["isOnline"] == false)
    #expect(detail["enrollmentJwt"]?.stringValue?.isEmpty == false)
    #expect(detail["enrollmentExpiresAt"]?.stringValue?.isEmpty == false)
    #expect(try await bench.get("/identities/\(id)").data["typeId"] == "Router")
    #expect(try await bench.get("/edge-router-policies/\(id)").data["isSystem"] == true)
    #expect(try await bench.delete("/edge-router-policies/\(id)").code == "ENTITY_CAN_NOT_BE_DELETED")
    #expect(try await bench.patch("/edge-router-policies/\(id)", ["name": "x"]).code == "ENTITY_CAN_NOT_BE_UPDATED")
    #expect(try await bench.delete("/identities/\(id)").code == "ENTITY_CAN_NOT_BE_DELETED")
    #expect(try await bench.patch("/edge-routers/\(id)", ["name": "lyon"]).status == 200)
    #expect(try await bench.get("/identities/\(id)").data["name"] == "lyon")
    #expect(try await bench.send("POST", "/edge-routers/\(id)/re-enroll").status == 200)
    #expect(try await bench.get("/edge-routers/\(id)").data["enrollmentToken"] != detail["enrollmentToken"])
    #expect(try await bench.get("/enrollments").items.count == 1)
    #expect(try await bench.list("/edge-routers", filter: "isOnline = false").status == 400)
    #expect(try await bench.list("/edge-routers", filter: "online = false").names == ["lyon"])
    #expect(try await bench.get("/edge-routers", [("roleFilter", "#public")]).names == ["lyon"])
    #expect(try await bench.get("/edge-router-role-attributes").data == ["public"])
    #expect(try await bench.patch("/edge-routers/\(id)", ["isTunnelerEnabled": false]).status == 200)
    #expect(try await bench.get("/identities/\(id)").status == 404)
    #expect(try await bench.delete("/edge-routers/\(id)").status == 200)
    #expect(try await bench.get("/enrollments").items.isEmpty)
  }

  @Test func passwordsEnrollmentsAndTheDefaultAdministrator() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let provisioning = Provisioning(core: bench.core)
    try await provisioning.setAdminPassword(username: "admin", password: "secret")
    try await provisioning.setAdminPassword(username: "admin", password: "secret2")
    let admins = try await bench.list("/identities", filter: "isDefaultAdmin = true").items
    #expect(admins.count == 1)
    let admin = admins.first?["id"]?.stringValue ?? ""
    #expect(admins.first?["authenticators"]?["updb"]?["username"] == "admin")
    #expect(try await bench.delete("/identities/\(admin)").code == "ENTITY_CAN_NOT_BE_DELETED")
    #expect(
      try await bench.post("/identities/\(admin)/disable", ["durationMinutes": 0]).code == "ENTITY_CAN_NOT_BE_UPDATED")

    let alice = try await bench.make("/identities", ["name": "alice", "type": "Default", "isAdmin": false])
    let password: JSONValue = [
      "method": "updb", "identityId": .string(alice), "username": "alice.smith", "password": "hunter22",
    ]
    let authenticator = try await bench.make("/authenticators", password)
    #expect(try await bench.post("/authenticators", password).code == "MAX_AUTHENTICATOR_METHODS_REACHED")
    let shown = try await bench.get("/authenticators/\(authenticator)").data
    #expect(shown["username"] == "alice.smith")
    #expect(shown["password"] == nil)
    #expect(try await bench.patch("/authenticators/\(authenticator)", ["password": "x"]).field == "password")
    #expect(try await bench.patch("/authenticators/\(authenticator)", ["password": "hunter23"]).status == 200)
    #expect(try await bench.put("/authenticators/\(authenticator)", ["username": "alice"]).field == "password")

    let later = bench.core.now.adding(seconds: 3600).text
    let invite: JSONValue = ["method": "ott", "identityId": .string(alice), "expiresAt": .string(later)]
    let enrollment = try await bench.make("/enrollments", invite)
    #expect(try await bench.post("/enrollments", invite).code == "ENROLLMENT_EXISTS")
    #expect(
      try await bench.post("/enrollments", ["method": "ott", "identityId": "nope", "expiresAt": .string(later)]).status
        == 404)
    #expect(
      try await bench.post(
        "/enrollments", ["method": "ott", "identityId": .string(alice), "expiresAt": "2001-01-01T00:00:00Z"]
      ).field == "expiresAt")
    let before = try await bench.get("/enrollments/\(enrollment)").data
    #expect(before["identity"]?["name"] == "alice")
    #expect(try await bench.post("/enrollments/\(enrollment)/refresh", ["expiresAt": .string(later)]).status == 200)
    #expect(try await bench.get("/enrollments/\(enrollment)").data["jwt"] != before["jwt"])
    #expect(
      try await bench.post("/authenticators/\(authenticator)/re-enroll", ["expiresAt": .string(later)]).status == 201)
    #expect(try await bench.get("/identities/\(alice)").data["enrollment"]?["updb"]?["username"] == "alice.smith")
    #expect(try await bench.delete("/enrollments/\(enrollment)").status == 200)
    #expect(try await bench.delete("/authenticators/\(authenticator)").status == 404)
  }

  @Test func sessionsEndWithWhatTheyHangOn() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let alice = try await bench.identity("alice", attributes: ["staff"])
    let web = try await bench.service("web")
    let core = bench.core
    let now = core.now
    for id in ["one", "two"] {
      try await core.sessions.add(
        APISession(id: id, token: "token-\(id)", identityId: alice, lastActivityAt: now), now: now)
      _ = try await core.sessions.addIfAbsent(
        ServiceSession(
          id: "s-\(id)", apiSessionId: id, identityId: alice, serviceId: web, type: .dial, token: "t-\(id)"), now: now)
    }
    #expect(try await bench.get("/api-sessions").items.first?["identity"]?["name"] == "alice")
    #expect(try await bench.list("/sessions", filter: #"service.name = "web""#).items.count == 2)
    #expect(try await bench.get("/identities/\(alice)").data["hasApiSession"] == true)
    #expect(try await bench.delete("/sessions/s-one").status == 200)
    #expect(try await bench.delete("/sessions/s-one").status == 404)
    #expect(try await bench.delete("/services/\(web)").status == 200)
    #expect(core.sessions.serviceSessions.isEmpty)
    #expect(try await bench.delete("/api-sessions/one").status == 200)
    #expect(try await bench.post("/identities/\(alice)/disable", ["durationMinutes": 5]).status == 200)
    #expect(core.sessions.apiSessions.isEmpty)
    #expect(try await bench.get("/identities/\(alice)").data["disabled"] == true)
    #expect(try await bench.send("POST", "/identities/\(alice)/enable").status == 200)
    #expect(try await bench.get("/identities/\(alice)").data["disabled"] == false)
  }

  @Test func listsFilterSortAndPage() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    for name in ["a", "b", "c"] { _ = try await bench.service(name, attributes: name == "b" ? [] : ["x"]) }
    let page = try await bench.get("/services", [("sort", "name desc"), ("limit", "2"), ("offset", "1")])
    #expect(page.names == ["b", "a"])
    #expect(page.body["meta"]?["pagination"]?["totalCount"] == 3)
    #expect(page.body["meta"]?["filterableFields"]?.stringArrayValue?.contains("terminatorStrategy") == true)
    #expect(
      try await bench.list("/services", filter: #"name = "a" or name = "c" sort by name desc limit 1"#).names == ["c"])
    #expect(try await bench.list("/services", filter: #"name contains "#).code == "INVALID_FILTER")
    #expect(try await bench.list("/services", filter: "nope = 1").code == "INVALID_FILTER")
    #expect(
      try await bench.get("/services", [("roleFilter", "#x"), ("roleSemantic", "AnyOf"), ("sort", "name")]).names == [
        "a", "c",
      ])
    #expect(try await bench.get("/services").items.first?["permissions"] == ["Invalid"])
    #expect(try await bench.get("/services", [("limit", "many")]).field == "limit")
    #expect(try await bench.get("/services", [("offset", "-1")]).code == "INVALID_PAGINATION")
    #expect(try await bench.list("/services", filter: "true limit none").items.count == 3)
    #expect(try await bench.get("/identity-types").items.count == 2)
    #expect(try await bench.get("/service-role-attributes").data == ["x"])
  }

  @Test func filtersAskWhatPoliciesBringTogether() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let (alice, bob) = (try await bench.identity("alice", attributes: ["staff"]), try await bench.identity("bob"))
    let (web, ssh) = (try await bench.service("web", attributes: ["w"]), try await bench.service("ssh"))
    let router = try await Provisioning(core: bench.core).createEdgeRouter(name: "paris").id
    for (name, type, identities, services) in [("dial", "Dial", "#staff", "#w"), ("bind", "Bind", "#all", "@" + ssh)] {
      _ = try await bench.make(
        "/service-policies",
        [
          "name": .string(name), "type": .string(type), "semantic": "AnyOf", "identityRoles": [.string(identities)],
          "serviceRoles": [.string(services)],
        ])
    }
    _ = try await bench.make(
      "/edge-router-policies",
      ["name": "e", "semantic": "AnyOf", "identityRoles": ["#staff"], "edgeRouterRoles": ["#all"]])
    func names(_ kind: String, _ filter: String) async throws -> [String] {
      let answer = try await bench.list(kind, filter: "(\(filter)) and not name = \"Default Admin\" sort by name")
      #expect(answer.status == 200, "\(filter): \(answer.body.text)")
      #expect(answer.body["meta"]?["pagination"]?["totalCount"] == JSONValue(answer.items.count), "\(filter)")
      return answer.names
    }
    #expect(try await names("/identities", "anyOf(services) = \"\(web)\"") == ["alice"])
    #expect(try await names("/identities", "anyOf(dialServices) = \"\(ssh)\"") == [])
    #expect(try await names("/identities", "allOf(services) = \"\(ssh)\"") == ["bob"])
    #expect(try await names("/identities", "count(services) = 2") == ["alice"])
    #expect(try await names("/identities", "count(services) between 1 and 2 and isEmpty(edgeRouters)") == ["bob"])
    #expect(try await names("/identities", "not isEmpty(from services where name contains \"e\")") == ["alice"])
    #expect(
      try await names("/identities", "count(from services where true sort by name skip 1 limit 5) = 1") == ["alice"])
    #expect(try await names("/identities", "isEmpty(from edgeRouters where online = false)") == ["bob"])
    #expect(
      try await names(
        "/identities", "not isEmpty(from servicePolicies where type = \"Dial\" and anyOf(services) = \"\(web)\")") == [
          "alice"
        ])
    #expect(try await names("/services", "anyOf(identities) = \"\(bob)\"") == ["ssh"])
    #expect(try await names("/services", "not isEmpty(from bindIdentities where id = \"\(alice)\")") == ["ssh"])
    #expect(try await names("/service-policies", "anyOf(identities) = \"\(bob)\"") == ["bind"])
    #expect(
      try await names("/service-policies", "isEmpty(from identities where isAdmin = false and name = \"bob\")") == [
        "dial"
      ])
    #expect(try await names("/edge-router-policies", "not isEmpty(from edgeRouters where name = \"paris\")") == ["e"])
    #expect(try await names("/edge-routers", "online = true or not isEmpty(identities)") == ["paris"])
    #expect(try await bench.list("/edge-routers", filter: "true sort by online desc").names == ["paris"])
    #expect(
      try await bench.list("/identities", filter: "isEmpty(from services where nosuch = 1)").code == "INVALID_FILTER")
    // A live host's terminator is one.
    let live = LiveTerminator(
      id: "t1", serviceID: ssh, routerID: router, hostID: bob, address: "a", cost: 7, createdAt: .epoch)
    bench.core.fabric.handle(.place(live))
    #expect(try await names("/services", "isEmpty(terminators)") == ["web"])
    #expect(
      try await names("/services", "not isEmpty(from terminators where cost > 5 and router.name = \"paris\")") == [
        "ssh"
      ])
    #expect(try await names("/edge-routers", "count(terminators) = 1") == ["paris"])
    #expect(
      try await bench.list("/terminators", filter: "createdAt = datetime(1970-01-01T00:00:00Z) and not isSystem").items
        .count == 1)
    #expect(try await bench.list("/terminators", filter: "binding = true").code == "INVALID_FILTER")
  }

  @Test(
    "what upstream answers to a filter is answered",
    arguments: [
      ("count(roleAttributes) between 1 and 3", 200), ("count(roleAttributes) not between 1 and 3", 200),
      ("count(roleAttributes) in [1, 2]", 200),
      ("count(roleAttributes) contains 1", 200), ("count(roleAttributes) = null", 200),
      ("anyOf(roleAttributes) > 5", 200), ("name > 3", 200),
      ("tags.a between 1 and 3", 200), ("externalId not in [\"x\"]", 200), ("isAdmin = 1", 400), ("name = true", 400),
      ("name", 400),
      ("name in [1, \"a\"]", 400), ("count(roleAttributes) = \"1\"", 400), ("roleAttributes", 400),
    ])
  func statuses(_ filter: String, _ status: Int) async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let answer = try await bench.list("/identities", filter: filter)
    #expect(answer.status == status)
    #expect(status == 200 || answer.code == "INVALID_FILTER")
  }

  @Test func authPoliciesAreKeptWhileUsed() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let primary: JSONValue = [
      "cert": ["allowed": true, "allowExpiredCerts": false], "extJwt": ["allowed": false, "allowedSigners": []],
      "updb": [
        "allowed": true, "minPasswordLength": 2, "requireSpecialChar": false, "requireNumberChar": false,
        "requireMixedCase": false, "maxAttempts": 3,
        "lockoutDurationMinutes": 1,
      ],
    ]
    let id = try await bench.make(
      "/auth-policies", ["name": "strict", "primary": primary, "secondary": ["requireTotp": false]])
    #expect(try await bench.get("/auth-policies/\(id)").data["primary"]?["updb"]?["minPasswordLength"] == 5)
    #expect(try await bench.patch("/auth-policies/\(id)", ["primary": ["updb": ["maxAttempts": 9]]]).status == 200)
    let changed = try await bench.get("/auth-policies/\(id)").data
    #expect(changed["primary"]?["updb"]?["maxAttempts"] == 9)
    #expect(changed["primary"]?["cert"]?["allowed"] == true)
    #expect(try await bench.post("/auth-policies", ["name": "empty"]).field == "primary")
    let alice = try await bench.make(
      "/identities", ["name": "alice", "type": "Default", "isAdmin": false, "authPolicyId": .string(id)])
    #expect(try await bench.delete("/auth-policies/\(id)").status == 409)
    #expect(try await bench.patch("/identities/\(alice)", ["authPolicyId": "default"]).status == 200)
    #expect(try await bench.delete("/auth-policies/\(id)").status == 200)
    #expect(try await bench.delete("/auth-policies/default").code == "ENTITY_CAN_NOT_BE_DELETED")
    #expect(try await bench.patch("/auth-policies/default", ["tags": ["a": 1]]).status == 200)
  }

  @Test func provisioningCanBeRepeated() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let provisioning = Provisioning(core: bench.core)
    let alice = try await provisioning.createIdentity(name: "alice", roleAttributes: ["staff"])
    #expect(try await provisioning.identity(named: "alice") == Provisioning.Member(id: alice.id, isEnrolled: false))
    let again = try await provisioning.reissueEnrollment(identity: alice.id)
    #expect(again.jwt != alice.jwt)
    #expect(!again.jwt.isEmpty)
    let router = try await provisioning.createEdgeRouter(name: "paris")
    #expect(try await provisioning.edgeRouter(named: "paris")?.id == router.id)
    let service = try await provisioning.createService(name: "web", roleAttributes: ["w"])
    #expect(try await provisioning.service(named: "web") == service)
    try await provisioning.createServicePolicy(
      name: "dial", type: .dial, identityRoles: ["#staff"], serviceRoles: ["#w"])
    try await provisioning.createEdgeRouterPolicy(name: "routers", identityRoles: ["#all"], edgeRouterRoles: ["#all"])
    try await provisioning.createServiceEdgeRouterPolicy(
      name: "service routers", serviceRoles: ["#all"], edgeRouterRoles: ["#all"])
    let advice = try await bench.get("/identities/\(alice.id)/policy-advice/\(service)").data
    #expect(advice["isDialAllowed"] == true)
    #expect(advice["commonRouters"]?.arrayValue?.first?["id"] == .string(router.id))
    await #expect(throws: (any Error).self) { try await provisioning.createService(name: "web") }
  }

  @Test func changesNameTheirAuthor() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let index = try await bench.core.store.currentIndex()
    _ = try await bench.service("web")
    let change = try await bench.core.store.read { try $0.changeSets(after: index) }?.last
    #expect(change?.context.authorName == "operator")
    #expect(change?.context.source == "rest.management")
    #expect(change?.context.requestID == "r1")
  }
}
