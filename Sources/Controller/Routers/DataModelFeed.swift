import WireSchemas

/// The latest change-sets as routers get them, for subscribers that missed a few. Older gaps are closed with the full
/// state.
struct DataModelFeed: Sendable {
  private static let capacity = 1000
  private var changes: [EdgeCtrlChangeSet] = []

  mutating func append(_ change: EdgeCtrlChangeSet) {
    changes.append(change)
    if changes.count > 2 * Self.capacity { changes.removeFirst(Self.capacity) }
  }

  /// Everything that follows `position`; nil when the beginning is no longer here. What is read of the model may be
  /// ahead of what is published.
  func changes(after position: UInt64) -> ArraySlice<EdgeCtrlChangeSet>? {
    guard let last = changes.last, position < last.index else { return [] }
    return changes.firstIndex { $0.previousIndex == position }.map { changes[$0...] }
  }

  /// What follows `position`, up to and including `index`; nil when the beginning is no longer here.
  func changes(after position: UInt64, upTo index: UInt64) -> ArraySlice<EdgeCtrlChangeSet>? {
    if position == index { return [] }
    guard let first = changes.firstIndex(where: { $0.previousIndex == position }),
      let last = changes.lastIndex(where: { $0.index == index }),
      first <= last
    else { return nil }
    return changes[first...last]
  }
}
