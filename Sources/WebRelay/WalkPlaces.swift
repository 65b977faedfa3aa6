import Synchronization

/// Long listings of a drive at a time. Each holds a directory open for every level that it is in, for as long as its client takes to read it.
final class WalkPlaces: Sendable {
  static let limit = 32

  /// Taken as long as it is referenced.
  final class Place: Sendable {
    private let places: WalkPlaces
    fileprivate init(_ places: WalkPlaces) { self.places = places }
    deinit { places.taken.subtract(1, ordering: .relaxed) }
  }

  private let taken = Atomic<Int>(0)

  /// nil when there are as many as there may be.
  func take() -> Place? {
    guard taken.add(1, ordering: .relaxed).newValue <= Self.limit else {
      taken.subtract(1, ordering: .relaxed)
      return nil
    }
    return Place(self)
  }
}
