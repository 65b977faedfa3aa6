import Controller
import EdgeRouter
import Foundation
import JSON
import Model
import NIOCore
import NetworkFixture
import Swiftlet
import Testing

@Suite("Rights to routers that come back", .timeLimit(.minutes(10)))
struct RouterRightsTests {
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
        try await provisioning.createEdgeRouterPolicy(
          name: role, identityRoles: ["#\(role)"], edgeRouterRoles: ["#all"])
      }
      let clientPolicy = try await routers("client-\(name)")
      let hostPolicy = try await routers("host-\(name)")
      let servicePolicy = try await provisioning.createServiceEdgeRouterPolicy(
        name: "service-\(name)", serviceRoles: ["@\(service)"], edgeRouterRoles: ["#all"])
      let host = try await bench.overlay("host-\(name)", roles: ["host-\(name)"])
      let client = try await bench.overlay("client-\(name)", roles: ["client-\(name)"])
      let serving = try await bench.echo(host, name)
      let flow = Flow(
        bench: bench, client: client, host: host, serving: serving, stream: try await OverlayBench.dial(client, name),
        service: service,
        clientPolicy: clientPolicy, hostPolicy: hostPolicy, servicePolicy: servicePolicy)
      try await flow.flows()
      return flow
    }

    func flows() async throws {
      try await stream.write(ByteBuffer(string: "ping"))
      #expect(try await stream.read() == ByteBuffer(string: "ping"))
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

  /// What ends is the subject of `AttackTests.RevocationTests`; this is about what must not end with it, and about
  /// coming back.
  @Test("a dialler, a host and a service that lost their routers get them back")
  func back() async throws {
    let bench = try await bench()
    let provisioning = await bench.network.provisioning
    let first = try await Flow.start(bench, "one")
    let second = try await Flow.start(bench, "two")
    try await bench.network.api("DELETE", "/service-edge-router-policies/\(first.servicePolicy)")
    try await Network.wait("one circuit is gone") { await bench.network.router?.circuitCount == 1 }
    try await second.flows()
    #expect(try await bench.network.api("GET", "/services/\(first.service)/terminators").arrayValue?.isEmpty == true)
    #expect(try await bench.network.api("GET", "/services/\(second.service)/terminators").arrayValue?.count == 1)
    try await bench.network.api("DELETE", "/edge-router-policies/\(second.hostPolicy)")
    try await bench.network.api("DELETE", "/edge-router-policies/\(first.clientPolicy)")
    try await Network.wait("the router has no circuit") { await bench.network.router?.circuitCount == 0 }
    try await Network.wait("the controller has no circuit") { await bench.network.controller.circuitCount == 0 }

    try await provisioning.createServiceEdgeRouterPolicy(
      name: "again", serviceRoles: ["#all"], edgeRouterRoles: ["#all"])
    try await provisioning.createEdgeRouterPolicy(name: "again", identityRoles: ["#all"], edgeRouterRoles: ["#all"])
    try await OverlayBench.roundTrip(try await OverlayBench.dial(first.client, "one"), 1000)
    try await OverlayBench.roundTrip(try await OverlayBench.dial(second.client, "two"), 1000)
    await first.stop()
    await second.stop()
    await bench.stop()
  }
}
