import Authentication
import Fabric
import Foundation
import JSON
import Logging
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import PKI
import Store
import SwiftProtobuf
import Testing
import Transport
import Wire
import WireSchemas
import X509

@testable import Controller

/// F8 and H6: clocks that were a year ahead, a day behind, or never set.
@Suite("A wrong clock", .timeLimit(.minutes(5)))
struct WrongClockTests {
  private static let year = Int64(CertificateAuthority.Lifetime.year)
  private static let day: Int64 = 24 * 3600

  /// A controller's directory and its clock.
  private struct Machine {
    let directory = NSTemporaryDirectory() + "swiftlet-clock-" + UUID().uuidString
    let ahead = NIOLockedValueBox<Int64>(0)

    func start(ahead seconds: Int64) async throws -> ControllerCore {
      ahead.withLockedValue { $0 = seconds }
      var configuration = ControllerConfiguration(dataDirectory: directory, host: "127.0.0.1", port: 0)
      let ahead = ahead
      configuration.clock = { Timestamp.now().adding(seconds: ahead.withLockedValue { $0 }) }
      var logger = Logger(label: "test")
      logger.logLevel = .critical
      return try await ControllerCore(configuration: configuration, logger: logger)
    }

    func remove() { try? FileManager.default.removeItem(atPath: directory) }
  }

  @Test(
    "one start a year ahead, at the first start or later, is healed by the next start at the right time",
    arguments: [[year, 0], [0, year, 0]])
  func restarts(_ clocks: [Int64]) async throws {
    let machine = Machine()
    defer { machine.remove() }
    var kids: [String] = []
    for ahead in clocks {
      let core = try await machine.start(ahead: ahead)
      let leaf = core.pki.serverIdentity.chain.leaf
      #expect(leaf.isValid(at: core.now.date), "\(ahead) s ahead")
      kids.append(core.pki.signer.kid)
      // Tokens of every certificate so far can still be verified.
      #expect(Set(core.model { $0.publicKeys.keys }).isSuperset(of: kids))
      let path = try await core.pki.anchors.verify(
        leaf: leaf, intermediates: core.pki.serverIdentity.chain.intermediates, now: core.now.date,
        purpose: .serverAuth, ignoreLeafExpiry: false
      ).get()
      #expect(path.allSatisfy { $0.isValid(at: Date()) } == (ahead == 0))
    }
    #expect(Set(kids).count == kids.count)
  }

  @Test("a clock that was never set makes no network, and one beyond the authority's period ends none")
  func farAway() async throws {
    let machine = Machine()
    defer { machine.remove() }
    await #expect(throws: ConfigurationError.self) { try await machine.start(ahead: -50 * Self.year) }
    var kids: [String] = []
    for ahead in [0, -50 * Self.year, 20 * Self.year, 0] {
      kids.append(try await machine.start(ahead: ahead).pki.signer.kid)
    }
    #expect(Set(kids).count == 1, "nothing was issued outside the authority's period")
  }

  @Test("a clock that jumps and comes back costs no session, and lets none live longer", arguments: [year, -day])
  func jump(_ seconds: Int64) async throws {
    let machine = Machine()
    defer { machine.remove() }
    let core = try await machine.start(ahead: 0)
    let session = APISession(
      id: "s", token: EntityID.uuid(), identityId: "i", lastActivityAt: core.now,
      expiresAt: core.now.adding(seconds: 7200))
    _ = try await core.sessions.add(session, now: core.now)
    for ahead in [seconds, 0] {
      machine.ahead.withLockedValue { $0 = ahead }
      // Somebody uses it before the jump is noticed.
      _ = core.sessions.use(token: session.token, now: core.now)
      try await core.mindClock()
      let now = core.now
      #expect(core.sessions.expired(now: now).isEmpty)
      let kept = try #require(core.sessions.apiSession(token: session.token, now: now))
      #expect(kept.lastActivityAt <= now)
      #expect(kept.isExpired(at: now.adding(seconds: Int64(kept.idleTimeoutSeconds) + 1)))
      #expect(kept.expiresAt.map { abs($0.milliseconds(since: now) - 7_200_000) < 60_000 } == true)
      #expect(core.pki.serverIdentity.chain.leaf.isValid(at: now.date))
    }
    // The jumps were seen once each, not at every turn.
    let before = core.sessions.apiSession("s")?.lastActivityAt
    try await core.mindClock()
    #expect(core.sessions.apiSession("s")?.lastActivityAt == before)
  }

  @Test("what a clock a year ahead stored ends when it was meant to, counted from the right time")
  func stored() async throws {
    let machine = Machine()
    defer { machine.remove() }
    do {
      let core = try await machine.start(ahead: Self.year)
      let operations = Operations(core: core, context: .system("test"))
      let identity = try await operations.createIdentity([
        "name": "phone", "type": "Default", "isAdmin": false, "enrollment": ["ott": true],
      ])
      let now = core.now
      try await core.write(.system("test")) { transaction in
        var stored = try transaction.require(Identity.self, identity.id)
        (stored.disabledAt, stored.disabledUntil) = (now, now.adding(seconds: 60))
        (stored.lockedAt, stored.lockedUntil) = (now, now.adding(seconds: 60))
        try transaction.put(stored)
        // A session whose identity or proof is gone does not outlive the start.
        try transaction.put(Identity(id: "laptop", name: "laptop"))
        try transaction.put(Authenticator(id: "proof", method: .cert, identityId: "laptop", fingerprint: "f"))
      }
      let session = APISession(
        id: "s", token: EntityID.uuid(), identityId: "laptop", authenticatorId: "proof", lastActivityAt: now)
      _ = try await core.sessions.add(session, now: now)
      try await core.renewCertificatesIfDue(force: true)
    }
    let core = try await machine.start(ahead: 0)
    let soon = core.now.adding(seconds: 5)
    let (enrollments, identities) = try await core.store.read {
      (try $0.all(Enrollment.self), try $0.all(Identity.self))
    }
    #expect(enrollments.count == 1)
    #expect(
      enrollments.allSatisfy {
        $0.expiresAt <= soon.adding(seconds: Int64(core.configuration.identityEnrollmentDuration))
      })
    #expect(identities.allSatisfy { !$0.isDisabled(at: soon.adding(seconds: 60)) })
    #expect(
      core.sessions.apiSession("s")?.isExpired(at: soon.adding(seconds: Int64(core.configuration.sessionTimeout)))
        == true)
    let limit = soon.adding(seconds: Int64(SessionRegistry.tokenLifetime))
    #expect(core.model { $0.publicKeys.values.allSatisfy { $0.publishedUntil.map { $0 <= limit } ?? true } })
  }

  @Test(
    "a router and an identity that enrolled while the clock was a year ahead are known by their certificates, and the router gets a better one"
  )
  func enrolledAhead() async throws {
    let controller = try await LiveController.start()
    defer { Task { await controller.stop() } }
    let provisioning = controller.node.provisioning
    controller.ahead.withLockedValue { $0 = Self.year }
    let phone = try await controller.enrolled("phone")
    let invitation = try await provisioning.createEdgeRouter(name: "paris")
    let key = try PrivateKey.generate(.p256)
    let csr = try CSR.create(key: key, commonName: invitation.id, names: ["127.0.0.1"])
    let answer = try await controller.send(
      "POST", "/edge/client/v1/enroll?method=erott&token=\(try LiveController.oneTime(invitation.jwt))",
      ["certCsr": .string(csr), "serverCertCsr": .string(csr)])
    let chain = try CertificateChain(pem: try #require(answer.data["cert"]?.stringValue, "\(answer.text)"))
    #expect(chain.leaf.notValidBefore > Date() + 3600)

    controller.ahead.withLockedValue { $0 = 0 }
    #expect(try await controller.logIn(phone).status == 200)
    let channel = try await dial(controller, chain: chain, key: key, router: invitation.id)
    let request = EdgeCtrlEnrollmentExtendRouterRequest.with {
      ($0.clientCertCsr, $0.serverCertCsr, $0.requireVerification) = (csr, csr, true)
    }
    channel.post(Wire.Message(.extendRouterEnrollment, request))
    var renewed: CertificateChain?
    for await message in channel.messages where message.contentType == .routerCertificates {
      renewed = try CertificateChain(pem: message.decode(EdgeCtrlEnrollmentCertsResponse.self).clientCertPem)
      break
    }
    #expect(renewed?.leaf.isValid(at: Date()) == true)
    channel.close()

    // Its end is still its end.
    controller.ahead.withLockedValue { $0 = 3 * Self.year }
    await #expect(throws: TransportError.self) {
      try await dial(controller, chain: chain, key: key, router: invitation.id)
    }
  }

  private func dial(_ controller: LiveController, chain: CertificateChain, key: PrivateKey, router: String) async throws
    -> MessageChannel
  {
    let leaf = try await HTTPSClient.leaf(of: controller.node.url)
    let port = try #require(controller.node.url.split(separator: ":").last.flatMap { Int($0) })
    let hello = ControlMessages.RouterHello(
      routerID: router, version: .current, capabilities: CapabilityMask([RouterCapability.multiChannel]))
    return try await MessageChannel.dial(
      address: PeerAddress(host: "127.0.0.1", port: port), tls: ClientTLS(chain: chain, key: key, trust: .leaf(leaf)),
      alpn: ALPN.control,
      hello: hello.message(), group: MultiThreadedEventLoopGroup.singleton)
  }
}
