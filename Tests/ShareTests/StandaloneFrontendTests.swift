import Controller
import Foundation
import JSON
import Model
import NIOCore
import NetworkFixture
import Store
import Swiftlet
import Testing

@testable import ShareAgent
@testable import ShareFrontend
@testable import ShareService
@testable import SwiftletShare

@Suite("A public frontend in a process of its own", .timeLimit(.minutes(8)))
struct StandaloneFrontendTests {
  /// A frontend that has nothing but the identity which the service made.
  private static func start(
    _ bench: ShareBench, _ configure: (inout StandaloneFrontend.Configuration) -> Void = { _ in }
  ) async throws -> (frontend: StandaloneFrontend, running: Task<Void, any Error>) {
    let identity = try IdentityFile.load(from: bench.network.directory + "/share/public.json")
    var configuration = StandaloneFrontend.Configuration(
      listener: .init(host: "127.0.0.1", port: bench.core.configuration.frontend.port), zone: "share.localhost")
    configure(&configuration)
    let frontend = try StandaloneFrontend(
      identity: identity, configuration: configuration, logger: bench.network.logger)
    try await frontend.start()
    return (frontend, Task { try await frontend.run() })
  }

  private static func status(_ url: String, _ more: String...) throws -> String {
    try Zrok.run(
      "/usr/bin/env",
      ["curl", "--silent", "--show-error", "--max-time", "30", "--write-out", "%{http_code}"] + more + [url])
  }

  @Test(
    "serves names, passwords and sign-ins of a service without a frontend, learns of a share at its first request, forgets one that ended"
  )
  func serves() async throws {
    let provider = try await FakeProvider.start()
    let bench = try await ShareBench.start(signingIn: provider) {
      $0.servesFrontend = false
      $0.tcpPorts = 7000...7001
    }
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let server = try await FrontendTests.mirror()
    let target = BackendTarget.server(.http, host: "127.0.0.1", port: server.localAddress?.port ?? 0)
    let (_, running) = try await Self.start(bench) { $0.login = bench.core.configuration.login }
    func share(_ options: ShareOptions, _ body: @Sendable (String) async throws -> Void) async throws -> String {
      try await sharer.session.withShare(options) { share in
        let backend = try await ShareBackend.start(
          share, mode: .proxy, target: target, overlay: sharer.session.overlay(), options: BackendOptions(),
          logger: bench.network.logger)
        let url = try #require(share.urls.first)
        try await body(url)
        await backend.stop()
        return url
      }
    }
    var options = ShareOptions(.public, backend: .proxy, target: "mirror")
    options.isWindowed = ShareBackend.isWindowed(options.backend)
    options.names = [.init(name: "photos")]
    let url = try await share(options) { url in
      #expect(url.hasPrefix("http://photos.share.localhost:"))
      let page = try Self.status(url + "/a")
      #expect(page.contains("path: /a") && page.contains("x-proxy: zrok") && page.hasSuffix("200"), "\(page)")
      // The namespace gets another name: the share is found there.
      #expect(
        await bench.call(
          "PATCH", "/api/v2/namespace", ShareBench.adminSecret,
          ["namespaceToken": "public", "name": "other.share.localhost"]
        ).status
          == 200)
      #expect(try Self.status(url.replacing("photos.", with: "photos.other.")).hasSuffix("200"))
      #expect(try Self.status(url).hasSuffix("404"))
      #expect(
        await bench.call(
          "PATCH", "/api/v2/namespace", ShareBench.adminSecret, ["namespaceToken": "public", "name": "share.localhost"]
        ).status == 200)
      try await Network.wait("the old name again") { try Self.status(url).hasSuffix("200") }
    }
    try await Network.wait("the share is forgotten") { try Self.status(url).hasSuffix("404") }

    options = ShareOptions(.public, backend: .proxy, target: "mirror")
    options.basicUsers = [("ann", "secret")]
    _ = try await share(options) { url in
      let refused = try Self.status(url)
      #expect(refused.hasSuffix("401"))
      #expect(try Self.status(url, "--user", "ann:wrong").hasSuffix("401"))
      #expect(try Self.status(url, "--user", "ann:secret").contains("zrok-auth-user: ann"))
    }
    options = ShareOptions(.public, backend: .proxy, target: "mirror")
    options.login = .init(provider: "corp", emailPatterns: ["*@corp.example"])
    _ = try await share(options) { url in
      let jar = bench.network.directory + "/jar"
      let page = try Self.status(url, "--location", "--cookie", jar, "--cookie-jar", jar)
      #expect(page.contains("zrok-auth-email: ann@corp.example"))
    }
    // Nobody would open the port.
    await #expect(throws: ShareError.self) {
      _ = try await sharer.session.create(ShareOptions(.public, backend: .tcpTunnel, target: "x"))
    }
    #expect(
      try Self.status("http://nobody.share.localhost:\(bench.core.configuration.frontend.port)/").hasSuffix("404"))
    running.cancel()
    _ = await running.result
    try await server.close()
    await sharer.session.close()
    await bench.stop()
    try await provider.stop()
  }

  @Test(
    "serves shares as upstream's controller provisions them: the token in front of the zone, passwords in clear, sign-ins"
  )
  func upstream() async throws {
    let bench = try await ShareBench.start { $0.frontend.port = 0 }
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let server = try await FrontendTests.mirror()
    let (frontend, running) = try await Self.start(bench) { $0.listener.port = 0 }
    let port = try await frontend.start().port ?? 0
    let zId = try #require(
      try await bench.core.network.read { try $0.named(ShareFrontendRow.self, ShareCore.defaultName)?.zId })
    let environment = try #require(sharer.session.environment.enabled?.identity)
    let shares: [(String, JSONObject)] = [
      ("open0", ["interstitial": true, "auth_scheme": "none", "basic_auth": .null, "oauth": .null]),
      (
        "basic0",
        [
          "interstitial": false, "auth_scheme": "basic",
          "basic_auth": ["users": [["username": "u", "password": "pä:ss"]]], "oauth": .null,
        ]
      ),
      (
        "oauth0",
        [
          "interstitial": false, "auth_scheme": "oauth", "basic_auth": .null,
          "oauth": ["provider": "google", "email_domains": .null, "authorization_check_interval": "3h0m0s"],
        ]
      ), ("strange0", ["interstitial": false, "auth_scheme": "magic", "basic_auth": .null, "oauth": .null]),
      ("broken0", ["auth_scheme": 7]),
    ]
    try await bench.core.network.write(author: "test") { change in
      for (name, data) in shares {
        let config = try change.createConfig(
          name: name, typeID: change.configType(named: ProxyConfig.typeName), data: data, tags: [:])
        let service = try change.createService(name: name, configs: [config], tags: [:])
        _ = try change.createServicePolicy(
          name: name + "-bind", type: .bind, identities: [environment], service: service, tags: [:])
        _ = try change.createServicePolicy(
          name: name + "-dial", type: .dial, identities: [zId], service: service, tags: [:])
        _ = try change.createServiceEdgeRouterPolicy(name: name, service: service, tags: [:])
      }
    }
    var backends: [ShareBackend] = []
    for (name, _) in shares.prefix(2) {
      backends.append(
        try await ShareBackend.start(
          Share(token: name, endpoints: [], urls: []), mode: .proxy,
          target: .server(.http, host: "127.0.0.1", port: server.localAddress?.port ?? 0),
          overlay: sharer.session.overlay(),
          options: BackendOptions(),
          logger: bench.network.logger))
    }
    func url(_ name: String) -> String { "http://\(name).share.localhost:\(port)/" }
    #expect(try Self.status(url("open0"), "--user-agent", "Mozilla/5.0").hasSuffix("200"))
    #expect(try Self.status(url("basic0")).hasSuffix("401"))
    #expect(try Self.status(url("basic0"), "--user", "u:pä:s").hasSuffix("401"))
    #expect(try Self.status(url("basic0"), "--user", "x:pä:ss").hasSuffix("401"))
    #expect(try Self.status(url("basic0"), "--user", "u:pä:ss").contains("zrok-auth-user: u"))
    // A sign-in that this frontend does not have, and configs it does not understand, let nobody pass.
    #expect(try Self.status(url("oauth0")).hasSuffix("401") && Self.status(url("strange0")).hasSuffix("401"))
    #expect(try Self.status(url("broken0")).hasSuffix("404"))
    for backend in backends { await backend.stop() }
    running.cancel()
    _ = await running.result
    try await server.close()
    await sharer.session.close()
    await bench.stop()
  }
}
