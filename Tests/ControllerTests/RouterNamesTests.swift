import Foundation
import JSON
import Model
import PKI
import Testing
import Transport
import X509

@testable import Controller

/// H7: a router's certificate must not stand for the controller, nor for another router.
@Suite("Names in the certificates of routers", .timeLimit(.minutes(5)))
struct RouterNamesTests {
  private let rules = RouterNames(
    controller: Set(["ctrl.example", "192.0.2.1"].compactMap(HostName.init)),
    owner: { $0 == HostName("rome.example") ? "rome" : nil })

  private func router(_ allowed: [String]? = nil, certificate names: [String] = []) throws -> EdgeRouterEntity {
    let authority = try CertificateAuthority.createRoot(name: "root", trustDomain: "net", algorithm: .p256, now: Date())
    let key = try PrivateKey.generate(.p256)
    let request = try CSR(pem: CSR.create(key: key, commonName: "p"))
    let chain = try authority.issueRouterClient(request, routerID: "p", names: names, now: Date())
    return EdgeRouterEntity(id: "p", name: "paris", allowedNames: allowed, certPem: names.isEmpty ? nil : chain.pem)
  }

  @Test("a token speaks for names that nobody else bears, in whatever spelling")
  func enrollment() throws {
    let asked = ["Paris.Example.", "localhost", "127.0.0.1", "::1", "198.51.100.7", "2001:DB8::1"]
    #expect(
      try rules.granted(asked, to: router(), at: .enrollment)
        == ["paris.example", "localhost", "127.0.0.1", "::1", "198.51.100.7", "2001:db8::1"])
  }

  @Test(
    "names of the controller, of another router, of many hosts and of none are refused",
    arguments: [
      "ctrl.example", "CTRL.example", "ctrl.example.", "192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201",
      "rome.example", "*.example", "*", "", ".",
      "a..b",
      "a b", "ctrl.example\0.evil.example", "ctrl.exa\u{200D}mple", "-\n", "ｃtrl.example",
    ])
  func refused(_ name: String) throws {
    #expect(throws: RouterNames.Refusal.self) {
      try rules.granted(["paris.example", name], to: router(), at: .enrollment)
    }
  }

  @Test("what the operator allowed is what counts, be it the controller's own name")
  func allowed() throws {
    let paris = try router(["ctrl.example", "paris.example"], certificate: ["old.example"])
    for occasion in [RouterNames.Occasion.enrollment, .renewal] {
      #expect(
        try rules.granted(
          ["CTRL.example", "rome.example", "old.example", "*.example", "127.0.0.1"], to: paris, at: occasion)
          == ["ctrl.example", "127.0.0.1"])
    }
  }

  @Test("a renewal keeps what the certificate has and adds nothing")
  func renewal() throws {
    let paris = try router(certificate: ["paris.example", "198.51.100.7"])
    #expect(
      try rules.granted(
        ["paris.example", "free.example", "ctrl.example", "198.51.100.7", "::1"], to: paris, at: .renewal)
        == ["paris.example", "198.51.100.7", "::1"])
  }

  @Test(
    "a router that asks for the controller's name keeps its token, and enrolls once the operator allows the name; its certificate says what it is"
  )
  func overREST() async throws {
    let controller = try await LiveController.start { $0.serverNames = ["ctrl.example"] }
    defer { Task { await controller.stop() } }
    let admin = try await controller.adminToken()
    let invitation = try await controller.node.provisioning.createEdgeRouter(name: "paris")
    let key = try PrivateKey.generate(.p256)
    func enroll(server: String? = nil) async throws -> LiveController.Answer {
      let csr = try CSR.create(
        key: key, commonName: invitation.id, names: ["ctrl.example", "127.0.0.1"],
        uris: ["spiffe://x/controller/c", "SPIFFE://x/controller/c"])
      return try await controller.send(
        "POST", "/edge/client/v1/enroll?method=erott&token=\(try LiveController.oneTime(invitation.jwt))",
        ["certCsr": .string(csr), "serverCertCsr": .string(server ?? csr)])
    }
    let refused = try await enroll()
    #expect(refused.status == 400 && refused.code == "COULD_NOT_PROCESS_CSR")
    #expect(
      refused.text.contains("ctrl.example is a name of the controller")
        && refused.text.contains("swiftlet update edge-router paris --host"))

    let change = try await controller.send(
      "PATCH", "/edge/management/v1/edge-routers/\(invitation.id)", ["allowedNames": ["ctrl.example"]], token: admin)
    #expect(change.status == 200, "\(change.text)")
    // The second request may not smuggle another common name in.
    let other = try CSR.create(key: key, commonName: "controller-1", names: ["ctrl.example"])
    #expect(try await enroll(server: other).status == 400)
    let answer = try await enroll()
    let client = try CertificateChain(pem: try #require(answer.data["cert"]?.stringValue, "\(answer.text)")).leaf
    let server = try CertificateChain(pem: try #require(answer.data["serverCert"]?.stringValue)).leaf
    #expect(client.uris.isEmpty)
    let domain = try #require(try await HTTPSClient.leaf(of: controller.node.url).spiffeID?.trustDomain)
    #expect(server.uris == ["spiffe://\(domain)/router/\(invitation.id)"])
    #expect(server.hostNames == ["ctrl.example", "127.0.0.1"])
    // The row keeps what OpenZiti's clients do not know, also when they replace it.
    let replaced = try await controller.send(
      "PUT", "/edge/management/v1/edge-routers/\(invitation.id)", ["name": "paris", "roleAttributes": []], token: admin)
    #expect(replaced.status == 200, "\(replaced.text)")
    let row = try await controller.send("GET", "/edge/management/v1/edge-routers/\(invitation.id)", token: admin)
    #expect(row.data["allowedNames"] == ["ctrl.example"])
  }
}
