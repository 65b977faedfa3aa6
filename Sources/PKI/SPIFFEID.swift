/// `spiffe://<trust domain>/<path>`: how certificates of the network name identities, controllers, routers and API
/// sessions (edge-client-api.md 2.1).
public struct SPIFFEID: Sendable, Equatable, CustomStringConvertible {
  public let trustDomain: String
  public let path: [String]

  public init(trustDomain: String, path: [String]) {
    self.trustDomain = trustDomain
    self.path = path
  }

  public init?(_ uri: String) {
    guard uri.hasPrefix("spiffe://"), uri.utf8.count <= 2048 else { return nil }
    let parts = uri.dropFirst(9).split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard let domain = parts.first, !domain.isEmpty, parts.dropFirst().allSatisfy({ !$0.isEmpty }) else { return nil }
    self.init(trustDomain: domain, path: Array(parts.dropFirst()))
  }

  public static func identity(_ id: String, trustDomain: String) -> SPIFFEID {
    SPIFFEID(trustDomain: trustDomain, path: ["identity", id])
  }
  public static func controller(_ id: String, trustDomain: String) -> SPIFFEID {
    SPIFFEID(trustDomain: trustDomain, path: ["controller", id])
  }
  public static func router(_ id: String, trustDomain: String) -> SPIFFEID {
    SPIFFEID(trustDomain: trustDomain, path: ["router", id])
  }
  public static func apiSession(_ session: String, identity: String, certificate: String, trustDomain: String)
    -> SPIFFEID
  {
    SPIFFEID(
      trustDomain: trustDomain,
      path: ["identity", identity, "apiSession", session, "apiSessionCertificate", certificate])
  }

  public var description: String { "spiffe://\(trustDomain)/\(path.joined(separator: "/"))" }

  /// The identity this id stands for, for `/identity/<id>` and longer paths below it.
  public var identityID: String? { path.count >= 2 && path[0] == "identity" ? path[1] : nil }
  /// The controller this id stands for, for `/controller/<id>` only.
  public var controllerID: String? { path.count == 2 && path[0] == "controller" ? path[1] : nil }
  /// The router this id stands for, for `/router/<id>` only: how this network marks the server certificates of routers.
  public var routerID: String? { path.count == 2 && path[0] == "router" ? path[1] : nil }
  /// The API session, for `/identity/<id>/apiSession/<session>…`.
  public var apiSessionID: String? { path.count >= 4 && path[2] == "apiSession" && identityID != nil ? path[3] : nil }
}
