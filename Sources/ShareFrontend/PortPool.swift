package import Logging
import NIOConcurrencyHelpers
package import Swiftlet
package import Tunnel

/// Public TCP and UDP shares: each has a port of the operator's pool for as long as it exists, and whoever connects or
/// sends there is carried to its host. Upstream declines these; they are off until the operator gives a pool.
package actor PortPool {
  /// Where a share is reached.
  package struct Place: Sendable, Equatable {
    let transport: TunnelTransport
    let port: Int

    package init(transport: TunnelTransport, port: Int) {
      self.transport = transport
      self.port = port
    }
  }

  /// Connections of strangers to one share, or sources of datagrams, at the same time.
  private static let connectionLimit = 512

  private struct Open {
    let place: Place
    let task: Task<Void, Never>
  }

  private let host: String
  private let logger: Logger
  private var network: (@Sendable () async throws -> Overlay)?
  private var open: [String: Open] = [:]
  /// What was asked for before there was a network.
  private var wanted: [String: Place] = [:]

  package init(host: String, logger: Logger) {
    self.host = host
    self.logger = logger
  }

  package func use(_ network: @escaping @Sendable () async throws -> Overlay) async {
    self.network = network
    for (token, place) in wanted { await set(token, place) }
  }

  /// - Parameter place: nil closes the share's port. TCP connections in progress go on to their end.
  package func set(_ token: String, _ place: Place?) async {
    wanted[token] = place
    guard let network, open[token]?.place != place else { return }
    if let old = open.removeValue(forKey: token) {
      old.task.cancel()
      await old.task.value
    }
    // Another call may have come while the old one was closing.
    guard let place, wanted[token] == place, open[token] == nil else { return }
    let (host, logger) = (host, logger)
    open[token] = Open(
      place: place,
      task: Task {
        do {
          let tunnel = ProxyTunnel(
            overlay: try await network(), service: token, host: host, port: place.port, transport: place.transport,
            logger: logger,
            connectionLimit: Self.connectionLimit)
          try await tunnel.run()
        } catch is CancellationError {
        } catch {
          logger.error(
            "the port of a public share cannot be used",
            metadata: ["share": "\(token)", "port": "\(place.port)", "reason": "\(error)"])
        }
      })
  }

  package func close() async {
    let tasks = open.values.map(\.task)
    open = [:]
    for task in tasks { task.cancel() }
    for task in tasks { await task.value }
  }
}
