/// Why a sealed stream cannot start or go on. Every one ends the stream: nothing after it can be opened.
public enum SealedStreamError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The key of the peer has a wrong length or is a point that gives no shared secret.
  case badPublicKey(count: Int)
  case badKey(count: Int)
  case badSeed(count: Int)
  /// The first body of a direction is exactly 24 bytes (edge-data-plane.md 5.1).
  case badHeader(count: Int)
  /// A body shorter than the overhead of 17 bytes.
  case tooShort(count: Int)
  case bufferTooSmall(needed: Int, have: Int)
  /// The body was changed, lost, repeated or sealed with another key.
  case notAuthentic
  /// The peer ended the stream with a tag that this protocol does not use.
  case unexpectedTag(UInt8)
  /// A multipart body that does not split into its parts.
  case badParts

  public var description: String {
    switch self {
    case .badPublicKey(let count):
      "the peer's public key of \(count) bytes gives no session key; 32 bytes of X25519 are expected"
    case .badKey(let count): "a stream key of \(count) bytes instead of 32"
    case .badSeed(let count): "a seed of \(count) bytes instead of 32"
    case .badHeader(let count):
      "the stream begins with \(count) bytes instead of a header of 24; is the peer's service encrypted?"
    case .tooShort(let count): "a sealed message of \(count) bytes, at least 17 are expected"
    case .bufferTooSmall(let needed, let have): "a buffer of \(have) bytes where \(needed) are needed"
    case .notAuthentic:
      "a sealed message cannot be opened: it was changed, lost or repeated on the way, or the keys differ"
    case .unexpectedTag(let tag): "a sealed message with tag \(tag), only 0 is used"
    case .badParts: "a multipart message does not split into its parts"
    }
  }
}
