import Foundation
import PKI
import Transport
import X509

/// Turns a one-time token into the key and certificates of a router (fabric-planes.md 1.2, 1.3).
public enum RouterEnrollment {
  private struct Request: Encodable {
    var serverCertCsr: String
    var certCsr: String
  }

  private struct Issued: Decodable {
    var cert: String?
    var serverCert: String?
    var ca: String?
  }

  /// - Throws: `RouterError`, `PKIError`, `TransportError`. The files are written only when everything succeeded;
  ///   existing certificates are never overwritten.
  public static func enroll(jwt: String, configuration: RouterConfiguration) async throws {
    let files = configuration.identity
    for file in [files.certificate, files.serverCertificate] where PrivateFile.exists(file) {
      throw RouterError.alreadyEnrolled(file: file)
    }
    let token = String(decoding: FileText.withoutMark(jwt.utf8), as: UTF8.self).trimmingCharacters(
      in: .whitespacesAndNewlines)
    let now = Date()
    let issuer = try TokenParts(token).unverifiedClaims(as: EnrollmentClaims.self).iss
    // The token is proven by the key of the very server it names, and from here on only that server is believed.
    let leaf = try await HTTPSClient.leaf(of: issuer)
    let claims = try await TokenVerifier.verify(token, as: EnrollmentClaims.self, signedBy: leaf, now: now)
    guard claims.em == "erott" || claims.em == "trott" else {
      throw RouterError.badToken("it is for \(claims.em), not for a router")
    }
    guard !claims.sub.isEmpty else { throw RouterError.badToken("it names no router") }

    let base = try Base(issuer)
    let bundle = try await HTTPSClient(tls: ClientTLS(trust: .leaf(leaf))).request(
      base.estURL, maxBody: 2 * PKCS7.sizeLimit)
    guard bundle.status == 200 else { throw RouterError.refused(status: bundle.status, text: bundle.refusal.sentence) }
    let authorities = try PKCS7.parse(base64: bundle.body)
    guard !authorities.isEmpty else { throw RouterError.badAnswer("it lists no certificate authority") }

    let key =
      try PrivateFile.exists(files.key)
      ? PrivateKey(pem: try RouterFile.read(files.key)) : PrivateKey.generate(.p256)
    let request = configuration.request
    let csr = try CSR.create(
      key: key, commonName: claims.sub, organization: request.organization, names: request.names, uris: request.uris)
    let domain = leaf.spiffeID.flatMap { $0.controllerID == nil ? nil : $0.trustDomain }
    let trust = ServerTrust.anchors(TrustAnchors(authorities), as: .controller(of: domain))
    let answer = try await HTTPSClient(tls: ClientTLS(trust: trust)).request(
      method: "POST", "\(base.origin)/edge/client/v1/enroll?method=\(claims.em)&token=\(claims.jti)",
      headers: [("content-type", "application/json")],
      body: [UInt8](try JSONEncoder().encode(Request(serverCertCsr: csr, certCsr: csr))))
    guard answer.status == 200 else { throw RouterError.refused(status: answer.status, text: answer.refusal.sentence) }
    guard let certificates = try? answer.envelope(of: Issued.self).data else {
      throw RouterError.badAnswer("no certificates in it")
    }
    try await write(certificates, key: key, claims: claims, authorities: authorities, configuration: configuration)
  }

  private static func write(
    _ answer: Issued, key: PrivateKey, claims: EnrollmentClaims, authorities: [Certificate],
    configuration: RouterConfiguration
  ) async throws {
    let files = configuration.identity
    guard let cert = answer.cert, let serverCert = answer.serverCert, let ca = answer.ca else {
      throw RouterError.badAnswer("cert, serverCert or ca is missing")
    }
    let (client, server) = (try CertificateChain(pem: cert), try CertificateChain(pem: serverCert))
    guard key.fits(client.leaf), key.fits(server.leaf) else {
      throw RouterError.badAnswer("the certificates are for another key")
    }
    guard client.leaf.commonName == claims.sub else {
      throw RouterError.badAnswer("the certificate is for another router")
    }
    guard try !Certificate.list(pem: ca).isEmpty else {
      throw RouterError.badAnswer("the bundle of authorities is empty")
    }
    try RouterFile.write(key.pem + (key.pem.hasSuffix("\n") ? "" : "\n"), to: files.key)
    try RouterFile.write(ca, to: files.authorities)
    try RouterFile.write(serverCert, to: files.serverCertificate)
    try RouterFile.write(cert, to: files.certificate)
    if configuration.controllers.isEmpty, let file = configuration.endpointsFile {
      try RouterFile.write("endpoints:\n" + (claims.ctrls ?? []).map { "  - \($0)\n" }.joined(), to: file)
    }
  }

  /// `https://host:port` and the place of the certificate bundle below it.
  private struct Base {
    let origin: String
    let estURL: String

    init(_ issuer: String) throws(RouterError) {
      guard let url = ServerURL(issuer), url.isTLS else {
        throw .badToken("its issuer \(issuer) is not an https address")
      }
      origin = url.shortOrigin
      estURL = origin + (url.path.isEmpty ? "/edge/client/v1" : url.path) + "/.well-known/est/cacerts"
    }
  }
}
