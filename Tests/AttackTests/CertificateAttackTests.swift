import Controller
import Foundation
import JSON
import Model
import NIOConcurrencyHelpers
import NetworkFixture
import PKI
import Testing
import Transport
import X509

/// A1 and A2 of field.md D.4, over every listener that takes certificates: the client API, the edge listener of a
/// router and the control channel. `/metrics`, the share service's API and public frontends ask for none and give
/// nothing for one.
@Suite("Certificates that prove nothing", .timeLimit(.minutes(5)))
struct CertificateAttackTests {
  private struct Attack: Sendable {
    let name: String
    let forge: @Sendable (Scene) throws -> Credential

    init(_ name: String, _ forge: @escaping @Sendable (Scene) throws -> Credential) {
      self.name = name
      self.forge = forge
    }
  }

  private static let attacks: [Attack] = [
    Attack("a self-signed certificate with the victim's as filler") { scene in
      try scene.certificate(scene.victim.id, uris: [scene.spiffe], helpers: scene.victim.credential.chain.all)
    },
    Attack("the stranger's own certificate with the victim's as filler") { scene in
      let own = scene.stranger.credential
      return Credential(
        key: own.key, chain: CertificateChain(leaf: own.chain.leaf, intermediates: scene.victim.credential.chain.all))
    },
    Attack("the stranger's own certificate with the router's as filler") { scene in
      let own = scene.stranger.credential
      return Credential(
        key: own.key,
        chain: CertificateChain(leaf: own.chain.leaf, intermediates: try scene.routerCredential().chain.all))
    },
    Attack("the stranger's own certificate") { $0.stranger.credential },
    Attack("a self-signed certificate with the genuine chain") { scene in
      try scene.certificate(scene.victim.id, uris: [scene.spiffe], helpers: scene.signer.chain.all)
    },
    Attack("an authority of the same names, with the genuine chain as filler") { scene in
      let foreign = try CertificateAuthority.createRoot(
        name: scene.signer.chain.leaf.commonName ?? "", trustDomain: scene.trustDomain, algorithm: .p256, now: Date())
      let forged = try scene.identity(scene.victim.id, from: foreign)
      return Credential(
        key: forged.key, chain: CertificateChain(leaf: forged.chain.leaf, intermediates: scene.signer.chain.all))
    },
    Attack("expired") { try $0.identity($0.victim.id, now: Date() - 7200) },
    Attack("not yet valid") { try $0.identity($0.victim.id, now: Date() + 7200) },
    Attack("for servers only") { scene in
      try scene.certificate(
        scene.victim.id, uris: [scene.spiffe], usage: .serverAuth, issuer: (scene.signer.chain.leaf, scene.signer.key),
        helpers: scene.signer.chain.all)
    },
    Attack("the SPIFFE id in the common name only") { scene in
      try scene.certificate(
        scene.spiffe, uris: [], issuer: (scene.signer.chain.leaf, scene.signer.key), helpers: scene.signer.chain.all)
    },
    Attack("two SPIFFE ids, the victim's first") { scene in
      try scene.certificate(
        "x", uris: [scene.spiffe, "spiffe://\(scene.trustDomain)/identity/\(scene.stranger.id)"],
        issuer: (scene.signer.chain.leaf, scene.signer.key), helpers: scene.signer.chain.all)
    },
    Attack("two SPIFFE ids, the victim's last, the other in capitals") { scene in
      try scene.certificate(
        "x", uris: ["SPIFFE://\(scene.trustDomain)/identity/\(scene.stranger.id)", scene.spiffe],
        issuer: (scene.signer.chain.leaf, scene.signer.key), helpers: scene.signer.chain.all)
    },
    Attack("a certificate of another of the victim's sessions") { scene in
      let key = try PrivateKey.generate(.p256)
      return Credential(
        key: key,
        chain: try scene.signer.issueAPISession(
          publicKey: key.publicKey, identityID: scene.victim.id, apiSessionID: "another", certificateID: "c",
          trustDomain: scene.trustDomain,
          now: Date()))
    },
    Attack("an authority that may sign for another domain only") { scene in
      let key = try PrivateKey.generate(.p256)
      let root = scene.root.chain.leaf
      let limited = try Certificate(
        version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey, notValidBefore: Date() - 60,
        notValidAfter: Date() + 3600,
        issuer: root.subject, subject: try DistinguishedName { CommonName("limited") },
        extensions: try Certificate.Extensions {
          Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
          Critical(KeyUsage(keyCertSign: true))
          Critical(NameConstraints(permittedURIDomains: ["elsewhere.example"]))
        }, issuerPrivateKey: scene.root.key.signing)
      return try scene.certificate(scene.victim.id, uris: [scene.spiffe], issuer: (limited, key), helpers: [limited])
    },
    Attack("signed by an identity instead of an authority") { scene in
      let own = scene.stranger.credential
      return try scene.certificate(
        scene.victim.id, uris: [scene.spiffe], issuer: (own.chain.leaf, own.key), helpers: own.chain.all)
    },
    Attack("an authority's own certificate, with the victim's id in it") { scene in
      let key = try PrivateKey.generate(.p256)
      let authority = try Certificate(
        version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey, notValidBefore: Date() - 60,
        notValidAfter: Date() + 3600,
        issuer: scene.root.chain.leaf.subject, subject: try DistinguishedName { CommonName(scene.victim.id) },
        extensions: try Certificate.Extensions {
          Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
          // TLS shows no certificate that may only sign others.
          Critical(KeyUsage(digitalSignature: true, keyCertSign: true))
          SubjectAlternativeNames([.uniformResourceIdentifier(scene.spiffe)])
        }, issuerPrivateKey: scene.root.key.signing)
      return Credential(key: key, chain: CertificateChain(leaf: authority))
    },
    Attack("the router's server certificate") { try $0.routerCredential("server") },
  ]

  @Test("at every listener whoever holds none of the victim's keys is not the victim, and no router")
  func everyListener() async throws {
    let scene = try await Scene.start()
    // As in OpenZiti, the policy that every network begins with takes expired certificates.
    try await scene.network.api(
      "PATCH", "/auth-policies/default",
      [
        "primary": [
          "cert": ["allowed": true, "allowExpiredCerts": false],
          "updb": [
            "allowed": true, "lockoutDurationMinutes": 0, "maxAttempts": 0, "minPasswordLength": 5,
            "requireMixedCase": false,
            "requireNumberChar": false, "requireSpecialChar": false,
          ],
          "extJwt": ["allowed": true, "allowedSigners": []],
        ]
      ])
    let session = try #require(try await scene.logIn(scene.victim.credential))
    #expect(session.id == scene.victim.id)
    // What is refused below is refused for what is wrong with it: these, with nothing wrong, are taken.
    try await Network.wait("the router knows the session") {
      try await scene.opensEdge(scene.victim.credential, token: session.token)
    }
    let another = try scene.identity(scene.victim.id)
    #expect(try await scene.opensEdge(another, token: session.token), "a further certificate of the same identity")

    for attack in Self.attacks + [Attack("the router's client certificate") { try $0.routerCredential() }] {
      let forged = try attack.forge(scene)
      guard (try? ServerIdentity(chain: forged.chain, key: forged.key)) != nil else {
        Issue.record("\(attack.name): TLS cannot show it")
        continue
      }
      #expect(try await scene.logIn(forged)?.id != scene.victim.id, "API: \(attack.name)")
      #expect(try await !scene.opensEdge(forged, token: session.token), "edge: \(attack.name)")
    }

    // A connected router is refused in any case, so it goes first.
    let router = await scene.network.routerID
    await scene.network.stopRouter()
    try await Network.wait("the controller noticed") { await scene.network.controller.connectedRouters.isEmpty }
    let genuine = try scene.routerCredential()
    for attack in Self.attacks + [Attack("the victim's certificate") { $0.victim.credential }] {
      #expect(try await !scene.opensControl(attack.forge(scene), router: router), "control: \(attack.name)")
    }
    // Another key under the router's own names, from the network's authority: only the one that enrolled counts.
    let twin = try scene.certificate(
      router, uris: [], issuer: (scene.signer.chain.leaf, scene.signer.key), helpers: scene.signer.chain.all)
    #expect(try await !scene.opensControl(twin, router: router))
    scene.ahead.withLockedValue { $0 = 2 * 365 * 24 * 3600 }
    #expect(try await !scene.opensControl(genuine, router: router), "expired")
    #expect(try await scene.logIn(scene.victim.credential) == nil, "expired")
    scene.ahead.withLockedValue { $0 = 0 }
    #expect(try await scene.opensControl(genuine, router: router), "the genuine certificate")
    await scene.stop()
  }
}
