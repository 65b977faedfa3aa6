public import NIOCore

/// What stands behind an underlay and understands its frames. All calls come on the underlay's event loop.
public protocol FrameReceiver: AnyObject {
  /// A burst of whole frames arrived.
  ///
  /// - Parameters:
  ///   - frames: its readable bytes are one or more whole frames, nothing else. The storage belongs to this call:
  ///     rewrite it with `withBurstBytes`, take slices of it to send on, but keep none beyond the burst (a slice pins
  ///     the whole read buffer).
  func receive(_ frames: inout ByteBuffer, from underlay: Underlay)

  /// All bytes that were readable have been delivered: the moment to flush what the burst produced.
  func readBurstEnded(on underlay: Underlay)

  func writabilityChanged(on underlay: Underlay)

  /// The underlay is gone; no further call follows.
  /// - Parameter error: nil for an orderly end by the peer.
  func closed(_ underlay: Underlay, error: (any Error)?)
}

extension ByteBuffer {
  /// Lets a frame receiver rewrite header fields of a burst in place.
  ///
  /// `ByteBuffer`'s own mutating accessors would copy the whole burst, because the pipeline still holds a reference
  /// while it delivers. The bytes of a burst have exactly one reader, the receiver (the TLS handler made the buffer for
  /// this read and does not look at it again), so writing through the shared storage is safe inside
  /// `FrameReceiver.receive` and nowhere else.
  @inlinable
  public func withBurstBytes<Result>(_ body: (UnsafeMutableRawBufferPointer) throws -> Result) rethrows -> Result {
    try withUnsafeReadableBytes { try body(UnsafeMutableRawBufferPointer(mutating: $0)) }
  }
}
