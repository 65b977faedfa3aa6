public import Model

/// What filters may ask of the running controller, where the store alone does not know it: who is online, what policies
/// bring together, which terminators live hosts have.
public protocol RuntimeSymbols: Sendable {
  /// Ids of the entities of a kind of which a `live` symbol is true.
  func entities(_ kind: EntityKind, where symbol: String) -> Set<String>
  /// A `relation` symbol of a kind.
  func relation(_ kind: EntityKind, _ symbol: String) -> [RelationGroup]
  /// Which elements of a kind meet a condition, for kinds that do not all lie in the store; nil for those that do.
  func members(_ kind: EntityKind, matching condition: Filter, _ reader: StoreReader) throws -> Set<String>?
}

/// A part of a relation: each of the holders has all the members, as a policy gives them. An entity may hold members by
/// many groups. The work of a question is what the groups hold, never holders times members.
public struct RelationGroup: Sendable {
  public var holders: Set<String>
  public var members: Set<String>

  public init(holders: Set<String>, members: Set<String>) {
    self.holders = holders
    self.members = members
  }
}

extension [RelationGroup] {
  /// Who holds at least one of the members; `among` nil means all members.
  func holders(among: Set<String>?) -> Set<String> {
    reduce(into: []) { holders, group in
      if among.map({ !group.members.isDisjoint(with: $0) }) ?? !group.members.isEmpty {
        holders.formUnion(group.holders)
      }
    }
  }

  /// Who holds at least one member that passes.
  func holders(_ passes: (String) -> Bool) -> Set<String> { holders(among: members.filter(passes)) }

  /// How many of the members each holder has; who has none is not named.
  func counts(among: Set<String>?) -> [String: Int] {
    let groups = map { group in among.map { group.members.intersection($0) } ?? group.members }
    var groupsByHolder: [String: [Int]] = [:]
    for index in indices where !groups[index].isEmpty {
      for holder in self[index].holders { groupsByHolder[holder, default: []].append(index) }
    }
    // Holders of the same groups have the same number, and most have.
    var known: [[Int]: Int] = [:]
    return groupsByHolder.mapValues { indices in
      if let count = known[indices] { return count }
      let count =
        indices.count == 1
        ? groups[indices[0]].count : indices.reduce(into: Set<String>()) { $0.formUnion(groups[$1]) }.count
      known[indices] = count
      return count
    }
  }

  private var members: Set<String> { reduce(into: []) { $0.formUnion($1.members) } }
}
