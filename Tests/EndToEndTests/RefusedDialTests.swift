import Controller
import NetworkFixture
import Swiftlet
import Testing

@Suite("What an SDK asks of its controller", .timeLimit(.minutes(5)))
struct RefusedDialTests {
  @Test(
    "dials of what may not be dialled cost the controller a few requests, however many there are; a right that comes is used by the next dial"
  )
  func refused() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("closed", dial: ["#nobody"])
    let (host, client) = (try await bench.overlay("host"), try await bench.overlay("client"))
    let serving = try await bench.echo(host, "closed")
    for name in ["closed", "nosuch"] {
      let before = client.controllerRequests
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<300 {
          group.addTask { await #expect(throws: OverlayError.self) { _ = try await client.dial(name) } }
        }
      }
      // One look under way and one behind it; a busy machine may spread the dials over some more.
      #expect(client.controllerRequests - before <= 12, "\(name)")
    }
    let before = client.controllerRequests
    for _ in 0..<8 { await #expect(throws: OverlayError.self) { _ = try await client.dial("nosuch") } }
    #expect(client.controllerRequests - before <= 12)
    try await bench.network.provisioning.createServicePolicy(
      name: "open now", type: .dial, identityRoles: ["#all"], serviceRoles: ["#all"])
    try await OverlayBench.roundTrip(try await client.dial("closed"), 1000)
    serving.cancel()
    await bench.stop()
  }

  @Test("many first dials of a service ask for one session")
  func session() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("echo")
    let (host, client) = (try await bench.overlay("host"), try await bench.overlay("client"))
    let serving = try await bench.echo(host, "echo")
    let before = client.controllerRequests
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<50 { group.addTask { try await OverlayBench.roundTrip(try await client.dial("echo"), 100) } }
      try await group.waitForAll()
    }
    #expect(client.controllerRequests - before <= 3)
    serving.cancel()
    await bench.stop()
  }
}
