import FoundationEssentials
public import PKI
import Transport
import X509

/// Turns a one-time token into an identity (edge-client-api.md 2).
extension IdentityFile {
  private struct Issued: Decodable { var cert: String? }

  /// Makes a key on this machine, proves the token's controller and asks it for a certificate. A token is good for one
  /// enrollment.
  ///
  /// - Parameters:
  ///   - jwt: the text of a `.jwt` file, of method `ott`.
  ///   - algorithm: of the new key, which never leaves this process unless you save the identity.
  /// - Returns: an identity that `Overlay` and other SDKs can use; save it.
  /// - Throws: `OverlayError`, `PKIError` when the token is malformed, expired or signed by somebody else,
  ///   `TransportError`.
  public static func enroll(jwt: String, algorithm: KeyAlgorithm = .p256) async throws -> IdentityFile {
    let text = String(decoding: FileText.withoutMark(jwt.utf8), as: UTF8.self)
    let token = String(text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    let issuer = try TokenParts(token).unverifiedClaims(as: EnrollmentClaims.self).iss
    // The token is proven by the key of the very server it names, and from here on only that server is believed.
    let leaf = try await HTTPSClient.leaf(of: issuer)
    let claims = try await TokenVerifier.verify(token, as: EnrollmentClaims.self, signedBy: leaf, now: Date())
    guard claims.em == "ott" else {
      throw OverlayError.enrollmentRefused(reason: "the token is for method \(claims.em), only ott makes an identity")
    }
    let base = ControllerClient.base(issuer)

    let bundle = try await HTTPSClient(tls: ClientTLS(trust: .leaf(leaf))).request(
      base + "/.well-known/est/cacerts", maxBody: 2 * PKCS7.sizeLimit)
    guard bundle.status == 200 else { throw ControllerClient.refusal("tell its authorities", bundle.refusal) }
    let authorities = try PKCS7.parse(base64: bundle.body)

    // Whoever holds the key of this certificate signed the token: if it bears a controller's id, all controllers of the
    // network do.
    let domain = leaf.spiffeID.flatMap { $0.controllerID == nil ? nil : $0.trustDomain }
    let key = try PrivateKey.generate(algorithm)
    let csr = try CSR.create(key: key, commonName: claims.sub, organization: "Swiftlet")
    // The server must also chain to what it tells us to trust, or the identity would be useless from the first moment.
    let answer = try await HTTPSClient(
      tls: ClientTLS(trust: .anchors(TrustAnchors(authorities), as: .controller(of: domain)))
    ).request(
      method: "POST", base + "/enroll?method=ott&token=\(claims.jti)",
      headers: [("content-type", "text/plain"), ("accept", "application/json")],
      body: Array(csr.utf8))
    guard answer.status == 200 else { throw ControllerClient.refusal("enroll", answer.refusal) }
    guard let pem = (try? answer.envelope(of: Issued.self))?.data.cert,
      let chain = try? CertificateChain(pem: pem)
    else {
      throw OverlayError.badAnswer(operation: "enroll", reason: "no certificate in it")
    }
    guard key.fits(chain.leaf) else {
      throw OverlayError.badAnswer(operation: "enroll", reason: "the certificate is for another key")
    }
    return IdentityFile(
      controllers: [base], key: "pem:" + key.pem, certificate: "pem:" + chain.pem,
      authorities: "pem:" + Certificates.pem(authorities),
      trustDomain: domain)
  }
}
