import Controller
import Crypto
import Foundation
import JSON
import Model
import NIOHTTP1
import NetworkFixture
import REST
import Store
import Testing
import Transport
import WebRelay

@testable import ShareFrontend
@testable import ShareService

/// What strangers may cost, and what a page that shows their texts may run.
@Suite("Strangers at the share service", .timeLimit(.minutes(5)))
struct ShareStrangerTests {
  @Test(
    "requests of strangers cost little: resets by account and address, tokens that nobody has, and passwords; whoever proves one passes"
  )
  func strangers() async throws {
    let bench = try await ShareBench.start { $0.invitesOpen = true }
    let token = try await bench.account("ann@example.com")
    func post(_ path: String, _ body: JSONValue) async -> Int {
      await bench.call("POST", "/api/v2/" + path, nil, body).status
    }
    func resets() async throws -> Int {
      try await bench.core.network.read {
        try $0.all(ShareTicket.self, field: "email", equals: "ann@example.com").count
      }
    }
    // Of one account few wait at a time, and the next are refused: for an account that is and one that is not alike.
    for email in ["ann@example.com", "nobody@example.com"] {
      var statuses: [Int] = []
      for _ in 0..<12 { statuses.append(await post("resetPasswordRequest", ["emailAddress": .string(email)])) }
      #expect(statuses == Array(repeating: 201, count: 10) + [429, 429], "\(email)")
    }
    #expect(try await resets() == 3)
    // Tickets whose time is over go without the writer looking for them.
    let index = try await bench.core.network.read { try $0.currentIndex() }
    try await bench.core.forgetTickets()
    #expect(try await bench.core.network.read { try $0.currentIndex() } == index)
    #expect(try await resets() == 3)

    #expect(await post("login", ["email": "ann@example.com", "password": "Secret-123"]) == 200)
    for (path, member) in [("verify", "registerToken"), ("register", "registerToken"), ("resetPassword", "resetToken")]
    {
      #expect(await post(path, [member: "unknown", "password": "Secret-123"]) == 404)
    }
    var unknown: Set<Int> = []
    for _ in 0..<70 { unknown.insert(await bench.call("GET", "/api/v2/overview", "unknown").status) }
    #expect(unknown == [401, 429])
    for (path, member) in [("verify", "registerToken"), ("register", "registerToken"), ("resetPassword", "resetToken")]
    {
      #expect(await post(path, [member: "unknown", "password": "Secret-123"]) == 429)
    }
    #expect(await post("invite", ["email": "bob@example.com"]) == 429)
    #expect(await post("login", ["email": "eve@example.com", "password": "Secret-123"]) == 429)
    // Right ones do not wait for the neighbour who guesses.
    #expect(await bench.call("GET", "/api/v2/overview", token).status == 200)
    #expect(await post("login", ["email": "ann@example.com", "password": "Secret-123"]) == 200)
    let change: JSONValue = ["email": "ann@example.com", "oldPassword": "wrong", "newPassword": "Better-456"]
    var changes: Set<Int> = []
    for _ in 0..<11 { changes.insert(await bench.call("POST", "/api/v2/changePassword", token, change).status) }
    #expect(changes == [401, 429])
    #expect(
      await bench.call(
        "POST", "/api/v2/account", ShareBench.adminSecret, ["email": "x\u{85}@example.com", "password": "x"]
      ).status == 400)
    await bench.stop()
  }

  @Test("a second share service on a directory does not start while the first runs")
  func twoServices() async throws {
    let bench = try await ShareBench.start()
    let provisioning = await bench.network.provisioning
    let failure = #expect(throws: ProcessLock.Failure.self) {
      try ShareServer(network: provisioning, configuration: bench.core.configuration, logger: bench.network.logger)
    }
    #expect(failure?.description.contains("another share service") == true)
    await bench.stopService()
    _ = try ShareServer(network: provisioning, configuration: bench.core.configuration, logger: bench.network.logger)
    await bench.network.stop()
  }

  @Test(
    "the account page runs its own script and no other: the policy names it by its hash, and the page has no handlers or styles in attributes"
  )
  func pagePolicy() async throws {
    let bench = try await ShareBench.start()
    let page = await bench.server.respond(
      to: APIRequest(method: "GET", path: "/", query: [], headers: [], body: [], peer: .anonymous(), requestID: "test"))
    let (policy, html) = (
      page.headers.first { $0.name == "content-security-policy" }?.value ?? "",
      String(decoding: page.body, as: UTF8.self)
    )
    #expect(!policy.contains("unsafe"))
    for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
      let parts = html.components(separatedBy: "<\(tag)>")
      #expect(parts.count == 2)
      let text = parts.last?.components(separatedBy: "</\(tag)>").first ?? ""
      #expect(
        policy.contains("\(directive) 'sha256-\(Data(SHA256.hash(data: Data(text.utf8))).base64EncodedString())'"))
      #expect(text.count > 100)
    }
    #expect(
      html.firstMatch(of: /<[^>]*\son[a-z]+=/) == nil && html.firstMatch(of: /<[^>]*\sstyle=/) == nil
        && !html.contains("style:"))
    let interstitial = PublicFrontend.interstitialPage("a.share.localhost")
    #expect(interstitial.headers["content-security-policy"].first?.contains("unsafe") == false)
    #expect(interstitial.headers["content-security-policy"].first?.contains("script-src 'sha256-") == true)
    await bench.stop()
  }
}
