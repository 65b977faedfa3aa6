import Crypto
import CryptoExtras
import Foundation
import Testing
import X509

@testable import PKI

@Suite("CA bundles and key sets", .timeLimit(.minutes(5)))
struct BundleTests {
  private static let openssl = ["/usr/bin/openssl", "/usr/local/bin/openssl", "/opt/homebrew/bin/openssl"]
    .first { FileManager.default.isExecutableFile(atPath: $0) }

  private func bundle() throws -> [Certificate] {
    [
      try PKIFixture.root.get().chain.leaf, try PKIFixture.intermediate.get().chain.leaf,
      try PKIFixture.server(.rsa2048).leaf,
    ]
  }

  @Test("a bundle is read back in order, in lines of 64 columns")
  func roundTrip() throws {
    for certificates in [try bundle(), []] {
      let text = PKCS7.base64Lines(try PKCS7.certificatesOnly(certificates))
      #expect(text.hasSuffix("\n"))
      #expect(text.split(separator: "\n").dropLast().allSatisfy { $0.utf8.count == 64 })
      #expect(try PKCS7.parse(base64: Array(text.utf8)) == certificates)
      #expect(try PKCS7.parse(base64: Array(text.replacing("\n", with: "\r\n").utf8)) == certificates)
    }
  }

  @Test("openssl reads our bundle", .enabled(if: Self.openssl != nil, "openssl is not installed"))
  func opensslReads() throws {
    let certificates = try bundle()
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-\(UUID().uuidString).p7b")
    defer { try? FileManager.default.removeItem(at: file) }
    try Data(try PKCS7.certificatesOnly(certificates)).write(to: file)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try #require(Self.openssl))
    process.arguments = ["pkcs7", "-inform", "DER", "-print_certs", "-in", file.path]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    #expect(try Certificate.list(pem: text) == certificates)
  }

  @Test("what is no bundle is refused")
  func refused() throws {
    let der = try PKCS7.certificatesOnly(bundle())
    var otherType = der
    // The last octet of the content type's object identifier.
    let type = try #require(Data(der).range(of: Data([0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2])))
    otherType[Int(type.upperBound) - 1] = 3
    let texts: [[UInt8]] = [
      [], Array("%%%".utf8), Array(PKCS7.base64Lines(otherType).utf8), Array(PKCS7.base64Lines(der + [0]).utf8),
      Array(PKCS7.base64Lines([0x30, 0x80]).utf8),
      [UInt8](repeating: UInt8(ascii: "A"), count: 2 * PKCS7.sizeLimit + 1),
    ]
    for text in texts { #expect(throws: PKIError.self) { try PKCS7.parse(base64: text) } }
    let many = PKCS7.base64Lines(
      try PKCS7.certificatesOnly(Array(repeating: try PKIFixture.server(.p256).leaf, count: 257)))
    #expect(throws: PKIError.badBundle("more than 256 certificates")) { try PKCS7.parse(base64: Array(many.utf8)) }
  }

  private struct KeySet: Decodable {
    struct Key: Decodable {
      var kty, kid, use, alg: String
      var crv, x, y, n, e: String?
    }
    var keys: [Key]
  }

  private func decode(_ base64URL: String?) throws -> Data {
    var text = try #require(base64URL).replacing("-", with: "+").replacing("_", with: "/")
    text += String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
    return try #require(Data(base64Encoded: text))
  }

  @Test("a key set gives every key back, named by its certificate")
  func keySet() throws {
    let certificates = try [KeyAlgorithm.p256, .p384, .p521, .rsa2048].map { try PKIFixture.server($0).leaf }
    let keys = try JSONDecoder().decode(KeySet.self, from: Data(JWKS.document(of: certificates).utf8)).keys
    #expect(keys.map(\.kid) == certificates.map(\.sha1Fingerprint))
    #expect(keys.map(\.kty) == ["EC", "EC", "EC", "RSA"])
    #expect(keys.map(\.alg) == ["ES256", "ES384", "ES512", "RS256"])
    #expect(keys.map(\.crv) == ["P-256", "P-384", "P-521", nil])
    #expect(keys.allSatisfy { $0.use == "sig" })
    for (key, certificate) in zip(keys, certificates) {
      let rebuilt: Certificate.PublicKey =
        switch key.crv {
        case "P-256": .init(try P256.Signing.PublicKey(rawRepresentation: decode(key.x) + decode(key.y)))
        case "P-384": .init(try P384.Signing.PublicKey(rawRepresentation: decode(key.x) + decode(key.y)))
        case "P-521": .init(try P521.Signing.PublicKey(rawRepresentation: decode(key.x) + decode(key.y)))
        default: .init(try _RSA.Signing.PublicKey(n: decode(key.n), e: decode(key.e)))
        }
      #expect(rebuilt == certificate.publicKey)
    }
    #expect(JWKS.document(of: []) == #"{"keys":[]}"#)
  }
}
