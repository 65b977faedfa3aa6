import Crypto
import CryptoExtras
import Foundation
import SwiftASN1
public import X509

public enum KeyAlgorithm: String, Sendable, CaseIterable {
  case p256
  case p384
  case p521
  case rsa2048
  case rsa4096
}

/// A private key of a certificate.
public struct PrivateKey: Sendable {
  public let signing: Certificate.PrivateKey

  init(_ signing: Certificate.PrivateKey) { self.signing = signing }

  public static func generate(_ algorithm: KeyAlgorithm) throws(PKIError) -> PrivateKey {
    do {
      switch algorithm {
      case .p256: return PrivateKey(.init(P256.Signing.PrivateKey()))
      case .p384: return PrivateKey(.init(P384.Signing.PrivateKey()))
      case .p521: return PrivateKey(.init(P521.Signing.PrivateKey()))
      case .rsa2048: return PrivateKey(.init(try _RSA.Signing.PrivateKey(keySize: .bits2048)))
      case .rsa4096: return PrivateKey(.init(try _RSA.Signing.PrivateKey(keySize: .bits4096)))
      }
    } catch {
      throw .badPrivateKey("cannot generate a \(algorithm.rawValue) key: \(error)")
    }
  }

  /// Reads the first key of a PEM text: SEC1, PKCS#8 or PKCS#1. Other blocks, such as the `EC PARAMETERS` that openssl
  /// writes before a key, are passed over.
  public init(pem: String) throws(PKIError) {
    do {
      let documents = try PEMDocument.parseMultiple(pemString: pem)
      guard let document = documents.first(where: { $0.discriminator.hasSuffix("PRIVATE KEY") }) else {
        throw PKIError.badPrivateKey("no PEM block with a private key in the text")
      }
      guard document.discriminator != "ENCRYPTED PRIVATE KEY" else {
        throw PKIError.badPrivateKey("it is encrypted; decrypt it first, for example with `openssl pkey`")
      }
      signing = try Certificate.PrivateKey(pemDocument: document)
    } catch let error as PKIError {
      throw error
    } catch {
      throw .badPrivateKey("expected PEM with an EC or RSA key (\(error))")
    }
  }

  /// PEM; PKCS#8 for EC keys, PKCS#1 or PKCS#8 for RSA.
  public var pem: String {
    // A key that was generated or parsed here always serialises; an empty text makes the reader of the file fail with a
    // clear error otherwise.
    (try? signing.serializeAsPEM().pemString) ?? ""
  }

  public var publicKey: Certificate.PublicKey { signing.publicKey }

  /// Whether the certificate was issued for this key.
  public func fits(_ certificate: Certificate) -> Bool { publicKey == certificate.publicKey }
}
