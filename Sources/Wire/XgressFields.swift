/// What a forwarder needs of the header records of a payload or acknowledgement, found without copying or allocating.
/// Ranges and offsets count from the start of the header section.
public struct XgressFields: Equatable, Sendable {
  /// Where the bytes of the circuit id lie (header 2256).
  public var circuitID: Range<Int>?
  /// Header 2257, payloads only.
  public var sequence: UInt64?
  /// Header 2258, 0 when absent.
  public var flags = XgressFlags()
  /// Where the two bytes of the RTT stamp lie (header 2260).
  public var rttOffset: Int?
  /// Header 1000.
  public var connID: UInt32?

  @inlinable
  public init() {}

  /// - Throws: `misalignedHeaders`; `duplicateHeader` for the records above, as in `EdgeFields`.
  @inlinable
  public static func scan(_ headers: UnsafeRawBufferPointer) throws(WireError) -> XgressFields {
    var fields = XgressFields()
    var offset = 0
    var seen: UInt8 = 0
    while offset < headers.count {
      guard headers.count - offset >= 8 else { throw .misalignedHeaders }
      let id = u32(headers, offset)
      let length = Int(u32(headers, offset + 4))
      offset += 8
      guard length <= headers.count - offset else { throw .misalignedHeaders }
      let bit: UInt8 =
        switch id {
        case 2256: 1
        case 2257: 2
        case 2258: 4
        case 2260: 8
        case 1000: 16
        default: 0
        }
      guard seen & bit == 0 else { throw .duplicateHeader(HeaderID(rawValue: Int32(bitPattern: id))) }
      seen |= bit
      switch (id, length) {
      case (2256, _): fields.circuitID = offset..<offset + length
      case (2257, 8):
        fields.sequence = UInt64(littleEndian: headers.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
      case (2258, 4): fields.flags = XgressFlags(rawValue: u32(headers, offset))
      case (2260, 2): fields.rttOffset = offset
      case (1000, 4): fields.connID = u32(headers, offset)
      default: break
      }
      offset += length
    }
    return fields
  }
}
