import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NetworkFixture
import PKI
import Swiftlet
import Testing
import Transport
import X509

/// H7: routers have certificates of the network's authority with host names in them, and must not pass for a
/// controller.
@Suite("A false controller", .timeLimit(.minutes(5)))
struct FalseControllerTests {
  /// Counts whoever completes a handshake.
  private struct Trap: ConnectionAcceptor {
    let caught = NIOLockedValueBox(0)

    func accept(_ channel: any Channel, peer: PresentedPeer, alpn: String?, stranger: Stranger) -> EventLoopFuture<
      ConnectionTask
    > {
      caught.withLockedValue { $0 += 1 }
      channel.close(promise: nil)
      return channel.eventLoop.makeSucceededFuture({})
    }
  }

  /// - Returns: whether a client that dials a server with that certificate, under a name that it bears, talks to it.
  private func isBelieved(_ credential: Credential, by trust: ServerTrust) async throws -> Bool {
    try await Self.serving(credential) { port, _ in
      do {
        _ = try await HTTPSClient(tls: ClientTLS(trust: trust)).request(
          "https://127.0.0.1:\(port)/", timeout: .seconds(20))
        return true
      } catch TransportError.serverNotTrusted {
        return false
      } catch {
        // It believed, and was hung up on.
        return true
      }
    }
  }

  private static func serving<Result: Sendable>(
    _ credential: Credential, _ body: @Sendable (Int, Trap) async throws -> Result
  ) async throws -> Result {
    let trap = Trap()
    let listener = TLSListener(
      host: "127.0.0.1", port: 0, identity: try ServerIdentity(chain: credential.chain, key: credential.key),
      acceptors: [], fallback: trap,
      logger: .init(label: "false controller"))
    let port = try #require(try await listener.start().port)
    let running = Task { try await listener.run() }
    defer { running.cancel() }
    return try await body(port, trap)
  }

  @Test(
    "no client of ours takes a router, an identity or a nameless server for a controller, once it knows that controllers have names"
  )
  func table() async throws {
    let scene = try await Scene.start()
    let anchors = try scene.victim.identity.trustAnchors()
    #expect(scene.victim.identity.trustDomain == scene.trustDomain, "enrollment remembers it")
    let (domain, signer) = (scene.trustDomain, scene.signer)
    func server(_ uris: [String]) throws -> Credential {
      let key = try PrivateKey.generate(.p256)
      return Credential(
        key: key, chain: try signer.issueServer(publicKey: key.publicKey, names: ["127.0.0.1"], uris: uris, now: Date())
      )
    }
    // Of each: whether it passes where the trust domain is known, and where it is not.
    let servers: [(String, Credential, known: Bool, unknown: Bool)] = [
      ("a controller", try server(["spiffe://\(domain)/controller/c"]), true, true),
      ("the router's own certificate", try scene.routerCredential("server"), false, false),
      ("an identity's id", try server(["spiffe://\(domain)/identity/i"]), false, false),
      ("without an id, as OpenZiti's controllers and routers have it", try server([]), false, true),
      ("a controller of another domain", try server(["spiffe://elsewhere/controller/c"]), false, true),
      (
        "a router's id and a controller's",
        try server(["spiffe://\(domain)/router/r", "spiffe://\(domain)/controller/c"]), false, false
      ),
      ("below a controller's id", try server(["spiffe://\(domain)/controller/c/router/r"]), false, true),
    ]
    for (name, credential, known, unknown) in servers {
      #expect(
        try await isBelieved(credential, by: .anchors(anchors, as: .controller(of: domain))) == known,
        "\(name), domain known")
      #expect(
        try await isBelieved(credential, by: .anchors(anchors, as: .controller(of: nil))) == unknown,
        "\(name), domain not known")
    }
    await scene.stop()
  }

  @Test("an SDK that is led to a router instead of the controller sends it nothing")
  func overlay() async throws {
    let scene = try await Scene.start()
    try await Self.serving(scene.routerCredential("server")) { port, trap in
      for remembered in [scene.trustDomain, nil] {
        var identity = scene.victim.identity
        identity.controllers = ["https://127.0.0.1:\(port)"]
        identity.trustDomain = remembered
        await #expect(throws: (any Error).self) { _ = try await Overlay(identity: identity) }
      }
      #expect(trap.caught.withLockedValue { $0 } == 0)
    }
    await scene.stop()
  }

  @Test("the memory of the trust domain survives the file")
  func file() async throws {
    let identity = IdentityFile(
      controllers: ["https://c:1"], key: "k", certificate: "c", authorities: "a", trustDomain: "net")
    #expect(
      try IdentityFile(parsing: identity.serialized())
        == IdentityFile(parsing: IdentityFile(parsing: identity.serialized()).serialized()))
    #expect(try IdentityFile(parsing: identity.serialized()).trustDomain == "net")
    let without = IdentityFile(controllers: ["https://c:1"], key: "k", certificate: "c", authorities: "a")
    #expect(try IdentityFile(parsing: without.serialized()).trustDomain == nil)
    #expect(!String(decoding: without.serialized(), as: UTF8.self).contains("trustDomain"))
  }
}
