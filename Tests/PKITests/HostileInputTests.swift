import Foundation
import Testing
import X509

@testable import PKI

/// A reader of strangers' bytes with a text it accepts. It must answer every other text with a value or a `PKIError`,
/// and with nothing else.
struct Parser: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let good: @Sendable () throws -> [UInt8]
  let parse: @Sendable ([UInt8]) throws -> Void

  init(
    _ name: String, good: @escaping @Sendable () throws -> [UInt8], parse: @escaping @Sendable ([UInt8]) throws -> Void
  ) {
    testDescription = name
    self.good = good
    self.parse = parse
  }

  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  static let all: [Parser] = [
    Parser(
      "CSR", good: { Array(try CSR.create(key: PKIFixture.key(.p256), commonName: "c", names: ["a", "::1"]).utf8) },
      parse: { _ = try CSR(pem: text($0)) }
    ),
    Parser(
      "certificate chain", good: { Array(try PKIFixture.server(.p256).pem.utf8) },
      parse: {
        let leaf = try CertificateChain(pem: text($0)).leaf
        // What was read can be asked, whatever it says.
        _ = (leaf.spiffeID, leaf.commonName, leaf.isAuthority, leaf.allows(.clientAuth), leaf.sha1Fingerprint)
      }),
    Parser(
      "private key", good: { Array(try PKIFixture.key(.p256).pem.utf8) }, parse: { _ = try PrivateKey(pem: text($0)) }),
    Parser(
      "RSA private key", good: { Array(try PKIFixture.key(.rsa2048).pem.utf8) },
      parse: { _ = try PrivateKey(pem: text($0)) }),
    Parser(
      "CA bundle", good: { Array(PKCS7.base64Lines(try PKCS7.certificatesOnly([PKIFixture.server(.p256).leaf])).utf8) },
      parse: { _ = try PKCS7.parse(base64: $0) }),
    Parser(
      "token key", good: { try PKIFixture.server(.p256).leaf.derBytes },
      parse: { _ = try TokenVerifier.Key(kid: "k", der: $0) }),
    Parser(
      "token", good: { Array("eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJleHAiOjEsInN1YiI6ImkifQ.AAAA".utf8) },
      parse: { _ = try TokenParts(text($0)).unverifiedClaims(as: EnrollmentClaims.self) }),
    Parser(
      "SPIFFE id", good: { Array("spiffe://net/identity/i1/apiSession/s1".utf8) },
      parse: {
        let id = SPIFFEID(text($0))
        _ = (id?.identityID, id?.apiSessionID)
      }),
    Parser("IP address", good: { Array("2001:db8::1".utf8) }, parse: { _ = IPAddressText.octets(text($0)) }),
  ]
}

@Suite("Hostile input", .timeLimit(.minutes(5)))
struct HostileInputTests {
  private func survives(_ parser: Parser, _ bytes: [UInt8], _ what: @autoclosure () -> String) {
    do { try parser.parse(bytes) } catch { #expect(error is PKIError, "\(what()): \(error)") }
  }

  @Test("a text cut at any byte gives a value or an error", arguments: Parser.all)
  func truncated(_ parser: Parser) throws {
    let good = try parser.good()
    for length in 0..<good.count { survives(parser, Array(good.prefix(length)), "\(length) bytes") }
  }

  @Test("a text with random changes gives a value or an error", arguments: Parser.all)
  func mutated(_ parser: Parser) throws {
    let good = try parser.good()
    var random = SeededGenerator(seed: 2)
    for round in 0..<300 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let index = Int.random(in: bytes.indices, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: index)
        default: if bytes.count > 1 { bytes.remove(at: index) }
        }
      }
      survives(parser, bytes, "round \(round)")
    }
  }

  /// A7 of field.md D.4.
  @Test(
    "every length of DER at its extremes gives a value or an error",
    arguments: ["CERTIFICATE", "CERTIFICATE REQUEST", "PRIVATE KEY", "PKCS7"])
  func lengths(_ type: String) throws {
    let good: [UInt8] =
      switch type {
      case "CERTIFICATE": try PKIFixture.server(.p256).leaf.derBytes
      case "CERTIFICATE REQUEST":
        try der(ofPEM: CSR.create(key: PKIFixture.key(.p256), commonName: "c", names: ["a", "::1"]))
      case "PKCS7": try PKCS7.certificatesOnly([PKIFixture.server(.p256).leaf])
      default: try der(ofPEM: PKIFixture.key(.p256).pem)
      }
    var tried = 0
    for place in Self.lengths(good, good.indices) {
      for length: [UInt8] in [
        [0], [0x7f], [0x80], [0x81, 0xff], [0x84, 0x7f, 0xff, 0xff, 0xff], [0x84, 0x80, 0, 0, 0],
        [0x84, 0xff, 0xff, 0xff, 0xff],
        [0x88] + [UInt8](repeating: 0xff, count: 8), [0xff],
      ] {
        let bytes = good[..<place.lowerBound] + length + good[place.upperBound...]
        tried += 1
        let name = [
          "CERTIFICATE": "certificate chain", "CERTIFICATE REQUEST": "CSR", "PRIVATE KEY": "private key",
          "PKCS7": "CA bundle",
        ][type]
        let parser = try #require(Parser.all.first { $0.testDescription == name })
        let text = type == "PKCS7" ? PKCS7.base64Lines(Array(bytes)) : pem(Array(bytes), type: type)
        survives(parser, Array(text.utf8), "\(length) at \(place.lowerBound)")
      }
    }
    #expect(tried > 50)
  }

  /// Where the lengths of all elements of DER are, the nested ones too.
  private static func lengths(_ bytes: [UInt8], _ range: Range<Int>) -> [Range<Int>] {
    var found: [Range<Int>] = []
    var offset = range.lowerBound
    while offset + 1 < range.upperBound {
      let (tag, first) = (bytes[offset], Int(bytes[offset + 1]))
      let octets = first < 0x80 ? 0 : first & 0x7f
      let content = offset + 2 + octets
      guard content <= range.upperBound else { return found }
      let length = first < 0x80 ? first : bytes[(offset + 2)..<content].reduce(0) { $0 << 8 | Int($1) }
      guard content + length <= range.upperBound else { return found }
      found.append((offset + 1)..<content)
      if tag & 0x20 != 0 { found += lengths(bytes, content..<content + length) }
      offset = content + length
    }
    return found
  }

  @Test(
    "DER inside a good PEM frame, changed at random, gives a value or an error",
    arguments: ["CERTIFICATE", "CERTIFICATE REQUEST", "PRIVATE KEY"])
  func changedDER(_ type: String) throws {
    let good: [UInt8] =
      switch type {
      case "CERTIFICATE": try PKIFixture.server(.p256).leaf.derBytes
      case "CERTIFICATE REQUEST":
        try der(ofPEM: CSR.create(key: PKIFixture.key(.p256), commonName: "c", names: ["a", "::1"]))
      default: try der(ofPEM: PKIFixture.key(.p256).pem)
      }
    let names = ["CERTIFICATE": "certificate chain", "CERTIFICATE REQUEST": "CSR", "PRIVATE KEY": "private key"]
    let parser = try #require(Parser.all.first { $0.testDescription == names[type] })
    var random = SeededGenerator(seed: 3)
    for round in 0..<300 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        bytes[Int.random(in: bytes.indices, using: &random)] = .random(in: 0...255, using: &random)
      }
      survives(parser, Array(pem(bytes, type: type).utf8), "round \(round)")
      survives(
        parser, Array(pem(Array(bytes.prefix(Int.random(in: 0..<bytes.count, using: &random))), type: type).utf8),
        "cut, round \(round)")
    }
  }
}
