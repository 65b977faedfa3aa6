import Synchronization

/// A limited number of places for work that holds memory for as long as its asker takes: so many in total, fewer for
/// each asker.
package final class Places: Sendable {
  /// Taken as long as it is referenced.
  package final class Place: Sendable {
    private let places: Places
    private let asker: String

    fileprivate init(_ places: Places, _ asker: String) {
      self.places = places
      self.asker = asker
    }

    deinit { places.giveBack(asker) }
  }

  package let limit: Int
  /// For one asker: whoever is slow leaves places to others.
  package let limitOfOne: Int
  private let taken = Mutex<[String: Int]>([:])

  package init(limit: Int, ofOne limitOfOne: Int) {
    self.limit = limit
    self.limitOfOne = limitOfOne
  }

  /// nil when there are as many as there may be.
  package func take(for asker: String) -> Place? {
    let isFree = taken.withLock { taken in
      guard taken.values.reduce(0, +) < limit, taken[asker, default: 0] < limitOfOne else { return false }
      taken[asker, default: 0] += 1
      return true
    }
    return isFree ? Place(self, asker) : nil
  }

  private func giveBack(_ asker: String) {
    taken.withLock { taken in
      let left = taken[asker, default: 1] - 1
      taken[asker] = left > 0 ? left : nil
    }
  }
}
