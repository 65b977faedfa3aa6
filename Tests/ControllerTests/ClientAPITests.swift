import Foundation
import JSON
import Model
import NIOConcurrencyHelpers
import PKI
import Testing
import Transport
import X509

@testable import Controller

@Suite("The client API over TLS", .timeLimit(.minutes(8)))
struct ClientAPITests {
  // MARK: What strangers may know

  @Test("version and authorities are told under every base, with the constant instance id")
  func information() async throws {
    let controller = try await LiveController.start()
    var instances: Set<String> = []
    for base in ["", "/edge/client/v1", "/edge/v1", "/edge/management/v1"] {
      let version = try await controller.send("GET", base + "/version")
      #expect(version.status == 200)
      #expect(version.header("content-type") == "application/json")
      #expect(version.data["capabilities"] == ["SWIFTLET_HOSTING"])
      #expect(version.data["apiVersions"]?["edge"]?["v1"]?["path"] == "/edge/client/v1")
      #expect(version.data["revision"]?.stringValue != nil)
      instances.insert(version.header("ziti-instance-id") ?? "")
      let bundle = try await controller.send("GET", base + "/.well-known/est/cacerts")
      #expect(bundle.header("content-type") == "application/pkcs7-mime")
      #expect(bundle.text.split(separator: "\n").allSatisfy { $0.count <= 64 })
      #expect(try PKCS7.parse(base64: Array(bundle.text.utf8)).count == 2)
    }
    #expect(instances.count == 1)
    #expect(!instances.contains(""))
    #expect(try await controller.send("GET", "/protocols").status == 200)
    #expect(
      try await controller.send("GET", "/external-jwt-signers?limit=25").json["meta"]?["pagination"]?["totalCount"] == 0
    )
    let network = try await controller.send("GET", "/network-jwts").data.arrayValue?.first
    #expect(network?["name"] == "default")
    #expect(try await controller.send("GET", "/health-checks").data["healthy"] == true)
    #expect(
      try await controller.send("GET", "/health-checks?type=short").json["data"]?["checks"]?.arrayValue?.first?[
        "lastCheckTime"] == nil)
    let metrics = try await controller.send("GET", "/metrics")
    #expect(metrics.header("content-type")?.hasPrefix("text/plain; version=0.0.4") == true)
    #expect(metrics.text.contains("\nziti_identities{source_id="))
    await controller.stop()
  }

  // MARK: Enrollment

  @Test("a token enrolls once, with every content type SDKs send")
  func enrollment() async throws {
    let controller = try await LiveController.start()
    for (index, type) in [
      "text/plain", "application/x-pem-file", "application/pkcs7", "", "application/json; charset=utf-8",
    ].enumerated() {
      let invitation = try await controller.node.provisioning.createIdentity(name: "i\(index)")
      let key = try PrivateKey.generate(KeyAlgorithm.allCases[index % KeyAlgorithm.allCases.count])
      let csr = try CSR.create(key: key, commonName: "anything")
      let path = "/edge/client/v1/enroll?method=ott&token=\(try LiveController.oneTime(invitation.jwt))"
      let isJSON = type.hasPrefix("application/json")
      let answer = try await controller.send(
        "POST", path, isJSON ? ["clientCsr": .string(csr)] : nil, raw: isJSON ? nil : csr,
        type: type.isEmpty ? nil : type)
      #expect(answer.status == 200, "\(type): \(answer.text)")
      #expect(answer.header("content-type") == "application/json")
      let chain = try CertificateChain(pem: answer.data["cert"]?.stringValue ?? "")
      #expect(chain.leaf.spiffeID?.identityID == invitation.id)
      #expect(chain.all.allSatisfy { $0.issuer != $0.subject })
      #expect(key.fits(chain.leaf))
      let again = try await controller.send("POST", path, raw: csr, type: "text/plain")
      #expect(again.status == 400)
      #expect(again.code == "INVALID_ENROLLMENT_TOKEN")
    }
    await controller.stop()
  }

  @Test("of two who redeem one token at once, one gets a certificate")
  func enrollmentRace() async throws {
    let controller = try await LiveController.start()
    let jwt = try await controller.node.provisioning.createIdentity(name: "raced").jwt
    let key = try PrivateKey.generate(.p256)
    let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<6 { group.addTask { try await controller.enroll(jwt, key: key).status } }
      return try await group.reduce(into: [Int]()) { $0.append($1) }
    }
    #expect(statuses.filter { $0 == 200 }.count == 1)
    #expect(statuses.filter { $0 == 400 }.count == 5)
    await controller.stop()
  }

  @Test("bad enrollments are named and cost nothing")
  func badEnrollment() async throws {
    let controller = try await LiveController.start()
    let jwt = try await controller.node.provisioning.createIdentity(name: "late").jwt
    let token = try LiveController.oneTime(jwt)
    let csr = try CSR.create(key: try PrivateKey.generate(.p256), commonName: "x")
    func enroll(_ query: String, _ body: String, type: String = "text/plain") async throws -> LiveController.Answer {
      try await controller.send("POST", "/enroll?" + query, raw: body, type: type)
    }
    #expect(try await enroll("method=ott&token=\(UUID().uuidString)", csr).code == "INVALID_ENROLLMENT_TOKEN")
    #expect(try await enroll("method=ott", csr).code == "INVALID_ENROLLMENT_TOKEN")
    #expect(
      try await enroll("method=updb&token=\(token)", "{\"password\":\"secret\"}", type: "application/json").code
        == "INVALID_ENROLL_METHOD")
    #expect(try await enroll("method=nonsense&token=\(token)", csr).code == "INVALID_ENROLL_METHOD")
    #expect(try await enroll("method=ott&token=\(token)", "").code == "MISSING_OR_INVALID_CSR")
    #expect(
      try await enroll(
        "method=ott&token=\(token)", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
      ).code
        == "COULD_NOT_PROCESS_CSR")
    #expect(try await enroll("method=ott&token=\(token)", "<xml/>", type: "text/xml").status == 415)
    #expect(try await enroll("method=ott&token=\(token)", "{", type: "application/json").code == "COULD_NOT_PARSE_BODY")
    controller.ahead.withLockedValue { $0 = 4 * 3600 }
    #expect(try await enroll("method=ott&token=\(token)", csr).code == "ENROLLMENT_EXPIRED")
    controller.ahead.withLockedValue { $0 = 0 }
    // None of that used it up.
    #expect(try await enroll("method=ott&token=\(token)", csr).status == 200)
    await controller.stop()
  }

  @Test("an enrollment token is proven by the key of the TLS server, also after a renewal")
  func tokenSignature() async throws {
    let controller = try await LiveController.start()
    let jwt = try await controller.node.provisioning.createIdentity(name: "a").jwt
    let before = try await HTTPSClient.leaf(of: controller.node.url)
    try await controller.node.renewCertificates()
    let after = try await HTTPSClient.leaf(of: controller.node.url)
    #expect(before.serialNumber != after.serialNumber)
    _ = try await TokenVerifier.verify(jwt, as: EnrollmentClaims.self, signedBy: after, now: Date())
    let other = try await LiveController.start()
    let foreign = try await HTTPSClient.leaf(of: other.node.url)
    await #expect(throws: PKIError.self) {
      try await TokenVerifier.verify(jwt, as: EnrollmentClaims.self, signedBy: foreign, now: Date())
    }
    await other.stop()
    await controller.stop()
  }

  // MARK: Login

  @Test("a certificate logs in at the bare root and below every base, with any body SDKs send")
  func certificateLogin() async throws {
    let controller = try await LiveController.start()
    let alice = try await controller.enrolled("alice")
    for base in ["", "/edge/client/v1", "/edge/v1", "/edge/management/v1"] {
      for body in [
        "", "{}",
        #"{"sdkInfo":{"appID":"a","type":"t"},"envInfo":{"deviceId":"d","os":"Linux"},"configTypes":["all","nope"]}"#,
      ] {
        let answer = try await controller.send("POST", base + "/authenticate?method=cert", raw: body, as: alice)
        #expect(answer.status == 200, "\(base) \(body): \(answer.text)")
        let token = answer.data["token"]?.stringValue ?? ""
        #expect(answer.header("zt-session") == token)
        #expect(answer.data["authQueries"] == [])
        #expect(answer.data["identity"]?["name"] == "alice")
        #expect((answer.data["expirationSeconds"]?.intValue ?? 0) >= 60)
        for member in [
          "id", "identityId", "authenticatorId", "expiresAt", "updatedAt", "cachedLastActivityAt", "ipAddress",
        ] {
          #expect(answer.data[member]?.stringValue?.isEmpty == false, "\(member)")
        }
        let refreshed = try await controller.send("GET", base + "/current-api-session", token: token)
        #expect(refreshed.data["token"]?.stringValue == token)
        #expect(refreshed.header("expiration-seconds") != nil)
        #expect(try await controller.send("DELETE", base + "/current-api-session", token: token).status == 200)
        let gone = try await controller.send("GET", base + "/current-api-session", token: token)
        #expect(gone.status == 401)
        #expect(gone.code == "UNAUTHORIZED")
        #expect(gone.header("www-authenticate")?.contains("invalid") == true)
      }
    }
    await controller.stop()
  }

  @Test("whoever lacks the key of an enrolled certificate stays outside")
  func certificateRefusals() async throws {
    let controller = try await LiveController.start()
    let victim = try await controller.enrolled("victim")
    let mallory = try await controller.enrolled("mallory")
    #expect(try await controller.send("POST", "/authenticate?method=cert", [:]).code == "INVALID_AUTH")
    // A certificate of another authority that claims the victim's name.
    let foreign = try CertificateAuthority.createRoot(name: "other", trustDomain: "other", now: Date())
    let key = try PrivateKey.generate(.p256)
    let forged = try foreign.issueIdentity(
      publicKey: key.publicKey, subject: nil, identityID: victim.chain.leaf.spiffeID?.identityID ?? "",
      trustDomain: "other", now: Date())
    #expect(try await controller.logIn(.init(key: key, chain: forged)).status == 401)
    // The victim's certificate as filler behind one's own.
    let filled = CertificateChain(leaf: forged.leaf, intermediates: [victim.chain.leaf] + victim.chain.intermediates)
    #expect(try await controller.logIn(.init(key: key, chain: filled)).status == 401)
    let mixed = CertificateChain(
      leaf: mallory.chain.leaf, intermediates: [victim.chain.leaf] + mallory.chain.intermediates)
    #expect(try await controller.logIn(.init(key: mallory.key, chain: mixed)).data["identity"]?["name"] == "mallory")
    await controller.stop()
  }

  @Test("passwords: wrong, missing, unknown user, bad method; then too many attempts")
  func passwordLogin() async throws {
    let controller = try await LiveController.start()
    func log(_ body: JSONValue, method: String = "password") async throws -> LiveController.Answer {
      try await controller.send("POST", "/authenticate?method=\(method)", body)
    }
    #expect(try await log(["username": "admin", "password": "admin-password"]).status == 200)
    #expect(try await log(["username": "admin"]).code == "COULD_NOT_VALIDATE")
    #expect(try await log(["username": 5, "password": "x"]).status == 400)
    #expect(try await log([:], method: "smoke").status == 400)
    #expect(try await log(["username": "admin", "password": "wrong-password"]).code == "INVALID_AUTH")
    #expect(try await log(["username": "nobody", "password": "wrong-password"]).code == "INVALID_AUTH")
    var statuses: Set<Int> = []
    for _ in 0..<40 { statuses.insert(try await log(["username": "admin", "password": "wrong-password"]).status) }
    #expect(statuses == [401, 429])
    await controller.stop()
  }

  // MARK: Services and sessions

  @Test("services, their routers and sessions follow the policies; a missing right is 404, like no service")
  func servicesAndSessions() async throws {
    let controller = try await LiveController.start()
    let provisioning = controller.node.provisioning
    let alice = try await controller.token(try await controller.enrolled("alice"))
    let admin = try await controller.adminToken()
    let service = try await provisioning.createService(name: "db")
    func send(_ method: String, _ path: String, _ body: JSONValue? = nil) async throws -> LiveController.Answer {
      try await controller.send(method, "/edge/client/v1" + path, body, token: alice)
    }
    #expect(try await send("GET", "/services").data == [])
    let first = try await send("GET", "/current-api-session/service-updates").data["lastChangeAt"]?.stringValue
    #expect(try await send("GET", "/current-api-session/service-updates").data["lastChangeAt"]?.stringValue == first)
    #expect(try await send("GET", "/services/\(service)").status == 404)
    let refused = try await send("POST", "/sessions", ["serviceId": .string(service), "type": "Dial"])
    #expect(refused.status == 404)
    #expect(refused.text.contains("may not be used for Dial"))

    try await provisioning.createServicePolicy(
      name: "dial", type: .dial, identityRoles: ["#all"], serviceRoles: ["#all"])
    let changed = try await send("GET", "/current-api-session/service-updates").data["lastChangeAt"]?.stringValue
    #expect(changed != first)
    let listed = try #require(
      try await send("GET", "/services?limit=25&configTypes=all&filter=name%3D%22db%22").data.arrayValue?.first)
    #expect(listed["permissions"] == ["Dial"])
    #expect(listed["postureQueries"]?.arrayValue?.count == 1)
    #expect(listed["postureQueries"]?.arrayValue?.first?["isPassing"] == true)
    #expect(listed["encryptionRequired"] == true)
    #expect(listed["config"] == [:])
    #expect(try await send("POST", "/sessions", ["serviceId": .string(service), "type": "Bind"]).status == 404)
    #expect(try await send("POST", "/sessions", ["serviceId": .string(service), "type": "Walk"]).status == 400)
    let lonely = try await send("POST", "/sessions", ["serviceId": .string(service)])
    #expect(lonely.code == "NO_EDGE_ROUTERS_AVAILABLE")

    let router = try await provisioning.createEdgeRouter(name: "r1")
    try await provisioning.createEdgeRouterPolicy(name: "e", identityRoles: ["#all"], edgeRouterRoles: ["#all"])
    try await provisioning.createServiceEdgeRouterPolicy(name: "s", serviceRoles: ["#all"], edgeRouterRoles: ["#all"])
    #expect(try await send("GET", "/current-identity/edge-routers").data == [], "not enrolled yet")
    try await enrollRouter(controller, router)
    #expect(try await send("GET", "/current-identity/edge-routers").data.arrayValue?.first?["name"] == "r1")
    let routers = try await send("GET", "/services/\(service)/edge-routers").data["edgeRouters"]?.arrayValue
    #expect(routers?.first?["supportedProtocols"] == [:])
    let made = try await send("POST", "/sessions", ["serviceId": .string(service), "type": "Dial"])
    #expect(made.status == 201)
    let id = made.data["id"]?.stringValue ?? ""
    #expect(made.data["serviceId"]?.stringValue == service)
    #expect(made.data["edgeRouters"]?.arrayValue?.first?["urls"] == [:])
    #expect(
      try await send("POST", "/sessions", ["serviceId": .string(service)]).data["id"]?.stringValue == id,
      "the same session again")
    #expect(try await send("GET", "/sessions/\(id)").data["token"] == made.data["token"])
    #expect(try await send("GET", "/sessions").json["meta"]?["pagination"]?["totalCount"] == 1)

    // Another identity must not see it.
    let bob = try await controller.token(try await controller.enrolled("bob"))
    #expect(try await controller.send("GET", "/sessions/\(id)", token: bob).status == 404)
    #expect(try await controller.send("GET", "/edge/management/v1/identities", token: bob).status == 401)

    let policies = try await controller.send(
      "GET", "/edge/management/v1/service-policies?filter=name%3D%22dial%22", token: admin)
    let policy = policies.data.arrayValue?.first?["id"]?.stringValue ?? ""
    #expect(
      try await controller.send("DELETE", "/edge/management/v1/service-policies/\(policy)", token: admin).status == 200)
    #expect(try await send("GET", "/sessions/\(id)").status == 404, "the session went with the policy")
    #expect(try await send("GET", "/services").data == [])
    #expect(try await send("DELETE", "/sessions/\(id)").status == 404)
    #expect(try await send("POST", "/posture-response", ["id": "p", "typeId": "MAC"]).status == 201)
    #expect(try await send("POST", "/posture-response-bulk", []).status == 200)
    await controller.stop()
  }

  private func enrollRouter(_ controller: LiveController, _ router: Provisioning.Invitation) async throws {
    let csr = try CSR.create(key: try PrivateKey.generate(.p256), commonName: router.id, names: ["127.0.0.1"])
    let token = try LiveController.oneTime(router.jwt)
    let wrong = try CSR.create(key: try PrivateKey.generate(.p256), commonName: "someone-else")
    let refused = try await controller.send(
      "POST", "/enroll?method=erott&token=\(token)", ["certCsr": .string(wrong), "serverCertCsr": .string(csr)])
    #expect(refused.code == "COULD_NOT_PROCESS_CSR")
    let answer = try await controller.send(
      "POST", "/enroll?method=erott&token=\(token)", ["certCsr": .string(csr), "serverCertCsr": .string(csr)])
    #expect(answer.status == 200, "\(answer.text)")
    #expect(answer.data["serverCert"]?.stringValue != nil)
    #expect(answer.data["ca"]?.stringValue != nil)
  }

  // MARK: The caller's own certificates

  @Test("a certificate is extended in two steps; the old one is good until the second")
  func certificateExtension() async throws {
    let controller = try await LiveController.start()
    let old = try await controller.enrolled("alice")
    let login = try await controller.logIn(old)
    let token = login.data["token"]?.stringValue ?? ""
    let path = "/current-identity/authenticators/" + (login.data["authenticatorId"]?.stringValue ?? "")
    let key = try PrivateKey.generate(.p384)
    let csr: JSONValue = ["clientCertCsr": .string(try CSR.create(key: key, commonName: "x"))]
    #expect(
      try await controller.send("POST", path + "/extend", csr, token: token, bare: true).status == 401,
      "without the certificate")
    let answer = try await controller.send("POST", path + "/extend", csr, token: token, as: old)
    #expect(answer.status == 200, "\(answer.text)")
    let new = LiveController.Credential(
      key: key, chain: try CertificateChain(pem: answer.data["clientCert"]?.stringValue ?? ""))
    #expect(try await controller.logIn(new).status == 401, "still pending")
    #expect(try await controller.logIn(old).status == 200)
    #expect(
      try await controller.send("POST", path + "/extend-verify", ["clientCert": .string(old.chain.pem)], token: token)
        .code == "INVALID_CLIENT_CERT")
    #expect(
      try await controller.send("POST", path + "/extend-verify", ["clientCert": .string(new.chain.pem)], token: token)
        .status == 200)
    #expect(try await controller.logIn(new).status == 200)
    #expect(try await controller.logIn(old).status == 401)
    await controller.stop()
  }

  @Test("a session without a certificate of its own gets one, and loses it with the session")
  func sessionCertificate() async throws {
    let controller = try await LiveController.start()
    let token = try await controller.adminToken()
    let path = "/edge/client/v1/current-api-session/certificates"
    let key = try PrivateKey.generate(.p256)
    let made = try await controller.send(
      "POST", path, ["csr": .string(try CSR.create(key: key, commonName: "any"))], token: token)
    #expect(made.status == 201, "\(made.text)")
    let leaf = try CertificateChain(pem: made.data["certificate"]?.stringValue ?? "").leaf
    #expect(leaf.spiffeID?.apiSessionID != nil)
    let listed = try await controller.send("GET", path, token: token).data.arrayValue
    #expect(listed?.first?["fingerprint"]?.stringValue == leaf.sha1Fingerprint)
    let id = made.data["id"]?.stringValue ?? ""
    let other = try await controller.adminToken()
    #expect(try await controller.send("GET", path + "/\(id)", token: other).status == 404)
    #expect(try await controller.send("DELETE", path + "/\(id)", token: token).status == 200)
    #expect(try await controller.send("GET", path, token: token).data == [])
    await controller.stop()
  }

  @Test("a disabled identity's sessions end with the disabling, idle ones with time")
  func sessionLife() async throws {
    let controller = try await LiveController.start()
    let alice = try await controller.enrolled("alice")
    let token = try await controller.token(alice)
    let admin = try await controller.adminToken()
    let id = try await controller.send("GET", "/current-identity", token: token).data["id"]?.stringValue ?? ""
    #expect(
      try await controller.send(
        "POST", "/edge/management/v1/identities/\(id)/disable", ["durationMinutes": 0], token: admin
      ).status == 200)
    #expect(try await controller.send("GET", "/current-identity", token: token).status == 401)
    #expect(try await controller.logIn(alice).status == 401)
    #expect(
      try await controller.send("POST", "/edge/management/v1/identities/\(id)/enable", [:], token: admin).status == 200)
    #expect(try await controller.logIn(alice).status == 200)
    // Idle life: the clock moves past it.
    controller.ahead.withLockedValue { $0 = 31 * 60 }
    #expect(try await controller.send("GET", "/current-api-session", token: admin).status == 401)
    await controller.stop()
  }
}
