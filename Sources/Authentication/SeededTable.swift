/// Facts about strangers in a fixed amount of memory. Keys are kept as digests under a seed of this process, so long
/// names cost nothing and nobody can aim at a slot; every look-up and every eviction touches one set of eight slots,
/// however full the table is. A new key takes an empty slot or that of the fact worth least.
struct SeededTable<Fact: Sendable>: Sendable {
  private struct Slot: Sendable {
    var digest: Int
    var fact: Fact
  }

  private static var ways: Int { 8 }
  private var slots: [Slot?]
  private let sets: Int

  /// - Parameter capacity: facts remembered at most; rounded up to a power of two.
  init(capacity: Int) {
    var sets = 1
    while sets * Self.ways < capacity { sets *= 2 }
    self.sets = sets
    slots = Array(repeating: nil, count: sets * Self.ways)
  }

  private func places(_ digest: Int) -> Range<Int> {
    let first = (digest & (sets - 1)) * Self.ways
    return first..<first + Self.ways
  }

  /// `Hasher` is keyed with a random seed of this process.
  private static func digest(_ key: some Hashable) -> Int {
    var hasher = Hasher()
    hasher.combine(key)
    return hasher.finalize()
  }

  func fact(of key: some Hashable) -> Fact? {
    let digest = Self.digest(key)
    for place in places(digest) { if let slot = slots[place], slot.digest == digest { return slot.fact } }
    return nil
  }

  /// - Parameter worth: how much a fact deserves to be kept.
  mutating func set(_ fact: Fact, for key: some Hashable, worth: (Fact) -> Double) {
    let digest = Self.digest(key)
    let places = places(digest)
    var target = places.lowerBound
    var least = Double.infinity
    for place in places {
      guard let slot = slots[place] else {
        if least > -.infinity { (target, least) = (place, -.infinity) }
        continue
      }
      if slot.digest == digest {
        target = place
        break
      }
      let value = worth(slot.fact)
      if value < least { (target, least) = (place, value) }
    }
    slots[target] = Slot(digest: digest, fact: fact)
  }
}
