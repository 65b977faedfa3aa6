import Controller
import EdgeRouter
import Foundation
import JSON
import Model
import NetworkFixture
import Synchronization
import Testing

@Suite("The Python SDK from PyPI, unchanged", .serialized, .timeLimit(.minutes(15)))
struct PythonInteropTests {
  /// A network on which Python hosts a service.
  private struct Bench {
    let sdk: PythonSDK
    let network: Network
    let ids: Network.ServiceIDs
    let client: String
    let hostFile: String
    let server: PythonSDK.Script

    static func start(_ service: String, kind: String = "--echo", clientRoles: [String] = []) async throws -> Bench {
      let sdk = try await PythonSDK.shared.value
      let network = try await Network.start()
      let host = try await sdk.enroll(network, "host")
      let client = try await sdk.enroll(network, "client", roles: clientRoles)
      let ids = try await network.service(service)
      let server = try sdk.start("host.py", [host, service, kind])
      let hosting = try #require(try await server.event("hosting"))
      #expect(hosting.ok == true, "\(hosting.error ?? "")")
      return Bench(sdk: sdk, network: network, ids: ids, client: client, hostFile: host, server: server)
    }

    func dial(_ arguments: [String]) throws -> PythonSDK.Script { try sdk.start("dial.py", [client] + arguments) }

    /// Dials until it works: SDKs and routers take a moment to find each other again.
    func dialAgain(_ arguments: [String]) async throws {
      var last = ""
      for _ in 0..<20 {
        let script = try dial(arguments)
        defer { script.stop() }
        if let dialed = try await script.event("dialed") {
          if dialed.ok == true, let echoed = try await script.event("echoed"), echoed.ok == true { return }
          last = dialed.error ?? "no echo"
        }
        try await Task.sleep(for: .milliseconds(500))
      }
      Issue.record("the service cannot be reached again: \(last)")
    }

    func stop() async {
      server.stop()
      await network.stop()
    }
  }

  @Test(
    "enrolls, hosts and dials: 300 kB come back byte for byte; its identity's cost and precedence as a host reach it while it hosts"
  )
  func echo() async throws {
    let bench = try await Bench.start("echo")
    let dialler = try bench.dial(["echo"])
    let dialed = try #require(try await dialler.event("dialed"))
    #expect(dialed.ok == true, "\(dialed.error ?? "")")
    let echoed = try await dialler.event("echoed")
    #expect(echoed?.ok == true)
    #expect(echoed?.received == 300_000)
    let found = try await bench.network.api("GET", "/identities?filter=name%3D%22host%22")
    let id = try #require(found.arrayValue?.first?["id"]?.stringValue)
    try await bench.network.api(
      "PATCH", "/identities/\(id)",
      ["defaultHostingCost": 12, "serviceHostingPrecedences": [bench.ids.service: "required"]])
    let terminators = try await bench.network.api("GET", "/services/\(bench.ids.service)/terminators").arrayValue ?? []
    #expect(
      terminators.map { $0["cost"]?.intValue } == [12]
        && terminators.map { $0["precedence"]?.stringValue } == ["required"])
    await bench.stop()
  }

  @Test("serves Python's own web server")
  func web() async throws {
    let bench = try await Bench.start("web", kind: "--http")
    let dialler = try bench.dial(["web", "--http"])
    let answered = try #require(try await dialler.event("answered"))
    #expect(answered.status == 200)
    #expect(answered.body?.contains("hello from python") == true)
    await bench.stop()
  }

  @Test("is denied at once, with a reason, after the policy went; a circuit in flight ends")
  func policyRemoved() async throws {
    let bench = try await Bench.start("echo")
    let held = try bench.dial(["echo", "--hold"])
    _ = try #require(try await held.event("alive"))
    try await bench.network.api("DELETE", "/service-policies/\(bench.ids.dialPolicy)")
    let ended = try #require(try await held.event("ended"))
    #expect(ended.ok == true)
    let again = try bench.dial(["echo"])
    let dialed = try #require(try await again.event("dialed"))
    #expect(dialed.ok == false)
    #expect(dialed.error?.isEmpty == false)
    let advice = try await bench.network.api("GET", "/services/\(bench.ids.service)/identities?policyType=dial")
    #expect(advice.arrayValue?.isEmpty == true)
    await bench.stop()
  }

  @Test("is denied after its identity was deleted")
  func identityDeleted() async throws {
    let bench = try await Bench.start("echo")
    let held = try bench.dial(["echo", "--hold"])
    _ = try #require(try await held.event("alive"))
    let found = try await bench.network.api("GET", "/identities?filter=name%3D%22client%22")
    let id = try #require(found.arrayValue?.first?["id"]?.stringValue)
    try await bench.network.api("DELETE", "/identities/\(id)")
    #expect(try await held.event("ended")?.ok == true)
    let again = try bench.dial(["echo"])
    #expect(try await again.event("dialed")?.ok == false)
    await bench.stop()
  }

  @Test("hosts again by itself after the router was restarted")
  func routerRestarted() async throws {
    let bench = try await Bench.start("echo")
    await bench.network.stopRouter()
    try await bench.network.startRouter()
    try await bench.dialAgain(["echo"])
    await bench.stop()
  }

  @Test("keeps its circuit while the controller restarts, and dials anew afterwards")
  func controllerRestarted() async throws {
    let bench = try await Bench.start("echo")
    let held = try bench.dial(["echo", "--hold"])
    _ = try #require(try await held.event("alive"))
    await bench.network.stopController()
    try await bench.network.startController()
    let id = await bench.network.routerID
    try await Network.wait("the router is back") { await bench.network.controller.connectedRouters.contains(id) }
    try await bench.dialAgain(["echo"])
    // The old circuit lives: killing the host is what ends it.
    try await Network.wait("only the old circuit is left") { await bench.network.router?.circuitCount == 1 }
    bench.server.stop()
    #expect(try await held.event("ended")?.ok == true)
    await bench.stop()
  }

  @Test("sees the end when the host is killed, and the host's terminator goes")
  func hostKilled() async throws {
    let bench = try await Bench.start("echo")
    let held = try bench.dial(["echo", "--hold"])
    _ = try #require(try await held.event("alive"))
    bench.server.stop()
    #expect(try await held.event("ended")?.ok == true)
    try await Network.wait("the terminator is gone") {
      try await bench.network.api("GET", "/services/\(bench.ids.service)/terminators").arrayValue?.isEmpty == true
    }
    let again = try bench.dial(["echo"])
    #expect(try await again.event("dialed")?.ok == false)
    await bench.stop()
  }

  @Test(
    "enrolls with a token that was issued before the server certificate was renewed, and a dial survives the renewal")
  func renewal() async throws {
    let bench = try await Bench.start("echo")
    let invitation = try await bench.network.invite("late")
    let held = try bench.dial(["echo", "--hold"])
    _ = try #require(try await held.event("alive"))
    try await bench.network.controller.renewCertificates()
    let late = try await bench.sdk.enroll(jwt: invitation.jwt, in: bench.network.directory, "late")
    let dialler = try bench.sdk.start("dial.py", [late, "echo"])
    #expect(try await dialler.event("echoed")?.ok == true)
    #expect(await bench.network.router?.circuitCount ?? 0 >= 1)
    bench.server.stop()
    #expect(try await held.event("ended")?.ok == true)
    await bench.stop()
  }

  @Test("a token is good once")
  func usedToken() async throws {
    let sdk = try await PythonSDK.shared.value
    let network = try await Network.start()
    let invitation = try await network.invite("once")
    _ = try await sdk.enroll(jwt: invitation.jwt, in: network.directory, "once")
    let script = try sdk.start("enroll.py", [network.directory + "/once.jwt", network.directory + "/twice.json"])
    #expect(try await script.event("enrolled")?.ok == false)
    await network.stop()
  }

  @Test(
    "an expired certificate is refused on a resumed TLS session too, where policy does not allow it",
    arguments: [true, false])
  func expiredOnResumption(allowed: Bool) async throws {
    let sdk = try await PythonSDK.shared.value
    let ahead = Mutex<Int64>(0)
    let network = try await Network.start { $0.clock = { Timestamp.now().adding(seconds: ahead.withLock { $0 }) } }
    let file = try await sdk.enroll(network, "old")
    try await network.api(
      "PATCH", "/auth-policies/default", ["primary": ["cert": ["allowed": true, "allowExpiredCerts": .bool(allowed)]]])
    let script = try sdk.start("resume.py", [file])
    #expect(try await script.event("first")?.status == 200)
    ahead.withLock { $0 = 400 * 24 * 3600 }
    script.tell("go")
    let second = try #require(try await script.event("second"))
    #expect(second.ok == true, "the session was not resumed")
    #expect(second.status == (allowed ? 200 : 401))
    await network.stop()
  }
}
