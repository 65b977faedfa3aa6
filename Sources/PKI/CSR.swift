import Foundation
import SwiftASN1
public import X509

/// A certificate signing request whose sender proved that it holds the key.
public struct CSR: Sendable {
  /// A request of a router with many names fits easily.
  public static let sizeLimit = 64 * 1024

  public let publicKey: Certificate.PublicKey
  public let subject: DistinguishedName
  let names: [GeneralName]

  public var commonName: String? { subject.commonName }
  /// DNS names and IP addresses asked for, as texts.
  public var hostNames: [String] { names.hostNames }
  public var uris: [String] {
    names.compactMap { if case .uniformResourceIdentifier(let uri) = $0 { uri } else { nil } }
  }

  /// Reads exactly one PEM block and checks its signature.
  ///
  /// C SDK 0.29 writes a NULL parameter into the outer ECDSA AlgorithmIdentifier, which RFC 5758 forbids; that one
  /// element lies outside the signed part and is removed before parsing (edge-client-api.md 2.1).
  public init(pem: String) throws(PKIError) {
    guard pem.utf8.count <= Self.sizeLimit else { throw .badCSR("larger than \(Self.sizeLimit) bytes") }
    guard !Self.hasTrailingText(pem) else { throw .badCSR("there is text behind the PEM block") }
    let request: CertificateSigningRequest
    do {
      let documents = try PEMDocument.parseMultiple(pemString: pem)
      guard documents.count == 1, let document = documents.first else {
        throw PKIError.badCSR("expected one PEM block, found \(documents.count)")
      }
      guard ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"].contains(document.discriminator) else {
        throw PKIError.badCSR("the PEM block is a \(document.discriminator)")
      }
      request = try CertificateSigningRequest(derEncoded: Self.withoutNullParameter(document.derBytes))
    } catch let error as PKIError {
      throw error
    } catch {
      throw .badCSR("\(error)")
    }
    guard request.publicKey.isValidSignature(request.signature, for: request) else {
      throw .badCSR("its signature does not prove possession of the key")
    }
    publicKey = request.publicKey
    subject = request.subject
    do {
      names = Array(
        try request.attributes.extensionRequest?.extensions.subjectAlternativeNames ?? SubjectAlternativeNames())
    } catch {
      throw .badCSR("its subject alternative names cannot be read: \(error)")
    }
  }

  /// Makes a request for a key of ours.
  public static func create(
    key: PrivateKey, commonName: String, organization: String? = nil, names: [String] = [], uris: [String] = []
  ) throws -> String {
    let subject = try DistinguishedName {
      if let organization { OrganizationName(organization) }
      CommonName(commonName)
    }
    let alternatives = names.map(GeneralName.host) + uris.map { .uniformResourceIdentifier($0) }
    var attributes = CertificateSigningRequest.Attributes()
    if !alternatives.isEmpty {
      let extensions = try Certificate.Extensions { SubjectAlternativeNames(alternatives) }
      attributes = try CertificateSigningRequest.Attributes([.init(ExtensionRequest(extensions: extensions))])
    }
    let request = try CertificateSigningRequest(
      version: .v1, subject: subject, privateKey: key.signing, attributes: attributes,
      signatureAlgorithm: key.signing.defaultSignatureAlgorithm)
    return try request.serializeAsPEM().pemString + "\n"
  }

  /// Whether anything but white space follows the first block.
  private static func hasTrailingText(_ pem: String) -> Bool {
    guard let end = pem.range(of: "-----END "), let close = pem.range(of: "-----", range: end.upperBound..<pem.endIndex)
    else { return false }
    return pem[close.upperBound...].contains { !$0.isWhitespace }
  }

  /// `SEQUENCE { info, SEQUENCE { ecdsa-with-SHA…, NULL }, signature }` without the NULL; anything else is returned as
  /// it is.
  static func withoutNullParameter(_ der: [UInt8]) throws -> [UInt8] {
    let root = try DER.parse(der)
    guard root.identifier == .sequence, case .constructed(let children) = root.content else { return der }
    let parts = Array(children)
    guard parts.count == 3, parts[1].identifier == .sequence, case .constructed(let algorithmNodes) = parts[1].content
    else { return der }
    let algorithm = Array(algorithmNodes)
    guard algorithm.count == 2, algorithm[1].identifier == .null,
      let oid = try? ASN1ObjectIdentifier(derEncoded: algorithm[0]),
      ecdsaAlgorithms.contains(oid)
    else { return der }
    var serializer = DER.Serializer()
    try serializer.appendConstructedNode(identifier: .sequence) { outer in
      outer.serialize(parts[0])
      try outer.appendConstructedNode(identifier: .sequence) { inner in try inner.serialize(oid) }
      outer.serialize(parts[2])
    }
    return serializer.serializedBytes
  }

  /// ecdsa-with-SHA256, -SHA384, -SHA512.
  private static let ecdsaAlgorithms: Set<ASN1ObjectIdentifier> = [
    [1, 2, 840, 10045, 4, 3, 2], [1, 2, 840, 10045, 4, 3, 3], [1, 2, 840, 10045, 4, 3, 4],
  ]
}

extension Certificate.PrivateKey {
  var defaultSignatureAlgorithm: Certificate.SignatureAlgorithm {
    let algorithms = supportedSignatureAlgorithms
    return [.ecdsaWithSHA256, .ecdsaWithSHA384, .ecdsaWithSHA512, .sha256WithRSAEncryption].first {
      algorithms.contains($0)
    }
      ?? .sha256WithRSAEncryption
  }
}
