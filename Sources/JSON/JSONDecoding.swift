/// A word that stands in when a stored document lacks the member.
public protocol DefaultedOnAbsence {
  static var valueOnAbsence: Self { get }
}

extension JSONValue {
  /// The typed value of a document that we wrote ourselves.
  ///
  /// Members that are absent read as the zero value of their type (false, 0, "", no elements, or the default of a
  /// word), so that documents written before a field existed stay readable. Members that are present must have the
  /// right type.
  public func decode<T: Decodable>(_ type: T.Type) throws -> T {
    try JSONValueDecoder.unbox(self, as: type, path: [])
  }
}

private struct JSONValueDecoder: Decoder {
  let value: JSONValue
  let codingPath: [any CodingKey]
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  static func unbox<T: Decodable>(_ value: JSONValue, as type: T.Type, path: [any CodingKey]) throws -> T {
    // The frequent types, without a decoder for each.
    if T.self == String.self, case .string(let string) = value, let result = string as? T { return result }
    if T.self == Bool.self, case .bool(let bool) = value, let result = bool as? T { return result }
    if T.self == Int.self, let int = value.intValue, let result = int as? T { return result }
    if T.self == JSONValue.self, let result = value as? T { return result }
    if T.self == JSONObject.self, case .object(let members) = value, let result = members as? T { return result }
    if T.self == [String].self, let strings = value.stringArrayValue, let result = strings as? T { return result }
    return try T(from: JSONValueDecoder(value: value, codingPath: path))
  }

  static func mismatch(_ type: Any.Type, _ value: JSONValue, _ path: [any CodingKey]) -> DecodingError {
    .typeMismatch(type, .init(codingPath: path, debugDescription: "expected \(type), found \(value.typeName)"))
  }

  func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
    guard case .object(let members) = value else { throw Self.mismatch(JSONObject.self, value, codingPath) }
    return KeyedDecodingContainer(KeyedContainer<Key>(members: members, codingPath: codingPath))
  }

  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    guard case .array(let elements) = value else { throw Self.mismatch([JSONValue].self, value, codingPath) }
    return UnkeyedContainer(elements: elements, codingPath: codingPath)
  }

  func singleValueContainer() throws -> any SingleValueDecodingContainer {
    SingleContainer(value: value, codingPath: codingPath)
  }

  struct KeyedContainer<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let members: JSONObject
    let codingPath: [any CodingKey]
    var allKeys: [Key] { members.keys.compactMap { Key(stringValue: $0) } }

    func contains(_ key: Key) -> Bool { members[key.stringValue] != nil }
    func decodeNil(forKey key: Key) -> Bool { members[key.stringValue]?.isNull ?? true }

    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
      let path = codingPath + [key]
      guard let member = members[key.stringValue], !member.isNull || T.self == JSONValue.self else {
        if let word = (T.self as? any DefaultedOnAbsence.Type)?.valueOnAbsence as? T { return word }
        for zero in [JSONValue.string(""), .bool(false), .int(0), .array([]), .object([:])] {
          if let value = try? JSONValueDecoder.unbox(zero, as: T.self, path: path) { return value }
        }
        throw DecodingError.keyNotFound(
          key, .init(codingPath: path, debugDescription: "member \(key.stringValue) is missing"))
      }
      return try JSONValueDecoder.unbox(member, as: type, path: path)
    }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) throws
      -> KeyedDecodingContainer<Nested>
    {
      try JSONValueDecoder(value: members[key.stringValue] ?? .null, codingPath: codingPath + [key]).container(
        keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
      try JSONValueDecoder(value: members[key.stringValue] ?? .null, codingPath: codingPath + [key]).unkeyedContainer()
    }

    func superDecoder() -> any Decoder { JSONValueDecoder(value: members["super"] ?? .null, codingPath: codingPath) }
    func superDecoder(forKey key: Key) -> any Decoder {
      JSONValueDecoder(value: members[key.stringValue] ?? .null, codingPath: codingPath + [key])
    }
  }

  struct UnkeyedContainer: UnkeyedDecodingContainer {
    let elements: [JSONValue]
    let codingPath: [any CodingKey]
    var currentIndex = 0
    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex >= elements.count }

    private mutating func take() throws -> JSONValue {
      guard !isAtEnd else {
        throw DecodingError.valueNotFound(
          JSONValue.self, .init(codingPath: codingPath, debugDescription: "no element \(currentIndex)"))
      }
      defer { currentIndex += 1 }
      return elements[currentIndex]
    }

    mutating func decodeNil() -> Bool {
      guard !isAtEnd, elements[currentIndex].isNull else { return false }
      currentIndex += 1
      return true
    }

    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T {
      try JSONValueDecoder.unbox(try take(), as: type, path: codingPath)
    }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested>
    {
      try JSONValueDecoder(value: try take(), codingPath: codingPath).container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
      try JSONValueDecoder(value: try take(), codingPath: codingPath).unkeyedContainer()
    }

    mutating func superDecoder() throws -> any Decoder { JSONValueDecoder(value: try take(), codingPath: codingPath) }
  }

  struct SingleContainer: SingleValueDecodingContainer {
    let value: JSONValue
    let codingPath: [any CodingKey]

    private func integer<I: FixedWidthInteger>(_ type: I.Type) throws -> I {
      if case .int(let int) = value, let result = I(exactly: int) { return result }
      if case .double(let double) = value, let result = I(exactly: double) { return result }
      throw JSONValueDecoder.mismatch(type, value, codingPath)
    }

    func decodeNil() -> Bool { value.isNull }

    func decode(_ type: Bool.Type) throws -> Bool {
      guard case .bool(let bool) = value else { throw JSONValueDecoder.mismatch(type, value, codingPath) }
      return bool
    }

    func decode(_ type: String.Type) throws -> String {
      guard case .string(let string) = value else { throw JSONValueDecoder.mismatch(type, value, codingPath) }
      return string
    }

    func decode(_ type: Double.Type) throws -> Double {
      guard let double = value.doubleValue else { throw JSONValueDecoder.mismatch(type, value, codingPath) }
      return double
    }

    func decode(_ type: Float.Type) throws -> Float { Float(try decode(Double.self)) }
    func decode(_ type: Int.Type) throws -> Int { try integer(type) }
    func decode(_ type: Int8.Type) throws -> Int8 { try integer(type) }
    func decode(_ type: Int16.Type) throws -> Int16 { try integer(type) }
    func decode(_ type: Int32.Type) throws -> Int32 { try integer(type) }
    func decode(_ type: Int64.Type) throws -> Int64 { try integer(type) }
    func decode(_ type: UInt.Type) throws -> UInt { try integer(type) }
    func decode(_ type: UInt8.Type) throws -> UInt8 { try integer(type) }
    func decode(_ type: UInt16.Type) throws -> UInt16 { try integer(type) }
    func decode(_ type: UInt32.Type) throws -> UInt32 { try integer(type) }
    func decode(_ type: UInt64.Type) throws -> UInt64 { try integer(type) }
    func decode<T: Decodable>(_ type: T.Type) throws -> T {
      try JSONValueDecoder.unbox(value, as: type, path: codingPath)
    }
  }
}
