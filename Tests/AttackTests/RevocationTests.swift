import Controller
import Foundation
import JSON
import Model
import NIOCore
import NetworkFixture
import Swiftlet
import Synchronization
import Testing

/// A10 of field.md D.4: a right that is taken away ends what runs on it, at both ends, and nothing else.
@Suite("What is revoked ends under traffic", .timeLimit(.minutes(10)))
struct RevocationTests {
  /// The members of one circuit under traffic.
  struct Ids: Sendable {
    let service: String
    let dialPolicy: String
    let bindPolicy: String
    let dialler: String
    let host: String
    /// Edge-router policies of the two, and the service edge-router policy of the service; nobody else's.
    let diallerRouters: String
    let hostRouters: String
    let serviceRouters: String
    /// The auth policy that both log in by.
    let authPolicy: String
  }

  /// One way to take a right away. Paths are of the management API.
  struct Revocation: Sendable, CustomTestStringConvertible {
    let name: String
    /// Whether the dialler can dial again afterwards: an ended session is made anew.
    var mayDialAgain = false
    let apply: @Sendable (Network, Ids) async throws -> Void
    var testDescription: String { name }
  }

  static let revocations: [Revocation] = [
    Revocation(name: "the dial policy is deleted") { try await $0.api("DELETE", "/service-policies/\($1.dialPolicy)") },
    Revocation(name: "the dial policy names nobody any more") {
      try await $0.api("PATCH", "/service-policies/\($1.dialPolicy)", ["identityRoles": []])
    },
    Revocation(name: "the bind policy is deleted") { try await $0.api("DELETE", "/service-policies/\($1.bindPolicy)") },
    Revocation(name: "the dialler loses its role") {
      try await $0.api("PATCH", "/identities/\($1.dialler)", ["roleAttributes": []])
    },
    Revocation(name: "the host loses its role") {
      try await $0.api("PATCH", "/identities/\($1.host)", ["roleAttributes": []])
    },
    Revocation(name: "the dialler is disabled") {
      try await $0.api("POST", "/identities/\($1.dialler)/disable", ["durationMinutes": 0])
    },
    Revocation(name: "the host is disabled") {
      try await $0.api("POST", "/identities/\($1.host)/disable", ["durationMinutes": 0])
    },
    Revocation(name: "the dialler is deleted") { try await $0.api("DELETE", "/identities/\($1.dialler)") },
    Revocation(name: "the host is deleted") { try await $0.api("DELETE", "/identities/\($1.host)") },
    Revocation(name: "the service is deleted") { try await $0.api("DELETE", "/services/\($1.service)") },
    Revocation(name: "the dialler's API session is ended", mayDialAgain: true) {
      try await endSessions(of: $1.dialler, on: $0)
    },
    Revocation(name: "the host's API session is ended", mayDialAgain: true) {
      try await endSessions(of: $1.host, on: $0)
    },
    Revocation(name: "the dialler's certificate is withdrawn") {
      try await withdrawCertificates(of: $1.dialler, on: $0)
    },
    Revocation(name: "the host's certificate is withdrawn") { try await withdrawCertificates(of: $1.host, on: $0) },
    Revocation(name: "the dialler may use no router any more") {
      try await $0.api("DELETE", "/edge-router-policies/\($1.diallerRouters)")
    },
    Revocation(name: "the host may use no router any more") {
      try await $0.api("DELETE", "/edge-router-policies/\($1.hostRouters)")
    },
    Revocation(name: "the service may use no router any more") {
      try await $0.api("DELETE", "/service-edge-router-policies/\($1.serviceRouters)")
    },
    Revocation(name: "the auth policy forbids certificates") {
      try await $0.api(
        "PATCH", "/auth-policies/\($1.authPolicy)",
        [
          "primary": [
            "cert": ["allowed": false], "updb": ["allowed": true], "extJwt": ["allowed": false, "allowedSigners": []],
          ]
        ])
    },
  ]

  private static func endSessions(of identity: String, on network: Network) async throws {
    for session in try await network.api("GET", "/api-sessions?limit=500").arrayValue ?? []
    where session["identityId"]?.stringValue == identity {
      try await network.api("DELETE", "/api-sessions/\(session["id"]?.stringValue ?? "")")
    }
  }

  private static func withdrawCertificates(of identity: String, on network: Network) async throws {
    for authenticator in try await network.api("GET", "/identities/\(identity)/authenticators").arrayValue ?? [] {
      try await network.api("DELETE", "/authenticators/\(authenticator["id"]?.stringValue ?? "")")
    }
  }

  @Test("every way to take a right away ends both ends of the circuit, and no other")
  func table() async throws {
    // Nobody may use a router but by the policies of each case.
    let network = try await Network.start(sharesRouters: false)
    let bench = OverlayBench(network: network)
    let bystander = try await Traffic(bench, "bystander")
    for (number, revocation) in Self.revocations.enumerated() {
      let traffic = try await Traffic(bench, "case-\(number)")
      let began = ContinuousClock.now
      try await revocation.apply(network, traffic.ids)
      try await Network.wait("\(revocation.name): the dialler's end is over") { traffic.isDiallerOver }
      try await Network.wait("\(revocation.name): the host's end is over") { traffic.isHostOver }
      let took = ContinuousClock.now - began
      // Seconds are judged by `./run soak`, on a machine that does nothing else.
      if ProcessInfo.processInfo.environment["SWIFTLET_TIMED"] != nil {
        #expect(took < .seconds(1), "\(revocation.name)")
      }
      if !revocation.mayDialAgain {
        await #expect(throws: (any Error).self, "\(revocation.name): dials again") { _ = try await traffic.dialAgain() }
      }
      await traffic.stop()
      #expect(!bystander.isDiallerOver && !bystander.isHostOver, "\(revocation.name) ended somebody else's circuit")
    }
    await bystander.stop()
    await network.stop()
  }

  @Test("a router that is disabled or deleted carries nothing on", arguments: ["disabled", "deleted"])
  func router(what: String) async throws {
    let network = try await Network.start(sharesRouters: false)
    let traffic = try await Traffic(OverlayBench(network: network), "case")
    let id = await network.routerID
    if what == "disabled" {
      try await network.api("PATCH", "/edge-routers/\(id)", ["disabled": true])
    } else {
      try await network.api("DELETE", "/edge-routers/\(id)")
    }
    try await Network.wait("the dialler's end is over") { traffic.isDiallerOver }
    try await Network.wait("the host's end is over") { traffic.isHostOver }
    await traffic.stop()
    await network.stop()
  }
}

/// Two identities with a service of their own, and a circuit between them on which bytes go to and fro without a pause.
private final class Traffic: Sendable {
  let ids: RevocationTests.Ids
  private let name: String
  private let dialler: Overlay
  private let host: Overlay
  private let tasks: [Task<Void, Never>]
  private let over: Over

  final class Over: Sendable {
    private let state = Mutex((dialler: false, host: false))
    var dialler: Bool { state.withLock { $0.dialler } }
    var host: Bool { state.withLock { $0.host } }
    func diallerIsOver() { state.withLock { $0.dialler = true } }
    func hostIsOver() { state.withLock { $0.host = true } }
  }

  var isDiallerOver: Bool { over.dialler }
  var isHostOver: Bool { over.host }

  init(_ bench: OverlayBench, _ name: String) async throws {
    self.name = name
    let network = bench.network
    let policy = try await network.api(
      "POST", "/auth-policies",
      [
        "name": .string(name),
        "primary": [
          "cert": ["allowed": true, "allowExpiredCerts": false],
          "updb": [
            "allowed": false, "lockoutDurationMinutes": 0, "maxAttempts": 0, "minPasswordLength": 5,
            "requireMixedCase": false,
            "requireNumberChar": false, "requireSpecialChar": false,
          ],
          "extJwt": ["allowed": false, "allowedSigners": []],
        ],
        "secondary": ["requireTotp": false],
      ])
    let authPolicy = policy["id"]?.stringValue ?? ""
    let service = try await network.service(name, dial: ["#\(name)-dials"], bind: ["#\(name)-hosts"])
    // Policies before the log-in: sessions are made with what holds then.
    func routers(_ role: String) async throws -> String {
      try await network.provisioning.createEdgeRouterPolicy(
        name: role, identityRoles: ["#\(role)"], edgeRouterRoles: ["#all"])
    }
    let (diallerRouters, hostRouters) = (try await routers("\(name)-dials-via"), try await routers("\(name)-hosts-via"))
    let serviceRouters = try await network.provisioning.createServiceEdgeRouterPolicy(
      name: name, serviceRoles: ["@\(service.service)"], edgeRouterRoles: ["#all"])
    let dialler = try await bench.member(
      "\(name)-dialler", roles: ["\(name)-dials", "\(name)-dials-via"], authPolicy: authPolicy)
    let host = try await bench.member(
      "\(name)-host", roles: ["\(name)-hosts", "\(name)-hosts-via"], authPolicy: authPolicy)
    ids = RevocationTests.Ids(
      service: service.service, dialPolicy: service.dialPolicy, bindPolicy: service.bindPolicy, dialler: dialler.id,
      host: host.id,
      diallerRouters: diallerRouters, hostRouters: hostRouters, serviceRouters: serviceRouters, authPolicy: authPolicy)
    (self.dialler, self.host) = (dialler.overlay, host.overlay)
    let over = Over()
    self.over = over
    let listener = try await host.overlay.listen(name)
    let serving = Task {
      do {
        for try await stream in listener {
          await OverlayBench.echo(stream)
          over.hostIsOver()
        }
      } catch {}
    }
    let stream = try await OverlayBench.dial(dialler.overlay, name)
    try await stream.write(ByteBuffer(string: "first"))
    _ = try await stream.read()
    let talking = Task {
      do {
        repeat { try await stream.write(ByteBuffer(repeating: 7, count: 1000)) } while try await stream.read() != nil
      } catch {}
      over.diallerIsOver()
    }
    tasks = [serving, talking]
  }

  func dialAgain() async throws { await (try await dialler.dial(name)).close() }

  func stop() async {
    for task in tasks { task.cancel() }
    await dialler.close()
    await host.close()
  }
}
