/// Ids by what they have in common. A group that became empty is forgotten: names that come and go leave nothing
/// behind.
struct IDIndex<Key: Hashable & Sendable>: Sendable {
  private var groups: [Key: Set<String>] = [:]

  subscript(key: Key) -> Set<String> { groups[key] ?? [] }
  func count(_ key: Key) -> Int { groups[key]?.count ?? 0 }
  var keys: some Collection<Key> { groups.keys }
  var all: [Key: Set<String>] { groups }

  mutating func insert(_ id: String, _ key: Key) { groups[key, default: []].insert(id) }

  mutating func remove(_ id: String, _ key: Key) {
    groups[key]?.remove(id)
    if groups[key]?.isEmpty ?? false { groups[key] = nil }
  }
}

/// An identity and what it does with a service: the grain in which rights are given and taken.
public struct Grant: Hashable, Sendable {
  public let identity: String
  public let service: String

  public init(identity: String, service: String) {
    self.identity = identity
    self.service = service
  }
}
