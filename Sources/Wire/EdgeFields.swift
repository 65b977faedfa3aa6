/// What forwarding needs of a frame's header records, found without copying or allocating.
public struct EdgeFields: Equatable, Sendable {
  /// Header 1000.
  public var connID: UInt32?
  /// Where the four bytes of the conn id begin, counted from the start of the header section.
  public var connIDOffset: Int?
  /// Header 1010, 0 when absent.
  public var flags = EdgeFlags()

  /// Scans a header section.
  /// - Throws: `misalignedHeaders`.
  @inlinable
  public static func scan(_ headers: UnsafeRawBufferPointer) throws(WireError) -> EdgeFields {
    var fields = EdgeFields()
    var offset = 0
    let end = headers.count
    while offset < end {
      guard end - offset >= 8 else { throw .misalignedHeaders }
      let id = u32(headers, offset)
      let length = Int(u32(headers, offset + 4))
      offset += 8
      guard length <= end - offset else { throw .misalignedHeaders }
      if length == 4 {
        if id == 1000 {
          fields.connID = u32(headers, offset)
          fields.connIDOffset = offset
        } else if id == 1010 {
          fields.flags = EdgeFlags(rawValue: u32(headers, offset))
        }
      }
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
  public func rewriteU32(_ value: UInt32, at offset: Int) { storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt32.self) }

  /// Gives a frame that lies in this buffer the conn id and sequence of the channel it goes out on.
  ///
  /// - Parameter fields: of this very frame.
  /// - Returns: false, with nothing written, when the frame has no conn id to rewrite or the buffer is shorter than its fields say.
  @inlinable
  public func readdressFrame(_ fields: EdgeFields, connID: UInt32, sequence: Int32) -> Bool {
    guard let offset = fields.connIDOffset, offset >= 0, offset <= count - FrameHeader.size - 4 else { return false }
    rewriteU32(UInt32(bitPattern: sequence), at: FrameHeader.sequenceOffset)
    rewriteU32(connID, at: FrameHeader.size + offset)
    return true
  }
}
