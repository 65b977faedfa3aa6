import Foundation
import JSON
import Model
import NIOCore
import NetworkFixture
import Swiftlet
import SwiftletShare
import Testing

@testable import ShareAgent
@testable import ShareService

@Suite("zrok's own SDKs from PyPI, unchanged", .serialized, .timeLimit(.minutes(10)))
struct ZrokInteropTests {
  /// Basic authentication and the `target` of a share never leave these SDKs (zrok.md 2.10): `ShareAPITests` covers
  /// those calls.
  @Test(
    "zrok 1.1.11 shares, listens, is reached through the public frontend, accesses, keeps what is reserved, releases")
  func first() async throws {
    let bench = try await ShareBench.start()
    let token = try await bench.account("ann@example.com")
    let walk = try await Zrok.Walk(
      .first, endpoint: bench.endpoint, token: token, home: bench.network.directory + "/home1")
    #expect(try await walk.event("enabled").ok == true)
    let made = try await walk.event("public")
    let shareToken = try #require(made.token)
    #expect(made.endpoints == ["http://\(shareToken).share.localhost:\(bench.frontendPort)"])
    #expect(try await walk.event("reserved").token == "walkname")
    let access = try await walk.event("access")
    #expect(access.mode == "tcpTunnel")
    #expect(try await walk.event("overview").shares?.count == 3)
    _ = try await walk.event("serving")
    try await Self.reaches(try #require(made.endpoints?.first))
    // What `swiftlet access private` runs, in front of Python's listener, with an access of another machine.
    let environment = try await bench.enable(token)
    let granted = await bench.call(
      "POST", "/api/v2/access", token, ["envZId": .string(environment.id), "shareToken": .string(shareToken)])
    #expect(granted.status == 201)
    let backend = try #require(granted.body["backendMode"]?.stringValue.flatMap { ShareOptions.Backend(rawValue: $0) })
    let overlay = try await Overlay(identity: IdentityFile(parsing: Array(environment.cfg.utf8)))
    let local = PrivateAccess(
      overlay: overlay, access: ShareAccess(token: "", shareToken: shareToken, backend: backend), host: "127.0.0.1",
      port: 0,
      logger: bench.network.logger)
    let port = try await local.start().port ?? 0
    let running = Task { try await local.run() }
    try await Self.reaches("http://127.0.0.1:\(port)")
    running.cancel()
    _ = await running.result
    await overlay.close()
    walk.goOn()
    #expect(try await walk.event("kept").shares?.contains("walkname") == true)
    #expect(try await walk.event("released").shares == [])
    #expect(try await walk.event("done").ok == true)
    await bench.stop()
  }

  @Test("zrok2 2.0.8 enables, names, shares, lists, is reached, releases, disables", arguments: [false, true])
  func second(isRemote: Bool) async throws {
    let bench = isRemote ? try await ShareBench.startRemote() : try await ShareBench.start()
    let token = try await bench.account("ann@example.com")
    let walk = try await Zrok.Walk(
      .second, endpoint: bench.endpoint, token: token, home: bench.network.directory + "/home2")
    #expect(try await walk.event("enabled").ok == true)
    let names = try await walk.event("names")
    #expect(names.names == ["walk-docs"] && names.namespaces == ["public"])
    let named = try await walk.event("named")
    #expect(named.endpoints == ["walk-docs.share.localhost:\(bench.frontendPort)"])
    // This SDK cannot select a frontend: the default namespace is taken.
    #expect(try await walk.event("public").endpoints?.count == 1)
    #expect(try await walk.event("access").mode == "tcpTunnel")
    #expect(try await walk.event("detail").endpoints == named.endpoints)
    let listed = try await walk.event("listed")
    #expect(listed.shares?.count == 3 && listed.accesses?.count == 1)
    #expect(try await walk.event("overview").shares?.count == 3)
    _ = try await walk.event("serving")
    try await Self.reaches("http://walk-docs.share.localhost:\(bench.frontendPort)")
    walk.goOn()
    let kept = try await walk.event("kept")
    #expect(kept.names == ["walk-docs"] && kept.shares == [])
    #expect(try await walk.event("released").names == [])
    #expect(try await walk.event("disabled").ok == true)
    #expect(try await walk.event("done").ok == true)
    #expect(await bench.call("GET", "/api/v2/overview", token).body["environments"] == [])
    await bench.stop()
  }

  /// With curl: a page, and a body there and back.
  private static func reaches(_ url: String) async throws {
    try await Network.wait("the share at \(url) answers") {
      (try? Zrok.run("/usr/bin/env", ["curl", "--silent", "--fail", "--max-time", "20", url + "/"]))
        == "hello from a zrok share\n"
    }
    let body = String(repeating: "over the overlay and back ", count: 8000)
    let file = NSTemporaryDirectory() + "swiftlet-body-" + UUID().uuidString
    try Data(body.utf8).write(to: URL(fileURLWithPath: file))
    defer { try? FileManager.default.removeItem(atPath: file) }
    #expect(
      try Zrok.run(
        "/usr/bin/env", ["curl", "--silent", "--fail", "--max-time", "30", "--data-binary", "@" + file, url + "/echo"])
        == body)
  }
}
