import Crypto
import Foundation

/// Seals tokens that have to be read again, for storage beside which the key does not lie: AES-256-GCM.
public struct TokenSeal: Sendable {
  private static let prefix = "sealed:"

  private let key: SymmetricKey

  /// - Parameter key: Base64 of 32 bytes, as `newKey` makes it.
  /// - Throws: `PKIError.badPrivateKey` for anything else.
  public init(key text: String) throws {
    guard let bytes = Data(base64Encoded: text.trimmingCharacters(in: .whitespacesAndNewlines)), bytes.count == 32
    else {
      throw PKIError.badPrivateKey("expected Base64 of 32 bytes")
    }
    key = SymmetricKey(data: bytes)
  }

  public static func newKey() -> String { Data(RandomSource.bytes(32)).base64EncodedString() }

  /// Whether text has the form that `seal` gives.
  public static func isSealed(_ text: String) -> Bool { text.hasPrefix(prefix) }

  /// - Parameter place: where the text will lie, such as kind and id of a row; it opens nowhere else.
  public func seal(_ token: String, at place: String) throws -> String {
    let box = try AES.GCM.seal(Data(token.utf8), using: key, authenticating: Data(place.utf8))
    // Only a nonce of another length than ours leaves nothing combined.
    guard let combined = box.combined else { throw PKIError.badPrivateKey("the seal has no combined form") }
    return Self.prefix + Base64URL.encode(combined)
  }

  /// - Returns: nil for what this key did not seal, or not for that place.
  public func open(_ text: String, at place: String) -> String? {
    guard Self.isSealed(text), let combined = Base64URL.decode(text.dropFirst(Self.prefix.count)),
      let box = try? AES.GCM.SealedBox(combined: combined),
      let bytes = try? AES.GCM.open(box, using: key, authenticating: Data(place.utf8))
    else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }
}
