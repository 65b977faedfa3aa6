import Controller
import JSON
import Model
import Store
import SwiftletShare

/// Machines of accounts (zrok.md 1.2).
extension ShareCore {
  /// Makes an identity with its key and certificate: the client gets the whole identity file and enrolls nothing.
  func enable(_ accountID: String, description: String, host: String, address: String) async throws
    -> ProvisioningTransaction.Credentials
  {
    let limits = configuration.limits
    let description = String(description.prefix(1024))
    let host = String(host.prefix(1024))
    let base = tags
    let mark = ShareTokens.secret()
    return try await network.write(author: accountID) { change in
      let account = try change.store.account(accountID)
      let count = try change.store.all(ShareEnvironmentRow.self, field: "accountId", equals: accountID).count
      try Self.refuseIfLimited(account, "enabling a machine")
      if let limit = limits.effective(account).counts.environments, count >= limit {
        throw ShareRefusal(401, "the account has \(count) environments and may have \(limit); disable one first")
      }
      var tags = base
      tags["zrokEmail"] = .string(account.email)
      let credentials = try change.createEnrolledIdentity(name: "\(account.email)-\(mark)-\(description)", tags: tags)
      let policy = try change.createEdgeRouterPolicy(
        name: credentials.identityID, identity: credentials.identityID, tags: tags)
      try change.store.put(
        ShareEnvironmentRow(
          id: credentials.identityID, accountId: accountID, description: description, host: host,
          address: String(address.prefix(256)),
          edgeRouterPolicyId: policy))
      return credentials
    }
  }

  /// Deletes an environment with everything it shares and accesses.
  func disable(_ accountID: String, environment id: String) async throws {
    // Whatever comes of it in the network, the frontend asks the rows again.
    let before = try await network.read { try $0.all(ShareRow.self, field: "environmentId", equals: id).map(\.token) }
    let result = await Task { try await self.deleteEnvironment(accountID, id) }.result
    for token in before { try await refresh(token) }
    try result.get()
  }

  private func deleteEnvironment(_ accountID: String, _ id: String) async throws {
    try await network.write(author: accountID) { change in
      let environment = try change.store.environment(id, of: accountID)
      for share in try change.store.all(ShareRow.self, field: "environmentId", equals: id) {
        try Self.remove(share, change)
      }
      for access in try change.store.all(ShareAccessRow.self, field: "environmentId", equals: id) {
        try Self.remove(access, change)
      }
      if let enrollment = try change.store.get(ShareAgentEnrollment.self, id) { try Self.remove(enrollment, change) }
      try change.store.delete(ShareEnvironmentRow.self, id)
      try change.deleteEdgeRouterPolicy(environment.edgeRouterPolicyId)
      try change.deleteIdentity(id)
    }
  }

  /// A share's rows and the entities that stand for it; reserved names stay with their account.
  /// - Parameter isTakenBack: nobody of its account ends it.
  static func remove(_ share: ShareRow, _ change: any NetworkChange, isTakenBack: Bool = false) throws {
    let accesses = try change.store.all(ShareAccessRow.self, field: "shareToken", equals: share.token)
    try change.store.hold(share, accessedBy: accesses, isTakenBack: isTakenBack)
    for access in accesses { try remove(access, change) }
    for name in try change.store.all(ShareName.self, field: "shareToken", equals: share.token) {
      var name = name
      name.shareToken = ""
      if name.reserved { try change.store.put(name) } else { try change.store.delete(ShareName.self, name.id) }
    }
    try change.deleteServiceEdgeRouterPolicy(share.routerPolicyId)
    try change.deleteServicePolicy(share.bindPolicyId)
    if let id = share.dialPolicyId { try change.deleteServicePolicy(id) }
    try change.deleteService(share.serviceId)
    try change.deleteConfig(share.configId)
    try change.store.delete(ShareRow.self, share.id)
  }

  static func remove(_ access: ShareAccessRow, _ change: any NetworkChange) throws {
    if !access.dialPolicyId.isEmpty { try change.deleteServicePolicy(access.dialPolicyId) }
    try change.store.delete(ShareAccessRow.self, access.id)
  }
}
