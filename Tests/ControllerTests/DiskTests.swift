import Authentication
import Foundation
import JSON
import Logging
import Model
import Testing
import Transport

@testable import Controller
@testable import Store

@Suite("A disk that takes nothing, and one that two want", .timeLimit(.minutes(5)))
struct DiskTests {
  @Test(
    "writes are refused with the reason; people log in, and what is taken away is gone all the same, until the next start"
  )
  func readOnly() async throws {
    let controller = try await LiveController.start()
    let alice = try await controller.enrolled("alice")
    let bob = try await controller.enrolled("bob")
    let admin = try await controller.adminToken()
    let (aliceToken, bobToken) = (try await controller.token(alice), try await controller.token(bob))
    let management = "/edge/management/v1"
    func id(_ token: String) async throws -> String {
      try await controller.send("GET", "/current-identity", token: token).data["id"]?.stringValue ?? ""
    }
    let (aliceID, bobID) = (try await id(aliceToken), try await id(bobToken))
    let service: JSONValue = ["name": "s", "encryptionRequired": true]
    try await controller.node.core.store.refuseWrites(true)

    let refused = try await controller.send("POST", management + "/services", service, token: admin)
    #expect(
      refused.status == 503 && refused.text.contains("takes no writes") && refused.text.contains("try again"),
      "\(refused.text)")
    // Sessions are activity: they live in memory meanwhile.
    let fresh = try await controller.token(alice)
    #expect(try await controller.send("GET", "/current-identity", token: fresh).status == 200)
    #expect(try await controller.send("DELETE", "/current-api-session", token: fresh).status == 200)
    #expect(try await controller.send("GET", "/current-identity", token: fresh).status == 401)

    let disabled = try await controller.send(
      "POST", management + "/identities/\(aliceID)/disable", ["durationMinutes": 0], token: admin)
    #expect(
      disabled.status == 503 && disabled.text.contains("holds from now on") && disabled.text.contains("Repeat"),
      "\(disabled.text)")
    let deleted = try await controller.send("DELETE", management + "/identities/\(bobID)", token: admin)
    #expect(deleted.status == 503 && deleted.text.contains("holds from now on"))
    for token in [aliceToken, bobToken] {
      #expect(try await controller.send("GET", "/current-identity", token: token).status == 401)
    }
    for credential in [alice, bob] { #expect(try await controller.logIn(credential).status == 401) }
    #expect(try await controller.send("DELETE", management + "/identities/nobody", token: admin).status == 404)
    let standard = try await id(admin)
    #expect(
      try await controller.send(
        "POST", management + "/identities/\(standard)/disable", ["durationMinutes": 0], token: admin
      ).status == 503)
    #expect(try await id(admin) == standard, "nobody shuts out the default administrator")

    let last = try await controller.adminToken()
    try await controller.node.core.store.refuseWrites(false)
    try await controller.node.core.sessions.flush(now: controller.node.core.now)
    let stored = try await controller.node.core.store.read { try $0.all(APISession.self) }
    #expect(!stored.contains { [aliceID, bobID].contains($0.identityId) }, "what ended meanwhile ended on disk")
    #expect(controller.node.core.sessions.apiSession(token: last, now: controller.node.core.now) != nil)
    #expect(stored.count == 2, "and what began is stored")
    #expect(try await controller.send("POST", management + "/services", service, token: admin).status == 201)
    #expect(
      try await controller.send(
        "POST", management + "/identities/\(aliceID)/disable", ["durationMinutes": 0], token: admin
      ).status == 200)
    #expect(
      try await controller.send("POST", management + "/identities/\(aliceID)/enable", [:], token: admin).status == 200)
    #expect(try await controller.logIn(alice).status == 200)
    await controller.stop()
  }

  @Test(
    "a second controller on a directory, or on its database alone, says who has it and does not start; after the first it does"
  )
  func twoControllers() async throws {
    let controller = try await LiveController.start()
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let directory = controller.directory
    func open(_ data: String) async throws {
      var configuration = ControllerConfiguration(dataDirectory: data, host: "127.0.0.1", port: 0)
      configuration.databasePath = directory + "/controller.db"
      _ = try await ControllerNode(configuration: configuration, logger: logger)
    }
    for data in [directory, directory + "/elsewhere"] {
      let failure = await #expect(throws: ProcessLock.Failure.self) { try await open(data) }
      #expect(failure?.description.contains("as process \(ProcessInfo.processInfo.processIdentifier)") == true)
    }
    await controller.end()
    try await open(directory)
    try FileManager.default.removeItem(atPath: directory)
  }
}
