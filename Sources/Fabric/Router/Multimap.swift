/// Which values belong to a key. Keys without values are not kept, so it holds what is alive and no more.
public struct Multimap<Key: Hashable & Sendable, Value: Hashable & Sendable>: Sendable {
  private var values: [Key: Set<Value>] = [:]

  public init() {}

  public subscript(key: Key) -> Set<Value> { values[key] ?? [] }
  public var keys: some Collection<Key> { values.keys }

  public mutating func insert(_ value: Value, for key: Key) { values[key, default: []].insert(value) }

  public mutating func remove(_ value: Value, for key: Key) {
    guard let index = values.index(forKey: key) else { return }
    values.values[index].remove(value)
    if values.values[index].isEmpty { values.remove(at: index) }
  }
}
