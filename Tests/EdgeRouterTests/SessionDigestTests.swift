import EdgeRouter
import Fabric
import NIOCore
import PKI
import Testing
import Transport
import Wire

@Suite("A router that knows sessions by digest", .timeLimit(.minutes(5)), .serialized)
struct SessionDigestTests {
  @Test(
    "asks for digests, lets in who shows the token, and names sessions to the controller as it wants them",
    arguments: [true, false])
  func names(digests: Bool) async throws {
    try await withRouter(digests: digests) {
      $0.sessionHeartbeat = .milliseconds(50)
    } _: { router in
      #expect(router.controller.capabilities.contains(RouterCapability.sessionDigests))
      #expect(router.controller.capabilities.contains(RouterCapability.dataModel))
      let alice = try await router.sdk("alice")
      let name = digests ? SessionDigest.of("token-alice") : "token-alice"
      try await eventually("a heartbeat") { router.controller.heartbeats.contains([name]) }
      #expect(router.controller.heartbeats.allSatisfy { $0 == [name] || $0.isEmpty })
      alice.channel.close()
    }
  }

  @Test("whoever shows the digest shows nothing")
  func digestIsNoToken() async throws {
    try await withRouter(digests: true) { router in
      await #expect(throws: (any Error).self) {
        _ = try await TestSDK(address: router.address, tls: router.alice, token: SessionDigest.of("token-alice"))
      }
      try await router.sdk("alice").channel.close()
    }
  }
}
