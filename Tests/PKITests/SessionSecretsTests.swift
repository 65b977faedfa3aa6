import Foundation
import PKI
import Testing

@Suite("Digests and seals of session tokens")
struct SessionSecretsTests {
  @Test("a digest is one of its token alone, and no token's form")
  func digests() {
    let digest = SessionDigest.of("a2f1c0de-0000-4000-8000-000000000001")
    #expect(SessionDigest.isDigest(digest))
    #expect(digest.utf8.count == 71)
    #expect(digest == SessionDigest.of("a2f1c0de-0000-4000-8000-000000000001"))
    #expect(digest != SessionDigest.of("a2f1c0de-0000-4000-8000-000000000002"))
    #expect(SessionDigest.of(digest) != digest)
    for text in [
      "", "sha256:", "a2f1c0de-0000-4000-8000-000000000001", digest + "0", String(digest.dropLast()),
      digest.uppercased(), digest.dropLast() + "g",
    ] {
      #expect(!SessionDigest.isDigest(text), "\(text)")
    }
  }

  @Test("a sealed token opens with its key, at its place, unchanged, or not at all")
  func seals() throws {
    let seal = try TokenSeal(key: TokenSeal.newKey())
    let sealed = try seal.seal("secret", at: "api-sessions/1")
    #expect(TokenSeal.isSealed(sealed) && !sealed.contains("secret"))
    #expect(try seal.seal("secret", at: "api-sessions/1") != sealed)
    #expect(seal.open(sealed, at: "api-sessions/1") == "secret")
    #expect(seal.open(sealed, at: "api-sessions/2") == nil)
    #expect(try TokenSeal(key: TokenSeal.newKey()).open(sealed, at: "api-sessions/1") == nil)
    for text in ["", "secret", "sealed:", "sealed:AAAA", "sealed:ä", String(sealed.dropLast(4)), sealed + "AAAA"] {
      #expect(seal.open(text, at: "api-sessions/1") == nil, "\(text)")
    }
    for key in ["", "AAAA", "not base64"] { #expect(throws: PKIError.self) { try TokenSeal(key: key) } }
  }
}
