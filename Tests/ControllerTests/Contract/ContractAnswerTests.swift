import JSON
import Model
import PKI
import Testing

@testable import Controller

/// What the operations answer once there is something to answer about.
@Suite("Answers by the contract of the REST APIs", .timeLimit(.minutes(5)))
struct ContractAnswerTests {
  private static let base: Set<String> = ["createdAt", "id", "isSystem", "tags", "updatedAt"]

  private static func type(_ name: String) throws -> DeclaredType {
    let line = try #require(
      DeclaredOperations.answers.split(separator: "\n").first { $0.hasPrefix(name + " ") }, "\(name)")
    return DeclaredType(String(line.dropFirst(name.count + 1)))
  }

  /// A network with one of each kind: their ids by collection.
  private struct Network {
    let controller: LiveController
    let admin: String
    var ids: [String: String] = [:]

    init() async throws {
      controller = try await LiveController.start()
      let login = await controller.ask(
        "POST", "/edge/management/v1/authenticate", query: [("method", "password")],
        ["username": "admin", "password": "admin-password"])
      admin = try #require(login.data["token"]?.stringValue, "\(login.text)")
    }

    func ask(_ method: String, _ path: String, _ body: JSONValue? = nil) async -> LiveController.Answer {
      await controller.ask(method, "/edge/management/v1" + path, body, token: admin)
    }

    mutating func make(_ collection: String, _ body: JSONValue) async throws {
      let answer = await ask("POST", "/" + collection, body)
      #expect(answer.status == 201, "\(collection): \(answer.text)")
      let id = try #require(answer.data["id"]?.stringValue, "\(answer.text)")
      #expect(answer.data["_links"]?["self"]?["href"] == .string("./\(collection)/\(id)"))
      ids[collection] = id
    }

    func id(_ collection: String) throws -> String { try #require(ids[collection], "\(collection)") }

    mutating func fill() async throws {
      try await make("config-types", ["name": "app.v1", "schema": ["type": "object"]])
      try await make("configs", ["name": "app", "configTypeId": .string(id("config-types")), "data": ["port": 1]])
      try await make(
        "services",
        ["name": "web", "encryptionRequired": true, "roleAttributes": ["w"], "configs": [.string(id("configs"))]])
      try await make(
        "identities",
        [
          "name": "alice", "type": "Default", "isAdmin": false, "roleAttributes": ["staff"],
          "enrollment": ["ott": true], "tags": ["a": 1],
        ])
      try await make("edge-routers", ["name": "paris", "roleAttributes": ["public"]])
      try await make(
        "service-policies",
        [
          "name": "dial", "type": "Dial", "semantic": "AnyOf", "identityRoles": ["#all"],
          "serviceRoles": [.string("@" + id("services"))],
        ])
      try await make(
        "edge-router-policies",
        ["name": "e", "semantic": "AnyOf", "identityRoles": ["#all"], "edgeRouterRoles": ["#all"]])
      try await make(
        "service-edge-router-policies",
        ["name": "s", "semantic": "AnyOf", "serviceRoles": ["#all"], "edgeRouterRoles": ["#all"]])
      try await make(
        "terminators",
        [
          "service": .string(id("services")), "router": .string(id("edge-routers")), "binding": "transport",
          "address": "tcp:127.0.0.1:1",
        ])
      try await make(
        "authenticators",
        ["method": "updb", "identityId": .string(id("identities")), "username": "alice.smith", "password": "hunter22"])
      let policy = try #require(
        DeclaredOperation.table(DeclaredOperations.management).first { $0.description == "POST /auth-policies" }?.body)
      var body = try #require(DeclaredType(policy).sample.objectValue)
      body["secondary"] = ["requireTotp": false]
      body["primary"] = [
        "cert": ["allowed": true, "allowExpiredCerts": true], "extJwt": ["allowed": false, "allowedSigners": []],
        "updb": body["primary"]?["updb"] ?? .null,
      ]
      try await make("auth-policies", .object(body))
      ids["identity-types"] = "Default"
      ids["enrollments"] = await ask("GET", "/identities/\(try id("identities"))/enrollments").data.arrayValue?.first?[
        "id"]?.stringValue
      ids["api-sessions"] = await ask("GET", "/current-api-session").data["id"]?.stringValue
    }
  }

  /// A dialler's session and what hangs on it; routers have to be enrolled for that.
  private func client(_ network: inout Network) async throws -> (token: String, credential: LiveController.Credential) {
    let controller = network.controller
    let router = try network.id("edge-routers")
    let jwt = await network.ask("GET", "/edge-routers/\(router)").data["enrollmentJwt"]?.stringValue ?? ""
    let csr = try CSR.create(key: try PrivateKey.generate(.p256), commonName: router, names: ["127.0.0.1"])
    let enrolled = await controller.ask(
      "POST", "/edge/client/v1/enroll", query: [("method", "erott"), ("token", try LiveController.oneTime(jwt))],
      ["certCsr": .string(csr), "serverCertCsr": .string(csr)])
    #expect(enrolled.status == 200, "\(enrolled.text)")
    let credential = try await controller.enrolled("bob", roles: ["staff"])
    let token = try await controller.token(credential)
    let made = await controller.ask(
      "POST", "/sessions", ["serviceId": .string(try network.id("services")), "type": "Dial"], token: token)
    #expect(made.status == 201, "\(made.text)")
    network.ids["sessions"] = made.data["id"]?.stringValue
    return (token, credential)
  }

  @Test(
    "lists and details of the management API have the members, types, links and filterable fields that are declared")
  func management() async throws {
    var network = try await Network()
    try await network.fill()
    // Before it connects, and even before it is enrolled.
    let never = await network.ask("GET", "/edge-routers/\(try network.id("edge-routers"))").data
    #expect(never["versionInfo"] == ["arch": "", "buildDate": "", "os": "", "revision": "", "version": ""])
    #expect(never["fingerprint"] == nil)
    _ = try await client(&network)
    let fields = DeclaredLinks.lines(DeclaredOperations.filterable)
    #expect(Set(fields.map { $0[0] }) == Set(network.ids.keys))
    for line in fields {
      let (collection, id) = (line[0], try network.id(line[0]))
      let type = try Self.type(collection)
      let list = await network.ask("GET", "/" + collection)
      #expect(list.status == 200)
      #expect(
        Set(list.json["meta"]?["filterableFields"]?.stringArrayValue ?? []) == Self.base.union(line.dropFirst()),
        "\(collection)")
      for member in ["limit", "offset", "totalCount"] {
        #expect(list.json["meta"]?["pagination"]?[member]?.intValue != nil, "\(collection)")
      }
      let items = list.data.arrayValue ?? []
      #expect(!items.isEmpty, "\(collection)")
      let detail = await network.ask("GET", "/\(collection)/\(id)")
      #expect(detail.json["meta"] == [:])
      for item in items + [detail.data] {
        let misfit = type.misfit(item, collection)
        #expect(misfit == nil)
        let links = DeclaredLinks.misfit(item["_links"] ?? .null, collection, item["id"]?.stringValue ?? "", collection)
        #expect(links == nil)
      }
      // Every field that is named can be asked for and ordered by, objects and sets in their own ways.
      for field in line.dropFirst()
      where !["roleAttributes", "configs", "schema", "ctrlChanListeners"].contains(field) && !field.hasSuffix("Roles") {
        guard !["identities", "services"].contains(field) else { continue }
        let answer = await network.controller.ask(
          "GET", "/edge/management/v1/" + collection, query: [("sort", field)], token: network.admin)
        #expect(answer.status == 200, "\(collection) by \(field): \(answer.text)")
      }
    }
    await network.controller.stop()
  }

  @Test("relations, references and what is computed have the declared members")
  func relations() async throws {
    var network = try await Network()
    try await network.fill()
    _ = try await client(&network)
    let (identity, service) = (try network.id("identities"), try network.id("services"))
    let session = await network.ask("GET", "/sessions/\(try network.id("sessions"))").data
    #expect(session["servicePolicies"]?.arrayValue?.map { $0["name"] } == ["dial"])
    #expect(session["servicePolicies"]?.arrayValue?.first?["entity"] == "service-policies")
    #expect(session["edgeRouters"]?.arrayValue?.first?["urls"] == [:])
    let authenticator = await network.ask("GET", "/authenticators/\(try network.id("authenticators"))").data
    #expect(authenticator["_links"]?["identity"]?["href"] == .string("./identities/\(identity)"))
    let advice = try Self.type("policy-advice").misfit(
      await network.ask("GET", "/identities/\(identity)/policy-advice/\(service)").data)
    #expect(advice == nil)
    let posture = try Self.type("posture-data").misfit(
      await network.ask("GET", "/identities/\(identity)/posture-data").data)
    #expect(posture == nil)
    #expect(await network.ask("GET", "/identities/\(identity)/failed-service-requests").data == [])
    #expect(await network.ask("GET", "/sessions/\(try network.id("sessions"))/route-path").data == ["routePath": []])
    #expect(
      await network.ask(
        "POST", "/identities/\(identity)/service-configs",
        [["serviceId": .string(service), "configId": .string(try network.id("configs"))]]
      ).status == 200)
    let overrides = await network.ask("GET", "/identities/\(identity)/service-configs").data.arrayValue ?? []
    let override = try Self.type("service-configs").misfit(try #require(overrides.first))
    #expect(override == nil)
    // What hangs on an identity leads somewhere.
    let links = await network.ask("GET", "/identities/\(identity)").data["_links"]?.objectValue ?? [:]
    for (name, link) in links {
      #expect(await network.ask("GET", String(link["href"]?.stringValue?.dropFirst() ?? "")).status == 200, "\(name)")
    }
    await network.controller.stop()
  }

  @Test("answers of the client API have the declared members, and its entities their own links")
  func clientAPI() async throws {
    var network = try await Network()
    try await network.fill()
    let controller = network.controller
    let (token, credential) = try await client(&network)
    let service = try network.id("services")
    func ask(_ method: String, _ path: String, _ body: JSONValue? = nil) async -> LiveController.Answer {
      await controller.ask(method, path, body, token: token)
    }
    let key = try PrivateKey.generate(.p256)
    #expect(
      await ask(
        "POST", "/current-api-session/certificates", ["csr": .string(try CSR.create(key: key, commonName: "any"))]
      ).status == 201)
    let lists = [
      ("/services", "services"), ("/sessions", "client/sessions"),
      ("/current-identity/edge-routers", "client/current-identity/edge-routers"),
      ("/current-identity/authenticators", "authenticators"),
      ("/current-api-session/certificates", "client/current-api-session/certificates"),
      ("/services/\(service)/terminators", "client/terminators"), ("/network-jwts", "client/network-jwts"),
    ]
    for (path, name) in lists {
      let list = await ask("GET", path)
      #expect(list.json["meta"]?["pagination"]?["totalCount"]?.intValue == 1, "\(path): \(list.text)")
      for item in list.data.arrayValue ?? [] {
        let misfit = try Self.type(name).misfit(item, path)
        #expect(misfit == nil)
      }
    }
    let login = await controller.ask("POST", "/authenticate", query: [("method", "cert")], [:], as: credential)
    for (answer, name) in [
      (login, "current-api-session"), (await ask("GET", "/current-api-session"), "current-api-session"),
      (await ask("GET", "/current-identity"), "identities"), (await ask("GET", "/services/\(service)"), "services"),
      (await ask("GET", "/services/\(service)/edge-routers"), "client/services/edge-routers"),
      (await ask("GET", "/sessions/\(try network.id("sessions"))"), "client/sessions"),
    ] {
      #expect(answer.status == 200)
      let misfit = try Self.type(name).misfit(answer.data, name)
      #expect(misfit == nil)
    }
    let session = login.data["id"]?.stringValue ?? ""
    let links = DeclaredLinks.misfit(login.data["_links"] ?? .null, "api-sessions", session, "login")
    #expect(links == nil)
    let own = await ask("GET", "/current-identity").data["_links"]
    #expect(own == ["self": ["href": "./current-identity"], "mfa": ["href": "./current-identity/mfa"]])
    let authenticator = await ask("GET", "/current-identity/authenticators").data.arrayValue?.first
    let path = "/current-identity/authenticators/\(authenticator?["id"]?.stringValue ?? "")"
    #expect(authenticator?["_links"] == ["self": ["href": .string("." + path)]])
    #expect(await ask("GET", path).data["_links"] == authenticator?["_links"])
    // The policies behind a session are not its holder's to know.
    #expect(await ask("GET", "/sessions").data.arrayValue?.first?["servicePolicies"] == nil)
    await controller.stop()
  }

  @Test("changing and deleting answer as declared, and a terminator can be moved to another service")
  func changes() async throws {
    var network = try await Network()
    try await network.fill()
    let terminator = try network.id("terminators")
    let other =
      await network.ask("POST", "/services", ["name": "other", "encryptionRequired": true]).data["id"]?.stringValue
      ?? ""
    #expect(await network.ask("PATCH", "/terminators/\(terminator)", ["service": .string(other)]).status == 200)
    #expect(await network.ask("GET", "/terminators/\(terminator)").data["service"]?["name"] == "other")
    #expect(await network.ask("GET", "/services/\(other)/terminators").data.arrayValue?.count == 1)
    #expect(await network.ask("GET", "/services/\(try network.id("services"))/terminators").data == [])
    #expect(await network.ask("PATCH", "/terminators/\(terminator)", ["service": "nosuch"]).status == 404)
    let order = [
      "terminators", "service-edge-router-policies", "edge-router-policies", "service-policies", "services", "configs",
      "config-types",
      "edge-routers",
      "authenticators", "identities", "auth-policies",
    ]
    for collection in order {
      let path = "/\(collection)/\(try network.id(collection))"
      let operation = try #require(
        DeclaredOperation.table(DeclaredOperations.management).first { $0.description == "DELETE /\(collection)/{id}" },
        "\(collection)")
      let patched = await network.ask("PATCH", path, ["tags": ["k": "v"]])
      #expect(patched.status == 200 && patched.json == ["data": [:], "meta": [:]], "\(path): \(patched.text)")
      let deleted = await network.ask("DELETE", path)
      #expect(deleted.status == 200 && deleted.json == ["data": [:], "meta": [:]], "\(path): \(deleted.text)")
      let again = await network.ask("DELETE", path)
      #expect(again.status == 404 && operation.statuses.contains(404), "\(path): \(again.text)")
    }
    await network.controller.stop()
  }
}
