public import Foundation
@_spi(FixedExpiryValidationTime) public import X509

/// What a leaf certificate is to be used for.
public enum CertificatePurpose: Sendable {
  case anyUsage
  case serverAuth
  case clientAuth
}

/// Why a leaf is not believed.
public enum ChainError: Error, Sendable, Equatable, CustomStringConvertible {
  case doesNotChain(String)
  case wrongUsage
  /// A CA's own certificate never stands for a peer.
  case isAuthority
  case expired(notAfter: Date)
  case notYetValid(notBefore: Date)

  public var description: String {
    switch self {
    case .doesNotChain(let reason): "it does not lead to a trusted authority\(reason.isEmpty ? "" : " (\(reason))")"
    case .wrongUsage: "its extended key usage does not allow this purpose"
    case .isAuthority: "it is a CA certificate"
    case .expired(let date): "it expired on \(date.formatted(.iso8601)); renew it, or check the clock of this machine"
    case .notYetValid(let date): "it is valid only from \(date.formatted(.iso8601)); check the clock of this machine"
    }
  }
}

/// The certificates a chain may end at. Every certificate of the pool counts, intermediates too (fabric-planes.md 1.6).
public struct TrustAnchors: Sendable {
  public let certificates: [Certificate]
  private let store: CertificateStore

  public init(_ certificates: [Certificate]) {
    self.certificates = certificates
    store = CertificateStore(certificates)
  }

  /// Judges one leaf. The other certificates of the peer only help to find a path; none of them is ever the result.
  ///
  /// - Parameters:
  ///   - leaf: the certificate whose key the handshake proved.
  ///   - now: the instant at which validity is judged.
  ///   - ignoreLeafExpiry: judges the path as of the end of an expired leaf; the caller judges expiry by policy (edge-client-api.md 3.2).
  /// - Returns: the path, leaf first, or why there is none.
  public func verify(leaf: Certificate, intermediates: [Certificate], now: Date, purpose: CertificatePurpose, ignoreLeafExpiry: Bool) async -> Result<
    [Certificate], ChainError
  > {
    guard !leaf.isAuthority else { return .failure(.isAuthority) }
    guard leaf.allows(purpose) else { return .failure(.wrongUsage) }
    if !ignoreLeafExpiry {
      guard now <= leaf.notValidAfter else { return .failure(.expired(notAfter: leaf.notValidAfter)) }
      guard now >= leaf.notValidBefore else { return .failure(.notYetValid(notBefore: leaf.notValidBefore)) }
    }
    let instant = ignoreLeafExpiry ? min(max(now, leaf.notValidBefore), leaf.notValidAfter) : now
    var verifier = Verifier(rootCertificates: store) { RFC5280Policy(fixedExpiryValidationTime: instant) }
    switch await verifier.validate(leaf: leaf, intermediates: CertificateStore(intermediates)) {
    case .validCertificate(let chain): return .success(Array(chain))
    case .couldNotValidate(let failures): return .failure(.doesNotChain(failures.first.map { "\($0.policyFailureReason)" } ?? ""))
    }
  }
}

extension Certificate {
  /// A certificate without extended key usage allows everything.
  func allows(_ purpose: CertificatePurpose) -> Bool {
    let wanted: ExtendedKeyUsage.Usage
    switch purpose {
    case .anyUsage: return true
    case .serverAuth: wanted = .serverAuth
    case .clientAuth: wanted = .clientAuth
    }
    guard let usages = try? extensions.extendedKeyUsage else { return true }
    return usages.contains(wanted) || usages.contains(.any)
  }
}
