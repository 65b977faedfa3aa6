import Foundation
import JSON
import Model
import NIOCore
import NetworkFixture
import SwiftletShare
import Testing
import Transport

@testable import ShareAgent
@testable import ShareService

@Suite("The share agent", .timeLimit(.minutes(10)))
struct AgentTests {
  private static func configuration(_ text: String) throws -> AgentConfiguration {
    let document = try StrictDocument(text: text, file: "agent.yml")
    let configuration = try AgentConfiguration(document.root)
    try document.finish()
    return configuration
  }

  private static func environment(_ bench: ShareBench, _ name: String, _ token: String) async throws -> ShareEnvironment
  {
    var environment = try ShareEnvironment.load(directory: bench.network.directory + "/agent-" + name)
    try await ShareSession.enable(&environment, token: token, endpoint: bench.endpoint, description: name, host: "here")
    return environment
  }

  @Test("the example is valid; mistakes are told with their line")
  func files() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let example = try AgentConfiguration.load(path: root.appendingPathComponent("Examples/agent.yml").path)
    #expect(example.shares.map(\.label) == ["my-files", "my-ssh"])
    #expect(example.shares.map(\.options.backend) == [.web, .tcpTunnel])
    let guarded = try Self.configuration(
      "shares:\n  - target: 8000\n    oauth: {provider: corp, emailPatterns: ['*@x.y'], refreshInterval: 90m}\n")
    #expect(
      guarded.shares.first?.options.login == .init(provider: "corp", emailPatterns: ["*@x.y"], refreshInterval: "5400s")
    )
    for (text, line) in [
      ("shares:\n  - target: 8000\n    basicAuth: [u:p]\n    oauth: {provider: corp}\n", 4),
      ("shares:\n  - target: 8000\n    naem: x\n", 3),
      ("shares:\n  - mode: secret\n    target: 8000\n", 2),
      ("shares:\n  - target: /no/such/directory\n", 2),
      ("accesses:\n  - bind: 127.0.0.1:1\n", 2),
    ] {
      let error = #expect(throws: ConfigurationError.self) { _ = try Self.configuration(text) }
      #expect(error?.problems.first?.line == line, "\(text): \(error.map { "\($0)" } ?? "")")
    }
  }

  @Test(
    "keeps shares and accesses up through restarts of the router and of the service; active means reached; names stay when it stops"
  )
  func keeps() async throws {
    let bench = try await ShareBench.start()
    let token = try await bench.account("ann@example.com")
    let site = bench.network.directory + "/site"
    try FileManager.default.createDirectory(atPath: site, withIntermediateDirectories: true)
    try Data("kept".utf8).write(to: URL(fileURLWithPath: site + "/index.html"))
    let environment = try await Self.environment(bench, "one", token)
    let configuration = try Self.configuration(
      "shares:\n  - target: \(site)\n    name: kept\n  - target: 127.0.0.1:\(bench.apiPort)\n    mode: private\n    backend: tcpTunnel\n    token: kept-api\n"
    )
    let agent = Agent(
      session: try ShareSession(environment), configuration: configuration, logger: bench.network.logger)
    let running = Task { try await agent.run() }
    @Sendable func active(_ agent: Agent, after: Int = 0) async throws {
      try await Network.wait("everything is active") {
        let status = await agent.status
        return !status.isEmpty && status.allSatisfy { $0.phase == .active && $0.lastProof ?? 0 >= after }
      }
    }
    try await active(agent)
    let report = try #require(Agent.report(environment))
    #expect(report.entries.map(\.label) == ["kept", "kept-api"] && report.pid == getpid())
    let url = "http://kept.share.localhost:\(bench.frontendPort)/"
    @Sendable func page() -> String? {
      try? Zrok.run("/usr/bin/env", ["curl", "--silent", "--fail", "--max-time", "10", url])
    }
    #expect(page() == "kept")

    // Another machine's agent brings the private one to a port.
    let other = try await Self.environment(bench, "two", token)
    let reader = Agent(
      session: try ShareSession(other), configuration: try Self.configuration("accesses:\n  - token: kept-api\n"),
      logger: bench.network.logger)
    let reading = Task { try await reader.run() }
    try await active(reader)
    let place = try #require(await reader.status.first?.places.first)
    #expect(
      try Zrok.run(
        "/usr/bin/env", ["curl", "--silent", "--fail", "--max-time", "10", "http://\(place)/api/v2/versions"]
      ).contains(
        "controllerVersion"))

    await bench.network.stopRouter()
    try await bench.network.startRouter()
    let now = Int(Date().timeIntervalSince1970)
    try await Network.wait("the page is back") { page() == "kept" }
    try await active(agent, after: now)
    try await active(reader, after: now)

    reading.cancel()
    _ = await reading.result
    running.cancel()
    _ = await running.result
    #expect(Agent.report(environment) == nil)
    let overview = await bench.call("GET", "/api/v2/overview", token)
    #expect(
      overview.body["environments"]?.arrayValue?.allSatisfy { $0["shares"] == [] && $0["frontends"] == [] } == true)
    #expect(overview.body["names"]?.arrayValue?.map { $0["name"] } == ["kept"])
    await bench.stop()
  }
}
