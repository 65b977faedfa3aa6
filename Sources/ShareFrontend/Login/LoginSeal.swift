import Crypto
import Foundation
import PKI

/// Seals what visitors carry for us: authenticated and unreadable (AES-256-GCM), each kind for its own purpose only.
struct LoginSeal: Sendable {
  enum Purpose: String { case state, ticket, session }

  /// Bytes of sealed text that are looked at.
  static let sizeLimit = 6 * 1024

  private let key: SymmetricKey

  init(secret: some ContiguousBytes) {
    key = HKDF<SHA256>.deriveKey(
      inputKeyMaterial: SymmetricKey(data: secret), info: Data("swiftlet share login".utf8), outputByteCount: 32)
  }

  func seal(_ value: some Encodable, for purpose: Purpose) throws -> String {
    let box = try AES.GCM.seal(JSONEncoder().encode(value), using: key, authenticating: Data(purpose.rawValue.utf8))
    guard let combined = box.combined else { throw CryptoKitError.underlyingCoreCryptoError(error: 0) }
    return Base64URL.encode(combined)
  }

  /// - Returns: nil for everything that this service did not seal for that purpose.
  func open<Value: Decodable>(_ text: some StringProtocol, as: Value.Type, for purpose: Purpose) -> Value? {
    guard text.utf8.count <= Self.sizeLimit, let combined = Base64URL.decode(text),
      let box = try? AES.GCM.SealedBox(combined: combined),
      let bytes = try? AES.GCM.open(box, using: key, authenticating: Data(purpose.rawValue.utf8))
    else { return nil }
    return try? JSONDecoder().decode(Value.self, from: bytes)
  }

  /// A secret that a browser keeps: 256 random bits.
  static func secret() -> String { Base64URL.encode(RandomSource.bytes(32)) }

  /// What may be shown of such a secret to others: 43 characters.
  static func digest(_ secret: some StringProtocol) -> String {
    Base64URL.encode(Data(SHA256.hash(data: Data(secret.utf8))))
  }

  /// Whether text has the form of a secret or a digest of ours.
  static func isToken(_ text: some StringProtocol) -> Bool {
    text.utf8.count == 43 && Base64URL.decode(text)?.count == 32
  }

  /// In constant time.
  static func matches(_ secret: (some StringProtocol)?, digest: String) -> Bool {
    guard let secret, let expected = Base64URL.decode(digest), expected.count == SHA256.byteCount else { return false }
    return SHA256.hash(data: Data(secret.utf8)) == expected
  }
}
