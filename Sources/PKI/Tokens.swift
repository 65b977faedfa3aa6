import Crypto
import CryptoExtras
public import Foundation
import JWTKit
import SwiftASN1
public import X509

/// Claims that end.
public protocol ExpiringClaims: Codable, Sendable {
  /// Seconds since 1970.
  var exp: Int64 { get }
}

/// Claims of an enrollment token (edge-client-api.md 2.2).
public struct EnrollmentClaims: ExpiringClaims, Equatable {
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
public struct ServiceSessionClaims: ExpiringClaims, Equatable {
  public var iss: String
  /// Service id.
  public var sub: String
  public var aud: [String]
  public var iat: Int64
  public var exp: Int64
  /// Session id.
  public var jti: String
  /// API session id.
  public var apiSessionID: String
  /// Identity id.
  public var identityID: String
  /// Token type, `s`.
  public var tokenType: String
  /// `Dial` or `Bind`.
  public var sessionType: String
  /// True for a session of a legacy API session.
  public var isLegacy: Bool

  /// Whom service session tokens are for.
  public static let audience = "openziti"

  private enum CodingKeys: String, CodingKey {
    case iss, sub, aud, iat, exp, jti
    case apiSessionID = "z_asid"
    case identityID = "z_iid"
    case tokenType = "z_t"
    case sessionType = "z_st"
    case isLegacy = "z_leg"
  }

  public init(
    iss: String, serviceID: String, sessionID: String, apiSessionID: String, identityID: String, type: String,
    issuedAt: Int64, expiresAt: Int64
  ) {
    self.iss = iss
    sub = serviceID
    aud = [Self.audience]
    iat = issuedAt
    exp = expiresAt
    jti = sessionID
    self.apiSessionID = apiSessionID
    self.identityID = identityID
    tokenType = "s"
    sessionType = type
    isLegacy = true
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

/// The signature algorithms of tokens, each bound to one kind of key (edge-client-api.md 2.2). A token's own wish never
/// picks one.
enum TokenAlgorithm: String {
  case rs256 = "RS256"
  case es256 = "ES256"
  case es384 = "ES384"
  case es512 = "ES512"

  /// The algorithm that fits a key; nil for keys that tokens are not signed with.
  init?(_ key: Certificate.PublicKey) {
    if P256.Signing.PublicKey(key) != nil {
      self = .es256
    } else if P384.Signing.PublicKey(key) != nil {
      self = .es384
    } else if P521.Signing.PublicKey(key) != nil {
      self = .es512
    } else if _RSA.Signing.PublicKey(key) != nil {
      self = .rs256
    } else {
      return nil
    }
  }

  func add(_ key: Certificate.PublicKey, kid: String, to keys: JWTKeyCollection) async throws {
    let (pem, kid) = (try key.serializeAsPEM().pemString, JWKIdentifier(string: kid))
    switch self {
    case .rs256: await keys.add(rsa: try Insecure.RSA.PublicKey(pem: pem), digestAlgorithm: .sha256, kid: kid)
    case .es256: await keys.add(ecdsa: try ES256PublicKey(pem: pem), kid: kid)
    case .es384: await keys.add(ecdsa: try ES384PublicKey(pem: pem), kid: kid)
    case .es512: await keys.add(ecdsa: try ES512PublicKey(pem: pem), kid: kid)
    }
  }

  func add(_ key: PrivateKey, kid: String, to keys: JWTKeyCollection) async throws {
    let (pem, kid) = (key.pem, JWKIdentifier(string: kid))
    switch self {
    case .rs256: await keys.add(rsa: try Insecure.RSA.PrivateKey(pem: pem), digestAlgorithm: .sha256, kid: kid)
    case .es256: await keys.add(ecdsa: try ES256PrivateKey(pem: pem), kid: kid)
    case .es384: await keys.add(ecdsa: try ES384PrivateKey(pem: pem), kid: kid)
    case .es512: await keys.add(ecdsa: try ES512PrivateKey(pem: pem), kid: kid)
    }
  }
}

/// Signs tokens with the key of a certificate; `kid` is the certificate's fingerprint, the algorithm follows the key.
public struct TokenSigner: Sendable {
  public let kid: String
  public let certificate: Certificate
  private let keys: JWTKeyCollection

  /// - Throws: `PKIError.badPrivateKey` when the key is not the certificate's, or of a kind that tokens are not signed
  ///   with.
  public init(key: PrivateKey, certificate: Certificate) async throws(PKIError) {
    guard key.fits(certificate) else {
      throw .badPrivateKey("it is not the key of the certificate \(certificate.subject)")
    }
    guard let algorithm = TokenAlgorithm(key.publicKey) else {
      throw .badPrivateKey("tokens are signed with RSA, P-256, P-384 or P-521 keys")
    }
    self.certificate = certificate
    kid = certificate.sha1Fingerprint
    keys = JWTKeyCollection()
    do { try await algorithm.add(key, kid: kid, to: keys) } catch {
      throw .badPrivateKey("tokens cannot be signed with it (\(error))")
    }
  }

  public func sign<Claims: Codable & Sendable>(_ claims: Claims) async throws -> String {
    try await keys.sign(Payload(claims), kid: JWKIdentifier(string: kid))
  }
}

/// Verifies tokens against the keys they name by `kid`. The algorithm is the key's, never the token's wish: each key is
/// known with exactly one.
public struct TokenVerifier: Sendable {
  /// A public key as the data model of routers carries it (fabric-planes.md 4.7).
  public struct Key: Sendable {
    public let kid: String
    let key: Certificate.PublicKey

    public init(certificate: Certificate) {
      kid = certificate.sha1Fingerprint
      key = certificate.publicKey
    }

    /// - Parameters:
    ///   - kid: the name tokens use for the key.
    ///   - der: a certificate or a SubjectPublicKeyInfo.
    public init(kid: String, der: [UInt8]) throws(PKIError) {
      self.kid = kid
      if let certificate = try? Certificate(derEncoded: der) {
        key = certificate.publicKey
      } else {
        let document = PEMDocument(type: Certificate.PublicKey.defaultPEMDiscriminator, derBytes: der)
        do { key = try Certificate.PublicKey(pemDocument: document) } catch {
          throw .badCertificate("neither a certificate nor a public key (\(error))")
        }
      }
    }
  }

  /// A token longer than this is refused unread.
  public static let sizeLimit = 16 * 1024

  private let keys: JWTKeyCollection
  private let algorithms: [String: TokenAlgorithm]

  /// Keys of kinds that tokens are not signed with are left out.
  public init(keys list: [Key]) async {
    keys = JWTKeyCollection()
    var algorithms: [String: TokenAlgorithm] = [:]
    for item in list {
      guard let algorithm = TokenAlgorithm(item.key),
        (try? await algorithm.add(item.key, kid: item.kid, to: keys)) != nil
      else { continue }
      algorithms[item.kid] = algorithm
    }
    self.algorithms = algorithms
  }

  public init(certificates: [Certificate]) async { await self.init(keys: certificates.map { Key(certificate: $0) }) }

  /// Judges the signature only; use `verify(_:as:now:)` for tokens that end.
  ///
  /// - Throws: `PKIError.unknownTokenKey`, `.badToken`.
  public func verify<Claims: Codable & Sendable>(_ token: String, as: Claims.Type) async throws(PKIError) -> Claims {
    let header = try TokenParts(token).header
    guard let kid = header.kid else { throw .badToken("no kid in its header") }
    guard let algorithm = algorithms[kid] else { throw .unknownTokenKey(kid) }
    guard header.alg == algorithm.rawValue else { throw .badToken("its key is for \(algorithm.rawValue)") }
    guard header.crit == nil else { throw .badToken("critical header fields are not understood") }
    do { return try await keys.verify(token, as: Payload<Claims>.self).claims } catch {
      throw .badToken("its signature or claims are not valid (\(error))")
    }
  }

  /// Judges signature, end, and the beginning where a token names one.
  ///
  /// - Throws: also `PKIError.tokenExpired`.
  public func verify<Claims: ExpiringClaims>(_ token: String, as type: Claims.Type, now: Date) async throws(PKIError)
    -> Claims
  {
    let claims = try await verify(token, as: type)
    guard Double(claims.exp) > now.timeIntervalSince1970 else { throw .tokenExpired }
    let begin = try TokenParts(token).unverifiedClaims(as: Beginning.self).nbf
    guard begin ?? 0 <= now.timeIntervalSince1970 + CertificateAuthority.Lifetime.backdate else {
      throw .badToken("it is not valid yet")
    }
    return claims
  }

  private struct Beginning: Decodable { var nbf: Double? }

  /// Judges a token by the certificate its issuer presented, whatever the token calls its key: a renewed certificate of
  /// the same key still speaks for tokens that were given out before (edge-client-api.md 2.2).
  public static func verify<Claims: ExpiringClaims>(
    _ token: String, as type: Claims.Type, signedBy certificate: Certificate, now: Date
  ) async throws(PKIError) -> Claims {
    let key = Key(kid: try TokenParts(token).header.kid ?? "", key: certificate.publicKey)
    return try await TokenVerifier(keys: [key]).verify(token, as: type, now: now)
  }
}

extension TokenVerifier.Key {
  init(kid: String, key: Certificate.PublicKey) {
    self.kid = kid
    self.key = key
  }
}

/// The parts of a compact token, unverified.
public struct TokenParts: Sendable {
  struct Header: Codable, Sendable {
    var alg: String?
    var kid: String?
    var crit: [String]?
  }

  let header: Header
  private let payload: Data

  public init(_ token: String) throws(PKIError) {
    guard token.utf8.count <= TokenVerifier.sizeLimit else {
      throw .badToken("longer than \(TokenVerifier.sizeLimit) bytes")
    }
    let parts = token.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, let head = Base64URL.decode(parts[0]), let payload = Base64URL.decode(parts[1]) else {
      throw .badToken("not of the form header.claims.signature")
    }
    do { header = try JSONDecoder().decode(Header.self, from: head) } catch { throw .badToken("unreadable header") }
    self.payload = payload
  }

  /// Reads claims without believing them: to learn which server a token speaks of.
  public func unverifiedClaims<Claims: Decodable>(as: Claims.Type) throws(PKIError) -> Claims {
    do { return try JSONDecoder().decode(Claims.self, from: payload) } catch {
      throw .badToken("claims are missing or of the wrong type")
    }
  }
}
