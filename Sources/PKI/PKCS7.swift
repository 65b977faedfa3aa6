import Foundation
import SwiftASN1
public import X509

/// The CA bundle of EST: a degenerate SignedData with certificates only (edge-client-api.md 2.3, RFC 7030 4.1.3).
public enum PKCS7 {
  /// Bytes of DER that a client reads; a bundle holds a handful of certificates.
  public static let sizeLimit = 1024 * 1024

  private static let signedData: ASN1ObjectIdentifier = [1, 2, 840, 113549, 1, 7, 2]
  private static let data: ASN1ObjectIdentifier = [1, 2, 840, 113549, 1, 7, 1]
  private static let explicitZero = ASN1Identifier(tagWithNumber: 0, tagClass: .contextSpecific)

  public static func certificatesOnly(_ certificates: [Certificate]) throws -> [UInt8] {
    var serializer = DER.Serializer()
    try serializer.appendConstructedNode(identifier: .sequence) { content in
      try content.serialize(signedData)
      try content.appendConstructedNode(identifier: explicitZero) { wrapper in
        try wrapper.appendConstructedNode(identifier: .sequence) { body in
          try body.serialize(1)
          body.appendConstructedNode(identifier: .set) { _ in }
          try body.appendConstructedNode(identifier: .sequence) { try $0.serialize(data) }
          body.appendConstructedNode(identifier: explicitZero) { list in
            for certificate in certificates { list.serializeRawBytes(certificate.derBytes) }
          }
          body.appendConstructedNode(identifier: .set) { _ in }
        }
      }
    }
    return serializer.serializedBytes
  }

  /// Base64 in lines of 64 columns, each ended by a line feed: C SDKs decode line by line.
  public static func base64Lines(_ bytes: [UInt8]) -> String {
    let text = Array(Data(bytes).base64EncodedString().utf8)
    var lines = ""
    for start in stride(from: 0, to: text.count, by: 64) {
      lines += String(decoding: text[start..<min(start + 64, text.count)], as: UTF8.self) + "\n"
    }
    return lines
  }

  /// Reads a base64 bundle, whatever its line breaks.
  public static func parse(base64: [UInt8]) throws(PKIError) -> [Certificate] {
    guard base64.count <= 2 * sizeLimit, let der = Data(base64Encoded: Data(base64), options: .ignoreUnknownCharacters),
      !der.isEmpty
    else {
      throw .badBundle("not base64")
    }
    do {
      return try DER.sequence(try DER.parse(Array(der)), identifier: .sequence) { content in
        let type = try ASN1ObjectIdentifier(derEncoded: &content)
        guard type == signedData else { throw PKIError.badBundle("not SignedData") }
        return try DER.explicitlyTagged(&content, tagNumber: 0, tagClass: .contextSpecific) { node in
          guard case .constructed(let nodes) = node.content else { throw PKIError.badBundle("not SignedData") }
          for child in nodes where child.identifier == explicitZero {
            guard case .constructed(let list) = child.content else { continue }
            let certificates = try list.map { try Certificate(derEncoded: $0) }
            guard certificates.count <= 256 else { throw PKIError.badBundle("more than 256 certificates") }
            return certificates
          }
          return []
        }
      }
    } catch let error as PKIError {
      throw error
    } catch {
      throw .badBundle("\(error)")
    }
  }
}
