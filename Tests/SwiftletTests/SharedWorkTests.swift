import Testing

@testable import Swiftlet

@Suite("Work that is done once for all who ask", .timeLimit(.minutes(2)))
struct SharedWorkTests {
  @Test("some turns come at once, then one in an interval; nobody waits for ever, and what was not used comes back")
  func pace() {
    var pace = Pace(burst: 3, interval: .seconds(2))
    let start = ContinuousClock.now
    func turn(_ second: Int) -> Duration { start.duration(to: pace.take(start.advanced(by: .seconds(second)))) }
    #expect((0..<7).map { _ in turn(0) } == [.zero, .zero, .zero, .seconds(2), .seconds(4), .seconds(5), .seconds(5)])
    #expect((0..<4).map { _ in turn(100) } == [.seconds(100), .seconds(100), .seconds(100), .seconds(102)])
  }

  @Test("a thousand who ask while a run is under way share the next one; who is cancelled waits no longer")
  func shared() async throws {
    let (work, runs) = (SharedWork(Pace(burst: 1000, interval: .seconds(1))), RequestCount())
    let (gate, open) = AsyncStream<Void>.makeStream()
    let first = Task {
      try await work.run {
        runs.add()
        for await _ in gate { break }
      }
    }
    while runs.now == 0 { try await Task.sleep(for: .milliseconds(1)) }
    let impatient = Task { try await work.run { runs.add() } }
    impatient.cancel()
    await #expect(throws: CancellationError.self) { try await impatient.value }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<1000 { group.addTask { try await work.run { runs.add() } } }
      group.addTask {
        try await Task.sleep(for: .milliseconds(300))
        open.yield()
      }
      try await group.waitForAll()
    }
    try await first.value
    // Whoever came late on a busy machine had another one.
    #expect((2...10).contains(runs.now))
  }

  @Test("a failure is told to all who shared the run, and the next one may be better")
  func failure() async throws {
    struct Failure: Error {}
    let work = SharedWork(Pace(burst: 1000, interval: .seconds(1)))
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<10 {
        group.addTask { await #expect(throws: Failure.self) { try await work.run { throw Failure() } } }
      }
    }
    try await work.run {}
  }
}
