import Crypto
public import Foundation
import SwiftASN1
public import X509

extension Certificate {
  public var derBytes: [UInt8] {
    var serializer = DER.Serializer()
    // Serialising a value that was parsed or issued only writes its bytes.
    try? serializer.serialize(self)
    return serializer.serializedBytes
  }

  public var pem: String { PEMDocument(type: Certificate.defaultPEMDiscriminator, derBytes: derBytes).pemString + "\n" }

  /// Lower-case hex SHA-1 of the DER, the fingerprint used everywhere on this wire (edge-client-api.md 2.1). It
  /// identifies, it does not protect: trust comes from the handshake and the chain.
  public var sha1Fingerprint: String { Self.fingerprint(der: derBytes) }

  public static func fingerprint(der: [UInt8]) -> String { HexText.encoded(Insecure.SHA1.hash(data: der)) }

  /// The SPIFFE id among the subject alternative names; nil when there is none, and of a certificate that
  /// `TrustAnchors` refuses: with several, or with one that cannot be read.
  public var spiffeID: SPIFFEID? {
    let found = spiffeURIs
    return found.count == 1 ? found.first.flatMap { SPIFFEID($0) } : nil
  }

  /// Names of the scheme in any spelling: who writes it otherwise wants one reader to see it and another not.
  var spiffeURIs: [String] { uris.filter { $0.lowercased().hasPrefix("spiffe:") } }

  /// DNS names and IP addresses among the subject alternative names, as texts.
  public var hostNames: [String] {
    let names: [GeneralName] = Array((try? extensions.subjectAlternativeNames) ?? SubjectAlternativeNames())
    return names.hostNames
  }

  public var uris: [String] {
    ((try? extensions.subjectAlternativeNames) ?? SubjectAlternativeNames()).compactMap {
      if case .uniformResourceIdentifier(let uri) = $0 { uri } else { nil }
    }
  }

  public var commonName: String? { subject.commonName }

  public func isValid(at now: Date) -> Bool { notValidBefore <= now && now <= notValidAfter }

  public var isAuthority: Bool {
    if case .isCertificateAuthority? = try? extensions.basicConstraints { return true }
    return false
  }
}

extension [GeneralName] {
  var hostNames: [String] {
    compactMap { name in
      switch name {
      case .dnsName(let text): text
      case .ipAddress(let octets): IPAddressText.text([UInt8](octets.bytes))
      default: nil
      }
    }
  }
}

extension DistinguishedName {
  /// nil when there is none or several: readers disagree about which of several counts (Go takes the last).
  var commonName: String? {
    let names = flatMap { $0.filter { $0.type == .RDNAttributeType.commonName } }
    return names.count == 1 ? names.first.flatMap { String($0.value) } : nil
  }
}
