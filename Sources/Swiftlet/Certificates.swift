import PKI
import X509

/// Reading of certificate lists without the module's name in the way.
enum Certificates {
  /// Every certificate of a PEM text.
  static func list(pem: String) throws(PKIError) -> [Certificate] {
    let certificates = try Certificate.list(pem: pem)
    guard !certificates.isEmpty else { throw .badCertificate("no PEM certificate in the text") }
    return certificates
  }

  static func pem(_ certificates: [Certificate]) -> String { certificates.map(\.pem).joined() }
}
