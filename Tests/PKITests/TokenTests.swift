import Crypto
import Foundation
import SwiftASN1
import Testing
import X509

@testable import PKI

@Suite("Tokens", .timeLimit(.minutes(5)))
struct TokenTests {
  private static let algorithms: [(KeyAlgorithm, String)] = [
    (.p256, "ES256"), (.p384, "ES384"), (.p521, "ES512"), (.rsa2048, "RS256"),
  ]

  private let claims = EnrollmentClaims(
    iss: "https://ctrl:1280", sub: "i1", jti: "one-time", exp: Int64(PKIFixture.now.timeIntervalSince1970) + 60,
    em: "ott", ctrls: ["tls:ctrl:6262"])

  private func signer(_ algorithm: KeyAlgorithm) async throws -> TokenSigner {
    try await TokenSigner(key: PKIFixture.key(algorithm), certificate: PKIFixture.server(algorithm).leaf)
  }

  /// A token of the given header, signed with HMAC or not at all.
  private func token(header: String, claims: some Encodable, signature: (String) -> Data = { _ in Data() }) throws
    -> String
  {
    func text(_ data: Data) -> String {
      data.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }
    let signed = "\(text(Data(header.utf8))).\(text(try JSONEncoder().encode(claims)))"
    return "\(signed).\(text(signature(signed)))"
  }

  @Test("an enrollment token is signed and verified with the key's algorithm", arguments: algorithms)
  func roundTrip(_ algorithm: KeyAlgorithm, _ name: String) async throws {
    let signer = try await signer(algorithm)
    let token = try await signer.sign(claims)
    let header = try TokenParts(token).header
    #expect(header.alg == name)
    #expect(header.kid == signer.certificate.sha1Fingerprint)
    let verifier = await TokenVerifier(certificates: [signer.certificate])
    #expect(try await verifier.verify(token, as: EnrollmentClaims.self, now: PKIFixture.now) == claims)
    #expect(
      try await TokenVerifier.verify(
        token, as: EnrollmentClaims.self, signedBy: signer.certificate, now: PKIFixture.now) == claims)
    #expect(try TokenParts(token).unverifiedClaims(as: EnrollmentClaims.self) == claims)
  }

  @Test("a renewed certificate of the same key speaks for older tokens; one of another key does not")
  func renewed() async throws {
    let token = try await signer(.p256).sign(claims)
    let renewed = try PKIFixture.server(.p256).leaf
    #expect(
      try await TokenVerifier.verify(token, as: EnrollmentClaims.self, signedBy: renewed, now: PKIFixture.now) == claims
    )
    let other = try PKIFixture.intermediate.get().issueServer(
      publicKey: PrivateKey.generate(.p256).publicKey, names: ["localhost"], uris: [], now: PKIFixture.now
    ).leaf
    await #expect(throws: PKIError.self) {
      try await TokenVerifier.verify(token, as: EnrollmentClaims.self, signedBy: other, now: PKIFixture.now)
    }
  }

  @Test("a token of a foreign key is refused, under its own name and under ours")
  func foreign() async throws {
    let foreign = try await signer(.p256)
    let key = try PrivateKey.generate(.p256)
    let own = try PKIFixture.intermediate.get().issueServer(
      publicKey: key.publicKey, names: ["localhost"], uris: [], now: PKIFixture.now
    ).leaf
    let verifier = await TokenVerifier(certificates: [own])
    let token = try await foreign.sign(claims)
    await #expect(throws: PKIError.unknownTokenKey(foreign.kid)) {
      try await verifier.verify(token, as: EnrollmentClaims.self)
    }
    let disguised = await TokenVerifier(keys: [try .init(kid: foreign.kid, der: own.derBytes)])
    await #expect(throws: PKIError.self) { try await disguised.verify(token, as: EnrollmentClaims.self) }
  }

  @Test("a token ends at its expiry")
  func expiry() async throws {
    let signer = try await signer(.p256)
    let token = try await signer.sign(claims)
    let verifier = await TokenVerifier(certificates: [signer.certificate])
    let end = Date(timeIntervalSince1970: TimeInterval(claims.exp))
    #expect(try await verifier.verify(token, as: EnrollmentClaims.self, now: end - 1) == claims)
    for late in [end, end + 3600] {
      await #expect(throws: PKIError.tokenExpired) {
        try await verifier.verify(token, as: EnrollmentClaims.self, now: late)
      }
    }
  }

  @Test("the token's own wish picks no algorithm")
  func algorithmConfusion() async throws {
    let certificate = try PKIFixture.server(.rsa2048).leaf
    let verifier = await TokenVerifier(certificates: [certificate])
    let kid = certificate.sha1Fingerprint
    let publicKey = SymmetricKey(data: Data(try certificate.publicKey.serializeAsPEM().pemString.utf8))
    for algorithm in ["none", "None", "HS256", "ES256", "RS384", "PS256"] {
      let forged = try token(header: #"{"alg":"\#(algorithm)","kid":"\#(kid)","typ":"JWT"}"#, claims: claims) {
        signed in
        Data(HMAC<SHA256>.authenticationCode(for: Data(signed.utf8), using: publicKey))
      }
      await #expect(throws: PKIError.self, "\(algorithm)") {
        try await verifier.verify(forged, as: EnrollmentClaims.self)
      }
    }
    for header in ["{}", #"{"alg":"RS256"}"#, #"{"kid":"\#(kid)"}"#, #"{"alg":"RS256","kid":"\#(kid)"}"#, "[]", "x"] {
      let unsigned = try token(header: header, claims: claims)
      await #expect(throws: PKIError.self, "\(header)") {
        try await verifier.verify(unsigned, as: EnrollmentClaims.self)
      }
    }
  }

  @Test("a genuine signature under another algorithm's name is refused: a key is known with one algorithm")
  func algorithmName() async throws {
    let certificate = try PKIFixture.server(.p256).leaf
    let verifier = await TokenVerifier(certificates: [certificate])
    let key = try P256.Signing.PrivateKey(pemRepresentation: PKIFixture.key(.p256).pem)
    for (algorithm, isGenuine) in [
      ("ES256", true), ("ES384", false), ("RS256", false), ("HS256", false), ("none", false),
    ] {
      let header = #"{"alg":"\#(algorithm)","kid":"\#(certificate.sha1Fingerprint)","typ":"JWT"}"#
      let token = try token(header: header, claims: claims) { signed in
        (try? key.signature(for: Data(signed.utf8)).rawRepresentation) ?? Data()
      }
      let verified = try? await verifier.verify(token, as: EnrollmentClaims.self)
      #expect((verified == claims) == isGenuine, "\(algorithm)")
    }
  }

  @Test("a good signature over claims of another shape is no valid token")
  func otherClaims() async throws {
    let signer = try await signer(.p256)
    let verifier = await TokenVerifier(certificates: [signer.certificate])
    let token = try await signer.sign(["sub": "i1"])
    await #expect(throws: PKIError.self) { try await verifier.verify(token, as: EnrollmentClaims.self) }
    #expect(throws: PKIError.self) { try TokenParts(token).unverifiedClaims(as: EnrollmentClaims.self) }
  }

  @Test("a signer needs the certificate's own key")
  func signerKey() async throws {
    await #expect(throws: PKIError.self) {
      try await TokenSigner(key: PKIFixture.key(.p384), certificate: PKIFixture.server(.p256).leaf)
    }
  }

  @Test("a key may come as certificate or as bare public key, and nothing else")
  func keyForms() async throws {
    let certificate = try PKIFixture.server(.p384).leaf
    let bare = try der(ofPEM: certificate.publicKey.serializeAsPEM().pemString)
    let token = try await signer(.p384).sign(claims)
    let kid = try #require(try TokenParts(token).header.kid)
    for form in [certificate.derBytes, bare] {
      let verifier = await TokenVerifier(keys: [try .init(kid: kid, der: form)])
      #expect(try await verifier.verify(token, as: EnrollmentClaims.self) == claims)
    }
    #expect(throws: PKIError.self) { try TokenVerifier.Key(kid: "k", der: [0x30, 0]) }
  }

  @Test("a service session token has upstream's member names")
  func serviceSession() async throws {
    let session = ServiceSessionClaims(
      iss: "net", serviceID: "s1", sessionID: "ss1", apiSessionID: "as1", identityID: "i1", type: "Dial", issuedAt: 1,
      expiresAt: 2)
    let token = try await signer(.p256).sign(session)
    struct Wire: Decodable, Equatable {
      enum CodingKeys: String, CodingKey {
        case iss, sub, aud, iat, exp, jti
        case api = "z_asid"
        case identity = "z_iid"
        case token = "z_t"
        case session = "z_st"
        case legacy = "z_leg"
      }
      var iss, sub, jti, api, identity, token, session: String
      var aud: [String]
      var iat, exp: Int64
      var legacy: Bool
    }
    #expect(
      try TokenParts(token).unverifiedClaims(as: Wire.self)
        == Wire(
          iss: "net", sub: "s1", jti: "ss1", api: "as1", identity: "i1", token: "s", session: "Dial", aud: ["openziti"],
          iat: 1, exp: 2, legacy: true)
    )
    #expect(try TokenParts(token).unverifiedClaims(as: ServiceSessionClaims.self) == session)
  }

  @Test("a cut token is refused at every length, an overlong one unread", arguments: [KeyAlgorithm.p256, .rsa2048])
  func truncated(_ algorithm: KeyAlgorithm) async throws {
    let signer = try await signer(algorithm)
    let token = try await signer.sign(claims)
    let verifier = await TokenVerifier(certificates: [signer.certificate])
    for length in 0..<token.utf8.count {
      await #expect(throws: PKIError.self, "\(length) bytes") {
        try await verifier.verify(String(token.prefix(length)), as: EnrollmentClaims.self)
      }
    }
    let long = token + String(repeating: "A", count: TokenVerifier.sizeLimit)
    await #expect(throws: PKIError.self) { try await verifier.verify(long, as: EnrollmentClaims.self) }
  }

  @Test("a changed token is refused or says exactly what was signed")
  func mutated() async throws {
    let signer = try await signer(.p256)
    let token = Array(try await signer.sign(claims).utf8)
    let verifier = await TokenVerifier(certificates: [signer.certificate])
    var random = SeededGenerator(seed: 1)
    for _ in 0..<500 {
      var changed = token
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        changed[Int.random(in: changed.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      // An error has the parser's type, by its declaration.
      guard let read = try? await verifier.verify(String(decoding: changed, as: UTF8.self), as: EnrollmentClaims.self)
      else { continue }
      #expect(read == claims)
    }
  }
}
