public import Foundation
public import Model
import PKI
public import X509

/// Login by the certificate of the TLS handshake (edge-client-api.md 3.2).
public struct CertificateLogin: Sendable {
  public enum Refusal: String, Error, Sendable {
    case noCertificate = "no client certificate"
    case untrusted = "the certificate does not lead to an authority of this network"
    case unknown = "no authenticator has this certificate"
    case expired = "the certificate has expired and the auth policy does not allow that"
    case notAllowed = "the auth policy does not allow certificates"
  }

  public struct Success: Sendable {
    public let authenticator: Authenticator
    /// The chain sent by the client lacked an intermediate; only our own copy completed it.
    public let improperClientCertChain: Bool
  }

  private let roots: TrustAnchors
  private let all: TrustAnchors

  /// - Parameters:
  ///   - roots: self-signed authorities of the network.
  ///   - signers: intermediate authorities of the network, which count as anchors when the client did not send them.
  public init(roots: [Certificate], signers: [Certificate]) {
    self.roots = TrustAnchors(roots)
    self.all = TrustAnchors(roots + signers)
  }

  /// - Parameters:
  ///   - leaf: the certificate whose key the handshake proved; no other certificate ever names the caller.
  ///   - lookup: authenticator by fingerprint.
  ///   - policy: the auth policy of an authenticator's identity.
  public func judge(
    leaf: Certificate?, intermediates: [Certificate], now: Date, lookup: (String) async throws -> Authenticator?,
    policy: (Authenticator) async throws -> PrimaryAuthPolicy.Certificate
  ) async throws -> Result<Success, Refusal> {
    guard let leaf else { return .failure(.noCertificate) }
    var improper = false
    if case .failure = await roots.verify(
      leaf: leaf, intermediates: intermediates, now: now, purpose: .clientAuth, ignoreLeafExpiry: true)
    {
      guard
        case .success = await all.verify(
          leaf: leaf, intermediates: intermediates, now: now, purpose: .clientAuth, ignoreLeafExpiry: true)
      else {
        return .failure(.untrusted)
      }
      improper = true
    }
    guard let authenticator = try await lookup(leaf.sha1Fingerprint), authenticator.method == .cert else {
      return .failure(.unknown)
    }
    let rules = try await policy(authenticator)
    guard rules.allowed else { return .failure(.notAllowed) }
    // One that begins later was issued by a clock of this network that ran ahead; it is known by its fingerprint.
    let isEarly = authenticator.isIssuedByNetwork && now < leaf.notValidBefore
    guard isEarly || leaf.isValid(at: now) || rules.allowExpiredCerts else { return .failure(.expired) }
    return .success(Success(authenticator: authenticator, improperClientCertChain: improper))
  }
}
