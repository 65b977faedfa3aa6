import Foundation
import JSON
import Model
import PKI
import Testing

@testable import Controller

/// A9 of field.md D.4: what belongs to somebody else answers like what does not exist, in lists, filters, orders,
/// counts and by id.
@Suite("What an identity may not see", .timeLimit(.minutes(5)))
struct ScopeTests {
  /// Ids of things of another identity, by kind.
  private struct Foreign {
    var service = ""
    var session = ""
    var apiSession = ""
    var authenticator = ""
    var certificate = ""
    var identity = ""
    var all: [String] { [service, session, apiSession, authenticator, certificate, identity] }
  }

  private static let base = "/edge/client/v1"
  private static let lists = [
    "/services", "/sessions", "/current-identity/edge-routers", "/current-identity/authenticators",
    "/current-api-session/certificates",
    "/external-jwt-signers", "/controllers", "/network-jwts",
  ]

  @Test("stays unseen in every list, whatever the filter, the order or the page")
  func lists() async throws {
    try await withTwo { controller, alice, token, foreign in
      let queries =
        [
          "", "?limit=500", "?filter=true%20limit%20none", "?filter=true%20skip%200%20limit%20500", "?sort=name",
          "?sort=id%20DESC",
          "?filter=name%20contains%20%22canary%22", "?filter=not%20(name%20contains%20%22canary%22)",
          "?filter=id%20!%3D%20%22%22",
          "?roleFilter=%23canary&roleSemantic=anyOf", "?roleFilter=all",
        ] + foreign.all.map { "?filter=id%20%3D%20%22\($0)%22" }
      for path in Self.lists {
        for query in queries {
          let answer = try await controller.send("GET", Self.base + path + query, token: token, as: alice)
          // The filter in a refusal is the caller's own word.
          guard answer.status == 200 else { continue }
          #expect(!answer.text.contains("canary"), "\(path)\(query): \(answer.text.prefix(400))")
          for id in foreign.all { #expect(!answer.text.contains(id), "\(path)\(query) tells \(id)") }
          guard let rows = answer.data.arrayValue else { continue }
          if let total = answer.json["meta"]?["pagination"]?["totalCount"] {
            #expect(total == JSONValue(rows.count), "\(path)\(query) counts what it does not show")
          }
        }
      }
    }
  }

  @Test("answers by id as if it were not there")
  func byID() async throws {
    try await withTwo { controller, alice, token, foreign in
      let calls: [(method: String, before: String, after: String, id: String, body: JSONValue?)] = [
        ("GET", "/services/", "", foreign.service, nil), ("GET", "/services/", "/edge-routers", foreign.service, nil),
        ("GET", "/services/", "/terminators", foreign.service, nil), ("GET", "/sessions/", "", foreign.session, nil),
        ("DELETE", "/sessions/", "", foreign.session, nil),
        ("GET", "/current-identity/authenticators/", "", foreign.authenticator, nil),
        ("POST", "/current-identity/authenticators/", "/extend", foreign.authenticator, ["clientCertCsr": "x"]),
        ("POST", "/current-identity/authenticators/", "/extend-verify", foreign.authenticator, ["clientCert": "x"]),
        (
          "PUT", "/current-identity/authenticators/", "", foreign.authenticator,
          ["username": "x", "password": "y", "currentPassword": "z"]
        ),
        (
          "PATCH", "/current-identity/authenticators/", "", foreign.authenticator,
          ["password": "y", "currentPassword": "z"]
        ),
        ("GET", "/current-api-session/certificates/", "", foreign.certificate, nil),
        ("DELETE", "/current-api-session/certificates/", "", foreign.certificate, nil),
      ]
      for call in calls {
        func ask(_ id: String) async throws -> String {
          let answer = try await controller.send(
            call.method, Self.base + call.before + id + call.after, call.body, token: token, as: alice)
          return "\(answer.status) " + Self.withoutNoise(answer.text, id)
        }
        let (absent, present) = (try await ask(foreign.identity + "x"), try await ask(call.id))
        #expect(absent == present, "\(call.method) \(call.before){id}\(call.after)")
      }
      for type in ["Dial", "Bind"] {
        func ask(_ id: String) async throws -> String {
          let answer = try await controller.send(
            "POST", Self.base + "/sessions", ["serviceId": .string(id), "type": .string(type)], token: token, as: alice)
          return "\(answer.status) " + Self.withoutNoise(answer.text, id)
        }
        let (absent, present) = (try await ask("nosuchservice"), try await ask(foreign.service))
        #expect(absent == present, "a \(type) session")
      }
    }
  }

  @Test("is nothing to a client's session at the management API", arguments: ["GET", "POST", "PUT", "PATCH", "DELETE"])
  func management(method: String) async throws {
    try await withTwo { controller, alice, token, foreign in
      let answers = try await [
        "identities", "services", "sessions", "api-sessions", "authenticators", "configs", "edge-routers",
        "terminators", "enrollments",
      ]
      .asyncMap { kind in
        try await controller.send(
          method, "/edge/management/v1/\(kind)/\(foreign.identity)", method == "GET" || method == "DELETE" ? nil : [:],
          token: token, as: alice)
      }
      for answer in answers {
        #expect([401, 405].contains(answer.status), "\(answer.status): \(answer.text.prefix(200))")
        #expect(!answer.text.contains("canary"))
      }
    }
  }

  /// An answer without what differs between any two: the id asked for, times, the request's own id.
  private static func withoutNoise(_ text: String, _ id: String) -> String {
    text.replacingOccurrences(of: id, with: "ID")
      .replacing(/"(requestId|expiration-seconds|expires-at|timestamp)":"?[^",}]*"?/, with: "")
      .replacing(/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z/, with: "TIME")
  }

  /// Runs with alice, who may use a service of her own, beside bob, who has one of everything, all named "canary".
  private func withTwo(
    _ body: @Sendable (LiveController, LiveController.Credential, String, Foreign) async throws -> Void
  ) async throws {
    let controller = try await LiveController.start()
    let provisioning = controller.node.provisioning
    let alice = try await controller.enrolled("alice")
    let bob = try await controller.enrolled("canary bob")
    let mine = try await provisioning.createService(name: "open", roleAttributes: ["open"])
    var foreign = Foreign()
    foreign.service = try await provisioning.createService(name: "canary", roleAttributes: ["canary"])
    foreign.identity = try #require(try await provisioning.identity(named: "canary bob")?.id)
    _ = try await provisioning.createServicePolicy(
      name: "open", type: .dial, identityRoles: ["#all"], serviceRoles: ["@\(mine)"])
    _ = try await provisioning.createServicePolicy(
      name: "canary policy", type: .dial, identityRoles: ["@\(foreign.identity)"], serviceRoles: ["@\(foreign.service)"]
    )
    _ = try await provisioning.createEdgeRouter(name: "canary router")
    try await provisioning.createEdgeRouterPolicy(
      name: "canary routers", identityRoles: ["@\(foreign.identity)"], edgeRouterRoles: ["#all"])
    try await provisioning.createServiceEdgeRouterPolicy(name: "all", serviceRoles: ["#all"], edgeRouterRoles: ["#all"])
    let bobs = try await controller.logIn(bob)
    let bobsToken = try #require(bobs.data["token"]?.stringValue)
    func ask(_ method: String, _ path: String, _ body: JSONValue? = nil) async throws -> JSONValue {
      try await controller.send(method, Self.base + path, body, token: bobsToken, as: bob).data
    }
    foreign.apiSession = bobs.data["id"]?.stringValue ?? ""
    foreign.session =
      try await ask("POST", "/sessions", ["serviceId": .string(foreign.service), "type": "Dial"])["id"]?.stringValue
      ?? ""
    foreign.authenticator =
      try await ask("GET", "/current-identity/authenticators").arrayValue?.first?["id"]?.stringValue ?? ""
    let csr = try CSR.create(key: try PrivateKey.generate(.p256), commonName: "canary")
    foreign.certificate =
      try await ask("POST", "/current-api-session/certificates", ["csr": .string(csr)])["id"]?.stringValue ?? ""
    #expect(!foreign.all.contains(""), "\(foreign)")
    try await body(controller, alice, try await controller.token(alice), foreign)
    await controller.stop()
  }
}

extension Array {
  fileprivate func asyncMap<Result>(_ body: (Element) async throws -> Result) async rethrows -> [Result] {
    var results: [Result] = []
    for element in self { results.append(try await body(element)) }
    return results
  }
}
