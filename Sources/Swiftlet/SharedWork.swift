import Synchronization

/// How often something is done: some times at once, then once in an interval.
struct Pace: Sendable {
  private let interval: Duration
  /// What is taken in advance at most.
  private let credit: Duration
  /// Nobody waits longer, however many wait.
  private let longest: Duration
  /// When all that was admitted is made up for.
  private var even: ContinuousClock.Instant?

  /// - Parameter burst: at least 1.
  init(burst: Int, interval: Duration, longest: Duration = .seconds(5)) {
    self.interval = interval
    credit = interval * (burst - 1)
    self.longest = longest
  }

  /// Takes the next turn. - Returns: when it is.
  mutating func take(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant {
    let from = min(max(even ?? now, now), now.advanced(by: longest + credit))
    even = from.advanced(by: interval)
    return max(now, from.advanced(by: .zero - credit))
  }
}

/// Work that many ask for, and that is done once for all of them: whoever asks gets a run that begins after it asked.
/// One run at a time, at a pace.
actor SharedWork {
  private var pace: Pace
  /// The run that has not begun.
  private var next: Task<Void, any Error>?
  private var last: Task<Void, any Error>?

  init(_ pace: Pace) { self.pace = pace }

  /// - Parameter work: the same whoever asks.
  func run(_ work: @escaping @Sendable () async throws -> Void) async throws {
    if let next { return try await next.joined() }
    let (previous, turn) = (last, pace.take(.now))
    let task = Task {
      _ = await previous?.result
      try? await Task.sleep(until: turn, clock: .continuous)
      self.next = nil
      try await work()
    }
    (next, last) = (task, task)
    try await task.joined()
  }
}

extension Task where Failure == any Error {
  /// What comes of a task that others wait for too: who is cancelled waits no longer, and the task goes on.
  func joined() async throws -> Success {
    let (results, first) = AsyncStream.makeStream(of: Result<Success, any Error>.self)
    Task<Void, Never> {
      first.yield(await self.result)
      first.finish()
    }
    for await result in results { return try result.get() }
    throw _Concurrency.CancellationError()
  }
}

/// How many requests were made.
final class RequestCount: Sendable {
  private let count = Atomic<Int>(0)

  var now: Int { count.load(ordering: .relaxed) }
  func add() { count.add(1, ordering: .relaxed) }
}
