import Controller
import EdgeRouter
import Foundation
import Model
import NIOCore
import NetworkFixture
import Swiftlet
import Testing

@Suite("What has lost its right stops flowing", .timeLimit(.minutes(10)))
struct RevocationTests {
  /// A dialler and a host with an open circuit between them; each may use routers by a policy of its own.
  private struct Flow {
    let bench: OverlayBench
    let client: Overlay
    let host: Overlay
    let serving: Task<Void, Never>
    let stream: OverlayStream
    let service: String
    let clientPolicy: String
    let hostPolicy: String
    let servicePolicy: String

    static func start(_ bench: OverlayBench, _ name: String) async throws -> Flow {
      let provisioning = await bench.network.provisioning
      let service = try await bench.network.service(name).service
      func routers(_ role: String) async throws -> String {
        try await provisioning.createEdgeRouterPolicy(name: role, identityRoles: ["#\(role)"], edgeRouterRoles: ["#all"])
      }
      let clientPolicy = try await routers("client-\(name)")
      let hostPolicy = try await routers("host-\(name)")
      let servicePolicy = try await provisioning.createServiceEdgeRouterPolicy(
        name: "service-\(name)", serviceRoles: ["@\(service)"], edgeRouterRoles: ["#all"])
      let host = try await bench.overlay("host-\(name)", roles: ["host-\(name)"])
      let client = try await bench.overlay("client-\(name)", roles: ["client-\(name)"])
      let serving = try await bench.echo(host, name)
      let flow = Flow(
        bench: bench, client: client, host: host, serving: serving, stream: try await OverlayBench.dial(client, name), service: service,
        clientPolicy: clientPolicy, hostPolicy: hostPolicy, servicePolicy: servicePolicy)
      try await flow.flows()
      return flow
    }

    func flows() async throws {
      try await stream.write(ByteBuffer(string: "ping"))
      #expect(try await stream.read() == ByteBuffer(string: "ping"))
    }

    /// The circuit is gone at the router and at the controller, and the dialler is told.
    func ends() async throws {
      try await Network.wait("the router has no circuit") { await (bench.network.router?.circuitCount ?? 0) == 0 }
      try await Network.wait("the controller has no circuit") { await bench.network.controller.circuitCount == 0 }
      await #expect(throws: (any Error).self) {
        // A stream that ended without an error would read as its end.
        while try await stream.read() != nil {}
        try await stream.write(ByteBuffer(string: "more"))
        throw CancellationError()
      }
    }

    func stop() async {
      serving.cancel()
      await client.close()
      await host.close()
    }
  }

  /// A network in which nobody may use a router but by the policies of a flow.
  private func bench() async throws -> OverlayBench {
    let bench = try await OverlayBench.start()
    for kind in ["edge-router-policies", "service-edge-router-policies"] {
      for policy in try await bench.network.api("GET", "/\(kind)").arrayValue ?? [] {
        try await bench.network.api("DELETE", "/\(kind)/\(policy["id"]?.stringValue ?? "")")
      }
    }
    return bench
  }

  @Test("an edge router policy ends: the dialler's, then the host's")
  func edgeRouterPolicy() async throws {
    let bench = try await bench()
    let first = try await Flow.start(bench, "one")
    let second = try await Flow.start(bench, "two")
    try await bench.network.api("DELETE", "/edge-router-policies/\(first.clientPolicy)")
    try await Network.wait("one circuit is gone") { await bench.network.router?.circuitCount == 1 }
    try await second.flows()
    try await bench.network.api("DELETE", "/edge-router-policies/\(second.hostPolicy)")
    try await first.ends()
    try await second.ends()
    let service = second.service
    try await Network.wait("nothing is hosted") {
      try await bench.network.api("GET", "/services/\(service)/terminators").arrayValue?.isEmpty ?? false
    }
    // The right comes back, and with it what it allows.
    _ = try await bench.network.provisioning.createEdgeRouterPolicy(name: "again", identityRoles: ["#client-one"], edgeRouterRoles: ["#all"])
    try await OverlayBench.roundTrip(try await OverlayBench.dial(first.client, "one"), 1000)
    await first.stop()
    await second.stop()
    await bench.stop()
  }

  @Test("a service edge router policy ends: circuits and hosts of the service, and of no other")
  func serviceEdgeRouterPolicy() async throws {
    let bench = try await bench()
    let flow = try await Flow.start(bench, "one")
    let other = try await Flow.start(bench, "two")
    try await bench.network.api("DELETE", "/service-edge-router-policies/\(flow.servicePolicy)")
    try await Network.wait("one circuit is gone") { await bench.network.router?.circuitCount == 1 }
    try await Network.wait("the controller knows one circuit") { await bench.network.controller.circuitCount == 1 }
    try await other.flows()
    #expect(try await bench.network.api("GET", "/services/\(flow.service)/terminators").arrayValue?.isEmpty == true)
    #expect(try await bench.network.api("GET", "/services/\(other.service)/terminators").arrayValue?.count == 1)
    await other.stream.close()
    try await flow.ends()
    await flow.stop()
    await other.stop()
    await bench.stop()
  }

  @Test("certificates are forbidden by the auth policy: what runs ends, and new logins are refused")
  func forbiddenCertificate() async throws {
    let bench = try await bench()
    let flow = try await Flow.start(bench, "one")
    try await bench.network.api("PATCH", "/auth-policies/default", ["primary": ["cert": ["allowed": false, "allowExpiredCerts": false]]])
    try await flow.ends()
    await #expect(throws: OverlayError.self) { _ = try await bench.overlay("late") }
    await flow.stop()
    await bench.stop()
  }

  @Test("a router is disabled: everything on it ends")
  func disabledRouter() async throws {
    let bench = try await bench()
    let flow = try await Flow.start(bench, "one")
    let id = await bench.network.routerID
    try await bench.network.api("PATCH", "/edge-routers/\(id)", ["disabled": true])
    try await flow.ends()
    try await Network.wait("the router is gone") { await bench.network.controller.connectedRouters.isEmpty }
    await flow.stop()
    await bench.stop()
  }
}
