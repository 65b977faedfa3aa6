/// A value whose document is one text. The encoder takes it from here, without a detour over `encode(to:)`: entities
/// hold several, and are encoded on every write.
public protocol EncodableAsText: Encodable {
  /// What `encode(to:)` encodes.
  var text: String { get }
}

extension JSONValue {
  /// The document of any encodable value. Absent optionals are left out.
  public init(encoding value: some Encodable) throws {
    self = try JSONValueEncoder.box(value, path: [])
  }
}

/// Encodes straight into `JSONValue`, without a detour over text: entities are converted on every write.
private final class JSONValueEncoder: Encoder {
  let codingPath: [any CodingKey]
  let userInfo: [CodingUserInfoKey: Any] = [:]
  private var storage = Storage.none

  private enum Storage {
    case none
    case single(JSONValue)
    case keyed(ObjectBox)
    case unkeyed(ArrayBox)
  }

  init(path: [any CodingKey]) { codingPath = path }

  static func box(_ value: some Encodable, path: [any CodingKey]) throws -> JSONValue {
    switch value {
    case let value as JSONValue: return value
    case let value as JSONObject: return .object(value)
    case let value as String: return .string(value)
    case let value as [String]: return JSONValue(value)
    case let value as Bool: return .bool(value)
    case let value as Int: return .int(Int64(value))
    case let value as any EncodableAsText: return .string(value.text)
    default:
      let encoder = JSONValueEncoder(path: path)
      try value.encode(to: encoder)
      return encoder.value
    }
  }

  var value: JSONValue {
    switch storage {
    case .none: .object([:])
    case .single(let value): value
    case .keyed(let box): .object(box.value)
    case .unkeyed(let box): .array(box.elements.map(\.value))
    }
  }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    let box = ObjectBox()
    storage = .keyed(box)
    return KeyedEncodingContainer(KeyedContainer<Key>(box: box, codingPath: codingPath))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    let box = ArrayBox()
    storage = .unkeyed(box)
    return UnkeyedContainer(box: box, codingPath: codingPath)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer { SingleContainer(encoder: self) }

  /// A member or element: finished, or a container that is still being filled.
  enum Slot {
    case finished(JSONValue)
    case object(ObjectBox)
    case array(ArrayBox)
    case encoder(JSONValueEncoder)

    var value: JSONValue {
      switch self {
      case .finished(let value): value
      case .object(let box): .object(box.value)
      case .array(let box): .array(box.elements.map(\.value))
      case .encoder(let encoder): encoder.value
      }
    }
  }

  final class ObjectBox {
    var members: [String: Slot] = [:]
    var value: JSONObject { members.mapValues(\.value) }
  }

  final class ArrayBox {
    var elements: [Slot] = []
  }

  struct KeyedContainer<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let box: ObjectBox
    let codingPath: [any CodingKey]

    mutating func encodeNil(forKey key: Key) { box.members[key.stringValue] = .finished(.null) }

    mutating func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
      box.members[key.stringValue] = .finished(try JSONValueEncoder.box(value, path: codingPath + [key]))
    }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key)
      -> KeyedEncodingContainer<Nested>
    {
      let nested = ObjectBox()
      box.members[key.stringValue] = .object(nested)
      return KeyedEncodingContainer(KeyedContainer<Nested>(box: nested, codingPath: codingPath + [key]))
    }

    mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
      let nested = ArrayBox()
      box.members[key.stringValue] = .array(nested)
      return UnkeyedContainer(box: nested, codingPath: codingPath + [key])
    }

    mutating func superEncoder() -> any Encoder { nested("super", path: codingPath) }
    mutating func superEncoder(forKey key: Key) -> any Encoder { nested(key.stringValue, path: codingPath + [key]) }

    private func nested(_ name: String, path: [any CodingKey]) -> any Encoder {
      let encoder = JSONValueEncoder(path: path)
      box.members[name] = .encoder(encoder)
      return encoder
    }
  }

  struct UnkeyedContainer: UnkeyedEncodingContainer {
    let box: ArrayBox
    let codingPath: [any CodingKey]
    var count: Int { box.elements.count }

    mutating func encodeNil() { box.elements.append(.finished(.null)) }

    mutating func encode<T: Encodable>(_ value: T) throws {
      box.elements.append(.finished(try JSONValueEncoder.box(value, path: codingPath)))
    }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
      let nested = ObjectBox()
      box.elements.append(.object(nested))
      return KeyedEncodingContainer(KeyedContainer<Nested>(box: nested, codingPath: codingPath))
    }

    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
      let nested = ArrayBox()
      box.elements.append(.array(nested))
      return UnkeyedContainer(box: nested, codingPath: codingPath)
    }

    mutating func superEncoder() -> any Encoder {
      let encoder = JSONValueEncoder(path: codingPath)
      box.elements.append(.encoder(encoder))
      return encoder
    }
  }

  struct SingleContainer: SingleValueEncodingContainer {
    let encoder: JSONValueEncoder
    var codingPath: [any CodingKey] { encoder.codingPath }

    mutating func encodeNil() { encoder.storage = .single(.null) }
    mutating func encode(_ value: Bool) { encoder.storage = .single(.bool(value)) }
    mutating func encode(_ value: String) { encoder.storage = .single(.string(value)) }
    mutating func encode(_ value: Double) { encoder.storage = .single(.double(value)) }
    mutating func encode(_ value: Float) { encoder.storage = .single(.double(Double(value))) }
    mutating func encode(_ value: Int) { encoder.storage = .single(.int(Int64(value))) }
    mutating func encode(_ value: Int8) { encoder.storage = .single(.int(Int64(value))) }
    mutating func encode(_ value: Int16) { encoder.storage = .single(.int(Int64(value))) }
    mutating func encode(_ value: Int32) { encoder.storage = .single(.int(Int64(value))) }
    mutating func encode(_ value: Int64) { encoder.storage = .single(.int(value)) }
    mutating func encode(_ value: UInt) { encode(UInt64(value)) }
    mutating func encode(_ value: UInt8) { encoder.storage = .single(.int(Int64(value))) }
    mutating func encode(_ value: UInt16) { encoder.storage = .single(.int(Int64(value))) }
    mutating func encode(_ value: UInt32) { encoder.storage = .single(.int(Int64(value))) }
    mutating func encode(_ value: UInt64) {
      encoder.storage = .single(Int64(exactly: value).map(JSONValue.int) ?? .double(Double(value)))
    }
    mutating func encode<T: Encodable>(_ value: T) throws {
      encoder.storage = .single(try JSONValueEncoder.box(value, path: codingPath))
    }
  }
}
