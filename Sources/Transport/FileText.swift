/// Text files as people's editors leave them.
package enum FileText {
  /// - Returns: the bytes without the byte order mark that some editors put before UTF-8.
  package static func withoutMark<Bytes: Collection>(_ bytes: Bytes) -> Bytes.SubSequence where Bytes.Element == UInt8 {
    bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes[...]
  }
}
