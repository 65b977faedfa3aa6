import Controller
import Foundation
import JSON
import Model
import NIOCore
import NetworkFixture
import Store
import Swiftlet
import SwiftletShare
import Synchronization
import Testing
import Transport
import Tunnel

@testable import ShareAgent
@testable import ShareService

@Suite("Agents that take orders from afar", .timeLimit(.minutes(10)))
struct RemoteAgentTests {
  /// An agent of ours with nothing in its file.
  private struct Running {
    let agent: Agent
    let task: Task<Void, any Error>

    static func start(_ environment: ShareEnvironment, _ bench: ShareBench) throws -> Running {
      let agent = Agent(
        session: try ShareSession(environment), configuration: AgentConfiguration(), logger: bench.network.logger)
      return Running(agent: agent, task: Task { try await agent.run() })
    }

    func stop() async {
      task.cancel()
      _ = await task.result
    }
  }

  private static func curl(_ url: String) -> String? {
    try? Zrok.run("/usr/bin/env", ["curl", "--silent", "--fail", "--max-time", "10", url])
  }

  private static func site(_ bench: ShareBench, _ text: String) throws -> String {
    let site = bench.network.directory + "/site"
    try FileManager.default.createDirectory(atPath: site, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(fileURLWithPath: site + "/index.html"))
    return site
  }

  @Test(
    "an enrolled agent shares, accesses, checks and releases by the API; what has a name outlives it; both generations; unenrolled it takes nothing",
    arguments: [false, true])
  func orders(beside: Bool) async throws {
    // In the controller's process, and beside a controller that is known by its management API alone.
    let bench =
      beside
      ? try await ShareBench.startRemote { $0.remotesAgents = true }
      : try await ShareBench.start { $0.remotesAgents = true }
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let environment = try ShareEnvironment.load(directory: sharer.directory)
    let enabled = try #require(environment.enabled)
    @Sendable func call(_ name: String, _ body: JSONObject = [:], version: String = "v2") async -> ShareBench.Answer {
      await bench.call(
        "POST", "/api/\(version)/agent/\(name)", enabled.token,
        .object(body.merging(["envZId": .string(enabled.identity)]) { $1 }))
    }
    let site = try Self.site(bench, "from afar")

    // Before the enrollment, and before the agent runs.
    #expect(await call("ping").status == 502)
    #expect(await call("unenroll").status == 400)
    try await sharer.session.enrollAgent()
    let again = await #expect(throws: ShareError.self) { try await sharer.session.enrollAgent() }
    #expect("\(again.map { "\($0)" } ?? "")".contains("enrolled already"))
    #expect(await call("ping").status == 502)
    let mode =
      try FileManager.default.attributesOfItem(atPath: sharer.directory + "/agent-enrollment.json")[.posixPermissions]
      as? Int
    #expect(mode == 0o600)
    let other = try await bench.account("eve@example.com")
    let foreign = await bench.call("POST", "/api/v2/agent/ping", other, ["envZId": .string(enabled.identity)])
    #expect(foreign.status == 401)
    let overview = await bench.call("GET", "/api/v2/overview", enabled.token)
    #expect(overview.body["environments"]?.arrayValue?.first?["environment"]?["remoteAgent"] == true)
    for (flag, count) in [("true", 1), ("false", 0)] {
      let list = await bench.call("GET", "/api/v2/environments?remoteAgent=\(flag)", enabled.token)
      #expect(list.body["environments"]?.arrayValue?.count == count)
    }

    var running = try Running.start(environment, bench)
    try await Network.wait("the agent answers") { await call("ping").status == 200 }
    let ping = await call("ping")
    #expect(ping.body["version"]?.stringValue?.hasPrefix("v2.") == true)

    // A public share with a name, a proxy without one, and an access to a private share.
    let named = await call(
      "share",
      [
        "shareMode": "public", "target": .string(site), "backendMode": "web", "nameSelections": [["name": "afar"]],
        "open": true,
      ])
    #expect(named.status == 200, "\(named.body)")
    let url = "http://afar.share.localhost:\(bench.frontendPort)/"
    #expect(
      Self.curl(url) == "from afar"
        && named.body["frontendEndpoints"]?.stringArrayValue?.first?.contains("afar.share.localhost") == true)
    let proxy = await call(
      "share", ["shareMode": "public", "target": .string("127.0.0.1:\(bench.apiPort)"), "backendMode": "proxy"])
    let proxyToken = try #require(proxy.body["token"]?.stringValue)
    for (path, expected, healthy) in [
      ("/api/v2/versions", 200, true), ("/nothing", 200, false), ("nothing", 200, false),
    ] {
      let check = await call(
        "share/http-healthcheck",
        [
          "shareToken": .string(proxyToken), "httpVerb": "GET", "endpoint": .string(path),
          "expectedHttpResponse": JSONValue(expected),
          "timeoutMs": 5000,
        ])
      #expect(check.status == 200 && check.body["healthy"] == .bool(healthy), "\(path): \(check.body)")
    }
    let hidden = await call(
      "share", ["shareMode": "private", "target": .string(site), "backendMode": "web", "privateShareToken": "afarsite"])
    #expect(hidden.body["token"] == "afarsite")
    let access = await call(
      "access", ["token": "afarsite", "bindAddress": "127.0.0.1:0", "responseHeaders": ["x-from: afar"]])
    let accessToken = try #require(access.body["frontendToken"]?.stringValue, "\(access.body)")
    let status = await call("status")
    let shares = status.body["shares"]?.arrayValue ?? []
    #expect(shares.count == 3 && shares.allSatisfy { $0["status"] == "active" && $0["failure"] == nil })
    let bound = try #require(status.body["accesses"]?.arrayValue?.first)
    #expect(
      bound["frontendToken"] == .string(accessToken) && bound["token"] == "afarsite"
        && bound["responseHeaders"] == ["x-from: afar"])
    let head = try Zrok.run(
      "/usr/bin/env",
      ["curl", "--silent", "--include", "--max-time", "10", "http://\(bound["bindAddress"]?.stringValue ?? "")/"])
    #expect(head.contains("from afar") && head.lowercased().contains("x-from: afar"))
    let first = await call("status", version: "v1")
    #expect(first.body["shares"]?.arrayValue?.allSatisfy { $0["reserved"] == false && $0["failure"] == nil } == true)
    #expect(first.body["accesses"]?.arrayValue?.first?["status"] == nil)

    // What cannot be.
    let twice = await call(
      "share",
      ["shareMode": "public", "target": .string(site), "backendMode": "web", "nameSelections": [["name": "afar"]]])
    #expect(twice.status == 502 && twice.body.stringValue?.contains("already") == true)
    let missing = await call("share", ["shareMode": "public", "target": "/no/such/place", "backendMode": "web"])
    #expect(missing.status == 502 && missing.body.stringValue?.contains("no file or directory") == true)
    let reserved = await call("share", ["shareMode": "reserved", "token": "x"], version: "v1")
    #expect(reserved.status == 502 && reserved.body.stringValue?.contains("second generation") == true)
    #expect(await call("share", ["shareMode": "reserved"]).status == 422)
    #expect(await call("unshare", ["token": "nope"]).status == 502)
    #expect(
      await call("access", ["token": "afarsite", "autoMode": true, "autoStartPort": 9, "autoEndPort": 1]).status == 502)
    #expect(await call("access", ["token": "afarsite", "responseHeaders": ["content-length: 0"]]).status == 502)

    // The next agent goes on with what lasts.
    await running.stop()
    #expect(!FileManager.default.fileExists(atPath: sharer.directory + "/agent.socket"))
    let kept = try AgentRegistry(environment).load()
    #expect(kept.count == 3 && kept.allSatisfy(\.isLasting))
    let file = try FileManager.default.attributesOfItem(atPath: sharer.directory + "/agent-registry.json")
    #expect(file[.posixPermissions] as? Int == 0o600)
    running = try Running.start(environment, bench)
    try await Network.wait("everything is back") {
      let entries = await call("status").body
      let all = (entries["shares"]?.arrayValue ?? []) + (entries["accesses"]?.arrayValue ?? [])
      return all.count == 3 && all.allSatisfy { $0["status"] == "active" }
    }
    #expect(Self.curl(url) == "from afar")

    // A second agent for the same machine is told so.
    let second = try Running.start(environment, bench)
    let refusal = await #expect(throws: AgentRefusal.self) { try await second.task.value }
    #expect(refusal?.description.contains("another agent") == true)

    // Released: gone, here and there; the name stays the account's.
    let now = await call("status")
    let token = try #require(
      now.body["shares"]?.arrayValue?.first { $0["shareMode"] == "public" }?["token"]?.stringValue)
    #expect(await call("unshare", ["token": .string(token)]).status == 200)
    let frontend = try #require(now.body["accesses"]?.arrayValue?.first?["frontendToken"]?.stringValue)
    #expect(await call("unaccess", ["frontendToken": .string(frontend)]).status == 200)
    #expect(try AgentRegistry(environment).load().count == 1)
    #expect(Self.curl(url) == nil)

    // Unenrolled, by the API alone: the service is gone.
    #expect(await call("unenroll").status == 200)
    #expect(await call("ping").status == 502)
    for collection in ["services", "service-policies", "service-edge-router-policies"] {
      let left = try await bench.network.api(
        "GET", "/\(collection)?filter=" + "tags.zrokAgentRemote != null".pathSegment)
      #expect(left == [], "\(collection)")
    }
    await running.stop()

    // Disabled, an enrollment goes with its environment.
    try await sharer.session.enrollAgent()
    let disabled = await bench.call("POST", "/api/v2/disable", enabled.token, ["identity": .string(enabled.identity)])
    #expect(disabled.status == 200)
    let left = try await bench.core.network.read { try $0.all(ShareAgentEnrollment.self) }
    #expect(left.isEmpty)
    await bench.stop()
  }

  @Test(
    "an agent that answers too much, too late or something else is told of with 502, and calls of it are few at a time")
  func hostileAgent() async throws {
    let bench = try await ShareBench.start { $0.remotesAgents = true }
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let enabled = try #require(sharer.session.environment.enabled)
    try await sharer.session.enrollAgent()
    let enrollment = try #require(try sharer.session.environment.agentEnrollment())
    @Sendable func call(_ name: String) async -> ShareBench.Answer {
      await bench.call("POST", "/api/v2/agent/\(name)", enabled.token, ["envZId": .string(enabled.identity)])
    }
    // A server of another protocol.
    let overlay = try await sharer.session.overlay()
    let other = HostTunnel(
      overlay: overlay, service: enrollment, host: "127.0.0.1", port: bench.apiPort, logger: bench.network.logger)
    try await other.start()
    let stranger = await call("ping")
    #expect(stranger.status == 502 && stranger.body.stringValue?.contains("not there") == false, "\(stranger)")
    await other.stop()

    let peer = try PeerProcess(try await Self.interpreter(), ["serve", "3"], script: Self.script)
    let port = try #require(try await peer.line()["port"]?.intValue)
    let tunnel = HostTunnel(
      overlay: overlay, service: enrollment, host: "127.0.0.1", port: port, logger: bench.network.logger)
    try await tunnel.start()
    let huge = await call("ping")
    #expect(huge.status == 502 && huge.body.stringValue?.contains("max") == true, "\(huge)")
    let answers = await withTaskGroup(of: Int.self) { group in
      for _ in 0..<7 { group.addTask { await call("status").status } }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(answers.sorted() == [200, 200, 200, 200, 429, 429, 429])
    // Over the wire, longer than other calls may take.
    let slow = try await sharer.session.agent("access", "access it", ["token": "x"])
    #expect(slow["frontendToken"] == "fe2")
    #expect(await call("ping").status == 200)
    _ = try await peer.end()
    #expect(await call("ping").status == 502)
    await tunnel.stop()
    await sharer.session.close()
    await bench.stop()
  }

  @Test(
    "an order whose caller goes away is taken back and never written down; whoever was let in is out with the enrollment"
  )
  func abandoned() async throws {
    let bench = try await ShareBench.start { $0.remotesAgents = true }
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let environment = try ShareEnvironment.load(directory: sharer.directory)
    try await sharer.session.enrollAgent()
    let running = try Running.start(environment, bench)
    // A share whose host lets everybody wait.
    let silent = try await sharer.session.create(ShareOptions(.private))
    let listener = try await sharer.session.listen(silent)
    let holding = Task {
      var held: [OverlayStream] = []
      for try await stream in listener { held.append(stream) }
      return held.count
    }
    let waiting = Task { try await running.agent.keep(.access(.init(silent.token))) }
    try await Network.wait("the access is being made") { await running.agent.status.contains { $0.accessToken != nil } }
    var order = AgentOrder.Share(.public)
    order.target = try Self.site(bench, "beside")
    order.names = [.init(name: "beside")]
    let beside = try await running.agent.keep(.share(order))
    #expect(beside.phase == .active)
    #expect(try AgentRegistry(environment).load() == [.share(order)])
    waiting.cancel()
    await #expect(throws: CancellationError.self) { try await waiting.value }
    #expect(await running.agent.status.map(\.label) == ["beside"])
    let overview = try await sharer.session.overview()
    #expect(
      overview["environments"]?.arrayValue?.first?["frontends"]?.arrayValue?.contains {
        $0["shareToken"] == .string(silent.token)
      } == false)

    // The service keeps a connection open; the machine takes its word back.
    let controller = try await Overlay(identity: .load(from: bench.network.directory + "/share/agent-controller.json"))
    let enrollment = try #require(try environment.agentEnrollment())
    try await Network.wait("the agent is hosted") {
      guard let probe = try? await controller.dial(enrollment) else { return false }
      await probe.close()
      return true
    }
    let stream = try await controller.dial(enrollment)
    try await stream.write(ByteBuffer(string: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    #expect(try await stream.read() != nil)
    try await sharer.session.unenrollAgent()
    let ended = Task { while let bytes = try await stream.read() { _ = bytes } }
    try await Network.wait("the connection ends") { [ended] in
      let done = Mutex(false)
      _ = Task {
        _ = await ended.result
        done.withLock { $0 = true }
      }
      try await Task.sleep(for: .milliseconds(50))
      return done.withLock { $0 }
    }
    await controller.close()
    await listener.close()
    _ = try await holding.value
    await running.stop()
    await sharer.session.close()
    await bench.stop()
  }

  @Test(
    "what an agent was asked: kept in zrok's form; what cannot be read is not overwritten; a file of the first generation is put aside"
  )
  func registry() throws {
    let directory = NSTemporaryDirectory() + "registry-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let registry = AgentRegistry(try ShareEnvironment.load(directory: directory))
    #expect(try registry.load().isEmpty)
    var named = AgentOrder.Share(.public)
    (named.target, named.backendMode, named.basicAuth) = ("http://127.0.0.1:8000", "proxy", ["u:p"])
    named.names = [.init(namespace: "public", name: "n")]
    var tokened = AgentOrder.Share(.private)
    (tokened.target, tokened.token, tokened.closed, tokened.accessGrants) = ("/srv", "mine", true, ["bob@example.com"])
    var access = AgentOrder.Access("theirs")
    (access.autoMode, access.autoStartPort, access.autoEndPort, access.responseHeaders) = (true, 8080, 8090, ["a: b"])
    let fleeting = AgentOrder.share(.init(.public))
    try registry.save([.share(named), .share(tokened), fleeting, .access(access)])
    #expect(try registry.load() == [.share(named), .share(tokened), .access(access)])
    // As Go writes it, with a failure and empty lists.
    try Data(
      #"""
      {"v":"2","private_accesses":[{"request":{"share_token":"s","bind_address":"127.0.0.1:9191","auto_mode":false,"auto_address":"",
       "auto_start_port":0,"auto_end_port":0,"response_headers":null},"failure":{"count":2,"last_error":"x","next_retry":"2026-01-01T00:00:00Z"}}],
       "public_shares":[{"request":{"target":"/srv","basic_auth":null,"name_selections":[{"namespace_token":"public","name":"n"}],
       "backend_mode":"web","insecure":false,"oauth_provider":"","oauth_email_domains":null,"oauth_refresh_interval":"0s","closed":false,
       "access_grants":null}}]}
      """#.utf8
    ).write(to: URL(fileURLWithPath: registry.path))
    #expect(try registry.load().count == 2)
    for bad in [
      "not json", #"{"v":"3"}"#, #"{"v":"2","public_shares":{}}"#, #"{"v":"2","public_shares":[{}]}"#,
      #"{"v":"2","public_shares":[{"request":{"target":"/srv","basic_auth":["u:p",1]}}]}"#,
    ] {
      try Data(bad.utf8).write(to: URL(fileURLWithPath: registry.path))
      #expect(throws: ShareError.self, "\(bad)") { _ = try registry.load() }
    }
    let first = #"{"v":"1","reserved_shares":[{"token":"x"}]}"#
    try Data(first.utf8).write(to: URL(fileURLWithPath: registry.path))
    #expect(try registry.load().isEmpty)
    try registry.save([.access(access)])
    #expect(
      FileManager.default.contents(atPath: registry.path + ".1").map { String(decoding: $0, as: UTF8.self) } == first)
    #expect(try registry.load() == [.access(access)])
  }

  @Test("a service that gives no orders says so with 501")
  func notOffered() async throws {
    let bench = try await ShareBench.start()
    let token = try await bench.account("ann@example.com")
    for version in ["v1", "v2"] {
      for call in ["enroll", "ping", "status", "share", "unshare", "access", "unaccess", "share/http-healthcheck"] {
        #expect(await bench.call("POST", "/api/\(version)/agent/\(call)", token, ["envZId": "x"]).status == 501)
        #expect(await bench.call("POST", "/api/\(version)/agent/\(call)", nil, ["envZId": "x"]).status == 401)
      }
    }
    await bench.stop()
  }

  // MARK: grpcio

  private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
    "python/agent_peer.py"
  ).path

  private static func interpreter() async throws -> String {
    try await PythonEnvironment.interpreter("grpcio", installing: [["grpcio"]])
  }

  @Test("Google's gRPC asks our agent at its socket")
  func stranger() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let environment = try ShareEnvironment.load(directory: sharer.directory)
    let running = try Running.start(environment, bench)
    let socket = sharer.directory + "/agent.socket"
    try await Network.wait("the agent listens") { FileManager.default.fileExists(atPath: socket) }
    let mode = try FileManager.default.attributesOfItem(atPath: socket)[.posixPermissions] as? Int
    #expect(mode == 0o600)
    let report = try await PythonEnvironment.run(
      "agent_peer.py", ["socket": .string(socket), "target": .string(try Self.site(bench, "by grpc"))],
      interpreter: await Self.interpreter())
    let answers = (report["answers"]?.arrayValue ?? []).map { answer -> (String, String, JSONValue) in
      let parts = answer.arrayValue ?? []
      return (parts[0].stringValue ?? "", parts[1].stringValue ?? "", parts[2])
    }
    #expect(
      answers.map { "\($0.0) \($0.1)" } == [
        "Version ok", "SharePublic ok", "SharePublic FAILED_PRECONDITION", "SharePublic FAILED_PRECONDITION",
        "SharePrivate FAILED_PRECONDITION",
        "Status ok", "NoSuchMethod UNIMPLEMENTED", "ReleaseShare FAILED_PRECONDITION", "garbage INVALID_ARGUMENT",
        "huge CANCELLED",
        "ReleaseShare ok",
      ], "\(answers)")
    #expect(answers[0].2.arrayValue?.first == [1, "v2.0.4 [swiftlet]"])
    #expect(
      answers[2].2.stringValue?.contains("already") == true
        && answers[3].2.stringValue?.contains("no file or directory") == true)
    #expect(answers[5].2.arrayValue?.count == 1)
    #expect(report["token"]?.stringValue?.isEmpty == false)
    await running.stop()
    await bench.stop()
  }

  @Test("agents that are not ours, of either generation, are asked in their own words", arguments: [1, 2])
  func foreignAgent(generation: Int) async throws {
    let bench = try await ShareBench.start { $0.remotesAgents = true }
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let enabled = try #require(sharer.session.environment.enabled)
    try await sharer.session.enrollAgent()
    let enrollment = try #require(try sharer.session.environment.agentEnrollment())
    let peer = try PeerProcess(try await Self.interpreter(), ["serve", "\(generation)"], script: Self.script)
    let port = try #require(try await peer.line()["port"]?.intValue)
    let tunnel = HostTunnel(
      overlay: try await sharer.session.overlay(), service: enrollment, host: "127.0.0.1", port: port,
      logger: bench.network.logger)
    try await tunnel.start()
    let version = "v\(generation)"
    @Sendable func call(_ name: String, _ body: JSONObject = [:]) async -> ShareBench.Answer {
      await bench.call(
        "POST", "/api/\(version)/agent/\(name)", enabled.token,
        .object(body.merging(["envZId": .string(enabled.identity)]) { $1 }))
    }
    let ping = await call("ping")
    #expect(ping.body["version"] == .string(generation == 1 ? "v1.1.11 [abc]" : "v2.0.4 [abc]"), "\(ping)")
    let status = await call("status")
    let share = try #require(status.body["shares"]?.arrayValue?.first)
    let access = try #require(status.body["accesses"]?.arrayValue?.first)
    if generation == 1 {
      #expect(
        share == [
          "token": "tok1", "shareMode": "public", "backendMode": "proxy", "reserved": true,
          "frontendEndpoints": ["https://tok1.example"],
          "backendEndpoint": "http://127.0.0.1:1", "open": false, "status": "active",
        ])
      #expect(
        access == [
          "frontendToken": "fe-token", "token": "their-share", "bindAddress": "127.0.0.1:9191",
          "responseHeaders": ["x-a: b"],
        ])
    } else {
      #expect(
        share == [
          "token": "", "shareMode": "public", "backendMode": "web", "frontendEndpoints": [], "backendEndpoint": "/srv",
          "open": true,
          "status": "retrying",
          "failure": [
            "id": "err_12345678", "count": 3, "lastError": "no such directory", "nextRetry": "2023-11-14T22:13:20Z",
          ],
        ])
      #expect(access["status"] == "active")
    }
    var order: JSONObject = [
      "shareMode": "public", "target": "http://127.0.0.1:1", "backendMode": "proxy", "insecure": true, "open": false,
      "basicAuth": ["u:p"],
      "accessGrants": ["bob@example.com"], "oauthProvider": "google",
    ]
    if generation == 1 {
      order["frontendSelection"] = ["public"]
      order["oauthEmailAddressPatterns"] = ["*@x.y"]
      order["oauthCheckInterval"] = "3h"
    } else {
      order["nameSelections"] = [["namespaceToken": "public", "name": "n"]]
      order["oauthEmailDomains"] = ["*@x.y"]
      order["oauthRefreshInterval"] = "3h"
    }
    let made = await call("share", order)
    #expect(
      made.body == ["token": "tok2", "frontendEndpoints": ["https://tok2.example", "https://name.example"]], "\(made)")
    let hidden = await call(
      "share",
      ["shareMode": "private", "target": "t", "backendMode": "tcpTunnel", "open": true, "privateShareToken": "mine"])
    #expect(hidden.body["token"] == "tok3")
    if generation == 1 {
      let reserved = await call("share", ["shareMode": "reserved", "token": "kept", "target": "o"])
      #expect(reserved.body == ["token": "tok4", "frontendEndpoints": ["https://tok4.example"]])
    }
    // Without a mode: theirs have no default of their own.
    for target in ["/srv/photos", "127.0.0.1:8000"] {
      #expect(await call("share", ["shareMode": "public", "target": .string(target)]).status == 200)
    }
    #expect(await call("share", ["shareMode": "private", "target": "tcp://127.0.0.1:22"]).status == 200)
    #expect(await call("unshare", ["token": "tok2"]).status == 200)
    let accessed = await call(
      "access",
      [
        "token": "s", "autoMode": true, "autoAddress": "127.0.0.1", "autoStartPort": 8080, "autoEndPort": 8888,
        "responseHeaders": ["a: b"],
      ])
    #expect(accessed.body == ["frontendToken": "fe2"])
    let refused = await call("unaccess", ["frontendToken": "nope"])
    #expect(refused.status == 502 && refused.body.stringValue?.contains("agent has no access") == true)
    let check = await call(
      "share/http-healthcheck",
      ["shareToken": "tok2", "httpVerb": "GET", "endpoint": "/", "expectedHttpResponse": 200, "timeoutMs": 1500])
    if generation == 1 {
      #expect(check.status == 502)
    } else {
      #expect(check.body == ["healthy": false, "error": "unexpected status code; got '500', want '200'"])
    }
    let asked = try await peer.end()["asked"]?.arrayValue ?? []
    func fields(_ method: String) -> JSONValue? { asked.first { $0.arrayValue?[1] == .string(method) }?.arrayValue?[2] }
    #expect(asked.allSatisfy { $0.arrayValue?[0] == "Agent" })
    func orders(_ method: String, target: Int, mode: Int) -> [[String?]] {
      asked.filter { $0.arrayValue?[1] == .string(method) }.map { order in
        let fields = order.arrayValue?[2].arrayValue ?? []
        return [target, mode].map { number in
          fields.first { $0.arrayValue?[0] == JSONValue(number) }?.arrayValue?[1].stringValue
        }
      }
    }
    #expect(
      orders("SharePublic", target: 1, mode: 4).dropFirst() == [["/srv/photos", "web"], ["127.0.0.1:8000", "proxy"]])
    #expect(orders("SharePrivate", target: 1, mode: generation == 1 ? 2 : 3).last == ["127.0.0.1:22", "tcpTunnel"])
    if generation == 1 {
      #expect(
        fields("SharePublic") == [
          [1, "http://127.0.0.1:1"], [2, "u:p"], [3, "public"], [4, "proxy"], [5, 1], [6, "google"], [7, "*@x.y"],
          [8, "3h"], [9, 1],
          [10, "bob@example.com"],
        ])
      #expect(fields("SharePrivate") == [[1, "t"], [2, "tcpTunnel"]])
      #expect(fields("ShareReserved") == [[1, "kept"], [2, "o"]])
    } else {
      #expect(
        fields("SharePublic") == [
          [1, "http://127.0.0.1:1"], [2, "u:p"], [3, [[1, "public"], [2, "n"]]], [4, "proxy"], [5, 1], [6, "google"],
          [7, "*@x.y"], [8, "3h"],
          [9, 1], [10, "bob@example.com"],
        ])
      #expect(fields("SharePrivate") == [[1, "t"], [2, "mine"], [3, "tcpTunnel"]])
      #expect(fields("ShareHttpHealthcheck") == [[1, "tok2"], [2, "GET"], [3, "/"], [4, 200], [5, 1500]])
    }
    #expect(fields("AccessPrivate") == [[1, "s"], [3, 1], [4, "127.0.0.1"], [5, 8080], [6, 8888], [7, "a: b"]])
    #expect(fields("ReleaseShare") == [[1, "tok2"]])
    await tunnel.stop()
    await sharer.session.close()
    await bench.stop()
  }
}

/// A Python program that prints lines of JSON, and ends with its input.
private final class PeerProcess: Sendable {
  private let process: Mutex<Process>
  private let input = Pipe()
  private let output = Pipe()
  private let rest = Mutex(Data())

  init(_ interpreter: String, _ arguments: [String], script: String) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: interpreter)
    process.arguments = [script] + arguments
    process.standardInput = input
    process.standardOutput = output
    self.process = Mutex(process)
    try process.run()
  }

  deinit { process.withLock { if $0.isRunning { $0.terminate() } } }

  /// The next line. Waits for it on a thread of its own.
  func line() async throws -> JSONValue {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread { [self] in
        continuation.resume(
          with: Result {
            while true {
              let line = rest.withLock { rest -> Data? in
                guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
                defer { rest = Data(rest[rest.index(after: end)...]) }
                return Data(rest[rest.startIndex..<end])
              }
              if let line { return try JSONValue(parsing: Array(line)) }
              let data = output.fileHandleForReading.availableData
              guard !data.isEmpty else { throw Network.Failure("the peer ended before it said anything more") }
              rest.withLock { $0.append(data) }
            }
          })
      }
    }
  }

  func end() async throws -> JSONValue {
    try input.fileHandleForWriting.close()
    return try await line()
  }
}
