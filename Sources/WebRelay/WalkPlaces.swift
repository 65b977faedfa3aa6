import Synchronization

/// Long listings of a drive at a time. Each holds a directory open for every level that it is in, for as long as its client takes to read it.
final class WalkPlaces: Sendable {
  static let limit = 32
  /// For one asker: whoever reads slowly leaves places to others.
  static let limitOfOne = 8

  /// Taken as long as it is referenced.
  final class Place: Sendable {
    private let places: WalkPlaces
    private let asker: String

    fileprivate init(_ places: WalkPlaces, _ asker: String) {
      self.places = places
      self.asker = asker
    }

    deinit { places.giveBack(asker) }
  }

  private let taken = Mutex<[String: Int]>([:])

  /// nil when there are as many as there may be.
  func take(for asker: String) -> Place? {
    let isFree = taken.withLock { taken in
      guard taken.values.reduce(0, +) < Self.limit, taken[asker, default: 0] < Self.limitOfOne else { return false }
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
