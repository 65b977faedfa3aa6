import Controller
import JSON
import Logging
import Model
import Store
import SwiftletShare
import Synchronization

/// Bandwidth limits (zrok.md 1.10): who moved too much loses the dial policies of its shares until usage falls below
/// the limit again.
extension ShareCore {
  private static let author = "share limits"

  /// Judges accounts by what they moved, and pauses or resumes their shares. Those that are held back are judged each
  /// time: their usage falls by itself.
  /// - Parameter accounts: ids; nil judges all, as is done once at the start.
  func enforceLimits(_ accounts: Set<String>? = nil) async throws {
    let limits = configuration.limits
    let now = Int(network.now.secondsSinceEpoch)
    let ids = accounts.map { Array($0.union(heldBack.withLock { $0 })) }
    if let ids, ids.isEmpty { return }
    // Reading first: almost always there is nothing to change.
    let (candidates, known) = try await network.read { reader in
      let judged =
        try ids.map { try $0.compactMap { try reader.get(ShareAccount.self, $0) } } ?? reader.all(ShareAccount.self)
      let candidates = try judged.filter { account in
        try Verdict(account, limits, reader, now: now).differs(from: account, shares: Self.shares(account, reader))
      }
      return (candidates.map(\.id), judged.filter(\.isHeldBack).map(\.id))
    }
    heldBack.withLock { heldBack in
      if let ids { heldBack.subtract(ids) }
      heldBack.formUnion(known)
    }
    for id in candidates {
      let changed = try await network.write(author: Self.author) { change -> [String] in
        guard var account = try change.store.get(ShareAccount.self, id) else { return [] }
        let verdict = try Verdict(account, limits, change.store, now: now)
        var changed: [String] = []
        for share in try Self.shares(account, change.store) where share.isPaused != verdict.pauses(share.backendMode) {
          try Self.setPaused(share, !share.isPaused, self.tags(share: share.token), change)
          changed.append(share.token)
        }
        account.limited = verdict.isLimited
        account.warned = verdict.isWarned
        account.limitedModes = verdict.limitedModes
        try change.store.put(account)
        return changed
      }
      for token in changed { try await refresh(token) }
      guard let account = try await network.read({ try $0.get(ShareAccount.self, id) }) else { continue }
      let isHeldBack = account.isHeldBack
      heldBack.withLock { heldBack in
        if isHeldBack { heldBack.insert(id) } else { heldBack.remove(id) }
      }
      let message: Logger.Message =
        if account.limited ?? false || account.limitedModes != nil {
          "an account is over its bandwidth limit"
        } else if isHeldBack {
          "an account is over its bandwidth warning level"
        } else {
          "an account's bandwidth is in order again"
        }
      if isHeldBack, let mailer {
        let text = """
          Your account at \(configuration.pageURL): \(message).

          Over the limit, shares are paused until what they moved in the period has fallen below it. The page shows what they moved.
          """
        do {
          try mailer.post(.init(to: account.email, subject: "Bandwidth at \(configuration.zone)", text: text))
        } catch {
          logger.error(
            "mail about bandwidth was not sent", metadata: ["account": "\(account.email)", "reason": "\(error)"])
        }
      }
      logger.log(
        level: isHeldBack ? .warning : .notice, message,
        metadata: ["account": "\(account.email)", "shares paused or resumed": "\(changed.joined(separator: " "))"])
    }
  }

  private static func shares(_ account: ShareAccount, _ reader: StoreReader) throws -> [ShareRow] {
    try reader.all(ShareRow.self, field: "accountId", equals: account.id)
  }

  /// Without dial policies nobody finds the service; with them everything is as before.
  private static func setPaused(_ share: ShareRow, _ isPaused: Bool, _ tags: JSONObject, _ change: any NetworkChange)
    throws
  {
    var share = share
    share.paused = isPaused ? true : nil
    if isPaused {
      if let id = share.dialPolicyId { try change.deleteServicePolicy(id) }
      share.dialPolicyId = nil
    } else if share.mode == .public {
      let identities = try dialIdentities(share, change.store)
      if !identities.isEmpty { share.dialPolicyId = try createDialPolicy(share, identities, tags, change) }
    }
    try change.store.put(share)
    for access in try change.store.all(ShareAccessRow.self, field: "shareToken", equals: share.token) {
      var access = access
      if isPaused {
        if !access.dialPolicyId.isEmpty { try change.deleteServicePolicy(access.dialPolicyId) }
        access.dialPolicyId = ""
      } else if access.dialPolicyId.isEmpty {
        access.dialPolicyId = try createDialPolicy(access, share, tags, change)
      }
      try change.store.put(access)
    }
  }

  /// What an account may not make at this moment.
  static func refuseIfLimited(_ account: ShareAccount, _ what: String, status: Int = 401) throws {
    guard account.limited ?? false else { return }
    throw ShareRefusal(
      status,
      "the account has used up its bandwidth; \(what) is possible again when its usage has fallen below the limit")
  }

  // MARK: Limit classes

  /// - Throws: 404 for an unknown account or class, 500 (as upstream) when two classes want the same slot.
  func applyLimitClasses(email: String, _ ids: [Int]) async throws {
    let limits = configuration.limits
    for id in ids where !limits.classes.contains(where: { $0.id == id }) {
      throw ShareRefusal(404, "there is no limit class \(id); classes stand in the operator's file of limits")
    }
    try await change(email: email) { account in
      account.limitClasses = Array(Set((account.limitClasses ?? []) + ids)).sorted()
      let slots = limits.applied(account).map(\.slot)
      guard Set(slots).count == slots.count else {
        throw ShareRefusal(500, "two limit classes of \(email) would limit the same thing; take one away first")
      }
    }
    try await enforceLimits(ofAccount: email)
  }

  func takeLimitClasses(email: String, _ ids: [Int]) async throws {
    try await change(email: email) { account in account.limitClasses?.removeAll { ids.contains($0) } }
    try await enforceLimits(ofAccount: email)
  }

  private func enforceLimits(ofAccount email: String) async throws {
    try await enforceLimits([try await network.read { try $0.requireAccount(email: email).id }])
  }
}

/// What follows from an account's usage.
private struct Verdict {
  var isLimited = false
  var isWarned = false
  /// Modes with a class of their own, and whether that is exceeded.
  private var modes: [ShareOptions.Backend: Bool] = [:]

  init(_ account: ShareAccount, _ limits: ShareLimits, _ reader: StoreReader, now: Int) throws {
    let effective = limits.effective(account)
    guard effective.limitsBytes else { return }
    let rows = try reader.all(ShareUsageRow.self, field: "accountId", equals: account.id)
    func usage(_ bandwidth: ShareLimits.Bandwidth, of mode: ShareOptions.Backend?) -> ShareUsageSample {
      rows.filter { row in
        mode.map { row.backendMode == $0 } ?? (row.backendMode.map { effective.backends[$0] == nil } ?? true)
      }
      .reduce(into: ShareUsageSample(time: now)) { $0.add($1, since: now - bandwidth.period) }
    }
    for (action, bandwidth) in effective.bandwidth where bandwidth.isExceeded(by: usage(bandwidth, of: nil)) {
      switch action {
      case .limit: isLimited = true
      case .warning: isWarned = true
      }
    }
    for (mode, rule) in effective.backends {
      let isExceeded = rule.bandwidth.isExceeded(by: usage(rule.bandwidth, of: mode))
      modes[mode] = isExceeded && rule.action == .limit
      if isExceeded, rule.action == .warning { isWarned = true }
    }
  }

  var limitedModes: [ShareOptions.Backend]? {
    let limited = modes.filter(\.value).keys.sorted { $0.rawValue < $1.rawValue }
    return limited.isEmpty ? nil : limited
  }

  func pauses(_ mode: ShareOptions.Backend) -> Bool { modes[mode] ?? isLimited }

  func differs(from account: ShareAccount, shares: [ShareRow]) -> Bool {
    isLimited != account.limited ?? false || isWarned != account.warned ?? false || limitedModes != account.limitedModes
      || shares.contains { $0.isPaused != pauses($0.backendMode) }
  }
}
