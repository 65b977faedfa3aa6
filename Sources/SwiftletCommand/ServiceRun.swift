import Foundation
import Logging
import ServiceLifecycle
import Synchronization
import UnixSignals

/// Runs services until one ends or a signal comes: SIGINT, SIGTERM, and SIGHUP of a closed terminal stop them in
/// reverse order, cleanly; a second signal ends at once what they still do, and a third ends the process as it is.
enum ServiceRun {
  /// Whoever starts a program with SIGHUP ignored, as nohup does, wants it to outlive the terminal.
  static var stopSignals: [UnixSignal] {
    let before = signal(SIGHUP, SIG_IGN)
    let isIgnored = unsafeBitCast(before, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
    if !isIgnored { signal(SIGHUP, before) }
    return isIgnored ? [.sigterm, .sigint] : [.sigterm, .sigint, .sighup]
  }

  private static func group(_ services: [any Service], logger: Logger) -> ServiceGroup {
    // The group's own lines about services are for -v.
    var quiet = logger
    if quiet.logLevel == .info { quiet.logLevel = .notice }
    return ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: services.map {
          ServiceGroupConfiguration.ServiceConfiguration(
            service: $0, failureTerminationBehavior: .gracefullyShutdownGroup)
        },
        logger: quiet))
  }

  static func run(_ services: [any Service], logger: Logger) async throws {
    // A peer that closes its end must show as an error of the write, not end the process.
    signal(SIGPIPE, SIG_IGN)
    let group = group(services + [MemoryTrim(logger: logger)], logger: logger)
    let signals = await UnixSignalsSequence(trapping: stopSignals)
    let running = Task { try await group.run() }
    let seen = Mutex(0)
    let listening = Task {
      for await caught in signals {
        let count = seen.withLock { seen in
          seen += 1
          return seen
        }
        switch count {
        case 1: await group.triggerGracefulShutdown()
        case 2: running.cancel()
        default: _exit(128 + caught.rawValue)
        }
      }
    }
    let result = await withTaskCancellationHandler {
      await running.result
    } onCancel: {
      running.cancel()
    }
    listening.cancel()
    // What was cut short on demand is no failure.
    if seen.withLock({ $0 }) < 2 { try result.get() }
  }

  /// Several services that are stopped together: of a group each would end only when the one before has.
  struct Together: Service {
    let services: [any Service]

    func run() async throws {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for service in services { group.addTask { try await service.run() } }
        // `waitForAll` would keep the first error until the others have ended, which they never do.
        for try await _ in group {}
      }
    }
  }
}
