import Controller
import Model
import Store

/// Names in namespaces (zrok.md 1.3).
extension ShareDesk {
  static func check(label: String) throws {
    guard ShareTokens.isLabel(label, lengths: 3...63, dash: true), !label.hasPrefix("-"), !label.hasSuffix("-") else {
      throw ShareRefusal(409, "a name has 3 to 63 characters of a-z, 0-9 and -, and no - at its ends")
    }
  }

  /// A namespace that the account may use. - Parameter token: empty is the default one.
  static func usableNamespace(_ token: String, _ account: ShareAccount, _ reader: StoreReader) throws -> ShareNamespace {
    let token = token.isEmpty ? defaultName : token
    guard let namespace = try reader.get(ShareNamespace.self, token), namespace.open || account.namespaceGrants.contains(token) else {
      throw ShareRefusal(409, "there is no namespace \(token) that this account may use")
    }
    return namespace
  }

  func createName(_ accountID: String, namespace: String, name: String) async throws {
    let (limits, taken) = (configuration.limits, configuration.login?.origin.host)
    try Self.check(label: name)
    try await network.write(author: accountID) { change in
      let store = change.store
      let account = try store.account(accountID)
      let namespace = try Self.usableNamespace(namespace, account, store)
      let mine = try store.all(ShareName.self, field: "accountId", equals: accountID).filter(\.reserved)
      if let limit = limits.effective(account).counts.reservedNames, mine.count >= limit {
        throw ShareRefusal(409, "the account has \(mine.count) names and may have \(limit); delete one first")
      }
      guard try store.named(ShareName.self, ShareName.unique(namespace.id, name)) == nil, (name + "." + namespace.name).lowercased() != taken else {
        throw ShareRefusal(409, "the name \(name) is taken in \(namespace.name)")
      }
      try store.put(ShareName(id: EntityID.short(), namespace: namespace.id, name: name, accountId: accountID, reserved: true))
    }
  }

  private static func name(_ accountID: String, _ namespace: String, _ name: String, _ reader: StoreReader) throws -> ShareName {
    let unique = ShareName.unique(namespace.isEmpty ? defaultName : namespace, name)
    guard let row = try reader.named(ShareName.self, unique), row.accountId == accountID else { throw ShareRefusal.notFound("name \(name)") }
    return row
  }

  func updateName(_ accountID: String, namespace: String, name: String, reserved: Bool) async throws {
    try await network.write(author: accountID) { change in
      var row = try Self.name(accountID, namespace, name, change.store)
      row.reserved = reserved
      try change.store.put(row)
    }
  }

  func deleteName(_ accountID: String, namespace: String, name: String) async throws {
    try await network.write(author: accountID) { change in
      let row = try Self.name(accountID, namespace, name, change.store)
      if !row.shareToken.isEmpty, try change.store.named(ShareRow.self, row.shareToken) != nil {
        throw ShareRefusal(409, "the name \(name) is in use by share \(row.shareToken); delete that first")
      }
      try change.store.delete(ShareName.self, row.id)
    }
  }
}
