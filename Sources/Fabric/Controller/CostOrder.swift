/// Terminators by cost, then by id.
///
/// Sorted runs of bounded length: a change moves the entries of one run, the entry of a rank is found by counting runs.
/// It is written here because neither the standard library nor a package in use has a sorted collection with access by
/// rank, which the strategies `random` and `weighted` need.
struct CostOrder: Sendable {
  struct Entry: Sendable, Comparable {
    let cost: Int
    let id: String

    static func < (left: Entry, right: Entry) -> Bool {
      left.cost != right.cost ? left.cost < right.cost : left.id < right.id
    }
  }

  /// Entries in a run; a few KB that a change moves at most.
  private static let runLimit = 256

  private var runs: [[Entry]] = []
  private(set) var count = 0
  /// Sum of all costs.
  private(set) var total = 0
  /// Entries of cost 0, which weigh as much as those of cost 1.
  private(set) var free = 0

  var isEmpty: Bool { count == 0 }

  /// The entry of a rank from 0, nil beyond the end.
  subscript(rank: Int) -> Entry? {
    var rest = rank
    for run in runs {
      if rest < run.count { return run[rest] }
      rest -= run.count
    }
    return nil
  }

  /// The cheapest entry that is not excluded.
  func first(excluding: Set<String>) -> Entry? {
    for run in runs { for entry in run where !excluding.contains(entry.id) { return entry } }
    return nil
  }

  mutating func insert(_ entry: Entry) {
    count += 1
    total += entry.cost
    free += entry.cost == 0 ? 1 : 0
    guard !runs.isEmpty else { return runs.append([entry]) }
    let index = run(of: entry)
    runs[index].insert(entry, at: Self.position(of: entry, in: runs[index]))
    guard runs[index].count > Self.runLimit else { return }
    let half = Array(runs[index][(Self.runLimit / 2)...])
    runs[index].removeSubrange((Self.runLimit / 2)...)
    runs.insert(half, at: index + 1)
  }

  mutating func remove(_ entry: Entry) {
    guard !runs.isEmpty else { return }
    let index = run(of: entry)
    let position = Self.position(of: entry, in: runs[index])
    guard position < runs[index].count, runs[index][position] == entry else { return }
    runs[index].remove(at: position)
    count -= 1
    total -= entry.cost
    free -= entry.cost == 0 ? 1 : 0
    if runs[index].isEmpty {
      runs.remove(at: index)
    } else if index + 1 < runs.count, runs[index].count + runs[index + 1].count <= Self.runLimit / 2 {
      runs[index].append(contentsOf: runs.remove(at: index + 1))
    }
  }

  /// The last run that begins at or before the entry, else the first.
  private func run(of entry: Entry) -> Int {
    var (low, high) = (0, runs.count)
    while low < high {
      let middle = (low + high) / 2
      if let first = runs[middle].first, first <= entry { low = middle + 1 } else { high = middle }
    }
    return max(0, low - 1)
  }

  private static func position(of entry: Entry, in run: [Entry]) -> Int {
    var (low, high) = (0, run.count)
    while low < high {
      let middle = (low + high) / 2
      if run[middle] < entry { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
