import Authentication
import Foundation
import JSON
import Logging
import Model
import NIOConcurrencyHelpers
import PKI
import Store
import Testing
import Transport

@testable import Controller

@Suite("API sessions: whose they are, where they lie, how many, and when they end", .timeLimit(.minutes(5)))
struct SessionTests {
  // MARK: Bound to the certificate

  @Test("a session made with a certificate is nothing without it")
  func bound() async throws {
    let controller = try await LiveController.start()
    let alice = try await controller.enrolled("alice")
    let bob = try await controller.enrolled("bob")
    let token = try await controller.token(alice)
    let activity = controller.core.sessions.apiSession(token: token, now: controller.core.now)?.lastActivityAt
    for (method, path) in [
      ("GET", "/current-api-session"), ("GET", "/edge/client/v1/services"), ("DELETE", "/current-api-session"),
    ] {
      let bare = try await controller.send(method, path, token: token, bare: true)
      let unknown = try await controller.send(method, path, token: UUID().uuidString.lowercased(), bare: true)
      #expect(
        bare.status == 401 && bare.code == unknown.code
          && bare.header("www-authenticate") == unknown.header("www-authenticate"))
      #expect(try await controller.send(method, path, token: token, as: bob).status == 401)
    }
    #expect(
      controller.core.sessions.apiSession(token: token, now: controller.core.now)?.lastActivityAt == activity,
      "a refusal prolongs nothing")
    #expect(try await controller.send("GET", "/current-api-session", token: token, as: alice).status == 200)
    await controller.stop()
  }

  @Test("a certificate that extends another is good for its session from the moment it is issued")
  func extended() async throws {
    let controller = try await LiveController.start()
    let old = try await controller.enrolled("alice")
    let login = try await controller.logIn(old)
    let token = login.data["token"]?.stringValue ?? ""
    let path = "/current-identity/authenticators/" + (login.data["authenticatorId"]?.stringValue ?? "")
    let key = try PrivateKey.generate(.p256)
    func extend() async throws -> LiveController.Credential {
      let csr: JSONValue = ["clientCertCsr": .string(try CSR.create(key: key, commonName: "x"))]
      let answer = try await controller.send("POST", path + "/extend", csr, token: token, as: old)
      return .init(key: key, chain: try CertificateChain(pem: answer.data["clientCert"]?.stringValue ?? ""))
    }
    let abandoned = try await extend()
    let new = try await extend()
    #expect(try await controller.send("GET", "/current-api-session", token: token, as: abandoned).status == 401)
    #expect(
      try await controller.send(
        "POST", path + "/extend-verify", ["clientCert": .string(new.chain.pem)], token: token, as: new
      ).status == 200)
    #expect(try await controller.send("GET", "/current-api-session", token: token, as: new).status == 200)
    #expect(try await controller.send("GET", "/current-api-session", token: token, as: old).status == 200)
    await controller.stop()
  }

  @Test("a token that routers may know administrates nothing by itself")
  func clientSessionsOfAdministrators() async throws {
    let controller = try await LiveController.start()
    let login: JSONValue = ["username": "admin", "password": "admin-password"]
    let token = try #require(
      try await controller.send("POST", "/edge/client/v1/authenticate?method=password", login).data["token"]?
        .stringValue)
    #expect(try await controller.send("GET", "/edge/client/v1/current-identity", token: token).status == 200)
    #expect(try await controller.send("GET", "/edge/management/v1/identities", token: token).status == 401)
    #expect(
      try await controller.send("GET", "/edge/management/v1/identities", token: try await controller.adminToken())
        .status == 200)
    let carol = try await controller.enrolled("carol", isAdmin: true)
    #expect(
      try await controller.send(
        "GET", "/edge/management/v1/identities", token: try await controller.token(carol), as: carol
      ).status == 200)
    await controller.stop()
  }

  @Test("a session keeps its newest ten certificates")
  func sessionCertificates() async throws {
    let controller = try await LiveController.start()
    let token = try await controller.adminToken()
    let path = "/edge/client/v1/current-api-session/certificates"
    let csr: JSONValue = ["csr": .string(try CSR.create(key: try PrivateKey.generate(.p256), commonName: "any"))]
    for _ in 0..<12 { #expect(try await controller.send("POST", path, csr, token: token).status == 201) }
    #expect(try await controller.send("GET", path + "?limit=100", token: token).data.arrayValue?.count == 10)
    #expect(
      controller.core.sessions.apiSession(token: token, now: controller.core.now)?.certificateFingerprints.count == 10)
    // Each costs the one writer of the database several transactions, and every router a message.
    let identity = try #require(controller.core.sessions.apiSession(token: token, now: controller.core.now)).identityId
    // Seconds ahead of the clock: none comes back while the request is on its way.
    let later = controller.core.now.adding(seconds: 60)
    while controller.core.identityCertificatePace.admits(identity, now: later) {}
    #expect(try await controller.send("POST", path, csr, token: token).status == 429)
    await controller.stop()
  }

  // MARK: On disk

  /// Everything in the database's files.
  private func bytes(in directory: String) throws -> Data {
    try ["", "-wal"].reduce(into: Data()) { all, suffix in
      let path = directory + "/controller.db" + suffix
      if FileManager.default.fileExists(atPath: path) { all += try Data(contentsOf: URL(fileURLWithPath: path)) }
    }
  }

  @Test("tokens are sealed on disk and good after a restart; a lost key ends the sessions, not the controller")
  func sealed() async throws {
    var controller = try await LiveController.start()
    let directory = controller.directory
    let alice = try await controller.enrolled("alice")
    let token = try await controller.token(alice)
    let service = try await controller.core.sessions.addIfAbsent(
      ServiceSession(
        id: "s1", apiSessionId: try #require(controller.core.sessions.apiSessions.first).id, identityId: "i",
        serviceId: "web", type: .dial,
        token: "a-service-token-in-clear"), now: controller.core.now)
    await controller.stop(keepsFiles: true)
    for secret in [token, service.token] { #expect(try bytes(in: directory).range(of: Data(secret.utf8)) == nil) }
    let mode =
      try FileManager.default.attributesOfItem(atPath: directory + "/pki/session.key")[.posixPermissions] as? Int
    #expect(mode == 0o600)

    controller = try await LiveController.start(directory: directory)
    #expect(try await controller.send("GET", "/current-api-session", token: token, as: alice).status == 200)
    #expect(controller.core.sessions.serviceSession("s1")?.token == service.token)
    await controller.stop(keepsFiles: true)

    try FileManager.default.removeItem(atPath: directory + "/pki/session.key")
    controller = try await LiveController.start(directory: directory)
    #expect(try await controller.send("GET", "/current-api-session", token: token, as: alice).status == 401)
    #expect(try await controller.core.store.read { try $0.count(.apiSessions) + $0.count(.sessions) } == 0)
    #expect(try await controller.logIn(alice).status == 200)
    await controller.stop()
  }

  @Test("tokens of an older database, in clear, are sealed at the start and leave nothing behind")
  func migration() async throws {
    var controller = try await LiveController.start()
    let directory = controller.directory
    let alice = try await controller.enrolled("alice")
    let token = try await controller.token(alice)
    let known = try #require(controller.core.sessions.apiSessions.first { $0.token == token })
    await controller.stop(keepsFiles: true)
    // As the version before wrote it.
    let store = try await Store.open(path: directory + "/controller.db", now: .now())
    _ = try await store.write(.system(), now: .now()) { transaction in
      var old = known
      old.authenticationMethod = nil
      try transaction.put(old)
    }
    try store.close()
    #expect(try bytes(in: directory).range(of: Data(token.utf8)) != nil)

    controller = try await LiveController.start(directory: directory)
    #expect(try bytes(in: directory).range(of: Data(token.utf8)) == nil)
    #expect(try await controller.send("GET", "/current-api-session", token: token, as: alice).status == 200)
    #expect(
      try await controller.send("GET", "/current-api-session", token: token, bare: true).status == 401,
      "bound as if it were new")
    await controller.stop()
  }

  // MARK: How many

  @Test("an identity has so many sessions and no more: the longest unused ones make room")
  func bounded() async throws {
    let controller = try await LiveController.start { $0.sessionsPerIdentity = 3 }
    let alice = try await controller.enrolled("alice")
    var tokens: [String] = []
    for _ in 0..<3 { tokens.append(try await controller.token(alice)) }
    controller.ahead.withLockedValue { $0 = 5 }
    #expect(try await controller.send("GET", "/current-api-session", token: tokens[0]).status == 200)
    for _ in 0..<2 { tokens.append(try await controller.token(alice)) }
    #expect(controller.core.sessions.counts.api == 3)
    #expect(try await controller.core.store.read { try $0.count(.apiSessions) } == 3)
    var alive: [Int] = []
    for (index, token) in tokens.enumerated()
    where controller.core.sessions.apiSession(token: token, now: controller.core.now) != nil {
      alive.append(index)
    }
    #expect(alive == [0, 3, 4])
    await controller.stop()
  }

  @Test("an identity that logs in without end is held up, and nobody else")
  func pace() {
    let pace = LoginPace()
    let now = Timestamp(millisecondsSinceEpoch: 1_000_000)
    #expect((0..<8000).filter { _ in pace.admits("greedy", now: now) }.count == 300)
    #expect(pace.admits("other", now: now))
    #expect((0..<100).filter { _ in pace.admits("greedy", now: now.adding(seconds: 1)) }.count == 10)
    // A clock that was ahead for a while holds nobody up when it is right again.
    _ = pace.admits("greedy", now: now.adding(seconds: 1_000_000))
    while pace.admits("greedy", now: now) {}
    #expect(pace.admits("greedy", now: now.adding(seconds: 1)))
  }

  @Test("service sessions of an identity are counted over all its API sessions")
  func serviceSessions() async throws {
    let controller = try await LiveController.start { $0.serviceSessionsPerIdentity = 3 }
    let sessions = controller.core.sessions
    let now = controller.core.now
    for api in ["a", "b"] {
      try await sessions.add(APISession(id: api, token: "t-\(api)", identityId: "i", lastActivityAt: now), now: now)
    }
    func make(_ id: String, _ api: String) async throws -> String {
      try await sessions.addIfAbsent(
        ServiceSession(id: id, apiSessionId: api, identityId: "i", serviceId: "svc-\(id)", type: .dial, token: "t"),
        now: now
      ).id
    }
    for (id, api) in [("1", "a"), ("2", "b"), ("3", "a")] { #expect(try await make(id, api) == id) }
    await #expect(throws: SessionRegistry.Refusal.self) { _ = try await make("4", "b") }
    #expect(try await make("3", "a") == "3", "the one it has is no further one")
    #expect(Set(sessions.end(apiSessions: ["a"]).services.map(\.id)) == ["1", "3"])
    #expect(try await make("4", "b") == "4")
    await #expect(throws: SessionRegistry.Refusal.self) { _ = try await make("5", "a") }
    await controller.stop()
  }

  // MARK: When they end

  @Test("a session ends when what it was made with is forbidden: by the policy, or by another policy")
  func forbidden() async throws {
    let controller = try await LiveController.start()
    let admin = try await controller.adminToken()
    func api(_ method: String, _ path: String, _ body: JSONValue) async throws -> LiveController.Answer {
      try await controller.send(method, "/edge/management/v1" + path, body, token: admin)
    }
    func policy(_ name: String, cert: Bool) async throws -> String {
      let primary: JSONValue = [
        "cert": ["allowed": .bool(cert), "allowExpiredCerts": false],
        "extJwt": ["allowed": false, "allowedSigners": []],
        "updb": [
          "allowed": true, "lockoutDurationMinutes": 0, "maxAttempts": 0, "minPasswordLength": 5,
          "requireMixedCase": false,
          "requireNumberChar": false, "requireSpecialChar": false,
        ],
      ]
      let made = try await api(
        "POST", "/auth-policies", ["name": .string(name), "primary": primary, "secondary": ["requireTotp": false]])
      return try #require(made.data["id"]?.stringValue, "\(made.text)")
    }
    let open = try await policy("open", cert: true)
    let closed = try await policy("closed", cert: false)
    let alice = try await controller.enrolled("alice")
    let bob = try await controller.enrolled("bob")
    func move(_ credential: LiveController.Credential, to policy: String) async throws -> Int {
      try await api(
        "PATCH", "/identities/\(credential.chain.leaf.spiffeID?.identityID ?? "")", ["authPolicyId": .string(policy)]
      ).status
    }
    #expect(try await move(alice, to: open) == 200)
    #expect(try await move(bob, to: open) == 200)
    let (ofAlice, ofBob) = (try await controller.token(alice), try await controller.token(bob))
    #expect(try await move(alice, to: closed) == 200)
    #expect(try await controller.send("GET", "/current-api-session", token: ofAlice).status == 401)
    #expect(try await controller.logIn(alice).status == 401)
    #expect(try await controller.send("GET", "/current-api-session", token: ofBob).status == 200)
    #expect(
      try await api(
        "PATCH", "/auth-policies/\(open)", ["primary": ["cert": ["allowed": false, "allowExpiredCerts": false]]]
      ).status == 200)
    #expect(try await controller.send("GET", "/current-api-session", token: ofBob).status == 401)
    #expect(
      try await controller.send("GET", "/edge/management/v1/identities", token: admin).status == 200,
      "passwords are still allowed")
    await controller.stop()
  }

  @Test("another password ends the sessions made with the one before, except the one that changed it")
  func passwordChanged() async throws {
    let controller = try await LiveController.start()
    let old = try await controller.adminToken()
    let other = try await controller.adminToken()
    let list = try await controller.send("GET", "/edge/management/v1/current-identity/authenticators", token: other)
    let id = try #require(list.data.arrayValue?.first?["id"]?.stringValue)
    let path = "/edge/management/v1/current-identity/authenticators/\(id)"
    // The tags of an authenticator are not its password.
    #expect(
      try await controller.send("PATCH", "/edge/management/v1/authenticators/\(id)", ["tags": ["a": "b"]], token: other)
        .status == 200)
    #expect(controller.core.sessions.counts.api == 2)
    let change: JSONValue = ["username": "admin", "password": "another-password", "currentPassword": "admin-password"]
    #expect(try await controller.send("PUT", path, change, token: other).status == 200)
    #expect(try await controller.send("GET", "/current-api-session", token: old).status == 401)
    #expect(try await controller.send("GET", "/current-api-session", token: other).status == 200)
    // The operator's own way: the same password again changes nothing, another one ends everything.
    try await controller.node.provisioning.setAdminPassword(username: "admin", password: "another-password")
    #expect(try await controller.send("GET", "/current-api-session", token: other).status == 200)
    try await controller.node.provisioning.setAdminPassword(username: "admin", password: "admin-password")
    #expect(try await controller.send("GET", "/current-api-session", token: other).status == 401)
    await controller.stop()
  }
}
