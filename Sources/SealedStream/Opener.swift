import CSodium

/// Opens one direction of a connection, message by message and in order. Not Sendable: it belongs to the event loop of
/// its connection. After an error the stream is over.
public final class Opener {
  private var state = crypto_secretstream_xchacha20poly1305_state()

  /// Starts a direction.
  /// - Parameter header: the first body that came from the peer.
  /// - Throws: `badHeader` when it is not exactly 24 bytes.
  public init(key: StreamKey, header: [UInt8]) throws(SealedStreamError) {
    guard header.count == Sealer.headerSize else { throw .badHeader(count: header.count) }
    Sodium.require()
    let outcome = key.secret.withBytes { key in crypto_secretstream_xchacha20poly1305_init_pull(&state, header, key) }
    guard outcome == 0 else { throw .badHeader(count: header.count) }
  }

  deinit { sodium_memzero(&state, MemoryLayout.size(ofValue: state)) }

  /// Opens one message.
  ///
  /// - Parameters:
  ///   - sealed: one whole body; must not overlap `output`.
  ///   - output: at least `sealed.count - Sealer.overhead` bytes.
  /// - Returns: the bytes written, always `sealed.count - Sealer.overhead`.
  /// - Throws: `tooShort`, `bufferTooSmall`, `notAuthentic`, `unexpectedTag`.
  public func open(_ sealed: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer)
    throws(SealedStreamError) -> Int
  {
    guard sealed.count >= Sealer.overhead else { throw .tooShort(count: sealed.count) }
    let length = sealed.count - Sealer.overhead
    guard output.count >= length else { throw .bufferTooSmall(needed: length, have: output.count) }
    var tag: UInt8 = 0
    let outcome = crypto_secretstream_xchacha20poly1305_pull(
      &state, output.baseAddress?.assumingMemoryBound(to: UInt8.self), nil, &tag,
      sealed.baseAddress?.assumingMemoryBound(to: UInt8.self),
      UInt64(sealed.count), nil, 0)
    guard outcome == 0 else { throw .notAuthentic }
    // Peers use MESSAGE alone; a REKEY or FINAL would leave the two ends apart, as not every implementation follows it.
    guard tag == 0 else { throw .unexpectedTag(tag) }
    return length
  }

  /// Opens one message into an array of its own.
  public func open(_ sealed: [UInt8]) throws(SealedStreamError) -> [UInt8] {
    guard sealed.count >= Sealer.overhead else { throw .tooShort(count: sealed.count) }
    var outcome: Result<Int, SealedStreamError> = .success(0)
    let plaintext = [UInt8](unsafeUninitializedCapacity: sealed.count - Sealer.overhead) { output, count in
      sealed.withUnsafeBytes { bytes in
        do throws(SealedStreamError) {
          outcome = .success(try open(bytes, into: UnsafeMutableRawBufferPointer(output)))
        } catch {
          outcome = .failure(error)
        }
      }
      count = (try? outcome.get()) ?? 0
    }
    _ = try outcome.get()
    return plaintext
  }
}
