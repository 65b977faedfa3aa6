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

  @Test("a closed terminal ends a command as SIGTERM does, unless SIGHUP was ignored at the start, as under nohup", arguments: [false, true])
  func hangUp(underNohup: Bool) async throws {
    let before = signal(SIGHUP, underNohup ? SIG_IGN : SIG_DFL)
    defer { signal(SIGHUP, before) }
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
