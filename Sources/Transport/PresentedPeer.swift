import PKI
public import X509

/// What the other end showed in the TLS handshake. The leaf is the certificate whose key the handshake proved; it is
/// unverified: nothing says yet which authority, if any, stands behind it.
public struct PresentedPeer: Sendable {
  /// The certificate whose private key the peer holds, nil when it showed none.
  public let leaf: Certificate?
  /// Further certificates the peer sent. They only help to build a chain; none of them ever names the peer
  /// (fabric-planes.md 1.6).
  public let intermediates: [Certificate]
  /// True when the TLS session was resumed, so that no certificate crossed the wire this time.
  public let isResumed: Bool
  /// `ip:port` of the peer; an IPv6 address stands in brackets.
  public let remoteAddress: String
  /// `ip:port` on our side.
  public let localAddress: String

  init(leaf: Certificate?, intermediates: [Certificate], isResumed: Bool, remoteAddress: String, localAddress: String) {
    self.leaf = leaf
    self.intermediates = intermediates
    self.isResumed = isResumed
    self.remoteAddress = remoteAddress
    self.localAddress = localAddress
  }

  /// A peer for tests and in-process requests, which shows no certificate.
  public static func anonymous(remoteAddress: String = "127.0.0.1:0") -> PresentedPeer {
    PresentedPeer(
      leaf: nil, intermediates: [], isResumed: false, remoteAddress: remoteAddress, localAddress: "127.0.0.1:0")
  }

  /// The peer's address without port and brackets.
  public var remoteHost: String { HostPort(remoteAddress)?.host ?? remoteAddress }

  /// The leaf's fingerprint, lower-case hex SHA-1 of its DER.
  public var fingerprint: String? { leaf?.sha1Fingerprint }
}
