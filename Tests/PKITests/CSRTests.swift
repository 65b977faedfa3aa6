import Foundation
import SwiftASN1
import Testing
import X509

@testable import PKI

@Suite("Signing requests", .timeLimit(.minutes(5)))
struct CSRTests {
  private let type = "CERTIFICATE REQUEST"

  private func captured() throws -> String {
    let url = try #require(Bundle.module.url(forResource: "Resources/c-sdk-0.29-csr", withExtension: "pem"))
    return try String(contentsOf: url, encoding: .utf8)
  }

  @Test(
    "a request is read with its names, and its signature proves the key",
    arguments: [KeyAlgorithm.p256, .p384, .p521, .rsa2048])
  func roundTrip(_ algorithm: KeyAlgorithm) throws {
    let key = try PKIFixture.key(algorithm)
    let request = try CSR(
      pem: CSR.create(
        key: key, commonName: "r1", organization: "org", names: ["router.example", "10.0.0.1"], uris: ["spiffe://net/x"]
      ))
    #expect(request.publicKey == key.publicKey)
    #expect(request.commonName == "r1")
    #expect(request.hostNames == ["router.example", "10.0.0.1"])
    #expect(request.uris == ["spiffe://net/x"])
  }

  @Test(
    "another subject, or another key, under the same signature is refused",
    arguments: [KeyAlgorithm.p256, .p384, .rsa2048])
  func tampered(_ algorithm: KeyAlgorithm) throws {
    let bytes = try der(ofPEM: CSR.create(key: PKIFixture.key(algorithm), commonName: "attacker"))
    let name = try #require(Data(bytes).range(of: Data("attacker".utf8)))
    var renamed = bytes
    renamed.replaceSubrange(Int(name.lowerBound)..<Int(name.upperBound), with: Array("thevictm".utf8))
    #expect(throws: PKIError.badCSR("its signature does not prove possession of the key")) {
      try CSR(pem: pem(renamed, type: type))
    }

    let other = try PrivateKey.generate(algorithm)
    let otherBytes = try der(ofPEM: CSR.create(key: other, commonName: "attacker"))
    let (mine, theirs) = (Array(try key(in: bytes)), Array(try key(in: otherBytes)))
    let place = try #require(Data(bytes).range(of: Data(mine)))
    var stolen = bytes
    stolen.replaceSubrange(Int(place.lowerBound)..<Int(place.upperBound), with: theirs)
    #expect(throws: PKIError.self) { try CSR(pem: pem(stolen, type: type)) }
  }

  /// The SubjectPublicKeyInfo of a request.
  private func key(in request: [UInt8]) throws -> ArraySlice<UInt8> {
    guard case .constructed(let outer) = try DER.parse(request).content, let info = Array(outer).first,
      case .constructed(let fields) = info.content
    else { return [] }
    return try #require(Array(fields).dropFirst(2).first).encodedBytes
  }

  @Test("the NULL that C SDK 0.29 writes into the algorithm is accepted")
  func nullParameter() throws {
    let request = try CSR(pem: captured())
    #expect(request.commonName == "pyold")
    let mended = try CSR.withoutNullParameter(der(ofPEM: captured()))
    #expect(try mended.count == der(ofPEM: captured()).count - 2)
    #expect(try CSR.withoutNullParameter(mended) == mended)
    #expect(try CSR(pem: pem(mended, type: type)).publicKey == request.publicKey)
  }

  @Test("any other damage of that request is refused")
  func otherDamage() throws {
    let bytes = try der(ofPEM: captured())
    for index in bytes.indices {
      var damaged = bytes
      damaged[index] ^= 1 << UInt8(index % 8)
      #expect(throws: PKIError.self, "bit \(index % 8) of byte \(index)") { try CSR(pem: pem(damaged, type: type)) }
    }
  }

  @Test("the NULL of an RSA request stays: there it is the rule")
  func rsaNull() throws {
    let bytes = try der(ofPEM: CSR.create(key: PKIFixture.key(.rsa2048), commonName: "r1"))
    #expect(try CSR.withoutNullParameter(bytes) == bytes)
  }

  @Test("exactly one block of the right kind, and nothing behind it")
  func form() throws {
    let good = try CSR.create(key: PKIFixture.key(.p256), commonName: "r1")
    #expect(try CSR(pem: good + " \n\n").commonName == "r1")
    #expect(try CSR(pem: pem(der(ofPEM: good), type: "NEW CERTIFICATE REQUEST")).commonName == "r1")
    let refused = [
      "", "text", good + "x", good + good, try PKIFixture.server(.p256).leaf.pem, pem([], type: type),
      pem([0x30, 0], type: type),
      try pem(der(ofPEM: good) + [0], type: type), good + String(repeating: "\n", count: CSR.sizeLimit),
    ]
    for text in refused { #expect(throws: PKIError.self, "\(text.prefix(60))") { try CSR(pem: text) } }
  }
}
