/// A plaintext that holds several parts, as peers send it with the flag MULTIPART_MSG (edge-data-plane.md 3.3):
///
/// ```
///  +------------+-------+------------+-------+
///  | length u16 | bytes | length u16 | bytes | ...
///  +------------+-------+------------+-------+
/// ```
///
/// The application sees the parts without their lengths.
public enum PlaintextParts {
  /// The longest part.
  public static let partSizeLimit = Int(UInt16.max)

  /// Where the parts lie, in order.
  /// - Throws: `badParts` when a part does not end within the plaintext.
  public static func ranges(of plaintext: UnsafeRawBufferPointer) throws(SealedStreamError) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var offset = 0
    while offset < plaintext.count {
      guard plaintext.count - offset >= 2 else { throw .badParts }
      let length = Int(UInt16(littleEndian: plaintext.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
      offset += 2
      guard length <= plaintext.count - offset else { throw .badParts }
      ranges.append(offset..<offset + length)
      offset += length
    }
    return ranges
  }

  /// The parts as arrays.
  public static func parts(of plaintext: [UInt8]) throws(SealedStreamError) -> [[UInt8]] {
    let ranges: Result<[Range<Int>], SealedStreamError> = plaintext.withUnsafeBytes { bytes in
      do throws(SealedStreamError) { return .success(try Self.ranges(of: bytes)) } catch { return .failure(error) }
    }
    return try ranges.get().map { Array(plaintext[$0]) }
  }

  /// Moves the bytes of all parts to the front of the buffer, one after the other, for readers to whom boundaries say
  /// nothing.
  /// - Returns: how many bytes there are.
  /// - Throws: `badParts`, possibly with bytes moved already.
  public static func joinInPlace(_ plaintext: UnsafeMutableRawBufferPointer) throws(SealedStreamError) -> Int {
    var read = 0
    var written = 0
    while read < plaintext.count {
      guard plaintext.count - read >= 2 else { throw .badParts }
      let length = Int(UInt16(littleEndian: plaintext.loadUnaligned(fromByteOffset: read, as: UInt16.self)))
      read += 2
      guard length <= plaintext.count - read else { throw .badParts }
      UnsafeMutableRawBufferPointer(rebasing: plaintext[written..<written + length]).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: plaintext[read..<read + length]))
      read += length
      written += length
    }
    return written
  }
}
