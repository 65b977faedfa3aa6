import Foundation
import Testing
import X509

@testable import PKI

@Suite("Chains", .timeLimit(.minutes(5)))
struct ChainTests {
  private let now = PKIFixture.now
  private let root: CertificateAuthority
  private let intermediate: CertificateAuthority
  private let leaf: Certificate

  init() throws {
    root = try PKIFixture.root.get()
    intermediate = try PKIFixture.intermediate.get()
    leaf = try intermediate.issueIdentity(
      publicKey: try PKIFixture.key(.p256).publicKey, subject: nil, identityID: "i1", trustDomain: "net", now: now
    ).leaf
  }

  /// Why the leaf is not believed; nil when it is.
  private func problem(
    _ leaf: Certificate, _ intermediates: [Certificate], anchors: [Certificate], at: Date = PKIFixture.now,
    for purpose: CertificatePurpose = .clientAuth,
    ignoreLeafExpiry: Bool = false
  ) async -> ChainError? {
    switch await TrustAnchors(anchors).verify(
      leaf: leaf, intermediates: intermediates, now: at, purpose: purpose, ignoreLeafExpiry: ignoreLeafExpiry)
    {
    case .success: nil
    case .failure(let error): error
    }
  }

  private func doesNotChain(_ error: ChainError?) -> Bool { if case .doesNotChain? = error { true } else { false } }

  @Test("the path is found, leaf first")
  func path() async throws {
    let result = await TrustAnchors([root.chain.leaf]).verify(
      leaf: leaf, intermediates: [intermediate.chain.leaf], now: now, purpose: .clientAuth, ignoreLeafExpiry: false)
    #expect(try result.get() == [leaf, intermediate.chain.leaf, root.chain.leaf])
  }

  @Test("an intermediate is an anchor as good as a root")
  func intermediateAnchor() async { #expect(await problem(leaf, [], anchors: [intermediate.chain.leaf]) == nil) }

  @Test("without the intermediate there is no path")
  func missingIntermediate() async { #expect(doesNotChain(await problem(leaf, [], anchors: [root.chain.leaf]))) }

  @Test("an authority of the same name with another key is not trusted, with or without its certificate at hand")
  func foreign() async throws {
    let foreign = try PKIFixture.foreign.get()
    #expect(doesNotChain(await problem(leaf, [intermediate.chain.leaf], anchors: [foreign.chain.leaf])))
    let forged = try foreign.issueIdentity(
      publicKey: try PKIFixture.key(.p256).publicKey, subject: nil, identityID: "i1", trustDomain: "net", now: now
    ).leaf
    #expect(
      doesNotChain(await problem(forged, [foreign.chain.leaf, intermediate.chain.leaf], anchors: [root.chain.leaf])))
  }

  @Test("no anchors, no trust")
  func noAnchors() async {
    #expect(doesNotChain(await problem(leaf, [intermediate.chain.leaf, root.chain.leaf], anchors: [])))
  }

  @Test("the usage must allow the purpose")
  func usage() async throws {
    let helpers = [intermediate.chain.leaf]
    #expect(await problem(leaf, helpers, anchors: [root.chain.leaf], for: .serverAuth) == .wrongUsage)
    #expect(await problem(leaf, helpers, anchors: [root.chain.leaf], for: .anyUsage) == nil)
    let server = try PKIFixture.server(.p256).leaf
    #expect(await problem(server, helpers, anchors: [root.chain.leaf], for: .clientAuth) == .wrongUsage)
    #expect(await problem(server, helpers, anchors: [root.chain.leaf], for: .serverAuth) == nil)
  }

  @Test("a CA's own certificate never stands for a peer, trusted or not")
  func authorityAsLeaf() async {
    #expect(await problem(root.chain.leaf, [], anchors: [root.chain.leaf], for: .anyUsage) == .isAuthority)
    #expect(await problem(intermediate.chain.leaf, [], anchors: [root.chain.leaf], for: .anyUsage) == .isAuthority)
  }

  @Test("a leaf is judged by the clock, unless its period is left to the caller")
  func validity() async {
    let (helpers, anchors) = ([intermediate.chain.leaf], [root.chain.leaf])
    let (before, after) = (leaf.notValidBefore - 1, leaf.notValidAfter + 1)
    #expect(await problem(leaf, helpers, anchors: anchors, at: before) == .notYetValid(notBefore: leaf.notValidBefore))
    #expect(await problem(leaf, helpers, anchors: anchors, at: after) == .expired(notAfter: leaf.notValidAfter))
    #expect(await problem(leaf, helpers, anchors: anchors, at: leaf.notValidBefore) == nil)
    #expect(await problem(leaf, helpers, anchors: anchors, at: leaf.notValidAfter) == nil)
    #expect(await problem(leaf, helpers, anchors: anchors, at: after, ignoreLeafExpiry: true) == nil)
    // Issuers must be valid even then.
    let afterIssuer = root.chain.leaf.notValidAfter + 1
    #expect(doesNotChain(await problem(leaf, helpers, anchors: anchors, at: afterIssuer, ignoreLeafExpiry: true)))
  }

  @Test("an intermediate makes no further authority")
  func pathLength() async throws {
    let below = try intermediate.createIntermediate(name: "below", trustDomain: "net", now: now)
    let chain = try below.issueIdentity(
      publicKey: PKIFixture.key(.p256).publicKey, subject: nil, identityID: "i1", trustDomain: "net", now: now)
    #expect(doesNotChain(await problem(chain.leaf, chain.intermediates, anchors: [root.chain.leaf])))
  }

  @Test("who is no authority, or may not sign certificates, signs none")
  func notAnIssuer() async throws {
    let key = try PKIFixture.key(.p384)
    let refused: [(Certificate.Extensions, Certificate.Version)] = [
      (try Certificate.Extensions { Critical(BasicConstraints.notCertificateAuthority) }, .v3),
      (try Certificate.Extensions { Critical(KeyUsage(keyCertSign: true)) }, .v3),
      (
        try Certificate.Extensions {
          Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
          Critical(KeyUsage(digitalSignature: true))
        }, .v3
      ),
      (Certificate.Extensions(), .v1),
    ]
    for (extensions, version) in refused {
      let middle = try PKIFixture.certificate(
        subject: "middle", key: key, issuer: root.chain.leaf.subject, issuerKey: root.key, extensions: extensions,
        version: version)
      let victim = try PKIFixture.certificate(
        subject: "victim", key: PKIFixture.key(.p256), issuer: middle.subject, issuerKey: key)
      #expect(doesNotChain(await problem(victim, [middle], anchors: [root.chain.leaf])))
    }
  }

  @Test("only the first helpers of a stranger are tried")
  func manyHelpers() async throws {
    let junk = try (0..<TrustAnchors.intermediateLimit).map { _ in
      try CertificateAuthority.createRoot(name: "signer", trustDomain: "net", algorithm: .p256, now: now).chain.leaf
    }
    let helpers = Array(repeating: junk, count: 100).flatMap { $0 } + [intermediate.chain.leaf]
    #expect(doesNotChain(await problem(leaf, helpers, anchors: [root.chain.leaf])))
    #expect(await problem(leaf, junk.dropLast() + [intermediate.chain.leaf], anchors: [root.chain.leaf]) == nil)
  }

  @Test(
    "every reason has a text",
    arguments: [
      ChainError.doesNotChain(""), .doesNotChain("x"), .wrongUsage, .isAuthority, .expired(notAfter: PKIFixture.now),
      .notYetValid(notBefore: PKIFixture.now),
    ])
  func texts(_ error: ChainError) { #expect(!error.description.isEmpty) }
}
