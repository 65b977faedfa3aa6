import Crypto
import CryptoExtras
import Foundation
public import X509

/// The public keys of token-signing certificates as a JSON Web Key Set.
public enum JWKS {
  public static func document(of certificates: [Certificate]) -> String {
    "{\"keys\":[\(certificates.compactMap(key).joined(separator: ","))]}"
  }

  private static func key(_ certificate: Certificate) -> String? {
    let kid = certificate.sha1Fingerprint
    func common(_ alg: String) -> String { "\"kid\":\"\(kid)\",\"use\":\"sig\",\"alg\":\"\(alg)\"" }
    func curve(_ name: String, _ alg: String, _ raw: Data) -> String {
      let half = raw.count / 2
      return "{\"kty\":\"EC\",\"crv\":\"\(name)\",\"x\":\"\(base64URL(raw.prefix(half)))\",\"y\":\"\(base64URL(raw.suffix(half)))\",\(common(alg))}"
    }
    if let key = P256.Signing.PublicKey(certificate.publicKey) { return curve("P-256", "ES256", key.rawRepresentation) }
    if let key = P384.Signing.PublicKey(certificate.publicKey) { return curve("P-384", "ES384", key.rawRepresentation) }
    if let key = P521.Signing.PublicKey(certificate.publicKey) { return curve("P-521", "ES512", key.rawRepresentation) }
    if let key = _RSA.Signing.PublicKey(certificate.publicKey), let parts = try? key.getKeyPrimitives() {
      return "{\"kty\":\"RSA\",\"n\":\"\(base64URL(parts.modulus))\",\"e\":\"\(base64URL(parts.publicExponent))\",\(common("RS256"))}"
    }
    return nil
  }

  private static func base64URL(_ data: Data) -> String {
    data.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
  }
}
