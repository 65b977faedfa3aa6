import Foundation
public import Logging
import Model
import NIOCore
public import ServiceLifecycle
import Swiftlet
public import SwiftletShare
import Transport
import Tunnel

/// Keeps shares and accesses up: makes them again after restarts of anything, and says "active" only of what has just been reached through the real data path.
///
/// It leaves no share behind when it stops, and takes no name away: names in its file are reserved for the account and stay so.
public actor ShareAgent: Service {
  public enum Phase: String, Sendable, Codable { case starting, active, failing }

  /// One entry of the file, as it is now.
  public struct Status: Sendable, Codable, Equatable {
    public var label: String
    /// `share` or `access`.
    public var kind: String
    /// URLs, the token to access it with, or the local address.
    public var places: [String] = []
    public var phase = Phase.starting
    /// Seconds since 1970 of the last nonce that came back.
    public var lastProof: Int?
    public var error: String?
  }

  /// The state of an agent, as its file tells it.
  public struct Report: Sendable, Codable, Equatable {
    public var pid: Int32
    public var entries: [Status]
  }

  /// Between two proofs, and before the second chance of one that failed.
  private static let interval = Duration.seconds(20)
  private static let secondChance = Duration.seconds(2)

  private let session: ShareSession
  private let configuration: AgentConfiguration
  private let logger: Logger
  private let statusPath: String
  private var states: [String: Status] = [:]
  private var order: [String] = []

  public init(session: ShareSession, configuration: AgentConfiguration, logger: Logger) {
    self.session = session
    self.configuration = configuration
    self.logger = logger
    statusPath = Self.statusPath(session.environment)
  }

  public static func statusPath(_ environment: ShareEnvironment) -> String { environment.directory + "/agent-status.json" }

  /// What the agent of an environment last said; nil when none runs.
  public static func report(_ environment: ShareEnvironment) -> Report? {
    guard let data = FileManager.default.contents(atPath: statusPath(environment)), let report = try? JSONDecoder().decode(Report.self, from: data),
      kill(report.pid, 0) == 0
    else { return nil }
    return report
  }

  public var status: [Status] { order.compactMap { states[$0] } }

  /// Runs until cancelled or until the service group shuts down.
  public func run() async throws {
    for entry in configuration.shares { begin(Status(label: entry.label, kind: "share")) }
    for entry in configuration.accesses { begin(Status(label: entry.token, kind: "access")) }
    await cancelWhenGracefulShutdown {
      await withDiscardingTaskGroup { group in
        for entry in self.configuration.shares { group.addTask { await self.keepShare(entry) } }
        for entry in self.configuration.accesses { group.addTask { await self.keepAccess(entry) } }
      }
    }
    try? FileManager.default.removeItem(atPath: statusPath)
    await session.close()
  }

  private func begin(_ status: Status) {
    let key = status.kind + " " + status.label
    order.append(key)
    states[key] = status
  }

  private func change(_ kind: String, _ label: String, _ body: (inout Status) -> Void) {
    let key = kind + " " + label
    guard var status = states[key] else { return }
    let before = status.phase
    body(&status)
    states[key] = status
    if status.phase != before {
      logger.notice("\(kind) is \(status.phase.rawValue)", metadata: ["entry": "\(label)", "reason": "\(status.error ?? "")"])
    }
    let report = Report(pid: getpid(), entries: self.status)
    guard let data = try? JSONEncoder().encode(report) else { return }
    // Others of this machine have no business with it.
    let temporary = statusPath + ".tmp"
    guard FileManager.default.createFile(atPath: temporary, contents: data, attributes: [.posixPermissions: 0o600]) else { return }
    rename(temporary, statusPath)
  }

  /// Serves an entry again and again, until cancelled.
  /// - Parameter serve: returns when cancelled, throws when the entry cannot be reached; calls its argument at each proof.
  private func keep(_ kind: String, _ label: String, _ serve: (() -> Void) async throws -> Void) async {
    var backoff = Backoff(minimum: .milliseconds(500), maximum: .seconds(30))
    var random = SystemRandomNumberGenerator()
    while !Task.isCancelled {
      do {
        try await serve { backoff.reset() }
      } catch {
        if Task.isCancelled { return }
        change(kind, label) {
          $0.phase = .failing
          $0.error = "\(error)"
        }
      }
      try? await Task.sleep(backoff.next(using: &random))
    }
  }

  // MARK: Shares

  private func keepShare(_ entry: AgentConfiguration.ShareEntry) async {
    await keep("share", entry.label) { try await self.serve(entry, proven: $0) }
  }

  /// Makes the share and serves it until it cannot be reached any more.
  private func serve(_ entry: AgentConfiguration.ShareEntry, proven: () -> Void) async throws {
    for name in entry.options.names {
      // It may be ours already; whether it is, the share will tell.
      try? await session.createName(name)
    }
    let share = try await session.create(entry.options)
    do {
      let overlay = try await session.overlay()
      let backend = try await ShareBackend.start(
        share, mode: entry.options.backend, target: entry.target, overlay: overlay, options: entry.backend, logger: logger)
      change("share", entry.label) { $0.places = entry.options.mode == .public ? share.urls : ["swiftlet access private \(share.token)"] }
      // To dial one's own share one needs an access like anybody else; it goes with the share.
      _ = try await session.access(share.token, description: "agent")
      do {
        try await prove(share.token, "share", entry.label, overlay, proven)
      } catch {
        await backend.stop()
        throw error
      }
      await backend.stop()
    } catch {
      // In a task of its own: this one may be cancelled.
      _ = await Task { try await self.session.delete(share) }.result
      throw error
    }
    try await Task { try await self.session.delete(share) }.value
  }

  /// Sends nonces until two in a row do not come back. Returns when cancelled.
  private func prove(_ token: String, _ kind: String, _ label: String, _ overlay: Overlay, _ proven: () -> Void) async throws {
    var hasFailed = false
    while !Task.isCancelled {
      do {
        try await PathProof.run(token, overlay: overlay)
        hasFailed = false
        proven()
        change(kind, label) {
          $0.phase = .active
          $0.lastProof = Int(Date().timeIntervalSince1970)
          $0.error = nil
        }
        try? await Task.sleep(for: Self.interval)
      } catch {
        if Task.isCancelled { return }
        if hasFailed { throw error }
        hasFailed = true
        change(kind, label) {
          $0.phase = .failing
          $0.error = "\(error)"
        }
        try? await Task.sleep(for: Self.secondChance)
      }
    }
  }

  // MARK: Accesses

  private func keepAccess(_ entry: AgentConfiguration.AccessEntry) async {
    await keep("access", entry.token) { try await self.serve(entry, proven: $0) }
  }

  private func serve(_ entry: AgentConfiguration.AccessEntry, proven: () -> Void) async throws {
    let access = try await session.access(entry.token, description: "agent")
    let result: Result<Void, any Error>
    do {
      let overlay = try await session.overlay()
      let local = PrivateAccess(
        overlay: overlay, token: entry.token, backend: access.backend, host: entry.host, port: entry.port, logger: logger)
      let address = try await local.start()
      try await session.update(access, bindAddress: address.text)
      change("access", entry.token) { $0.places = [address.text] }
      let running = Task { try await local.run() }
      do {
        try await prove(entry.token, "access", entry.token, overlay, proven)
        result = .success(())
      } catch {
        result = .failure(error)
      }
      running.cancel()
      _ = await running.result
    } catch {
      result = .failure(error)
    }
    _ = await Task { try await self.session.delete(access) }.result
    try result.get()
  }
}
