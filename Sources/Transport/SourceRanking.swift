/// Members in the order of their arrival, and by source: who is the oldest, whose are the most. Every call is O(1):
/// neither a scan nor a sort follows from a stranger.
package struct SourceRanking<Member: Hashable & Sendable>: Sendable {
  private var sources: [String: ArrivalOrder<Member>] = [:]
  private var sourceOf: [Member: String] = [:]
  /// Sources by the number of their members. A number changes by one at a time, so the largest is found by one step.
  private var byCount: [Int: ArrivalOrder<String>] = [:]
  private var largest = 0

  package init() {}

  package var count: Int { sourceOf.count }
  /// The largest number of members that one source has.
  package var largestCount: Int { largest }
  /// The oldest member of the source that has most; among several such sources, of the one that has had as many the
  /// longest.
  package var oldestOfLargest: Member? { byCount[largest]?.first.flatMap { sources[$0]?.first } }

  package func contains(_ member: Member) -> Bool { sourceOf[member] != nil }
  package func count(of source: String) -> Int { sources[source]?.count ?? 0 }
  package func oldest(of source: String) -> Member? { sources[source]?.first }

  package mutating func add(_ member: Member, source: String) {
    guard sourceOf.updateValue(source, forKey: member) == nil else { return }
    sources[source, default: ArrivalOrder()].append(member)
    move(source, to: count(of: source), from: count(of: source) - 1)
  }

  package mutating func remove(_ member: Member) {
    guard let source = sourceOf.removeValue(forKey: member) else { return }
    sources[source]?.remove(member)
    let left = count(of: source)
    if left == 0 { sources[source] = nil }
    move(source, to: left, from: left + 1)
  }

  private mutating func move(_ source: String, to count: Int, from old: Int) {
    byCount[old]?.remove(source)
    if byCount[old]?.first == nil { byCount[old] = nil }
    if count > 0 { byCount[count, default: ArrivalOrder()].append(source) }
    if count > largest { largest = count } else if old == largest, byCount[old] == nil { largest = count }
  }
}

/// A queue out of whose middle an element can be taken: a list linked by keys.
struct ArrivalOrder<Element: Hashable & Sendable>: Sendable {
  private struct Links: Sendable {
    var before: Element?
    var after: Element?
  }

  private var links: [Element: Links] = [:]
  private(set) var first: Element?
  private var last: Element?

  var count: Int { links.count }

  mutating func append(_ element: Element) {
    guard links[element] == nil else { return }
    links[element] = Links(before: last, after: nil)
    if let last { links[last]?.after = element } else { first = element }
    last = element
  }

  mutating func remove(_ element: Element) {
    guard let old = links.removeValue(forKey: element) else { return }
    if let before = old.before { links[before]?.after = old.after } else { first = old.after }
    if let after = old.after { links[after]?.before = old.before } else { last = old.before }
  }
}
