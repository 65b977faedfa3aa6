import NIOSSL
import SwiftASN1
import X509

extension Certificate {
  /// The same certificate, parsed by swift-certificates.
  init(nioSSL certificate: NIOSSLCertificate) throws { try self.init(derEncoded: certificate.toDERBytes()) }
}
