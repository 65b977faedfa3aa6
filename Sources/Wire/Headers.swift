/// The header section of a message: records of key, length and value, packed without padding (edge-data-plane.md 2.1,
/// 2.2).
///
/// ```
///  +---------+------------+-----------------+
///  | key i32 | length u32 | value bytes     |   repeated, ends exactly at the section's end
///  +---------+------------+-----------------+
/// ```
///
/// Kept as a short list, since messages carry a handful. A message that carries a record twice is refused: Go takes the
/// last, C the first, and whoever checks one of them has not checked the other. No peer sends any (none in 1435
/// recorded frames of all planes).
public struct Headers: Sendable, Equatable {
  /// Records accepted in one message; peers send about a dozen.
  public static let recordLimit = 128
  /// Entries and bytes an entry in list and map values.
  public static let itemLimit = 128
  public static let itemSizeLimit = 8192

  private var records: [(id: HeaderID, value: [UInt8])] = []

  public init() {}

  /// - Throws: `misalignedHeaders` when a record overruns the section or trailing bytes remain, `tooManyHeaders`,
  ///   `duplicateHeader`.
  public init(parsing bytes: UnsafeRawBufferPointer) throws(WireError) {
    var offset = 0
    while offset < bytes.count {
      guard bytes.count - offset >= 8 else { throw .misalignedHeaders }
      let id = HeaderID(rawValue: Int32(bitPattern: u32(bytes, offset)))
      let length = Int(u32(bytes, offset + 4))
      offset += 8
      guard length <= bytes.count - offset else { throw .misalignedHeaders }
      guard records.count < Self.recordLimit else { throw .tooManyHeaders(limit: Self.recordLimit) }
      guard !contains(id) else { throw .duplicateHeader(id) }
      records.append((id, Array(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length]))))
      offset += length
    }
  }

  public static func == (left: Headers, right: Headers) -> Bool {
    left.records.count == right.records.count && left.records.allSatisfy { right[$0.id] == $0.value }
  }

  public var isEmpty: Bool { records.isEmpty }
  public var all: [(id: HeaderID, value: [UInt8])] { records }

  public subscript(id: HeaderID) -> [UInt8]? {
    get { records.first { $0.id == id }?.value }
    set {
      if let index = records.firstIndex(where: { $0.id == id }) {
        if let newValue { records[index].value = newValue } else { records.remove(at: index) }
      } else if let newValue {
        records.append((id, newValue))
      }
    }
  }

  public func contains(_ id: HeaderID) -> Bool { records.contains { $0.id == id } }

  // MARK: Typed reading; nil when absent or of the wrong width

  public func string(_ id: HeaderID) -> String? { self[id].map { String(decoding: $0, as: UTF8.self) } }
  public func uint32(_ id: HeaderID) -> UInt32? { integer(id) }
  public func int32(_ id: HeaderID) -> Int32? { integer(id) }
  public func uint64(_ id: HeaderID) -> UInt64? { integer(id) }
  /// The first two bytes, since old C SDKs write four (edge-data-plane.md 4.3).
  public func uint16(_ id: HeaderID) -> UInt16? {
    guard let value = self[id], value.count >= 2 else { return nil }
    return UInt16(value[0]) | UInt16(value[1]) << 8
  }
  /// The first byte of any longer value.
  public func uint8(_ id: HeaderID) -> UInt8? { self[id]?.first }
  /// True only if the first byte is exactly 1; nil when absent or empty.
  public func bool(_ id: HeaderID) -> Bool? { self[id]?.first.map { $0 == 1 } }

  private func integer<Value: FixedWidthInteger>(_ id: HeaderID) -> Value? {
    guard let value = self[id], value.count == MemoryLayout<Value>.size else { return nil }
    return value.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(as: Value.self)) }
  }

  /// - Throws: `badHeader` when the value is not a list within the limits.
  public func stringList(_ id: HeaderID) throws(WireError) -> [String]? {
    guard let value = self[id] else { return nil }
    if value.isEmpty { return [] }
    var reader = ItemReader(value, id)
    let count = try reader.count()
    var items: [String] = []
    for _ in 0..<count { items.append(String(decoding: try reader.item(), as: UTF8.self)) }
    try reader.end()
    return items
  }

  /// A map from u32 to bytes: peer data of circuit messages.
  public func dataMap(_ id: HeaderID) throws(WireError) -> [UInt32: [UInt8]]? {
    guard let value = self[id] else { return nil }
    if value.isEmpty { return [:] }
    var reader = ItemReader(value, id)
    let count = try reader.count()
    var items: [UInt32: [UInt8]] = [:]
    for _ in 0..<count {
      let key = try reader.number()
      items[key] = try reader.item()
    }
    try reader.end()
    return items
  }

  public func stringMap(_ id: HeaderID) throws(WireError) -> [String: String]? {
    guard let value = self[id] else { return nil }
    if value.isEmpty { return [:] }
    var reader = ItemReader(value, id)
    let count = try reader.count()
    var items: [String: String] = [:]
    for _ in 0..<count {
      let key = String(decoding: try reader.item(), as: UTF8.self)
      items[key] = String(decoding: try reader.item(), as: UTF8.self)
    }
    try reader.end()
    return items
  }

  // MARK: Typed writing

  public mutating func set(_ id: HeaderID, _ value: [UInt8]) { self[id] = value }
  public mutating func set(_ id: HeaderID, _ value: String) { self[id] = Array(value.utf8) }
  public mutating func set(_ id: HeaderID, _ value: Bool) { self[id] = [value ? 1 : 0] }
  public mutating func set(_ id: HeaderID, _ value: UInt8) { self[id] = [value] }
  public mutating func set(_ id: HeaderID, _ value: UInt16) { set(id, integer: value) }
  public mutating func set(_ id: HeaderID, _ value: UInt32) { set(id, integer: value) }
  public mutating func set(_ id: HeaderID, _ value: Int32) { set(id, integer: value) }
  public mutating func set(_ id: HeaderID, _ value: UInt64) { set(id, integer: value) }

  private mutating func set(_ id: HeaderID, integer value: some FixedWidthInteger) {
    self[id] = withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  public mutating func set(_ id: HeaderID, list: [String]) {
    var bytes: [UInt8] = []
    if !list.isEmpty {
      appendU32(UInt32(list.count), to: &bytes)
      for item in list { append(Array(item.utf8), to: &bytes) }
    }
    self[id] = bytes
  }

  public mutating func set(_ id: HeaderID, map: [UInt32: [UInt8]]) {
    var bytes: [UInt8] = []
    appendU32(UInt32(map.count), to: &bytes)
    for (key, value) in map.sorted(by: { $0.key < $1.key }) {
      appendU32(key, to: &bytes)
      append(value, to: &bytes)
    }
    self[id] = bytes
  }

  public mutating func set(_ id: HeaderID, map: [String: String]) {
    var bytes: [UInt8] = []
    appendU32(UInt32(map.count), to: &bytes)
    for (key, value) in map.sorted(by: { $0.key < $1.key }) {
      append(Array(key.utf8), to: &bytes)
      append(Array(value.utf8), to: &bytes)
    }
    self[id] = bytes
  }

  private func append(_ item: [UInt8], to bytes: inout [UInt8]) {
    appendU32(UInt32(item.count), to: &bytes)
    bytes += item
  }

  // MARK: Encoding

  public var encodedLength: Int { records.reduce(0) { $0 + 8 + $1.value.count } }

  public func encode(into bytes: inout [UInt8]) {
    for record in records {
      appendU32(UInt32(bitPattern: record.id.rawValue), to: &bytes)
      append(record.value, to: &bytes)
    }
  }
}

/// Reads the items of a list or map value within the limits.
private struct ItemReader {
  private let bytes: [UInt8]
  private let id: HeaderID
  private var offset = 0

  init(_ bytes: [UInt8], _ id: HeaderID) {
    self.bytes = bytes
    self.id = id
  }

  mutating func number() throws(WireError) -> UInt32 {
    guard bytes.count - offset >= 4 else { throw .badHeader(id, reason: "a list that ends early") }
    defer { offset += 4 }
    return bytes.withUnsafeBytes { u32($0, offset) }
  }

  mutating func count() throws(WireError) -> Int {
    let count = Int(try number())
    guard count <= Headers.itemLimit else {
      throw .badHeader(id, reason: "\(count) entries, at most \(Headers.itemLimit)")
    }
    return count
  }

  mutating func item() throws(WireError) -> [UInt8] {
    let length = Int(try number())
    guard length <= Headers.itemSizeLimit else {
      throw .badHeader(id, reason: "an entry of \(length) bytes, at most \(Headers.itemSizeLimit)")
    }
    guard length <= bytes.count - offset else { throw .badHeader(id, reason: "a list that ends early") }
    defer { offset += length }
    return Array(bytes[offset..<offset + length])
  }

  func end() throws(WireError) {
    guard offset == bytes.count else { throw .badHeader(id, reason: "bytes behind the last entry") }
  }
}
