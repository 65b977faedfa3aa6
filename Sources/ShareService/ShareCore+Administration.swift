import Controller
import JSON
import Model
import Store
import SwiftletShare

/// Frontends, namespaces and organizations (zrok.md 1.3, 1.5, 1.9).
extension ShareCore {
  private static let author = "share administrator"

  func put<E: Entity>(_ entity: E) async throws {
    _ = try await network.write(author: Self.author) { try $0.store.put(entity) }
  }

  func change<E: Entity>(_ type: E.Type, _ id: String, _ body: @escaping @Sendable (inout E) -> Void) async throws {
    try await network.write(author: Self.author) { change in
      guard var entity = try change.store.get(type, id) else { throw ShareRefusal.notFound("\(E.kind.rawValue) \(id)") }
      body(&entity)
      try change.store.put(entity)
    }
    if type == ShareNamespace.self {
      for share in try await network.read({ try $0.all(ShareRow.self) }) { try await refresh(share.token) }
    }
  }

  func delete<E: Entity>(_ type: E.Type, _ id: String) async throws {
    try await network.write(author: Self.author) { change in
      guard try change.store.delete(type, id) else { throw ShareRefusal.notFound("\(E.kind.rawValue) \(id)") }
    }
  }

  func createFrontend(
    identity: String, publicName: String, template: String, permissionMode: PermissionMode, dynamic: Bool
  ) async throws -> String {
    try await network.write(author: Self.author) { change in
      guard try change.identityTags(identity) != nil else { throw ShareRefusal.notFound("identity \(identity)") }
      let name = publicName.isEmpty ? ShareTokens.share() : publicName
      guard try change.store.named(ShareFrontendRow.self, name) == nil else {
        throw ShareRefusal(400, "the frontend name \(name) is taken")
      }
      return try change.store.put(
        ShareFrontendRow(
          id: ShareTokens.secret(), zId: identity, publicName: name, urlTemplate: template,
          permissionMode: permissionMode, dynamic: dynamic)
      ).id
    }
  }

  func deleteFrontend(_ token: String) async throws {
    try await network.write(author: Self.author) { change in
      for namespace in try change.store.all(ShareNamespace.self)
      where namespace.frontends.contains(where: { $0.token == token }) {
        var namespace = namespace
        namespace.frontends.removeAll { $0.token == token }
        try change.store.put(namespace)
      }
      guard try change.store.delete(ShareFrontendRow.self, token) else {
        throw ShareRefusal.notFound("frontend \(token)")
      }
    }
  }

  func createIdentity(name: String) async throws -> ProvisioningTransaction.Credentials {
    let tags = tags
    return try await network.write(author: Self.author) { change in
      let made = try change.createEnrolledIdentity(name: name, tags: tags)
      _ = try change.createEdgeRouterPolicy(name: made.identityID, identity: made.identityID, tags: tags)
      return made
    }
  }

  /// Only identities that stand for no environment and that this service made.
  func deleteIdentity(_ id: String) async throws {
    try await network.write(author: Self.author) { change in
      guard try change.identityTags(id)?["zrok"] != nil, try change.store.get(ShareEnvironmentRow.self, id) == nil
      else { throw ShareRefusal.notFound("identity \(id) made by this service") }
      try change.deleteEdgeRouterPolicy(named: id)
      try change.deleteIdentity(id)
    }
  }

  func createNamespace(_ row: ShareNamespace) async throws {
    try await network.write(author: Self.author) { change in
      guard try change.store.get(ShareNamespace.self, row.id) == nil,
        try change.store.named(ShareNamespace.self, row.name) == nil
      else {
        throw ShareRefusal(409, "a namespace with the token \(row.id) or the name \(row.name) exists")
      }
      try change.store.put(row)
    }
  }

  /// After a namespace was renamed: its shares are found at other hosts.
  func renameHosts() async throws {
    for token in try await network.write(author: Self.author, { try Self.publishHosts($0) }) {
      try await refresh(token)
    }
  }

  /// Deletes a namespace with the names in it; shares go on under the names that they have elsewhere.
  func deleteNamespace(_ token: String) async throws {
    let moved = try await network.write(author: Self.author) { change -> [String] in
      let store = change.store
      guard try store.delete(ShareNamespace.self, token) else { throw ShareRefusal.notFound("namespace \(token)") }
      for name in try store.all(ShareName.self, field: "namespace", equals: token) {
        try store.delete(ShareName.self, name.id)
      }
      // Whoever makes the next namespace of that token grants it anew.
      for var account in try store.all(ShareAccount.self) where account.namespaceGrants.contains(token) {
        account.namespaceGrants.removeAll { $0 == token }
        try store.put(account)
      }
      return try Self.publishHosts(change)
    }
    for share in moved { try await refresh(share) }
  }

  func map(namespace: String, frontend: String, isDefault: Bool) async throws {
    try await network.write(author: Self.author) { change in
      guard var row = try change.store.get(ShareNamespace.self, namespace) else {
        throw ShareRefusal.notFound("namespace \(namespace)")
      }
      guard try change.store.get(ShareFrontendRow.self, frontend) != nil else {
        throw ShareRefusal.notFound("frontend \(frontend)")
      }
      row.frontends.removeAll { $0.token == frontend }
      row.frontends.append(.init(token: frontend, isDefault: isDefault, createdAt: change.store.now))
      try change.store.put(row)
    }
  }

  /// - Parameter admin: nil ends the membership.
  func setMember(_ organization: String, email: String, admin: Bool?) async throws {
    try await network.write(author: Self.author) { change in
      guard var row = try change.store.get(ShareOrganization.self, organization) else {
        throw ShareRefusal.notFound("organization \(organization)")
      }
      let account = try change.store.requireAccount(email: email)
      row.members.removeAll { $0.accountId == account.id }
      if let admin { row.members.append(.init(accountId: account.id, admin: admin)) }
      try change.store.put(row)
    }
  }

  /// Brings the warning page of an account's public shares in line with its grant, in our rows and in the configs that
  /// frontends of upstream read.
  func refreshInterstitials(email: String) async throws {
    let wanted = configuration.interstitial
    let tokens = try await network.write(author: Self.author) { change -> [String] in
      let account = try change.store.requireAccount(email: email)
      var changed: [String] = []
      for share in try change.store.all(ShareRow.self, field: "accountId", equals: account.id)
      where share.mode == .public && share.backendMode != .drive {
        let interstitial = wanted && !account.skipsInterstitial
        guard share.interstitial != interstitial else { continue }
        var share = share
        share.interstitial = interstitial
        try change.store.put(share)
        try change.updateConfig(share.configId, setting: ["interstitial": .bool(interstitial)])
        changed.append(share.token)
      }
      return changed
    }
    for token in tokens { try await refresh(token) }
  }
}
