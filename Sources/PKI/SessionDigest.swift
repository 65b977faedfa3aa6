import Crypto
import Foundation

/// What routers know an API session by in place of its token: SHA-256 of the token, hashed apart from everything else
/// that may be hashed.
///
/// A router that knows a digest can recognise the token when an SDK shows it, and nothing else: whoever shows the
/// digest itself shows a token with another digest. Digests are looked up, never compared, so nothing has to be
/// constant in time.
public enum SessionDigest {
  /// No token begins with it: tokens are UUIDs or JWTs.
  private static let prefix = "sha256:"
  private static let purpose = Data("swiftlet api session\0".utf8)
  private static let length = prefix.utf8.count + 2 * SHA256.byteCount

  /// - Returns: 71 characters.
  public static func of(_ token: String) -> String {
    var hash = SHA256()
    hash.update(data: purpose)
    hash.update(data: Data(token.utf8))
    return prefix + HexText.encoded(hash.finalize())
  }

  /// Whether text has the form of a digest.
  public static func isDigest(_ text: String) -> Bool {
    text.utf8.count == length && text.hasPrefix(prefix)
      && text.utf8.dropFirst(prefix.utf8.count).allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
  }
}
