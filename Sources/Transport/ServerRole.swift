import PKI
import X509

/// What a server must be, beyond its chain and its host name: routers of a network have certificates of the same
/// authority as its controllers, and host names that their operators chose.
public enum ServerRole: Sendable, Equatable {
  /// The host name is all that counts.
  case any
  /// A controller. With a trust domain the certificate must bear a controller's SPIFFE id of it; without, it may bear
  /// none (OpenZiti's controllers have one only in clusters), but never one of a router or an identity.
  case controller(of: String?)

  /// - Returns: why the certificate is not one for the role, nil when it is.
  func problem(with leaf: Certificate) -> String? {
    guard case .controller(let domain) = self else { return nil }
    guard let id = leaf.spiffeID else {
      guard let domain else { return nil }
      return
        "it names no controller, and those of this network bear a SPIFFE id of \(domain); if the operator took that away, remove trustDomain from the identity file, or sign in again"
    }
    guard id.routerID == nil, id.identityID == nil else { return "it is the certificate of \(id), not of a controller" }
    guard let domain else { return nil }
    return id.trustDomain == domain && id.controllerID != nil
      ? nil : "it is the certificate of \(id), not of a controller of \(domain)"
  }
}
