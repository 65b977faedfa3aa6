import NIOCore
package import SwiftletShare
import Synchronization

/// Where a public host name leads; what each request is judged by is ready here.
package struct ShareRoute: Sendable {
  let token: String
  let backendMode: ShareOptions.Backend
  let gate: ShareGate
  /// User names and passwords in clear, as share services of upstream write them; empty where passwords are hashed.
  let clearUsers: [String: String]
  /// After which a visitor signs in again.
  let loginInterval: TimeAmount
  private let emailPatterns: [EmailPattern]
  let interstitial: Bool
  /// Id of the share's service.
  let serviceID: String
  /// Its account has used up its bandwidth.
  let isPaused: Bool
  /// Its host knows flow control from end to end.
  let isWindowed: Bool

  package init(
    token: String, backendMode: ShareOptions.Backend, gate: ShareGate, clearUsers: [String: String] = [:],
    interstitial: Bool, serviceID: String, isPaused: Bool, isWindowed: Bool
  ) {
    self.isWindowed = isWindowed
    self.token = token
    self.backendMode = backendMode
    self.gate = gate
    self.clearUsers = clearUsers
    self.interstitial = interstitial
    self.serviceID = serviceID
    self.isPaused = isPaused
    loginInterval = gate.interval
    emailPatterns = gate.emailPatterns.prefix(EmailPattern.countLimit).compactMap { EmailPattern($0) }
  }

  /// Whether a visitor who signed in with that address may pass; where the share names no addresses, everyone may.
  func admits(email: String) -> Bool { gate.emailPatterns.isEmpty || emailPatterns.contains { $0.matches(email) } }
}

/// Host names of public shares, in memory: the frontend asks for every request. Filled from the store after each change
/// of a share.
package final class ShareDirectory: Sendable {
  private struct State {
    var routes: [String: ShareRoute] = [:]
    var hosts: [String: Set<String>] = [:]
    var versions: [String: UInt64] = [:]
    /// Tokens of shares that ended lately, the oldest first.
    var ended: [String] = []
  }

  private static let endedKept = 1024

  private let state = Mutex(State())

  package init() {}

  /// - Parameter host: without port, lower case.
  func route(_ host: String) -> ShareRoute? { state.withLock { $0.routes[host] } }

  var count: Int { state.withLock { $0.routes.count } }

  /// Replaces everything by what a frontend of its own was told: shares by token. Where two shares claim a host, it is
  /// the one's whose token comes first.
  func replaceAll(_ shares: [String: (hosts: [String], route: ShareRoute)]) {
    var fresh = State()
    for (token, share) in shares.sorted(by: { $0.key < $1.key }) {
      let hosts = share.hosts.filter { fresh.routes[$0] == nil }
      for host in hosts { fresh.routes[host] = share.route }
      fresh.hosts[token] = Set(hosts)
    }
    state.withLock { [fresh] in $0 = fresh }
  }

  /// Replaces the hosts of a share by those of a state of the store; an older state than the one known is ignored.
  package func replace(_ token: String, hosts: [String], with route: ShareRoute?, version: UInt64) {
    state.withLock { state in
      guard version >= state.versions[token] ?? 0 else { return }
      // Of one that ended, too: an older state of it may still be on its way here.
      state.versions[token] = version
      if route == nil { state.ended.append(token) }
      while state.ended.count > Self.endedKept {
        let old = state.ended.removeFirst()
        if state.hosts[old] == nil { state.versions[old] = nil }
      }
      for host in state.hosts[token] ?? [] where state.routes[host]?.token == token { state.routes[host] = nil }
      guard let route, !hosts.isEmpty else {
        state.hosts[token] = nil
        return
      }
      state.hosts[token] = Set(hosts)
      for host in hosts { state.routes[host] = route }
    }
  }
}
