import Fabric
import Wire
import WireSchemas

/// The whole data model as one message, made once for all routers that ask at about the same time.
///
/// It grows with the network, and a router may ask as often as it likes while something changes. So it is made of a
/// copy of the model, under no lock that dials, logins or changes wait for, and no more often than its life allows:
/// what changed since is in the feed of changes.
actor WholeDataModel {
  struct State: Sendable {
    let index: UInt64
    let message: Message
    let madeAt: ContinuousClock.Instant
  }

  /// What depends on the time in it (an identity that is disabled until then) is as old as this at most.
  private static let life = Duration.seconds(5)

  private let build: @Sendable () -> EdgeCtrlDataState
  private var last: State?
  /// How often it was made.
  private(set) var made = 0

  init(_ build: @escaping @Sendable () -> EdgeCtrlDataState) { self.build = build }

  /// - Parameter oldest: makes it anew where it was made before that.
  func state(since oldest: ContinuousClock.Instant? = nil) -> State {
    if let last, ContinuousClock.now - last.madeAt < Self.life, oldest.map({ last.madeAt >= $0 }) ?? true {
      return last
    }
    let madeAt = ContinuousClock.now
    let built = build()
    let state = State(index: built.endIndex, message: Message(.dataState, built), madeAt: madeAt)
    made += 1
    last = state
    return state
  }
}
