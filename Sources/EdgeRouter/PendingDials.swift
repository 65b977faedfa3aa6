import NIOCore

/// Dials that a host has not answered, found by the sequence of the Dial and by the bind they are for.
struct PendingDials {
  struct Entry {
    let bindConnID: UInt32
    let newConnID: UInt32?
    let order: DialOrder
    let promise: EventLoopPromise<DialOutcome>
    let deadline: Scheduled<Void>
  }

  private var entries: [Int32: Entry] = [:]
  private var bySlot: [UInt32: Set<Int32>] = [:]

  var isEmpty: Bool { entries.isEmpty }
  var count: Int { entries.count }

  mutating func add(_ entry: Entry, sequence: Int32) {
    entries[sequence] = entry
    bySlot[entry.bindConnID, default: []].insert(sequence)
  }

  mutating func take(_ sequence: Int32) -> Entry? {
    guard let entry = entries.removeValue(forKey: sequence) else { return nil }
    bySlot[entry.bindConnID]?.remove(sequence)
    if bySlot[entry.bindConnID]?.isEmpty ?? false { bySlot[entry.bindConnID] = nil }
    return entry
  }

  /// All of one bind, in the order in which they were asked.
  mutating func take(of bindConnID: UInt32) -> [Entry] { (bySlot[bindConnID] ?? []).sorted().compactMap { take($0) } }

  mutating func takeAll() -> [Entry] {
    defer { self = PendingDials() }
    return Array(entries.values)
  }
}
