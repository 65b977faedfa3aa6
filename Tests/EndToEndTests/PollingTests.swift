import Controller
import NetworkFixture
import Swiftlet
import Testing

@Suite("An SDK's connection to its controller", .timeLimit(.minutes(5)))
struct PollingTests {
  @Test("login and all that is asked later take one connection; a controller that comes back is asked over a new one")
  func oneConnection() async throws {
    let bench = try await OverlayBench.start()
    let identity = try await IdentityFile.enroll(jwt: try await bench.network.invite("alice").jwt)
    let overlay = try await Overlay(
      identity: identity, options: .init(logger: bench.network.logger, pollInterval: .milliseconds(100)))
    let before = overlay.controllerRequests
    try await Network.wait("it asked for changes again and again") { overlay.controllerRequests >= before + 10 }
    #expect(overlay.controllerConnections == 1)

    await bench.network.stopController()
    try await bench.network.startController()
    try await bench.network.service("echo")
    #expect(try await overlay.services().map(\.name) == ["echo"])
    // While the controller was away each question needed one, in vain.
    let connections = overlay.controllerConnections
    #expect(connections >= 2)
    let since = overlay.controllerRequests
    try await Network.wait("it asks again") { overlay.controllerRequests >= since + 10 }
    #expect(overlay.controllerConnections == connections)
    await overlay.close()
    await bench.stop()
  }
}
