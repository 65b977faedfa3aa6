import Synchronization

/// When a request is given up that waits for its turn to change something. Until its first change it can be ended, and
/// then it has changed nothing; from then on it is finished, whatever the time. Whoever changes durable things, or what
/// cannot be taken back, asks before.
public final class ChangeDeadline: Sendable {
  /// The request had been given up before its turn came; nothing was changed.
  public struct Passed: Error, Equatable, Sendable {
    public init() {}
  }

  private enum State: UInt8, AtomicRepresentable { case waiting, begun, passed }

  /// That of the request on whose behalf this task runs; none where nobody waits for an answer.
  @TaskLocal public static var current: ChangeDeadline?

  private let state = Atomic(State.waiting)

  public init() {}

  /// Something is about to change. - Throws: `Passed` when that came too late.
  public func begin() throws(Passed) {
    let (_, seen) = state.compareExchange(expected: .waiting, desired: .begun, ordering: .acquiringAndReleasing)
    if seen == .passed { throw Passed() }
  }

  /// The time is over. - Returns: whether the request ends with it, for it has changed nothing.
  public func pass() -> Bool {
    let (_, seen) = state.compareExchange(expected: .waiting, desired: .passed, ordering: .acquiringAndReleasing)
    return seen != .begun
  }
}
