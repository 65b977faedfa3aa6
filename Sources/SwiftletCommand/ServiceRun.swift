import Foundation
import Logging
import ServiceLifecycle
import UnixSignals

/// Runs services until one ends or a signal comes: SIGINT, SIGTERM, and SIGHUP of a closed terminal stop them in reverse order, cleanly.
enum ServiceRun {
  /// Whoever starts a program with SIGHUP ignored, as nohup does, wants it to outlive the terminal.
  static var stopSignals: [UnixSignal] {
    let before = signal(SIGHUP, SIG_IGN)
    let isIgnored = unsafeBitCast(before, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
    if !isIgnored { signal(SIGHUP, before) }
    return isIgnored ? [.sigterm, .sigint] : [.sigterm, .sigint, .sighup]
  }

  static func group(_ services: [any Service], logger: Logger) -> ServiceGroup {
    // The group's own lines about signals and services are for -v.
    var quiet = logger
    if quiet.logLevel == .info { quiet.logLevel = .notice }
    return ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: services.map { ServiceGroupConfiguration.ServiceConfiguration(service: $0, failureTerminationBehavior: .gracefullyShutdownGroup) },
        gracefulShutdownSignals: stopSignals, logger: quiet))
  }

  static func run(_ services: [any Service], logger: Logger) async throws {
    // A peer that closes its end must show as an error of the write, not end the process.
    signal(SIGPIPE, SIG_IGN)
    try await group(services + [MemoryTrim(logger: logger)], logger: logger).run()
  }
}
