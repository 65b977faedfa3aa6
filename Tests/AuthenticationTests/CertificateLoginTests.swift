import Authentication
import Foundation
import Model
import PKI
import Testing
import X509

@Suite("Login by certificate", .timeLimit(.minutes(5)))
struct CertificateLoginTests {
  private let now = Date(timeIntervalSince1970: 1_800_000_000)
  private let root: CertificateAuthority
  private let signer: CertificateAuthority
  private let login: CertificateLogin
  private let victim: CertificateChain
  private let key: PrivateKey

  init() throws {
    root = try CertificateAuthority.createRoot(name: "root", trustDomain: "net", algorithm: .p256, now: now)
    signer = try root.createIntermediate(name: "signer", trustDomain: "net", now: now)
    login = CertificateLogin(roots: [root.chain.leaf], signers: [signer.chain.leaf])
    key = try PrivateKey.generate(.p256)
    victim = try signer.issueIdentity(
      publicKey: key.publicKey, subject: nil, identityID: "victim", trustDomain: "net", now: now)
  }

  /// Logs in where only the victim's certificate has an authenticator.
  private func judge(
    _ leaf: Certificate?, _ intermediates: [Certificate], at: Date? = nil, method: AuthenticatorMethod = .cert,
    policy: PrimaryAuthPolicy.Certificate = .init(allowed: true)
  ) async throws -> Result<CertificateLogin.Success, CertificateLogin.Refusal> {
    let known = victim.leaf.sha1Fingerprint
    return try await login.judge(
      leaf: leaf, intermediates: intermediates, now: at ?? now,
      lookup: { $0 == known ? Authenticator(id: "a1", method: method, identityId: "victim", fingerprint: known) : nil },
      policy: { _ in policy })
  }

  private func refusal(_ result: Result<CertificateLogin.Success, CertificateLogin.Refusal>) -> CertificateLogin
    .Refusal?
  {
    if case .failure(let refusal) = result { refusal } else { nil }
  }

  @Test("a known certificate of the network logs in")
  func valid() async throws {
    let success = try await judge(victim.leaf, victim.intermediates).get()
    #expect(success.authenticator.identityId == "victim")
    #expect(!success.improperClientCertChain)
  }

  @Test("a chain that lacks the intermediate is completed with ours, and remarked upon")
  func missingIntermediate() async throws {
    let success = try await judge(victim.leaf, []).get()
    #expect(success.improperClientCertChain)
  }

  @Test("no certificate is none")
  func none() async throws { #expect(refusal(try await judge(nil, [])) == .noCertificate) }

  @Test("an authority of the same names is not the network's, whatever it says and sends along")
  func foreign() async throws {
    let foreign = try CertificateAuthority.createRoot(name: "root", trustDomain: "net", algorithm: .p256, now: now)
      .createIntermediate(name: "signer", trustDomain: "net", now: now)
    let forged = try foreign.issueIdentity(
      publicKey: key.publicKey, subject: nil, identityID: "victim", trustDomain: "net", now: now)
    for helpers in [forged.intermediates, [], [signer.chain.leaf], [victim.leaf, signer.chain.leaf]] {
      #expect(refusal(try await judge(forged.leaf, helpers)) == .untrusted)
    }
  }

  @Test("another's certificate as filler of the chain names nobody")
  func filler() async throws {
    let stranger = try signer.issueIdentity(
      publicKey: PrivateKey.generate(.p256).publicKey, subject: nil, identityID: "stranger", trustDomain: "net",
      now: now)
    for helpers in [[victim.leaf], [victim.leaf, signer.chain.leaf], [signer.chain.leaf, victim.leaf]] {
      #expect(refusal(try await judge(stranger.leaf, helpers)) == .unknown)
    }
  }

  @Test("a certificate for servers, and an authority's own, log nobody in")
  func otherUses() async throws {
    let server = try signer.issueServer(
      publicKey: key.publicKey, names: ["victim"], uris: ["spiffe://net/identity/victim"], now: now)
    #expect(refusal(try await judge(server.leaf, server.intermediates)) == .untrusted)
    #expect(refusal(try await judge(signer.chain.leaf, [])) == .untrusted)
    #expect(refusal(try await judge(root.chain.leaf, [])) == .untrusted)
  }

  @Test("an expired certificate needs a policy that allows it")
  func expired() async throws {
    let later = victim.leaf.notValidAfter + 1
    #expect(refusal(try await judge(victim.leaf, victim.intermediates, at: later)) == .expired)
    let tolerant = PrimaryAuthPolicy.Certificate(allowed: true, allowExpiredCerts: true)
    #expect(
      try await judge(victim.leaf, victim.intermediates, at: later, policy: tolerant).get().authenticator.id == "a1")
    // The issuer's end is nobody's to forgive.
    let afterIssuer = root.chain.leaf.notValidAfter + 1
    #expect(
      refusal(try await judge(victim.leaf, victim.intermediates, at: afterIssuer, policy: tolerant)) == .untrusted)
  }

  @Test("a policy without certificates, and an authenticator of passwords, refuse")
  func policies() async throws {
    let closed = PrimaryAuthPolicy.Certificate(allowed: false, allowExpiredCerts: true)
    #expect(refusal(try await judge(victim.leaf, victim.intermediates, policy: closed)) == .notAllowed)
    #expect(refusal(try await judge(victim.leaf, victim.intermediates, method: .updb)) == .unknown)
  }
}
