import Authentication
import Foundation
import Model
import Store
import Testing

@testable import Controller

@Suite("A request that is given up while it waits", .timeLimit(.minutes(5)))
struct ChangeDeadlineTests {
  /// Runs a change behind another one that holds the store, and gives up on it meanwhile, or not.
  private func change(
    _ bench: ManagementBench, givesUp: Bool, _ body: @escaping @Sendable (Operations) async throws -> Void
  ) async throws -> (result: Result<Void, any Error>, isGivenUp: Bool) {
    let core = bench.core
    let (holds, gate) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    let slow = Task {
      try await core.write(.system("slow")) { _ in
        holds.signal()
        gate.wait()
      }
    }
    await Task.detached { holds.waitForTests() }.value
    let deadline = ChangeDeadline()
    let late = Task {
      try await ChangeDeadline.$current.withValue(deadline) {
        try await body(Operations(core: core, context: .system("late")))
      }
    }
    let isGivenUp = givesUp ? deadline.pass() : false
    gate.signal()
    try await slow.value
    let result = await late.result
    return (result, givesUp ? isGivenUp : deadline.pass())
  }

  @Test("it changes nothing when its turn comes; one whose turn came in time cannot be given up any more")
  func entity() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let id = try await bench.service("web")
    let given = try await change(bench, givesUp: true) { try await $0.delete(EdgeService.self, id) }
    #expect(given.isGivenUp)
    #expect(throws: ChangeDeadline.Passed.self) { try given.result.get() }
    #expect(try await bench.get("/services/\(id)").status == 200)
    let kept = try await change(bench, givesUp: false) { try await $0.delete(EdgeService.self, id) }
    #expect(!kept.isGivenUp)
    try kept.result.get()
    #expect(try await bench.get("/services/\(id)").status == 404)
  }

  @Test("what ends in memory ends before it is given up, or not at all")
  func sessions() async throws {
    let bench = try await ManagementBench()
    defer { bench.close() }
    let alice = try await bench.identity("alice")
    let now = bench.core.now
    try await bench.core.sessions.add(
      APISession(id: "one", token: "t", identityId: alice, lastActivityAt: now), now: now)
    let given = try await change(bench, givesUp: true) { try await $0.core.endSessions(apiSessions: ["one"]) }
    // The store was held: it is the end in memory that counts, and that came first or never.
    #expect(given.isGivenUp == (bench.core.sessions.apiSession("one") != nil))
    let passed = ChangeDeadline()
    _ = passed.pass()
    try await bench.core.sessions.add(
      APISession(id: "two", token: "u", identityId: alice, lastActivityAt: now), now: now)
    await #expect(throws: ChangeDeadline.Passed.self) {
      try await ChangeDeadline.$current.withValue(passed) { try await bench.core.endSessions(apiSessions: ["two"]) }
    }
    #expect(bench.core.sessions.apiSession("two") != nil)
  }
}

extension DispatchSemaphore {
  /// On a thread of the pool: the test itself must not block.
  fileprivate func waitForTests() { wait() }
}
