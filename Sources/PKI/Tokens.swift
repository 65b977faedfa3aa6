import Foundation
import JWTKit
import SwiftASN1
public import X509

/// Claims of an enrollment token (edge-client-api.md 2.2).
public struct EnrollmentClaims: Codable, Sendable, Equatable {
  /// `https://host:port`, the address whose certificate signed the token.
  public var iss: String
  /// Identity or router id; becomes the CSR's common name.
  public var sub: String
  public var aud: [String]
  /// The one-time token.
  public var jti: String
  /// Expiry, seconds since 1970.
  public var exp: Int64
  /// Enrollment method: `ott`, `erott`, `updb`, …
  public var em: String
  /// Control addresses, `tls:host:port`.
  public var ctrls: [String]?

  public init(iss: String, sub: String, jti: String, exp: Int64, em: String, ctrls: [String]? = nil) {
    self.iss = iss
    self.sub = sub
    self.aud = [""]
    self.jti = jti
    self.exp = exp
    self.em = em
    self.ctrls = ctrls
  }
}

/// Claims of a service session token (edge-client-api.md 4.4, fabric-planes.md 4.7).
public struct ServiceSessionClaims: Codable, Sendable, Equatable {
  public var iss: String
  /// Service id.
  public var sub: String
  public var aud: [String]
  public var iat: Int64
  public var exp: Int64
  /// Session id.
  public var jti: String
  /// API session id.
  public var z_asid: String
  /// Identity id.
  public var z_iid: String
  /// Token type, `s`.
  public var z_t: String
  /// `Dial` or `Bind`.
  public var z_st: String
  /// True for a session of a legacy API session.
  public var z_leg: Bool

  public init(iss: String, serviceID: String, sessionID: String, apiSessionID: String, identityID: String, type: String, issuedAt: Int64, expiresAt: Int64) {
    self.iss = iss
    sub = serviceID
    aud = ["openziti"]
    iat = issuedAt
    exp = expiresAt
    jti = sessionID
    z_asid = apiSessionID
    z_iid = identityID
    z_t = "s"
    z_st = type
    z_leg = true
  }
}

/// Carries claims through the JWT library; validity in time is judged by the caller's clock.
private struct Payload<Claims: Codable & Sendable>: JWTPayload {
  var claims: Claims
  init(_ claims: Claims) { self.claims = claims }
  init(from decoder: any Decoder) throws { claims = try Claims(from: decoder) }
  func encode(to encoder: any Encoder) throws { try claims.encode(to: encoder) }
  func verify(using algorithm: some JWTAlgorithm) async throws {}
}

/// Signs tokens with the key of a certificate; `kid` is the certificate's fingerprint, the algorithm follows the key.
public struct TokenSigner: Sendable {
  public let kid: String
  public let certificate: Certificate
  private let keys: JWTKeyCollection

  /// - Throws: when the key is of a kind that tokens cannot be signed with.
  public init(key: PrivateKey, certificate: Certificate) async throws {
    self.certificate = certificate
    kid = certificate.sha1Fingerprint
    keys = JWTKeyCollection()
    let identifier = JWKIdentifier(string: kid)
    let algorithms = key.signing.supportedSignatureAlgorithms
    if algorithms.contains(.sha256WithRSAEncryption) {
      await keys.add(rsa: try Insecure.RSA.PrivateKey(pem: key.pem), digestAlgorithm: .sha256, kid: identifier)
    } else if algorithms.contains(.ecdsaWithSHA256) {
      await keys.add(ecdsa: try ES256PrivateKey(pem: key.pem), kid: identifier)
    } else if algorithms.contains(.ecdsaWithSHA384) {
      await keys.add(ecdsa: try ES384PrivateKey(pem: key.pem), kid: identifier)
    } else {
      throw PKIError.badPrivateKey("tokens are signed with RSA, P-256 or P-384 keys")
    }
  }

  public func sign<Claims: Codable & Sendable>(_ claims: Claims) async throws -> String {
    try await keys.sign(Payload(claims), kid: JWKIdentifier(string: kid))
  }
}

/// Verifies tokens against the certificates they name by `kid`. The algorithm is the key's, never the token's wish: each key is registered with exactly one.
public struct TokenVerifier: Sendable {
  private let keys: JWTKeyCollection
  private let known: Set<String>
  /// A token longer than this is refused unread.
  public static let sizeLimit = 16 * 1024

  public init(certificates: [Certificate]) async {
    keys = JWTKeyCollection()
    var known: Set<String> = []
    for certificate in certificates where await Self.add(certificate, to: keys) { known.insert(certificate.sha1Fingerprint) }
    self.known = known
  }

  private static func add(_ certificate: Certificate, to keys: JWTKeyCollection) async -> Bool {
    let kid = JWKIdentifier(string: certificate.sha1Fingerprint)
    guard let pem = try? certificate.publicKey.serializeAsPEM().pemString else { return false }
    if let key = try? Insecure.RSA.PublicKey(pem: pem) {
      await keys.add(rsa: key, digestAlgorithm: .sha256, kid: kid)
    } else if let key = try? ES256PublicKey(pem: pem) {
      await keys.add(ecdsa: key, kid: kid)
    } else if let key = try? ES384PublicKey(pem: pem) {
      await keys.add(ecdsa: key, kid: kid)
    } else if let key = try? ES512PublicKey(pem: pem) {
      await keys.add(ecdsa: key, kid: kid)
    } else {
      return false
    }
    return true
  }

  /// - Throws: `PKIError.unknownTokenKey`, `.badToken`. Expiry is the caller's to judge.
  public func verify<Claims: Codable & Sendable>(_ token: String, as: Claims.Type) async throws(PKIError) -> Claims {
    guard token.utf8.count <= Self.sizeLimit else { throw .badToken("longer than \(Self.sizeLimit) bytes") }
    let header = try TokenParts(token).header
    guard let kid = header.kid else { throw .badToken("no kid in its header") }
    guard known.contains(kid) else { throw .unknownTokenKey(kid) }
    do { return try await keys.verify(token, as: Payload<Claims>.self).claims } catch { throw .badToken("its signature or claims are not valid (\(error))") }
  }
}

/// The parts of a compact token, unverified.
public struct TokenParts: Sendable {
  struct Header: Codable, Sendable {
    var alg: String?
    var kid: String?
  }

  let header: Header
  private let payload: Data

  public init(_ token: String) throws(PKIError) {
    guard token.utf8.count <= TokenVerifier.sizeLimit else { throw .badToken("longer than \(TokenVerifier.sizeLimit) bytes") }
    let parts = token.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, let head = Self.decode(parts[0]), let payload = Self.decode(parts[1]) else { throw .badToken("not of the form header.claims.signature") }
    do { header = try JSONDecoder().decode(Header.self, from: head) } catch { throw .badToken("unreadable header") }
    self.payload = payload
  }

  /// Reads claims without believing them: to learn which server a token speaks of.
  public func unverifiedClaims<Claims: Decodable>(as: Claims.Type) throws(PKIError) -> Claims {
    do { return try JSONDecoder().decode(Claims.self, from: payload) } catch { throw .badToken("claims are missing or of the wrong type") }
  }

  private static func decode(_ part: Substring) -> Data? {
    var text = String(part).replacing("-", with: "+").replacing("_", with: "/")
    text += String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
    return Data(base64Encoded: text)
  }
}
