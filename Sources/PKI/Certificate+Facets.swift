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

  /// Lower-case hex SHA-1 of the DER, the fingerprint used everywhere on this wire (edge-client-api.md 2.1). It identifies, it does not protect:
  /// trust comes from the handshake and the chain.
  public var sha1Fingerprint: String { Self.fingerprint(der: derBytes) }

  public static func fingerprint(der: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in Insecure.SHA1.hash(data: der) {
      text.append(digits[Int(byte >> 4)])
      text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// The SPIFFE id among the subject alternative names; nil when there is none or, against the rule, several.
  public var spiffeID: SPIFFEID? {
    let uris = uris.filter { $0.hasPrefix("spiffe:") }
    return uris.count == 1 ? SPIFFEID(uris[0]) : nil
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

extension DistinguishedName {
  var commonName: String? {
    for relative in self {
      for attribute in relative where attribute.type == .RDNAttributeType.commonName { return String(attribute.value) }
    }
    return nil
  }
}
