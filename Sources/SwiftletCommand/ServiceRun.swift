import Foundation
import Logging
import ServiceLifecycle
import UnixSignals

/// Runs services until one ends or a signal comes: SIGINT and SIGTERM stop them in reverse order, cleanly.
enum ServiceRun {
  static func group(_ services: [any Service], logger: Logger) -> ServiceGroup {
    // The group's own lines about signals and services are for -v.
    var quiet = logger
    if quiet.logLevel == .info { quiet.logLevel = .notice }
    return ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: services.map { ServiceGroupConfiguration.ServiceConfiguration(service: $0, failureTerminationBehavior: .gracefullyShutdownGroup) },
        gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet))
  }

  static func run(_ services: [any Service], logger: Logger) async throws {
    // A peer that closes its end must show as an error of the write, not end the process.
    signal(SIGPIPE, SIG_IGN)
    try await group(services + [MemoryTrim(logger: logger)], logger: logger).run()
  }
}
