import Controller
import Logging
import Model
import Store
import Synchronization

/// Shares that live only as long as they are served, since when nobody serves them, and which were taken back lately. In memory: after a start of the service every
/// host has its time again.
final class ShareLeases: Sendable {
  /// Seconds without a host after which a share is taken back: three of the longest pauses that a host makes between two tries to reach a router (30 s).
  static let patience: Int64 = 90
  private static let endedKept = 1024

  private struct Lease {
    let service: String
    var idleSince: Timestamp?
  }

  private struct State {
    /// By token.
    var leases: [String: Lease] = [:]
    /// Taken back, the oldest first.
    var ended: [(token: String, account: String)] = []
  }

  private let state = Mutex(State())

  /// What the store says of a share after a change; nil when it is gone.
  func note(_ token: String, _ row: ShareRow?) {
    state.withLock { state in
      if row != nil { state.ended.removeAll { $0.token == token } }
      guard let row, row.leased ?? false else {
        state.leases[token] = nil
        return
      }
      if state.leases[token]?.service != row.serviceId { state.leases[token] = Lease(service: row.serviceId) }
    }
  }

  var services: [String] { state.withLock { $0.leases.values.map(\.service) } }

  /// - Parameter unhosted: services that nobody offers; nil tells nothing.
  /// - Returns: tokens of the shares that nobody has served for as long as `patience`.
  func overdue(unhosted: Set<String>?, now: Timestamp) -> [String] {
    state.withLock { state in
      var overdue: [String] = []
      for (token, lease) in state.leases {
        guard unhosted?.contains(lease.service) ?? false else {
          state.leases[token]?.idleSince = nil
          continue
        }
        // A clock that was set back begins anew.
        let since = lease.idleSince.map { min($0, now) } ?? now
        state.leases[token]?.idleSince = since
        if since.adding(seconds: Self.patience) <= now { overdue.append(token) }
      }
      return overdue
    }
  }

  func end(_ token: String, of account: String) {
    state.withLock { state in
      state.ended.append((token, account))
      if state.ended.count > Self.endedKept { state.ended.removeFirst() }
    }
  }

  /// Whether a share that is not there was taken back from that account, and not deleted by it.
  func wasTakenBack(_ token: String, of account: String) -> Bool { state.withLock { $0.ended.contains { $0 == (token, account) } } }
}

extension ShareDesk {
  /// Deletes leased shares that nobody serves any more: what served them was killed, or its machine is away. Reserved names stay with their account.
  func takeBackUnserved() async {
    let services = leases.services
    guard !services.isEmpty else { return }
    let overdue: [String]
    do { overdue = leases.overdue(unhosted: try await network.unhosted(services), now: network.now) } catch {
      return logger.warning("whether shares are served cannot be told", metadata: ["reason": "\(error)"])
    }
    for token in overdue {
      do {
        let account = try await network.write(author: "share service") { change -> String? in
          guard let share = try change.store.named(ShareRow.self, token), share.leased ?? false, try !change.isHosted(share.serviceId) else {
            return nil
          }
          try Self.remove(share, change)
          return share.accountId
        }
        guard let account else { continue }
        leases.end(token, of: account)
        logger.notice("a share was taken back that nobody serves any more", metadata: ["share": "\(token)"])
      } catch {
        logger.warning("a share that nobody serves could not be taken back", metadata: ["share": "\(token)", "reason": "\(error)"])
      }
      do { try await refresh(token) } catch { logger.error("a share cannot be read", metadata: ["share": "\(token)", "reason": "\(error)"]) }
    }
  }
}
