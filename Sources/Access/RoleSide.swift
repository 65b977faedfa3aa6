internal import Model

/// The entities of one kind by role attribute: what makes it cheap to find the members of a policy.
struct AttributeIndex: Sendable {
  private struct Entry: Sendable {
    var name: String
    var attributes: Set<String>
  }

  /// What a change of an entity can concern.
  enum Touched {
    case nothing
    /// Created or deleted: every policy that could match it, with these attributes.
    case existence(Set<String>)
    /// Only policies that mention one of these attributes.
    case attributes(Set<String>)
  }

  private var entries: [String: Entry] = [:]
  private var byAttribute: [String: Set<String>] = [:]

  /// Records the entity's present name and attributes; nil removes it.
  mutating func set(_ id: String, name: String?, attributes: [String]?) -> Touched {
    let old = entries[id]
    let new = name.map { Entry(name: $0, attributes: Set(attributes ?? [])) }
    entries[id] = new
    let (before, after) = (old?.attributes ?? [], new?.attributes ?? [])
    for attribute in before.subtracting(after) {
      byAttribute[attribute]?.remove(id)
      if byAttribute[attribute]?.isEmpty ?? false { byAttribute[attribute] = nil }
    }
    for attribute in after.subtracting(before) { byAttribute[attribute, default: []].insert(id) }
    if (old == nil) != (new == nil) { return .existence(before.union(after)) }
    let difference = before.symmetricDifference(after)
    return difference.isEmpty ? .nothing : .attributes(difference)
  }

  func name(of id: String) -> String? { entries[id]?.name }

  func matches(_ id: String, _ roles: RoleList, _ semantic: Semantic) -> Bool {
    guard let entry = entries[id] else { return false }
    return roles.matches(id: id, attributes: entry.attributes, semantic: semantic)
  }

  func members(_ roles: RoleList, _ semantic: Semantic) -> Set<String> {
    if roles.isAll { return Set(entries.keys) }
    var members = roles.ids.filter { entries[$0] != nil }
    guard !roles.attributes.isEmpty else { return members }
    let groups = roles.attributes.map { byAttribute[$0] ?? [] }
    switch semantic {
    case .anyOf: for group in groups { members.formUnion(group) }
    case .allOf:
      let ordered = groups.sorted { $0.count < $1.count }
      if let smallest = ordered.first {
        members.formUnion(ordered.dropFirst().reduce(smallest) { $0.intersection($1) })
      }
    }
    return members
  }
}

/// One role list of every policy of a family (such as the identity roles of all service policies), indexed in the four
/// ways a change can come: by policy, by listed id, by attribute, and the ones that match all.
struct RoleSide: Sendable {
  private var roles: [String: (list: RoleList, semantic: Semantic)] = [:]
  private var matchingAll: Set<String> = []
  private var byID: [String: Set<String>] = [:]
  private var byAttribute: [String: Set<String>] = [:]
  private var members: [String: Set<String>] = [:]
  private var policiesByMember: [String: Set<String>] = [:]

  var policyIDs: some Collection<String> { roles.keys }
  func members(of policy: String) -> Set<String> { members[policy] ?? [] }
  func policies(of entity: String) -> Set<String> { policiesByMember[entity] ?? [] }

  /// Re-judges an entity after `AttributeIndex.set`: policies it entered or left, by policy id.
  mutating func update(entity: String, touched: AttributeIndex.Touched, in entities: AttributeIndex) -> [(
    policy: String, added: Bool
  )] {
    var candidates: Set<String> = []
    switch touched {
    case .nothing: return []
    case .existence(let attributes):
      candidates = matchingAll.union(byID[entity] ?? []).union(policies(of: entity))
      for attribute in attributes { candidates.formUnion(byAttribute[attribute] ?? []) }
    case .attributes(let attributes):
      for attribute in attributes { candidates.formUnion(byAttribute[attribute] ?? []) }
    }
    var changes: [(policy: String, added: Bool)] = []
    for policy in candidates.sorted() {
      guard let (list, semantic) = roles[policy] else { continue }
      let isMember = entities.matches(entity, list, semantic)
      guard isMember != (members[policy]?.contains(entity) ?? false) else { continue }
      setMember(policy, entity, isMember)
      changes.append((policy, isMember))
    }
    return changes
  }

  /// Sets a policy's roles (nil removes the policy): entities that left, then those that entered, by id.
  mutating func setPolicy(_ policy: String, roles new: (RoleList, Semantic)?, in entities: AttributeIndex) -> [(
    entity: String, added: Bool
  )] {
    if let (old, _) = roles[policy] {
      if let (list, semantic) = new, list == old, roles[policy]?.semantic == semantic { return [] }
      matchingAll.remove(policy)
      for id in old.ids { Self.remove(policy, from: &byID, key: id) }
      for attribute in old.attributes { Self.remove(policy, from: &byAttribute, key: attribute) }
      roles[policy] = nil
    }
    if let (list, semantic) = new {
      roles[policy] = (list, semantic)
      if list.isAll { matchingAll.insert(policy) }
      for id in list.ids { byID[id, default: []].insert(policy) }
      for attribute in list.attributes { byAttribute[attribute, default: []].insert(policy) }
    }
    let before = members(of: policy)
    let after = new.map { entities.members($0.0, $0.1) } ?? []
    let left = before.subtracting(after).sorted()
    let entered = after.subtracting(before).sorted()
    for entity in left { setMember(policy, entity, false) }
    for entity in entered { setMember(policy, entity, true) }
    return left.map { ($0, false) } + entered.map { ($0, true) }
  }

  private mutating func setMember(_ policy: String, _ entity: String, _ present: Bool) {
    if present {
      members[policy, default: []].insert(entity)
      policiesByMember[entity, default: []].insert(policy)
    } else {
      Self.remove(entity, from: &members, key: policy)
      Self.remove(policy, from: &policiesByMember, key: entity)
    }
  }

  private static func remove(_ value: String, from index: inout [String: Set<String>], key: String) {
    index[key]?.remove(value)
    if index[key]?.isEmpty ?? false { index[key] = nil }
  }
}
