import Controller
import Model
import ShareFrontend
import Store
import SwiftletShare

/// Names in namespaces (zrok.md 1.3).
extension ShareCore {
  static func check(label: String) throws {
    guard ShareTokens.isLabel(label, lengths: 3...63, dash: true), !label.hasPrefix("-"), !label.hasSuffix("-") else {
      throw ShareRefusal(409, "a name has 3 to 63 characters of a-z, 0-9 and -, and no - at its ends")
    }
  }

  /// The statuses of calls about names where there is no such namespace, and where the account has no grant; calls
  /// about shares have 409 for both.
  static let namesRefusals = (unknown: 404, denied: 401)

  /// A namespace that the account may use. - Parameter token: empty is the default one.
  static func usableNamespace(
    _ token: String, _ account: ShareAccount, _ reader: StoreReader,
    or refusals: (unknown: Int, denied: Int) = (409, 409)
  ) throws -> ShareNamespace {
    let token = token.isEmpty ? defaultName : token
    guard let namespace = try reader.get(ShareNamespace.self, token) else {
      throw ShareRefusal(refusals.unknown, "there is no namespace \(token)")
    }
    guard account.mayUse(namespace) else {
      throw ShareRefusal(refusals.denied, "this account may not use the namespace \(token); its operator can grant it")
    }
    return namespace
  }

  private static func refuseOverLimit(_ account: ShareAccount, _ limits: ShareLimits, _ reader: StoreReader) throws {
    guard let limit = limits.effective(account).counts.reservedNames else { return }
    let count = try reader.all(ShareName.self, field: "accountId", equals: account.id).count(where: \.reserved)
    guard count < limit else {
      throw ShareRefusal(409, "the account has \(count) names and may have \(limit); delete one first")
    }
  }

  func createName(_ accountID: String, namespace: String, name: String) async throws {
    let (limits, taken) = (configuration.limits, configuration.login?.origin.host)
    try await network.write(author: accountID) { change in
      let store = change.store
      let account = try store.account(accountID)
      let namespace = try Self.usableNamespace(namespace, account, store, or: Self.namesRefusals)
      try Self.check(label: name)
      try Self.refuseOverLimit(account, limits, store)
      let place = ShareName.unique(namespace.id, name)
      guard try store.named(ShareName.self, place) == nil, (name + "." + namespace.name).lowercased() != taken,
        try !store.isHeld(place, against: accountID, now: store.now)
      else { throw ShareRefusal(409, "the name \(name) is taken in \(namespace.name)") }
      try store.release(place)
      try store.put(
        ShareName(id: EntityID.short(), namespace: namespace.id, name: name, accountId: accountID, reserved: true))
    }
  }

  private static func name(_ account: ShareAccount, _ namespace: String, _ name: String, _ reader: StoreReader) throws
    -> ShareName
  {
    let namespace = try usableNamespace(namespace, account, reader, or: namesRefusals)
    guard let row = try reader.named(ShareName.self, ShareName.unique(namespace.id, name)) else {
      throw ShareRefusal.notFound("name \(name)")
    }
    guard row.accountId == account.id else { throw ShareRefusal(401, "the name \(name) belongs to another account") }
    return row
  }

  func updateName(_ accountID: String, namespace: String, name: String, reserved: Bool) async throws {
    let limits = configuration.limits
    try await network.write(author: accountID) { change in
      let account = try change.store.account(accountID)
      var row = try Self.name(account, namespace, name, change.store)
      guard row.reserved != reserved else { return }
      if reserved { try Self.refuseOverLimit(account, limits, change.store) }
      row.reserved = reserved
      try change.store.put(row)
    }
  }

  func deleteName(_ accountID: String, namespace: String, name: String) async throws {
    try await network.write(author: accountID) { change in
      let row = try Self.name(change.store.account(accountID), namespace, name, change.store)
      if !row.shareToken.isEmpty, try change.store.named(ShareRow.self, row.shareToken) != nil {
        throw ShareRefusal(409, "the name \(name) is in use by share \(row.shareToken); delete that first")
      }
      try change.store.delete(ShareName.self, row.id)
    }
  }
}
