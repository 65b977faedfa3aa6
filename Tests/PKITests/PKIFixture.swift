import Foundation
import SwiftASN1
import Testing
import X509

@testable import PKI

/// Authorities and keys that the suites share: keys of RSA are slow to make in a debug build.
enum PKIFixture {
  static let now = Date(timeIntervalSince1970: 1_800_000_000)
  static let day: TimeInterval = 24 * 3600

  static let root = Result {
    try CertificateAuthority.createRoot(name: "root", trustDomain: "net", algorithm: .p256, now: now)
  }
  static let intermediate = Result { try root.get().createIntermediate(name: "signer", trustDomain: "net", now: now) }
  static let foreign = Result {
    try CertificateAuthority.createRoot(name: "root", trustDomain: "net", algorithm: .p256, now: now)
  }
  static let keys = Result {
    try Dictionary(
      uniqueKeysWithValues: [KeyAlgorithm.p256, .p384, .p521, .rsa2048].map { ($0, try PrivateKey.generate($0)) })
  }

  static func key(_ algorithm: KeyAlgorithm) throws -> PrivateKey { try #require(try keys.get()[algorithm]) }

  /// A server certificate, as token signers have one.
  static func server(_ algorithm: KeyAlgorithm) throws -> CertificateChain {
    try intermediate.get().issueServer(
      publicKey: try key(algorithm).publicKey, names: ["localhost"], uris: [], now: now)
  }

  /// A certificate with exactly these extensions, signed by whomever.
  static func certificate(
    subject: String, key: PrivateKey, issuer: DistinguishedName, issuerKey: PrivateKey,
    extensions: Certificate.Extensions = .init(),
    version: Certificate.Version = .v3
  ) throws -> Certificate {
    try Certificate(
      version: version, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey, notValidBefore: now - day,
      notValidAfter: now + day,
      issuer: issuer, subject: try DistinguishedName { CommonName(subject) }, extensions: extensions,
      issuerPrivateKey: issuerKey.signing)
  }
}

/// SplitMix64 with a fixed seed, so that a failure repeats.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}

/// The bytes of the only PEM block of a text.
func der(ofPEM text: String) throws -> [UInt8] { try PEMDocument(pemString: text).derBytes }

func pem(_ der: [UInt8], type: String) -> String { PEMDocument(type: type, derBytes: der).pemString + "\n" }
