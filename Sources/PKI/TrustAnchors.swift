public import Foundation
import SwiftASN1
@_spi(DisableValidityCheck) public import X509

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
  /// Names that cannot be read, or more than one SPIFFE id: two readers would see two peers.
  case ambiguousName
  case expired(notAfter: Date)
  case notYetValid(notBefore: Date)

  public var description: String {
    switch self {
    case .doesNotChain(let reason): "it does not lead to a trusted authority\(reason.isEmpty ? "" : " (\(reason))")"
    case .wrongUsage: "its extended key usage does not allow this purpose"
    case .isAuthority: "it is a CA certificate"
    case .ambiguousName: "its names cannot be read, or it bears several SPIFFE ids"
    case .expired(let date): "it expired on \(date.formatted(.iso8601)); renew it, or check the clock of this machine"
    case .notYetValid(let date): "it is valid only from \(date.formatted(.iso8601)); check the clock of this machine"
    }
  }
}

/// The certificates a chain may end at. Every certificate of the pool counts, intermediates too (fabric-planes.md 1.6).
public struct TrustAnchors: Sendable {
  /// Certificates of a peer that are tried as intermediates. Path building tries every order, so a stranger must not
  /// choose the count.
  static let intermediateLimit = 6

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
  ///   - ignoreLeafExpiry: leaves the leaf's own period out; the caller judges it by policy (edge-client-api.md 3.2).
  ///     Issuers must be valid at `now` anyway.
  ///   - ignoreLeafStart: leaves the beginning of the leaf's period out: for a caller that knows this very certificate
  ///     as one that its own network issued.
  /// - Returns: the path, leaf first, or why there is none.
  public func verify(
    leaf: Certificate, intermediates: [Certificate], now: Date, purpose: CertificatePurpose, ignoreLeafExpiry: Bool,
    ignoreLeafStart: Bool = false
  ) async -> Result<[Certificate], ChainError> {
    do {
      if case .isCertificateAuthority? = try leaf.extensions.basicConstraints { return .failure(.isAuthority) }
    } catch {
      return .failure(.doesNotChain("its basic constraints cannot be read"))
    }
    // Path building verifies signatures, so what a stranger cannot mend is judged first.
    do { _ = try leaf.extensions.subjectAlternativeNames } catch { return .failure(.ambiguousName) }
    guard leaf.spiffeURIs.isEmpty || leaf.spiffeID != nil else { return .failure(.ambiguousName) }
    guard leaf.allows(purpose) else { return .failure(.wrongUsage) }
    if !ignoreLeafExpiry {
      guard now <= leaf.notValidAfter else { return .failure(.expired(notAfter: leaf.notValidAfter)) }
      guard ignoreLeafStart || now >= leaf.notValidBefore else {
        return .failure(.notYetValid(notBefore: leaf.notValidBefore))
      }
    }
    var verifier = Verifier(rootCertificates: store) {
      RFC5280Policy.withValidityCheckDisabled()
      IssuerPolicy(now: now)
    }
    switch await verifier.validate(
      leaf: leaf, intermediates: CertificateStore(intermediates.prefix(Self.intermediateLimit)))
    {
    case .validCertificate(let chain): return .success(Array(chain))
    case .couldNotValidate(let failures):
      return .failure(.doesNotChain(failures.first.map { "\($0.policyFailureReason)" } ?? ""))
    }
  }
}

/// What an issuer in the path must be beyond RFC 5280's basic constraints: valid at the given instant, of a version
/// that has basic constraints, and, when it restricts the use of its key, allowed to sign certificates. The leaf is
/// judged apart.
private struct IssuerPolicy: VerifierPolicy {
  let now: Date
  /// The leaf's extended key usage is judged before the path is built.
  let verifyingCriticalExtensions: [ASN1ObjectIdentifier] = [
    .X509ExtensionID.extendedKeyUsage, .X509ExtensionID.subjectAlternativeName,
  ]

  func chainMeetsPolicyRequirements(chain: UnverifiedCertificateChain) -> PolicyEvaluationResult {
    for issuer in chain.dropFirst() {
      guard issuer.isValid(at: now) else {
        return .failsToMeetPolicy(reason: "\(issuer.subject) is expired or not yet valid")
      }
      guard issuer.version == .v3 else {
        return .failsToMeetPolicy(reason: "\(issuer.subject) is not a version 3 certificate")
      }
      do {
        if let usage = try issuer.extensions.keyUsage, !usage.keyCertSign {
          return .failsToMeetPolicy(reason: "the key usage of \(issuer.subject) does not allow signing certificates")
        }
      } catch {
        return .failsToMeetPolicy(reason: "the key usage of \(issuer.subject) cannot be read")
      }
    }
    return .meetsPolicy
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
    do {
      guard let usages = try extensions.extendedKeyUsage else { return true }
      return usages.contains(wanted) || usages.contains(.any)
    } catch {
      return false
    }
  }
}
