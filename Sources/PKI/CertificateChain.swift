import SwiftASN1
public import X509

/// A leaf and the certificates between it and a root, in the order they are sent: leaf first, root left out.
public struct CertificateChain: Sendable, Equatable {
  public var leaf: Certificate
  public var intermediates: [Certificate]

  public init(leaf: Certificate, intermediates: [Certificate] = []) {
    self.leaf = leaf
    self.intermediates = intermediates
  }

  /// Reads concatenated PEM certificates, leaf first.
  public init(pem: String) throws(PKIError) {
    let all = try Certificate.list(pem: pem)
    guard let leaf = all.first else { throw .badCertificate("no PEM certificate in the text") }
    self.init(leaf: leaf, intermediates: Array(all.dropFirst()))
  }

  public var all: [Certificate] { [leaf] + intermediates }

  /// PEM, leaf first; self-signed certificates behind the leaf are left out (edge-client-api.md 2.1).
  public var pem: String { ([leaf] + intermediates.filter { $0.issuer != $0.subject }).map(\.pem).joined() }
}

extension Certificate {
  /// Reads every certificate of a PEM text; at most 256 are accepted.
  public static func list(pem: String) throws(PKIError) -> [Certificate] {
    do {
      let documents = try PEMDocument.parseMultiple(pemString: pem)
      guard documents.count <= 256 else { throw PKIError.badCertificate("more than 256 certificates") }
      return try documents.filter { $0.discriminator == Certificate.defaultPEMDiscriminator }.map {
        try Certificate(pemDocument: $0)
      }
    } catch let error as PKIError {
      throw error
    } catch {
      throw .badCertificate("\(error)")
    }
  }
}
