import Fabric
import JSON
import Model
import NIOCore
import NetworkFixture
import Swiftlet
import Testing

@testable import Controller

@Suite("Hosts follow what they host, where they may", .timeLimit(.minutes(8)))
struct HostingTests {
  /// Identities may dial and host whatever there is.
  private static func openToAll(_ bench: OverlayBench) async throws {
    let provisioning = await bench.network.provisioning
    for type in [Provisioning.PolicyKind.dial, .bind] {
      try await provisioning.createServicePolicy(
        name: "all \(type)", type: type, identityRoles: ["#all"], serviceRoles: ["#all"])
    }
  }

  private static func terminators(_ bench: OverlayBench) async throws -> [JSONValue] {
    try await bench.network.api("GET", "/terminators").arrayValue ?? []
  }

  /// Ids of the terminators, by that of their router.
  private static func byRouter(_ bench: OverlayBench) async throws -> [String: [String]] {
    Dictionary(grouping: await bench.network.controller.core.liveTerminators, by: \.routerID).mapValues { $0.map(\.id) }
  }

  // MARK: Services

  @Test(
    "a service that was deleted and made again under its name is offered again, and the first dial of a client that knew the old one reaches it"
  )
  func recreated() async throws {
    let bench = try await OverlayBench.start()
    try await Self.openToAll(bench)
    let provisioning = await bench.network.provisioning
    let old = try await provisioning.createService(name: "echo", encryptionRequired: true)
    let (host, client) = (try await bench.overlay("host"), try await bench.overlay("client"))
    let serving = try await bench.echo(host, "echo")
    try await OverlayBench.roundTrip(try await OverlayBench.dial(client, "echo"), 1000)
    for encrypted in [true, false] {
      let found = try await bench.network.api("GET", "/services?filter=name%3D%22echo%22").arrayValue?.first?["id"]?
        .stringValue
      try await bench.network.api("DELETE", "/services/\(try #require(found))")
      try await Network.wait("the old terminator is gone") { try await Self.terminators(bench).isEmpty }
      let new = try await provisioning.createService(name: "echo", encryptionRequired: encrypted)
      #expect(new != old)
      try await Network.wait("the new service is offered", seconds: 20) {
        try await Self.terminators(bench).contains { $0["serviceId"]?.stringValue == new }
      }
      try await OverlayBench.roundTrip(try await client.dial("echo"), 1000)
    }
    serving.cancel()
    await serving.value
    try await Network.wait("nothing is offered any more") { try await Self.terminators(bench).isEmpty }
    await bench.stop()
  }

  @Test("encryptionRequired changes while a host and a client run: the next dial works either way")
  func encryption() async throws {
    let bench = try await OverlayBench.start()
    let ids = try await bench.network.service("echo")
    let (host, client) = (try await bench.overlay("host"), try await bench.overlay("client"))
    let serving = try await bench.echo(host, "echo")
    try await OverlayBench.roundTrip(try await OverlayBench.dial(client, "echo"), 1000)
    for encrypted in [false, true, false] {
      let late = try await bench.overlay("late \(UInt64.random(in: 0 ... .max))")
      let open = try await client.dial("echo")
      try await bench.network.api("PATCH", "/services/\(ids.service)", ["encryptionRequired": .bool(encrypted)])
      try await OverlayBench.roundTrip(try await client.dial("echo"), 1000)
      try await Network.wait("the host has bound anew") {
        await bench.network.controller.core.fabric.terminators(ofService: ids.service).map { !$0.peerData.isEmpty } == [
          encrypted
        ]
      }
      // Another one who knows the service as it was; and a circuit that was open already goes on.
      try await OverlayBench.roundTrip(try await late.dial("echo"), 1000)
      try await OverlayBench.roundTrip(open, 1000)
    }
    serving.cancel()
    await bench.stop()
  }

  // MARK: Routers

  @Test("a router that was away is used again, one that comes later is used too, one that was disabled is left")
  func routers() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("echo")
    let first = await bench.network.routerID
    let second = try await bench.network.addRouter("second")
    let (host, client) = (try await bench.overlay("host"), try await bench.overlay("client"))
    let serving = try await bench.echo(host, "echo")
    try await Network.wait("both routers are used") { try await Set(Self.byRouter(bench).keys) == [first, second] }
    let before = try await Self.byRouter(bench)[second]
    await bench.network.stopRouter("second")
    // Long enough for the host to learn that the controller does not know where the router is.
    try await Task.sleep(for: .seconds(1))
    try await bench.network.startRouter("second")
    try await Network.wait("the router that came back is used", seconds: 20) {
      let now = try await Self.byRouter(bench)[second]
      return now?.count == 1 && now != before
    }
    let third = try await bench.network.addRouter("third")
    try await Network.wait("the router that came later is used", seconds: 20) {
      try await Set(Self.byRouter(bench).keys) == [first, second, third]
    }
    await bench.network.stopRouter()
    try await OverlayBench.roundTrip(try await OverlayBench.dial(client, "echo"), 1000)
    try await bench.network.api("PATCH", "/edge-routers/\(second)", ["disabled": true])
    try await Network.wait("a router that was disabled is left") { try await Self.byRouter(bench)[second] == nil }
    try await OverlayBench.roundTrip(try await OverlayBench.dial(client, "echo"), 1000)
    serving.cancel()
    await bench.stop()
  }

  // MARK: Cost and precedence

  /// Cost and precedence of the hosts of a service, as the API tells them.
  private static func standings(_ bench: OverlayBench, _ service: String) async throws -> [String] {
    try await bench.network.api("GET", "/services/\(service)/terminators").arrayValue?.map {
      "\($0["cost"]?.intValue ?? -1) \($0["precedence"]?.stringValue ?? "")"
    }.sorted() ?? []
  }

  @Test("what an identity says of hosting stands for its hosts, live ones too, but for what a host asks for itself")
  func standing() async throws {
    let bench = try await OverlayBench.start()
    let (one, two) = (try await bench.network.service("one").service, try await bench.network.service("two").service)
    let (id, host) = try await bench.member("host")
    try await bench.network.api(
      "PATCH", "/identities/\(id)",
      [
        "defaultHostingCost": 7, "defaultHostingPrecedence": "failed", "serviceHostingCosts": [two: 9],
        "serviceHostingPrecedences": [two: "required"],
      ])
    let plain = try await host.listen("one")
    let own = try await host.listen("one", options: .init(cost: 44))
    let special = try await host.listen("two")
    try await Network.wait("all are hosted") { await bench.network.controller.core.fabric.terminatorCount == 3 }
    #expect(try await Self.standings(bench, one) == ["44 failed", "7 failed"])
    #expect(try await Self.standings(bench, two) == ["9 required"])
    try await bench.network.api(
      "PATCH", "/identities/\(id)", ["defaultHostingCost": 8, "defaultHostingPrecedence": "required"])
    #expect(try await Self.standings(bench, one) == ["44 required", "8 required"])
    #expect(try await Self.standings(bench, two) == ["9 required"])
    try await bench.network.api(
      "PATCH", "/identities/\(id)",
      ["serviceHostingCosts": .object([:]), "serviceHostingPrecedences": [two: "default"]])
    #expect(try await Self.standings(bench, two) == ["8 default"])
    // As when the router reports its hosts once more.
    await bench.network.stopController()
    try await bench.network.startController()
    try await Network.wait("all are hosted again") { await bench.network.controller.core.fabric.terminatorCount == 3 }
    #expect(try await Self.standings(bench, one) == ["44 required", "8 required"])
    for listener in [plain, own, special] { await listener.close() }
    await bench.stop()
  }
}
