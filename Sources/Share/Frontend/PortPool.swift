import Logging
import NIOConcurrencyHelpers
import Swiftlet
import Tunnel

/// Public TCP shares: each has a port of the operator's pool for as long as it exists, and whoever connects there is carried to its host. Upstream declines these;
/// they are off until the operator gives a pool.
actor PortPool {
  /// Connections of strangers to one share at the same time.
  private static let connectionLimit = 512

  private struct Open {
    let port: Int
    let task: Task<Void, Never>
  }

  private let host: String
  private let logger: Logger
  private var overlay: Task<Overlay, any Error>?
  private var open: [String: Open] = [:]
  /// What was asked for before there was an overlay.
  private var wanted: [String: Int] = [:]

  init(host: String, logger: Logger) {
    self.host = host
    self.logger = logger
  }

  func use(_ overlay: Task<Overlay, any Error>) async {
    self.overlay = overlay
    for (token, port) in wanted { await set(token, port: port) }
  }

  /// - Parameter port: nil closes the share's port. Connections in progress go on to their end.
  func set(_ token: String, port: Int?) async {
    wanted[token] = port
    guard let overlay, open[token]?.port != port else { return }
    if let old = open.removeValue(forKey: token) {
      old.task.cancel()
      await old.task.value
    }
    // Another call may have come while the old one was closing.
    guard let port, wanted[token] == port, open[token] == nil else { return }
    let (host, logger) = (host, logger)
    open[token] = Open(
      port: port,
      task: Task {
        do {
          let tunnel = ProxyTunnel(
            overlay: try await overlay.value, service: token, host: host, port: port, logger: logger, connectionLimit: Self.connectionLimit)
          try await tunnel.run()
        } catch is CancellationError {
        } catch {
          logger.error("the port of a public share cannot be used", metadata: ["share": "\(token)", "port": "\(port)", "reason": "\(error)"])
        }
      })
  }

  func close() async {
    let tasks = open.values.map(\.task)
    open = [:]
    for task in tasks { task.cancel() }
    for task in tasks { await task.value }
  }
}
