// Wire: the bytes of channel v2 and of the edge, control and link messages, both ways: bytes to values, values to
// bytes. It owns no buffer, no socket and no clock, and holds no state; every parser has limits and typed errors. Start
// reading at `FrameHeader`, then `Headers` and `Message`.

/// The fixed start of every frame (edge-data-plane.md 2.1), little-endian:
///
/// ```
///  0        4              8          12               16            20               20+H        20+H+B
///  +--------+--------------+----------+----------------+-------------+----------------+-----------+
///  | magic  | content type | sequence | headers length | body length | header records | body      |
///  | 4      | i32          | i32      | H, u32         | B, u32      | H bytes        | B bytes   |
///  +--------+--------------+----------+----------------+-------------+----------------+-----------+
///  magic = 03 06 09 0c
/// ```
public struct FrameHeader: Equatable, Sendable {
  /// Bytes before the header records.
  @inlinable
  public static var size: Int { 20 }
  /// The first four bytes, little-endian.
  public static let magic: UInt32 = 0x0c09_0603

  public var contentType: ContentType
  public var sequence: Int32
  public var headersLength: Int
  public var bodyLength: Int

  public var frameLength: Int { Self.size + headersLength + bodyLength }

  /// Reads the header at the start of `bytes`.
  ///
  /// - Returns: nil while fewer than 20 bytes are there.
  /// - Throws: `badMagic`, `headersTooLong`, `bodyTooLong`; no allocation follows from a length that a limit refuses.
  @inlinable
  public static func parse(_ bytes: UnsafeRawBufferPointer, limits: FrameLimits) throws(WireError) -> FrameHeader? {
    guard bytes.count >= size else { return nil }
    guard u32(bytes, 0) == 0x0c09_0603 else { throw .badMagic }
    let headers = Int(u32(bytes, 12))
    let body = Int(u32(bytes, 16))
    guard headers <= limits.headers else { throw .headersTooLong(headers, limit: limits.headers) }
    guard body <= limits.body else { throw .bodyTooLong(body, limit: limits.body) }
    return FrameHeader(
      contentType: ContentType(rawValue: Int32(bitPattern: u32(bytes, 4))), sequence: Int32(bitPattern: u32(bytes, 8)),
      headersLength: headers,
      bodyLength: body)
  }

  @inlinable
  public init(contentType: ContentType, sequence: Int32, headersLength: Int, bodyLength: Int) {
    self.contentType = contentType
    self.sequence = sequence
    self.headersLength = headersLength
    self.bodyLength = bodyLength
  }

  /// Appends the 20 bytes.
  public func encode(into bytes: inout [UInt8]) {
    appendU32(Self.magic, to: &bytes)
    appendU32(UInt32(bitPattern: contentType.rawValue), to: &bytes)
    appendU32(UInt32(bitPattern: sequence), to: &bytes)
    appendU32(UInt32(truncatingIfNeeded: headersLength), to: &bytes)
    appendU32(UInt32(truncatingIfNeeded: bodyLength), to: &bytes)
  }

  /// Offset of the sequence within a frame, for rewriting it in place.
  @inlinable
  public static var sequenceOffset: Int { 8 }
}

/// Sizes a peer may use, in bytes.
public struct FrameLimits: Sendable, Equatable {
  public var headers: Int
  public var body: Int

  public init(headers: Int, body: Int) {
    self.headers = headers
    self.body = body
  }

  /// Before the hello is judged: what Go's acceptor takes (edge-data-plane.md 2.6). Our API session tokens are UUIDs; a
  /// thousand hellos may wait at the same time.
  public static let stranger = FrameLimits(headers: 16 * 1024, body: 4192)
  /// After it. SDKs may write megabytes in one message, which can neither be split nor merged (edge-data-plane.md
  /// 2.13).
  public static let peer = FrameLimits(headers: 1024 * 1024, body: 64 * 1024 * 1024)
}

@inlinable
func u32(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt32 {
  UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
}

func appendU32(_ value: UInt32, to bytes: inout [UInt8]) {
  withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
}
