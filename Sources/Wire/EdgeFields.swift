/// What forwarding needs of a Data frame's header records, found without copying or allocating.
///
/// Receivers disagree on which of two records with one key counts (edge-data-plane.md 2.1), so a frame that carries a
/// record twice says different things to router and receiver and is refused. Between two ends passes only what a Data
/// message carries (3.2); anything else, `replyFor` among it, would be a word of the router's to whoever receives it.
public struct EdgeFields: Equatable, Sendable {
  /// Header 1000.
  public var connID: UInt32?
  /// Where the four bytes of the conn id begin, counted from the start of the header section.
  public var connIDOffset: Int?
  /// Header 1010, 0 when absent.
  public var flags = EdgeFlags()
  /// Whether all records may reach the other end as they are: conn id, sequence (1001), flags, a trace id of 16 bytes
  /// (128). Any other frame has to be written anew.
  public var isPlain = true

  /// Scans a header section.
  /// - Throws: `misalignedHeaders`; `duplicateHeader` and `badHeader` for the records named above.
  @inlinable
  public static func scan(_ headers: UnsafeRawBufferPointer) throws(WireError) -> EdgeFields {
    var fields = EdgeFields()
    var offset = 0
    let end = headers.count
    var seen: UInt8 = 0
    while offset < end {
      guard end - offset >= 8 else { throw .misalignedHeaders }
      let id = u32(headers, offset)
      let length = Int(u32(headers, offset + 4))
      offset += 8
      guard length <= end - offset else { throw .misalignedHeaders }
      let bit: UInt8
      switch id {
      case 1000:
        guard length == 4 else { throw .badHeader(.connID, bytes: length) }
        fields.connID = u32(headers, offset)
        fields.connIDOffset = offset
        bit = 1
      case 1010:
        guard length == 4 else { throw .badHeader(.flags, bytes: length) }
        fields.flags = EdgeFlags(rawValue: u32(headers, offset))
        bit = 2
      case 1001:
        if length != 4 { fields.isPlain = false }
        bit = 4
      case 128:
        // C SDKs abort on another length (3.3).
        if length != 16 { fields.isPlain = false }
        bit = 8
      default:
        fields.isPlain = false
        bit = 0
      }
      guard seen & bit == 0 else { throw .duplicateHeader(HeaderID(rawValue: Int32(bitPattern: id))) }
      seen |= bit
      offset += length
    }
    return fields
  }

  @inlinable
  public init() {}
}

/// Flags of a Data message (header 1010, edge-data-plane.md 3.3); end to end, a router only carries them.
public struct EdgeFlags: OptionSet, Sendable, Hashable {
  public let rawValue: UInt32
  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// No further data from this sender.
  public static let fin = EdgeFlags(rawValue: 1)
  public static let traceUUID = EdgeFlags(rawValue: 2)
  /// The sender can receive multipart bodies.
  public static let multipart = EdgeFlags(rawValue: 4)
  public static let stream = EdgeFlags(rawValue: 8)
  /// The decrypted body is a sequence of parts.
  public static let multipartMessage = EdgeFlags(rawValue: 16)
}

extension UnsafeMutableRawBufferPointer {
  /// Writes a little-endian u32, for rewriting sequence and conn id of a frame in place.
  @inlinable
  public func rewriteU32(_ value: UInt32, at offset: Int) {
    storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt32.self)
  }

  /// Gives a frame that lies in this buffer the conn id and sequence of the channel it goes out on.
  ///
  /// - Parameter fields: of this very frame.
  /// - Returns: false, with nothing written, when the frame has no conn id to rewrite or the buffer is shorter than its
  ///   fields say.
  @inlinable
  public func readdressFrame(_ fields: EdgeFields, connID: UInt32, sequence: Int32) -> Bool {
    guard let offset = fields.connIDOffset, offset >= 0, offset <= count - FrameHeader.size - 4 else { return false }
    rewriteU32(UInt32(bitPattern: sequence), at: FrameHeader.sequenceOffset)
    rewriteU32(connID, at: FrameHeader.size + offset)
    return true
  }
}
