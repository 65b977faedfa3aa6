import Crypto
import CryptoExtras
public import Foundation
public import X509

/// Public keys of token signers as a JSON Web Key Set (RFC 7517).
public enum JWKS {
  /// Keys a set may have.
  private static let limit = 64

  private struct Document: Decodable {
    struct Key: Decodable {
      var kty: String
      var use: String?
      var kid: String?
      var crv: String?
      var x: String?
      var y: String?
      var n: String?
      var e: String?
    }
    var keys: [Key]
  }

  /// - Returns: the keys of a set that have a name and that tokens are signed with; what is not understood is left out.
  /// - Throws: `PKIError.badToken` when it is no key set.
  public static func keys(in document: some DataProtocol) throws(PKIError) -> [TokenVerifier.Key] {
    guard let set = try? JSONDecoder().decode(Document.self, from: Data(document)) else {
      throw .badToken("the issuer's key set is not readable")
    }
    return set.keys.prefix(limit).compactMap { key in
      guard let kid = key.kid, key.use ?? "sig" == "sig" else { return nil }
      func bytes(_ text: String?, _ count: ClosedRange<Int>) -> Data? {
        text.flatMap { Base64URL.decode($0) }.flatMap { count.contains($0.count) ? $0 : nil }
      }
      func point(_ size: Int) -> Data? {
        guard let x = bytes(key.x, size...size), let y = bytes(key.y, size...size) else { return nil }
        return x + y
      }
      let made: Certificate.PublicKey?
      switch (key.kty, key.crv) {
      case ("EC", "P-256"):
        made = point(32).flatMap { try? P256.Signing.PublicKey(rawRepresentation: $0) }.map {
          Certificate.PublicKey($0)
        }
      case ("EC", "P-384"):
        made = point(48).flatMap { try? P384.Signing.PublicKey(rawRepresentation: $0) }.map {
          Certificate.PublicKey($0)
        }
      case ("EC", "P-521"):
        made = point(66).flatMap { try? P521.Signing.PublicKey(rawRepresentation: $0) }.map {
          Certificate.PublicKey($0)
        }
      case ("RSA", _):
        guard let n = bytes(key.n, 256...1024), let e = bytes(key.e, 1...8) else { return nil }
        made = (try? _RSA.Signing.PublicKey(n: n, e: e)).map { Certificate.PublicKey($0) }
      default: made = nil
      }
      return made.map { TokenVerifier.Key(kid: kid, key: $0) }
    }
  }

  public static func document(of certificates: [Certificate]) -> String {
    "{\"keys\":[\(certificates.compactMap(key).joined(separator: ","))]}"
  }

  private static func key(_ certificate: Certificate) -> String? {
    let kid = certificate.sha1Fingerprint
    func common(_ alg: String) -> String { "\"kid\":\"\(kid)\",\"use\":\"sig\",\"alg\":\"\(alg)\"" }
    func curve(_ name: String, _ alg: String, _ raw: Data) -> String {
      let half = raw.count / 2
      return
        "{\"kty\":\"EC\",\"crv\":\"\(name)\",\"x\":\"\(Base64URL.encode(raw.prefix(half)))\",\"y\":\"\(Base64URL.encode(raw.suffix(half)))\",\(common(alg))}"
    }
    if let key = P256.Signing.PublicKey(certificate.publicKey) { return curve("P-256", "ES256", key.rawRepresentation) }
    if let key = P384.Signing.PublicKey(certificate.publicKey) { return curve("P-384", "ES384", key.rawRepresentation) }
    if let key = P521.Signing.PublicKey(certificate.publicKey) { return curve("P-521", "ES512", key.rawRepresentation) }
    if let key = _RSA.Signing.PublicKey(certificate.publicKey), let parts = try? key.getKeyPrimitives() {
      return
        "{\"kty\":\"RSA\",\"n\":\"\(Base64URL.encode(parts.modulus))\",\"e\":\"\(Base64URL.encode(parts.publicExponent))\",\(common("RS256"))}"
    }
    return nil
  }
}
