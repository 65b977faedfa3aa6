// SealedStream: the encryption between two SDKs that no router can read, with libsodium's key exchange and
// secretstream. It knows nothing of messages and connections; it turns plaintext into bodies and back. Start reading at
// `KeyPair`, then `Sealer` and `Opener`.

import CSodium

/// Seals one direction of a connection, message by message (edge-data-plane.md 5.1). Not Sendable: it belongs to the
/// event loop of its connection.
public final class Sealer {
  /// Bytes that a sealed message is longer than its plaintext.
  public static let overhead = 17
  public static let headerSize = 24

  /// The first body of the direction, sent alone.
  public let header: [UInt8]
  private var state: crypto_secretstream_xchacha20poly1305_state

  /// Starts a direction with a random header.
  public init(key: StreamKey) {
    Sodium.require()
    var header = [UInt8](repeating: 0, count: Self.headerSize)
    var state = crypto_secretstream_xchacha20poly1305_state()
    key.secret.withBytes { key in _ = crypto_secretstream_xchacha20poly1305_init_push(&state, &header, key) }
    self.header = header
    self.state = state
    sodium_memzero(&state, MemoryLayout.size(ofValue: state))
  }

  deinit { sodium_memzero(&state, MemoryLayout.size(ofValue: state)) }

  /// Seals one message.
  ///
  /// - Parameters:
  ///   - plaintext: may be empty; must not overlap `output`.
  ///   - output: at least `plaintext.count + overhead` bytes.
  /// - Returns: the bytes written, always `plaintext.count + overhead`.
  /// - Throws: `bufferTooSmall`, with the stream unchanged.
  public func seal(_ plaintext: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer)
    throws(SealedStreamError) -> Int
  {
    let needed = plaintext.count + Self.overhead
    guard output.count >= needed else { throw .bufferTooSmall(needed: needed, have: output.count) }
    _ = crypto_secretstream_xchacha20poly1305_push(
      &state, output.baseAddress?.assumingMemoryBound(to: UInt8.self), nil,
      plaintext.baseAddress?.assumingMemoryBound(to: UInt8.self),
      UInt64(plaintext.count), nil, 0, 0)
    return needed
  }

  /// Seals one message into an array of its own.
  public func seal(_ plaintext: [UInt8]) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: plaintext.count + Self.overhead) { output, count in
      let written = plaintext.withUnsafeBytes { bytes in try? seal(bytes, into: UnsafeMutableRawBufferPointer(output)) }
      // The capacity is the size that sealing needs, so it always succeeds.
      count = written ?? 0
    }
  }
}
