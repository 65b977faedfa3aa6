public import Foundation
public import PKI
public import X509

/// A peer whose leaf certificate, proven by the handshake, chains to anchors of ours. Only this module makes one.
///
/// On a resumed session the leaf and its helpers come from our own memory of the full handshake; the chain is built and
/// judged again each time, so that expiry and a changed trust pool count at once (swift-recipes.md 2).
public struct VerifiedPeer: Sendable {
  public let certificate: Certificate
  /// Lower-case hex SHA-1 of the leaf's DER.
  public let fingerprint: String
  public let spiffeID: SPIFFEID?
  public let commonName: String?
  public let remoteAddress: String

  init(certificate: Certificate, remoteAddress: String) {
    self.certificate = certificate
    self.fingerprint = certificate.sha1Fingerprint
    self.spiffeID = certificate.spiffeID
    self.commonName = certificate.commonName
    self.remoteAddress = remoteAddress
  }
}

extension PresentedPeer {
  /// Builds and judges the chain of the leaf.
  ///
  /// - Parameters:
  ///   - anchors: every certificate of the pool counts as an anchor.
  ///   - now: the instant at which validity is judged.
  ///   - purpose: the extended key usage the leaf must allow.
  ///   - ignoreLeafStart: for a caller that compares the fingerprint with one that it stored when its own network
  ///     issued the certificate.
  /// - Returns: nil when the peer showed no certificate or its leaf does not chain to an anchor.
  public func verified(
    by anchors: TrustAnchors, now: Date, purpose: CertificatePurpose = .anyUsage, ignoreLeafStart: Bool = false
  ) async -> VerifiedPeer? {
    guard let leaf else { return nil }
    switch await anchors.verify(
      leaf: leaf, intermediates: intermediates, now: now, purpose: purpose, ignoreLeafExpiry: false,
      ignoreLeafStart: ignoreLeafStart)
    {
    case .success: return VerifiedPeer(certificate: leaf, remoteAddress: remoteAddress)
    case .failure: return nil
    }
  }
}
