import Foundation
import JSON
import Model
import NIOConcurrencyHelpers
import PKI
import Testing
import Transport

@testable import Controller
@testable import Store

/// Who guesses, and what that does to others.
@Suite("Guessing at the controller", .timeLimit(.minutes(5)))
struct GuessingTests {
  private static func logIn(_ controller: LiveController, _ username: String, _ password: String) async
    -> LiveController.Answer
  {
    await controller.ask(
      "POST", "/authenticate", query: [("method", "password")],
      ["username": .string(username), "password": .string(password)])
  }

  /// An identity with a password whose policy locks out after three wrong ones for `minutes`.
  private static func lockable(
    _ controller: LiveController, _ admin: String, _ name: String, minutes: Int, isAdmin: Bool = false
  ) async throws
    -> String
  {
    let management = "/edge/management/v1"
    let policies = try await controller.send(
      "GET", management + "/auth-policies?filter=name%3D%22p\(minutes)%22", token: admin
    ).data.arrayValue
    var policy = policies?.first?["id"]?.stringValue ?? ""
    if policy.isEmpty {
      let body: JSONValue = [
        "name": .string("p\(minutes)"),
        "primary": [
          "cert": ["allowed": true, "allowExpiredCerts": false], "extJwt": ["allowed": false, "allowedSigners": []],
          "updb": [
            "allowed": true, "minPasswordLength": 5, "requireSpecialChar": false, "requireNumberChar": false,
            "requireMixedCase": false,
            "maxAttempts": 3, "lockoutDurationMinutes": .int(Int64(minutes)),
          ],
        ], "secondary": ["requireTotp": false],
      ]
      let made = try await controller.send("POST", management + "/auth-policies", body, token: admin)
      policy = try #require(made.data["id"]?.stringValue, "\(made.text)")
    }
    let identity = try await controller.send(
      "POST", management + "/identities",
      ["name": .string(name), "type": "Default", "isAdmin": .bool(isAdmin), "authPolicyId": .string(policy)],
      token: admin)
    let id = try #require(identity.data["id"]?.stringValue, "\(identity.text)")
    let authenticator = try await controller.send(
      "POST", management + "/authenticators",
      ["method": "updb", "identityId": .string(id), "username": .string(name), "password": "right-password"],
      token: admin)
    try #require(authenticator.status == 201, "\(authenticator.text)")
    return id
  }

  @Test("a lock-out stands beside what an operator disabled: it neither ends nor shortens that, and ends by itself")
  func lockOut() async throws {
    let controller = try await LiveController.start()
    let admin = try await controller.adminToken()
    let id = try await Self.lockable(controller, admin, "alice", minutes: 1)
    let path = "/edge/management/v1/identities/\(id)"
    func shown() async throws -> JSONValue { try await controller.send("GET", path, token: admin).data }

    // Locked out, and shown so in the words that upstream's clients know.
    for _ in 0..<3 { #expect(await Self.logIn(controller, "alice", "wrong-password").status == 401) }
    #expect(await Self.logIn(controller, "alice", "right-password").status == 401)
    var seen = try await shown()
    #expect(
      seen["disabled"] == true && seen["disabledAt"]?.stringValue != nil && seen["disabledUntil"]?.stringValue != nil)
    #expect(seen["lockedUntil"] == seen["disabledUntil"])
    // A minute later it is over, and routers are told.
    controller.ahead.withLockedValue { $0 = 61 }
    #expect(try await shown()["disabled"] == false)
    let before = controller.node.core.model { $0.index }
    try await controller.node.core.enableWhoseTimeIsOver()
    #expect(controller.node.core.model { $0.index } == before + 1)
    #expect(controller.node.core.model { $0.identities[id]?.lockedAt == nil && $0.disabledUntil.isEmpty })
    #expect(await Self.logIn(controller, "alice", "right-password").status == 200)

    // Disabled without end: wrong passwords change nothing about it.
    #expect(try await controller.send("POST", path + "/disable", ["durationMinutes": 0], token: admin).status == 200)
    for _ in 0..<3 { #expect(await Self.logIn(controller, "alice", "wrong-password").status == 401) }
    seen = try await shown()
    #expect(seen["disabled"] == true && seen["disabledUntil"] == .null)
    controller.ahead.withLockedValue { $0 = 200 }
    try await controller.node.core.enableWhoseTimeIsOver()
    #expect(try await shown()["disabled"] == true)
    #expect(await Self.logIn(controller, "alice", "right-password").status == 401)
    // An operator's word ends both.
    #expect(try await controller.send("POST", path + "/enable", [:], token: admin).status == 200)
    #expect(await Self.logIn(controller, "alice", "right-password").status == 200)
    await controller.stop()
  }

  @Test("strangers cannot lock out the last administrator who could let others in")
  func lastAdministrator() async throws {
    let controller = try await LiveController.start()
    let admin = try await controller.adminToken()
    let second = try await Self.lockable(controller, admin, "second", minutes: 0, isAdmin: true)
    let core = controller.node.core
    let standard = try #require(core.model { $0.identities.values.first { $0.isDefaultAdmin } })
    let policy = try #require(core.model { $0.identities[second] }).authPolicyId
    #expect(
      try await controller.send(
        "PATCH", "/edge/management/v1/identities/\(standard.id)", ["authPolicyId": .string(policy)], token: admin
      ).status == 200)
    for _ in 0..<5 { #expect(await Self.logIn(controller, "admin", "wrong-password").status == 401) }
    #expect(await Self.logIn(controller, "admin", "admin-password").status == 200)
    for _ in 0..<3 { #expect(await Self.logIn(controller, "second", "wrong-password").status == 401) }
    #expect(await Self.logIn(controller, "second", "right-password").status == 401, "another one is left")
    #expect(core.model { $0.identities[second]?.isLockedOut(at: core.now) } == true)
    await controller.stop()
  }

  @Test(
    "only guesses wait: a certificate passes from an address that guesses, refused certificates make nobody wait, and so do right passwords"
  )
  func neighbours() async throws {
    let controller = try await LiveController.start()
    let alice = try await controller.enrolled("alice")
    let gone = try await controller.enrolled("gone")
    let admin = try await controller.adminToken()
    let id = try #require(controller.node.core.model { $0.identities.values.first { $0.name == "gone" }?.id })
    #expect(try await controller.send("DELETE", "/edge/management/v1/identities/\(id)", token: admin).status == 200)
    for _ in 0..<70 {
      #expect(await controller.ask("POST", "/authenticate", query: [("method", "cert")], [:], as: gone).status == 401)
    }
    #expect(await Self.logIn(controller, "admin", "admin-password").status == 200)
    var refused: LiveController.Answer?
    for _ in 0..<11 { refused = await Self.logIn(controller, "nobody", "wrong-password") }
    #expect(refused?.status == 429 && refused?.text.contains("try again in") == true)
    #expect(try await controller.logIn(alice).status == 200)
    #expect(await Self.logIn(controller, "admin", "admin-password").status == 200)
    await controller.stop()
  }

  @Test("a session is no right to guess the password behind it")
  func ownPassword() async throws {
    let controller = try await LiveController.start()
    let admin = try await controller.adminToken()
    _ = try await Self.lockable(controller, admin, "alice", minutes: 0)
    let login = await Self.logIn(controller, "alice", "right-password")
    let path = "/current-identity/authenticators/" + (login.data["authenticatorId"]?.stringValue ?? "")
    var last = 0
    for _ in 0..<11 {
      let body: JSONValue = ["username": "alice", "password": "other-password", "currentPassword": "wrong-password"]
      last = try await controller.send("PUT", path, body, token: login.data["token"]?.stringValue).status
    }
    #expect(last == 429)
    await controller.stop()
  }

  @Test("enrollment tokens that nobody has are counted by address; a right one passes all the same")
  func enrollmentTokens() async throws {
    let controller = try await LiveController.start()
    var statuses: Set<Int> = []
    let csr = try CSR.create(key: try PrivateKey.generate(.p256), commonName: "x")
    for _ in 0..<65 {
      let query = [("method", "ott"), ("token", UUID().uuidString)]
      statuses.insert(await controller.ask("POST", "/enroll", query: query, ["clientCsr": .string(csr)]).status)
    }
    #expect(statuses == [400, 429])
    _ = try await controller.enrolled("alice")
    await controller.stop()
  }

  @Test(
    "no name has a control character, and none is found by what stands before a NUL",
    arguments: ["\0", "\u{7}", "\u{7F}", "\u{85}", "\u{202E}"])
  func controlCharacters(_ character: String) async throws {
    let controller = try await LiveController.start()
    let admin = try await controller.adminToken()
    #expect(await Self.logIn(controller, "admin" + character + "zzz", "admin-password").status == 401)
    func make(_ path: String, _ body: JSONObject) async -> LiveController.Answer {
      await controller.ask("POST", "/edge/management/v1/" + path, .object(body), token: admin)
    }
    let name = JSONValue.string("x" + character + "a")
    for (path, body) in [
      ("identities", ["name": name, "type": "Default", "isAdmin": false]),
      ("services", ["name": name, "encryptionRequired": true]),
      ("edge-routers", ["name": name]),
      ("services", ["name": "ok", "encryptionRequired": true, "roleAttributes": [name]]),
      ("services", ["name": "ok", "encryptionRequired": true, "tags": .object(["a" + character: "b"])]),
      ("identities", ["name": "ok", "type": "Default", "isAdmin": false, "externalId": name]),
      (
        "identities",
        ["name": "ok", "type": "Default", "isAdmin": false, "enrollment": ["updb": .string("user" + character)]]
      ),
      (
        "edge-router-policies",
        ["name": "ok", "semantic": "AnyOf", "identityRoles": [.string("#a" + character)], "edgeRouterRoles": ["#all"]]
      ),
    ] as [(String, JSONObject)] {
      let answer = await make(path, body)
      #expect(answer.status == 400, "\(path): \(answer.text)")
    }
    if character == "\0" {
      #expect(
        try await controller.send(
          "GET", "/edge/management/v1/identities?filter=name%3D%22Default%20Admin%00%22", token: admin
        ).code
          == "INVALID_FILTER")
      let id = controller.node.core.model { $0.identities.keys.first ?? "" }
      #expect(try await controller.send("GET", "/edge/management/v1/identities/\(id)%00x", token: admin).status == 404)
    }
    await controller.stop()
  }
}
