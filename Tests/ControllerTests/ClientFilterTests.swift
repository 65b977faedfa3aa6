import Foundation
import JSON
import Model
import PKI
import Store
import Testing
import Transport

@testable import Controller

/// What filters and orders of the client API can be asked.
@Suite("Filters of the client API", .timeLimit(.minutes(5)))
struct ClientFilterTests {
  @Test("a filter, an order and a sub-query may name what the answer shows and nothing else; totals tell no more")
  func names() async throws {
    let controller = try await LiveController.start()
    let provisioning = controller.node.provisioning
    let alice = try await controller.token(try await controller.enrolled("alice"))
    try await provisioning.createEdgeRouterPolicy(name: "e", identityRoles: ["#all"], edgeRouterRoles: ["#all"])
    try await provisioning.createServiceEdgeRouterPolicy(name: "s", serviceRoles: ["#all"], edgeRouterRoles: ["#all"])
    try await provisioning.createServicePolicy(
      name: "dial", type: .dial, identityRoles: ["#all"], serviceRoles: ["#all"])
    let service = try await provisioning.createService(name: "db")
    let router = try await provisioning.createEdgeRouter(name: "r1")
    let csr = try CSR.create(key: try PrivateKey.generate(.p256), commonName: router.id, names: ["127.0.0.1"])
    let token = try LiveController.oneTime(router.jwt)
    #expect(
      try await controller.send(
        "POST", "/enroll?method=erott&token=\(token)", ["certCsr": .string(csr), "serverCertCsr": .string(csr)]
      ).status == 200
    )
    #expect(
      try await controller.send("POST", "/sessions", ["serviceId": .string(service), "type": "Dial"], token: alice)
        .status == 201)
    let key = try PrivateKey.generate(.p256)
    let certificates = "/current-api-session/certificates"
    #expect(
      try await controller.send(
        "POST", certificates, ["csr": .string(try CSR.create(key: key, commonName: "any"))], token: alice
      ).status == 201)

    func ask(_ path: String, _ query: String) async -> LiveController.Answer {
      let parts = query.split(separator: "=", maxSplits: 1).map(String.init)
      return await controller.ask("GET", path, query: [(parts[0], parts[1])], token: alice)
    }
    let lists: [(path: String, kind: EntityKind)] = [
      ("/services", .services), ("/current-identity/edge-routers", .edgeRouters),
      ("/current-identity/authenticators", .authenticators),
      ("/sessions", .sessions), (certificates, .apiSessionCertificates),
    ]
    // Names in filters, and where the answer shows what they mean, when that is elsewhere.
    let shownAs = [
      "online": "isOnline", "connected": "isOnline", "certFingerprint": "fingerprint", "updbUsername": "username",
      "identity": "identityId",
      "identity.name": "identity", "service": "serviceId", "service.name": "service", "apiSession": "apiSessionId",
    ]
    for (path, kind) in lists {
      let item = try #require(await ask(path, "limit=1").data.arrayValue?.first?.objectValue, "\(path)")
      let allowed =
        try await controller.send("GET", path, token: alice).json["meta"]?["filterableFields"]?.stringArrayValue ?? []
      #expect(allowed.contains("id"))
      for name in SymbolTable.of(kind).symbols.keys.sorted() {
        let isShown = ["id", "createdAt", "updatedAt", "tags"].contains(name) || item[shownAs[name] ?? name] != nil
        let forms = [
          "filter=\(name) = null", "filter=anyOf(\(name)) contains \"a\"", "filter=count(\(name)) > 0",
          "filter=not isEmpty(\(name))",
          "filter=isEmpty(from \(name) where name contains \"a\")", "filter=true sort by \(name)", "sort=\(name)",
        ]
        var answers: [String: Int] = [:]
        for form in forms { answers[form] = await ask(path, form).status }
        guard !allowed.contains(name), !["online", "connected"].contains(name) else {
          #expect(
            isShown || ["updbUsername", "extendRequestedAt"].contains(name),
            "\(path) lets one ask for \(name) and does not show it")
          #expect(answers[forms[4]] == 400, "\(path) \(name): sub-queries reach other entities")
          continue
        }
        for (form, status) in answers { #expect(status == 400, "\(path)?\(form)") }
      }
    }
    for filter in [
      "anyOf(identities) contains \"a\"", "count(identities) > 1", "anyOf(servicePolicies) = \"x\"",
      "not isEmpty(terminators)",
      "count(from terminators where hostId contains \"a\") > 0",
    ] {
      let answer = await ask("/services", "filter=" + filter)
      #expect(answer.code == "INVALID_FILTER", "\(filter)")
      #expect(answer.json["meta"]?["pagination"] == nil)
    }
    #expect(await ask("/current-identity/edge-routers", "filter=fingerprint contains \"a\"").code == "INVALID_FILTER")
    // What SDKs and people ask is answered as before.
    #expect(
      await ask("/services", "filter=name = \"db\" and anyOf(roleAttributes) != \"x\" or tags.a = \"b\" sort by name")
        .status == 200)
    #expect(await ask("/services", "filter=name contains \"d\"").json["meta"]?["pagination"]?["totalCount"] == 1)
    #expect(await ask("/current-identity/edge-routers", "filter=online = true").status == 200)
    await controller.stop()
  }
}
