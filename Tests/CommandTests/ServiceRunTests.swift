import Foundation
import Logging
import ServiceLifecycle
import Testing
import UnixSignals

@testable import SwiftletCommand

/// Signals are the process's: one test at a time.
@Suite("Signals to a running command", .serialized, .timeLimit(.minutes(2)))
struct ServiceRunTests {
  /// What it did, and when.
  private struct Recorder: Service {
    let told: AsyncStream<String>.Continuation

    func run() async throws {
      told.yield("runs")
      try? await gracefulShutdown()
      told.yield("cleans up")
    }
  }

  /// Ends when it is cancelled, and not before.
  private struct Patient: Service {
    let told: AsyncStream<String>.Continuation

    func run() async throws {
      told.yield("runs")
      try? await gracefulShutdown()
      told.yield("waits")
      try await Task.sleep(for: .seconds(3600))
    }
  }

  @Test("a second signal ends at once what the first one left in peace, and is no failure")
  func twice() async throws {
    let (steps, told) = AsyncStream<String>.makeStream()
    let running = Task { try await ServiceRun.run([Patient(told: told)], logger: Logger(label: "test")) }
    var seen = steps.makeAsyncIterator()
    #expect(await seen.next() == "runs")
    kill(getpid(), SIGTERM)
    #expect(await seen.next() == "waits")
    kill(getpid(), SIGINT)
    try await running.value
  }

  @Test("services that are stopped together do not wait for one another")
  func together() async throws {
    let (steps, told) = AsyncStream<String>.makeStream()
    let both = ServiceRun.Together(services: [Patient(told: told), Patient(told: told)])
    let running = Task { try await ServiceRun.run([both], logger: Logger(label: "test")) }
    var seen = steps.makeAsyncIterator()
    for _ in 0..<2 { #expect(await seen.next() == "runs") }
    kill(getpid(), SIGTERM)
    for _ in 0..<2 { #expect(await seen.next() == "waits") }
    kill(getpid(), SIGTERM)
    try await running.value
  }

  @Test("where one of several cannot run, such as for a port in use, the others do not hide it")
  func oneFails() async throws {
    struct Failure: Error {}
    struct Broken: Service {
      func run() async throws { throw Failure() }
    }
    let (_, told) = AsyncStream<String>.makeStream()
    let both = ServiceRun.Together(services: [Patient(told: told), Broken()])
    await #expect(throws: Failure.self) { try await ServiceRun.run([both], logger: Logger(label: "test")) }
  }

  @Test(
    "a closed terminal ends a command as SIGTERM does, unless SIGHUP was ignored at the start, as under nohup",
    arguments: [false, true])
  func hangUp(underNohup: Bool) async throws {
    let before = signal(SIGHUP, SIG_IGN)
    defer { signal(SIGHUP, before) }
    // Dispatch, which may have trapped it for the test before, does not install its handler twice.
    let wasIgnored = unsafeBitCast(before, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
    if !underNohup { signal(SIGHUP, wasIgnored ? SIG_DFL : before) }
    let (steps, told) = AsyncStream<String>.makeStream()
    let running = Task { try await ServiceRun.run([Recorder(told: told)], logger: Logger(label: "test")) }
    var seen = steps.makeAsyncIterator()
    #expect(await seen.next() == "runs")
    kill(getpid(), SIGHUP)
    if underNohup {
      #expect(!ServiceRun.stopSignals.contains(.sighup))
      told.yield("nothing")
      #expect(await seen.next() == "nothing")
      kill(getpid(), SIGTERM)
    }
    #expect(await seen.next() == "cleans up")
    try await running.value
  }
}
