import Foundation
public import SwiftletShare

/// What an agent tells of itself.
extension Agent {
  public enum Phase: String, Sendable, Codable { case starting, active, failing }

  /// One thing that is kept, as it is now.
  public struct Status: Sendable, Codable, Equatable {
    /// Of this agent; good for releasing what fails, whose ids begin so with zrok's agents.
    public var id = "err_" + ShareTokens.secret().prefix(8)
    public var label: String
    /// `share` or `access`.
    public var kind: String
    /// Asked for while the agent runs, and not in its file.
    public var isOrdered = false
    /// Of the share; what an access leads to.
    public var token = ""
    /// Of an access.
    public var accessToken: String?
    /// `public` or `private`, and what runs behind it; of shares.
    public var mode: String?
    public var backend: String?
    public var target: String?
    public var isOpen: Bool?
    /// URLs, the token to access it with, or the local address.
    public var places: [String] = []
    public var responseHeaders: [String]?
    public var phase = Phase.starting
    /// Seconds since 1970 of the last nonce that came back.
    public var lastProof: Int?
    public var error: String?
    /// In a row, and when it is tried again, in seconds since 1970.
    public var failures = 0
    public var nextRetry: Int?

    init(_ entry: AgentConfiguration.ShareEntry) {
      label = entry.label
      kind = "share"
      mode = entry.options.mode.rawValue
      backend = entry.options.backend.rawValue
      target = entry.options.target
      isOpen = entry.options.isOpen
    }

    init(_ entry: AgentConfiguration.AccessEntry) {
      label = entry.token
      kind = "access"
      token = entry.token
    }

    init(_ order: AgentOrder) {
      label = order.label
      isOrdered = true
      switch order {
      case .share(let share):
        kind = "share"
        mode = share.mode.rawValue
        backend = share.backendMode
        target = share.target
        isOpen = !share.closed
      case .access(let access):
        kind = "access"
        token = access.token
        responseHeaders = access.responseHeaders
      }
    }
  }

  /// The state of an agent, as its file tells it.
  public struct Report: Sendable, Codable, Equatable {
    public var pid: Int32
    public var entries: [Status]
  }

  static func statusPath(_ environment: ShareEnvironment) -> String { environment.directory + "/agent-status.json" }

  /// What the agent of an environment last said; nil when none runs.
  public static func report(_ environment: ShareEnvironment) -> Report? {
    guard let data = FileManager.default.contents(atPath: statusPath(environment)),
      let report = try? JSONDecoder().decode(Report.self, from: data),
      kill(report.pid, 0) == 0
    else { return nil }
    return report
  }
}
