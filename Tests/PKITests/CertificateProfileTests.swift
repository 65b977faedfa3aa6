import Foundation
import SwiftASN1
import Testing
import X509

@testable import PKI

/// One kind of end-entity certificate and what it must be (edge-client-api.md 2.1).
struct Profile: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let usage: ExtendedKeyUsage.Usage
  let names: [GeneralName]
  let commonName: String
  let lifetime: TimeInterval
  let issue: @Sendable (CertificateAuthority, PrivateKey) throws -> CertificateChain

  static func request(_ key: PrivateKey) throws -> CSR {
    try CSR(
      pem: CSR.create(
        key: key, commonName: "r1", names: ["router.example", "10.0.0.1", "::1", "controller.example"],
        uris: ["spiffe://net/controller/c1", "tls:r1"]))
  }

  private static func uri(_ text: String) -> GeneralName { .uniformResourceIdentifier(text) }
  private static func ip(_ octets: [UInt8]) -> GeneralName { .ipAddress(ASN1OctetString(contentBytes: octets[...])) }
  private static let allowed = ["router.example", "10.0.0.1", "::1"]
  private static let routerNames: [GeneralName] = [
    .dnsName("router.example"), ip([10, 0, 0, 1]), ip([UInt8](repeating: 0, count: 15) + [1]),
  ]

  static let all: [Profile] = [
    Profile(
      testDescription: "identity", usage: .clientAuth, names: [uri("spiffe://net/identity/i1")], commonName: "i1",
      lifetime: CertificateAuthority.Lifetime.year
    ) {
      try $0.issueIdentity(
        publicKey: $1.publicKey, subject: nil, identityID: "i1", trustDomain: "net", now: PKIFixture.now)
    },
    Profile(
      testDescription: "API session", usage: .clientAuth,
      names: [uri("spiffe://net/identity/i1/apiSession/s1/apiSessionCertificate/c1")],
      commonName: "i1", lifetime: 12 * 3600
    ) {
      try $0.issueAPISession(
        publicKey: $1.publicKey, identityID: "i1", apiSessionID: "s1", certificateID: "c1", trustDomain: "net",
        now: PKIFixture.now)
    },
    Profile(
      testDescription: "router client", usage: .clientAuth, names: routerNames, commonName: "r1",
      lifetime: CertificateAuthority.Lifetime.year
    ) { try $0.issueRouterClient(request($1), routerID: "r1", names: allowed, now: PKIFixture.now) },
    Profile(
      testDescription: "router server", usage: .serverAuth, names: routerNames + [uri("spiffe://net/router/r1")],
      commonName: "r1",
      lifetime: CertificateAuthority.Lifetime.year
    ) {
      try $0.issueRouterServer(request($1), routerID: "r1", names: allowed, trustDomain: "net", now: PKIFixture.now)
    },
    Profile(
      testDescription: "server", usage: .serverAuth,
      names: [.dnsName("localhost"), ip([127, 0, 0, 1]), uri("spiffe://net/controller/c1")],
      commonName: "localhost", lifetime: 60
    ) {
      try $0.issueServer(
        publicKey: $1.publicKey, names: ["localhost", "127.0.0.1"], uris: ["spiffe://net/controller/c1"],
        now: PKIFixture.now, lifetime: 60)
    },
  ]
}

@Suite("Certificate profiles", .timeLimit(.minutes(5)))
struct CertificateProfileTests {
  @Test("an end-entity certificate has its usage, its names and its life, and no more", arguments: Profile.all)
  func endEntity(_ profile: Profile) throws {
    let authority = try PKIFixture.intermediate.get()
    let key = try PKIFixture.key(.p256)
    let chain = try profile.issue(authority, key)
    let leaf = chain.leaf
    let extensions = leaf.extensions
    #expect(try extensions.extendedKeyUsage.map(Array.init) == [profile.usage])
    #expect(try extensions.subjectAlternativeNames.map(Array.init) == profile.names)
    #expect(try extensions.basicConstraints == .notCertificateAuthority)
    #expect(extensions[oid: .X509ExtensionID.basicConstraints]?.critical == true)
    #expect(try extensions.keyUsage == KeyUsage(digitalSignature: true, keyEncipherment: true, dataEncipherment: true))
    #expect(leaf.commonName == profile.commonName)
    #expect(leaf.notValidBefore == PKIFixture.now - 60)
    #expect(leaf.notValidAfter == PKIFixture.now + profile.lifetime)
    #expect(leaf.issuer == authority.chain.leaf.subject)
    #expect(key.fits(leaf))
    #expect(!leaf.isAuthority)
    // The intermediate is sent along, the root is not.
    #expect(chain.intermediates == [authority.chain.leaf])
  }

  @Test("a root may have authorities below it, an intermediate may not")
  func authorities() throws {
    let root = try PKIFixture.root.get().chain.leaf
    let intermediate = try PKIFixture.intermediate.get().chain.leaf
    #expect(try root.extensions.basicConstraints == .isCertificateAuthority(maxPathLength: nil))
    #expect(try intermediate.extensions.basicConstraints == .isCertificateAuthority(maxPathLength: 0))
    for authority in [root, intermediate] {
      #expect(try authority.extensions.keyUsage == KeyUsage(keyCertSign: true, cRLSign: true))
      #expect(authority.spiffeID == SPIFFEID(trustDomain: "net", path: []))
      #expect(authority.isAuthority)
    }
    #expect(intermediate.issuer == root.subject)
    #expect(intermediate.notValidAfter <= root.notValidAfter)
  }

  @Test("nothing outlives its issuer")
  func endsWithIssuer() throws {
    let authority = try PKIFixture.intermediate.get()
    let chain = try authority.issueServer(
      publicKey: PKIFixture.key(.p256).publicKey, names: ["a"], uris: [], now: PKIFixture.now,
      lifetime: 100 * CertificateAuthority.Lifetime.year)
    #expect(chain.leaf.notValidAfter == authority.chain.leaf.notValidAfter)
  }

  @Test("a router's certificates bear the router's id and no other common name, or are not issued")
  func routerName() throws {
    let authority = try PKIFixture.intermediate.get()
    for request in [try Profile.request(PKIFixture.key(.p256)), try twoNames("r1", "r2"), try twoNames("r2", "r1")] {
      #expect(throws: PKIError.self) {
        try authority.issueRouterClient(request, routerID: "r2", names: [], now: PKIFixture.now)
      }
      #expect(throws: PKIError.self) {
        try authority.issueRouterServer(request, routerID: "r2", names: [], trustDomain: "net", now: PKIFixture.now)
      }
    }
  }

  /// A request whose subject has two common names: Go reads the last one, others the first.
  private func twoNames(_ first: String, _ last: String) throws -> CSR {
    let key = try PKIFixture.key(.p256)
    let subject = try DistinguishedName {
      CommonName(first)
      CommonName(last)
    }
    let request = try CertificateSigningRequest(
      version: .v1, subject: subject, privateKey: key.signing, attributes: .init(), signatureAlgorithm: .ecdsaWithSHA256
    )
    return try CSR(pem: request.serializeAsPEM().pemString)
  }

  @Test("an authority issues nothing outside its own period")
  func outsideItsPeriod() throws {
    let authority = try PKIFixture.intermediate.get()
    for now in [authority.chain.leaf.notValidBefore - 1, authority.chain.leaf.notValidAfter + 1] {
      #expect(
        throws: PKIError.authorityNotValid(
          from: authority.chain.leaf.notValidBefore, until: authority.chain.leaf.notValidAfter)
      ) {
        try authority.issueServer(publicKey: PKIFixture.key(.p256).publicKey, names: ["a"], uris: [], now: now)
      }
    }
  }

  @Test("authorities made by a clock a year ahead are good now")
  func authoritiesOfTomorrow() throws {
    let ahead = PKIFixture.now + CertificateAuthority.Lifetime.year
    let root = try CertificateAuthority.createRoot(name: "root", trustDomain: "net", algorithm: .p256, now: ahead)
    let signer = try root.createIntermediate(name: "signer", trustDomain: "net", now: ahead)
    #expect(root.chain.leaf.isValid(at: PKIFixture.now) && signer.chain.leaf.isValid(at: PKIFixture.now))
  }

  @Test("an authority needs its own key and a CA certificate")
  func constructing() throws {
    let root = try PKIFixture.root.get()
    #expect(throws: PKIError.self) { try CertificateAuthority(chain: root.chain, key: PKIFixture.key(.p256)) }
    let leaf = try PKIFixture.server(.p256)
    #expect(throws: PKIError.self) { try CertificateAuthority(chain: leaf, key: PKIFixture.key(.p256)) }
  }

  @Test("serial numbers differ and are positive")
  func serials() throws {
    let serials = try (0..<20).map { _ in try PKIFixture.server(.p256).leaf.serialNumber }
    #expect(Set(serials).count == 20)
    #expect(serials.allSatisfy { $0.bytes.first.map { $0 < 0x80 } ?? false })
  }

  @Test("a certificate is due at two thirds of its life")
  func renewal() throws {
    let chain = try PKIFixture.intermediate.get().issueServer(
      publicKey: PKIFixture.key(.p256).publicKey, names: ["a"], uris: [], now: PKIFixture.now, lifetime: 240)
    // From 60 seconds before issue to 240 after: 300 seconds.
    #expect(CertificateRenewal.dueDate(chain.leaf) == PKIFixture.now + 140)
    #expect(!CertificateRenewal.isDue(chain.leaf, now: PKIFixture.now + 139))
    #expect(CertificateRenewal.isDue(chain.leaf, now: PKIFixture.now + 140))
    // Issued by a clock that ran ahead.
    #expect(CertificateRenewal.isDue(chain.leaf, now: PKIFixture.now - 61))
    #expect(!CertificateRenewal.isDue(chain.leaf, now: PKIFixture.now - 60))
  }

  @Test("the text of a chain leaves out roots behind the leaf and reads back")
  func chainText() throws {
    let (root, intermediate, leaf) = (
      try PKIFixture.root.get().chain.leaf, try PKIFixture.intermediate.get().chain.leaf,
      try PKIFixture.server(.p256).leaf
    )
    let text = CertificateChain(leaf: leaf, intermediates: [intermediate, root]).pem
    #expect(try CertificateChain(pem: text) == CertificateChain(leaf: leaf, intermediates: [intermediate]))
    #expect(try CertificateChain(pem: CertificateChain(leaf: root).pem).leaf == root)
    #expect(throws: PKIError.self) { try CertificateChain(pem: "no certificate") }
    #expect(throws: PKIError.self) { try Certificate.list(pem: String(repeating: leaf.pem, count: 257)) }
  }

  @Test("the fingerprint is the SHA-1 of the DER in lower-case hex")
  func fingerprint() {
    #expect(Certificate.fingerprint(der: Array("abc".utf8)) == "a9993e364706816aba3e25717850c26c9cd0d89d")
  }

  @Test(
    "SPIFFE ids name identities and API sessions only below /identity",
    arguments: [
      ("spiffe://net/identity/i1", "i1", nil), ("spiffe://net/identity/i1/apiSession/s1", "i1", "s1"),
      ("spiffe://net/identity/i1/apiSession/s1/apiSessionCertificate/c1", "i1", "s1"),
      ("spiffe://net/controller/c1", nil, nil),
      ("spiffe://net/x/i1/apiSession/s1", nil, nil), ("spiffe://net", nil, nil),
    ] as [(String, String?, String?)])
  func spiffe(_ uri: String, _ identity: String?, _ session: String?) throws {
    let id = try #require(SPIFFEID(uri))
    #expect(id.identityID == identity)
    #expect(id.apiSessionID == session)
  }

  @Test(
    "what is no SPIFFE id is none",
    arguments: [
      "", "spiffe:", "spiffe://", "spiffe:///identity/i1", "spiffe://net/identity//", "https://net/identity/i1",
    ])
  func notSPIFFE(_ uri: String) { #expect(SPIFFEID(uri) == nil) }

  @Test("two SPIFFE ids in one certificate are none")
  func twoSPIFFE() throws {
    let chain = try PKIFixture.intermediate.get().issueServer(
      publicKey: PKIFixture.key(.p256).publicKey, names: [],
      uris: ["spiffe://net/identity/a", "spiffe://net/identity/b"], now: PKIFixture.now)
    #expect(chain.leaf.spiffeID == nil)
  }
}

@Suite("Private keys")
struct PrivateKeyTests {
  @Test("a key survives its PEM text", arguments: [KeyAlgorithm.p256, .p384, .p521, .rsa2048])
  func roundTrip(_ algorithm: KeyAlgorithm) throws {
    let key = try PKIFixture.key(algorithm)
    #expect(try PrivateKey(pem: key.pem).publicKey == key.publicKey)
    // openssl writes the curve before the key.
    #expect(try PrivateKey(pem: pem([6, 1, 0], type: "EC PARAMETERS") + key.pem).publicKey == key.publicKey)
  }

  @Test("an encrypted key, a certificate and no key are refused")
  func refused() throws {
    for text in [pem([0x30, 0], type: "ENCRYPTED PRIVATE KEY"), try PKIFixture.server(.p256).leaf.pem, "", "no key"] {
      #expect(throws: PKIError.self) { try PrivateKey(pem: text) }
    }
  }
}
