import Model
import Store
import SwiftletShare

/// Rights of environments to dial shares (zrok.md 1.4).
extension ShareCore {
  struct MadeAccess: Sendable {
    let token: String
    let backendMode: ShareOptions.Backend
    let isWindowed: Bool
  }

  func createAccess(
    _ accountID: String, environment: String, share token: String, bindAddress: String, description: String
  ) async throws
    -> MadeAccess
  {
    let base = tags(share: token)
    let access = ShareTokens.secret()
    let limits = configuration.limits
    return try await network.write(author: accountID) { change in
      let store = change.store
      _ = try store.environment(environment, of: accountID)
      guard let share = try store.named(ShareRow.self, token) else { throw ShareRefusal.notFound("share \(token)") }
      guard share.permissionMode == .open || share.accountId == accountID || share.accessGrants.contains(accountID)
      else {
        // Like one that does not exist: tokens of closed shares are not to be guessed.
        throw ShareRefusal.notFound("share \(token)")
      }
      let owner = try store.get(ShareAccount.self, share.accountId)
      if share.isPaused || owner?.limited ?? false {
        throw ShareRefusal(
          404, "share \(token) is paused: the account that shares it has used up its bandwidth; try again later")
      }
      let count = try store.all(ShareAccessRow.self, field: "shareToken", equals: token).count
      if let limit = owner.flatMap({ limits.effective($0).counts.accesses }), count >= limit {
        throw ShareRefusal(404, "share \(token) has \(count) accesses and may have \(limit); end one first")
      }
      var row = ShareAccessRow(
        id: EntityID.short(), number: try Self.nextAccessNumber(store), token: access, environmentId: environment,
        shareToken: token,
        backendMode: share.backendMode, dialPolicyId: "")
      row.dialPolicyId = try Self.createDialPolicy(row, share, base, change)
      row.bindAddress = String(bindAddress.prefix(256))
      row.description = String(description.prefix(1024))
      try store.put(row)
      return MadeAccess(token: access, backendMode: share.backendMode, isWindowed: share.windowed ?? false)
    }
  }

  /// Accesses may be many: they are looked through once, where nobody has counted yet.
  private static func nextAccessNumber(_ store: StoreTransaction) throws -> Int {
    let kind = ShareAccessRow.kind.rawValue
    var counter =
      try store.get(ShareCounter.self, kind)
      ?? ShareCounter(id: kind, last: store.all(ShareAccessRow.self).map(\.number).max() ?? 0)
    counter.last += 1
    return try store.put(counter).last
  }

  private static func access(_ token: String, of accountID: String, _ reader: StoreReader) throws -> ShareAccessRow {
    guard let row = try reader.named(ShareAccessRow.self, token),
      try reader.get(ShareEnvironmentRow.self, row.environmentId)?.accountId == accountID
    else { throw ShareRefusal.notFound("access \(token)") }
    return row
  }

  func updateAccess(_ accountID: String, token: String, bindAddress: String, description: String) async throws {
    try await network.write(author: accountID) { change in
      var row = try Self.access(token, of: accountID, change.store)
      row.bindAddress = String(bindAddress.prefix(256))
      row.description = String(description.prefix(1024))
      try change.store.put(row)
    }
  }

  func deleteAccess(_ accountID: String, environment: String, token: String, share: String) async throws {
    try await network.write(author: accountID) { change in
      _ = try change.store.environment(environment, of: accountID)
      let row = try Self.access(token, of: accountID, change.store)
      guard row.environmentId == environment, row.shareToken == share else {
        throw ShareRefusal.notFound("access \(token) to share \(share)")
      }
      try Self.remove(row, change)
    }
  }
}
