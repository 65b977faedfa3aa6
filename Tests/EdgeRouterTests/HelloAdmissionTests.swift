import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import PKI
import Testing
import Transport
import Wire

@testable import EdgeRouter

@Suite("Hellos of strangers at the edge", .timeLimit(.minutes(5)))
struct HelloAdmissionTests {
  @Test("what cannot be a token is refused without waiting for its session")
  func hopelessTokens() async throws {
    #expect(EdgeAdmission.isToken("0d9d28a6-52ee-4b4d-8dc2-d5b7b4a3c0aa"))
    for token in [String(repeating: "a", count: 65), "a b", "a\u{0}", "ä", "../etc", "a;b"] {
      #expect(!EdgeAdmission.isToken(token))
    }
    try await withRouter { router in
      for token in [String(repeating: "a", count: 12_000), "not a token"] {
        await #expect {
          _ = try await TestSDK(address: router.address, tls: router.alice, token: token)
        } throws: { error in
          guard case .helloRefused(_, "invalid api session", _)? = error as? TransportError else { return false }
          return true
        }
      }
      // Ours before the hello was judged: longer than any hello of an SDK.
      await #expect(throws: TransportError.self) {
        _ = try await TestSDK(address: router.address, tls: router.alice, token: String(repeating: "a", count: 60_000))
      }
    }
  }

  @Test("whoever gives up waiting for a session leaves nothing behind")
  func goneWhileWaiting() async throws {
    let root = try CertificateAuthority.createRoot(name: "root", trustDomain: "test", algorithm: .p256, now: .init())
    let core = RouterCore(
      routerID: "r", anchors: TrustAnchors([root.chain.leaf]), circuitQueue: 1, circuitGrace: .seconds(1),
      identityLimits: IdentityLimits(),
      logger: Logger(label: "test"))
    let waiting = (0..<50).map { index in Task { await core.session("token-\(index % 3)", within: .minutes(4)) } }
    for _ in 0..<1000 where core.state.withLockedValue({ $0.waiting.values.reduce(0) { $0 + $1.count } }) < 50 {
      try await Task.sleep(for: .milliseconds(10))
    }
    for task in waiting { task.cancel() }
    for task in waiting { #expect(await task.value == nil) }
    #expect(core.state.withLockedValue { $0.waiting.isEmpty })
  }
}
