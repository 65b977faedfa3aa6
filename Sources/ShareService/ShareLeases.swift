import Controller
import Logging
import Model
import Store
import Synchronization

/// Shares that live only as long as they are served, and since when nobody serves them. In memory: after a start of the
/// service every host has its time again.
///
/// That nobody offers a service is evidence of its host only while the routers are there at which it was offered: a
/// router that is connected says nothing of hosts at others.
final class ShareLeases: Sendable {
  /// Seconds without a host after which a share is taken back: three of the longest pauses that a host makes between
  /// two tries to reach a router (30 s).
  static let patience: Int64 = 90
  /// The same where a router is away that the host may be at. It ends, so that no router that comes and goes keeps what
  /// nobody serves.
  static let patienceWithRouters: Int64 = 600

  private struct Lease {
    let service: String
    /// Where it was offered when that was seen last; empty when that was never seen.
    var routers: Set<String> = []
    var idleSince: Timestamp?
  }

  /// By token.
  private let leases = Mutex<[String: Lease]>([:])

  /// What the store says of a share after a change; nil when it is gone.
  func note(_ token: String, _ row: ShareRow?) {
    leases.withLock { leases in
      guard let row, row.leased ?? false else {
        leases[token] = nil
        return
      }
      if leases[token]?.service != row.serviceId { leases[token] = Lease(service: row.serviceId) }
    }
  }

  var services: [String] { leases.withLock { $0.values.map(\.service) } }

  /// - Returns: tokens of the shares that nobody has served for too long.
  func overdue(_ hosting: NetworkHosting, now: Timestamp) -> [String] {
    leases.withLock { leases in
      var overdue: [String] = []
      for (token, lease) in leases {
        if let routers = hosting.routers[lease.service], !routers.isEmpty {
          leases[token]?.routers = routers
          leases[token]?.idleSince = nil
          continue
        }
        guard hosting.isPossible else {
          leases[token]?.idleSince = nil
          continue
        }
        // A clock that was set back begins anew.
        let since = lease.idleSince.map { min($0, now) } ?? now
        leases[token]?.idleSince = since
        let mayBeAway = lease.routers.isEmpty ? !hosting.away.isEmpty : !lease.routers.isDisjoint(with: hosting.away)
        if since.adding(seconds: mayBeAway ? Self.patienceWithRouters : Self.patience) <= now { overdue.append(token) }
      }
      return overdue
    }
  }
}

extension ShareCore {
  /// Deletes leased shares that nobody serves any more: what served them was killed, or its machine is away. Their
  /// names stay with their account (``ShareHold``).
  func takeBackUnserved() async {
    let services = leases.services
    guard !services.isEmpty else { return }
    let overdue: [String]
    do { overdue = leases.overdue(try await network.hosting(services), now: network.now) } catch {
      return logger.warning("whether shares are served cannot be told", metadata: ["reason": "\(error)"])
    }
    for token in overdue {
      do {
        let isDone = try await network.write(author: "share service") { change -> Bool in
          guard let share = try change.store.named(ShareRow.self, token), share.leased ?? false,
            try !change.isHosted(share.serviceId)
          else {
            return false
          }
          try Self.remove(share, change, isTakenBack: true)
          return true
        }
        guard isDone else { continue }
        logger.notice("a share was taken back that nobody serves any more", metadata: ["share": "\(token)"])
      } catch {
        logger.warning(
          "a share that nobody serves could not be taken back", metadata: ["share": "\(token)", "reason": "\(error)"])
      }
      do { try await refresh(token) } catch {
        logger.error("a share cannot be read", metadata: ["share": "\(token)", "reason": "\(error)"])
      }
    }
  }
}
