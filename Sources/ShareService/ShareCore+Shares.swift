import Authentication
import Controller
import JSON
import Logging
import Model
import ShareFrontend
import Store
import SwiftletShare

/// Shares: made, changed, ended.
///
/// A share is made in three steps: what its order comes to (``SharePlan``), where it will be found (``SharePlaces``),
/// and its rows and entities of the network, the last two in one change.
extension ShareCore {
  struct MadeShare: Sendable {
    let token: String
    let endpoints: [String]
    /// With scheme, for clients of ours.
    let urls: [String]
    /// What the sharer should know of it.
    var warnings: [String] = []
  }

  func createShare(_ accountID: String, _ order: ShareOrder) async throws -> MadeShare {
    let plan = try SharePlan(order, configuration)
    let gate = try await gate(plan)
    let (limits, entry, tags) = (configuration.limits, entry, tags(share: plan.token))
    let (addresses, replaced) = try await network.write(author: accountID) { change -> ([ShareAddress], [String]) in
      let account = try Self.admit(plan, accountID, limits, change.store)
      let replaced = try Self.makeRoom(plan, account, change)
      let grants = try plan.grants(change.store)
      let places = try SharePlaces.find(plan, account, entry, change.store)
      try places.take(change.store)
      var row = ShareRow(plan, places, gate, of: account, grants: grants)
      try Self.publish(&row, plan, tags, change)
      try change.store.put(row)
      return (places.addresses, replaced)
    }
    for old in replaced { try await refresh(old) }
    try await refresh(plan.token)
    var made = MadeShare(token: plan.token, endpoints: addresses.map(\.shown), urls: addresses.map(\.url))
    if !plan.clearUsers.isEmpty {
      made.warnings = [
        "this share's passwords stand in clear in the network's configs, because its operator runs frontends of upstream: use none that you use elsewhere"
      ]
      logger.warning(
        "passwords of a share stand in clear in its config, for frontends of upstream",
        metadata: ["share": "\(plan.token)"])
    }
    return made
  }

  /// What addresses of public shares are made of.
  private var entry: PublicEntry {
    PublicEntry(
      zone: configuration.zone, scheme: configuration.scheme, portSuffix: portSuffix,
      loginHost: configuration.login?.origin.host)
  }

  /// The gate of a share, with its passwords hashed.
  private func gate(_ plan: SharePlan) async throws -> ShareGate {
    var gate = plan.gate
    for user in plan.basicUsers {
      gate.users.append(BasicUser(username: user.username, password: try await passwords.hash(user.password)))
    }
    return gate
  }

  // MARK: Rows

  /// Whether the account may have one more share, from that environment.
  /// - Throws: `ShareRefusal`.
  private static func admit(
    _ plan: SharePlan, _ accountID: String, _ limits: ShareLimits, _ reader: StoreReader
  ) throws -> ShareAccount {
    let mode = plan.order.backendMode
    let account = try reader.account(accountID)
    _ = try reader.environment(plan.order.environment, of: accountID)
    let count = try reader.all(ShareRow.self, field: "accountId", equals: accountID).count
    try refuseIfLimited(account, "sharing")
    if account.limitedModes?.contains(mode) ?? false {
      throw ShareRefusal(401, "the account has used up its bandwidth for \(mode.rawValue) shares; try again later")
    }
    if let limit = limits.effective(account).counts.shares, count >= limit {
      throw ShareRefusal(401, "the account has \(count) shares and may have \(limit); delete one first")
    }
    return account
  }

  /// Removes what the account itself left behind in the new share's places, and takes the token.
  /// - Returns: tokens of the shares that were removed.
  /// - Throws: `ShareRefusal` when the token is somebody's.
  private static func makeRoom(
    _ plan: SharePlan, _ account: ShareAccount, _ change: any NetworkChange
  ) throws -> [String] {
    let (store, token) = (change.store, plan.token)
    let hold = ShareHold.place(ofToken: token)
    var replaced: [String] = []
    func replace(_ old: ShareRow?) throws {
      if let old, try Self.replace(old, account, change) { replaced.append(old.token) }
    }
    try replace(store.named(ShareRow.self, token))
    guard try store.named(ShareRow.self, token) == nil, try !change.hasService(named: token),
      try !store.isHeld(hold, against: account.id, now: store.now)
    else { throw ShareRefusal(409, "the share token \(token) is in use") }
    try store.release(hold)
    for name in plan.names {
      try replace(store.named(ShareName.self, name).flatMap { try store.named(ShareRow.self, $0.shareToken) })
    }
    return replaced
  }

  /// How long a new share may wait for its host before another one may take its place.
  private static let patience: Int64 = 10

  /// Removes a share that its own account wants to make anew and nobody serves any more: its process was killed before
  /// it could take it back.
  /// - Returns: whether it was removed.
  private static func replace(_ old: ShareRow, _ account: ShareAccount, _ change: any NetworkChange) throws -> Bool {
    guard old.accountId == account.id, !old.reserved, old.createdAt.adding(seconds: patience) < change.store.now,
      try !change.isHosted(old.serviceId)
    else {
      return false
    }
    try remove(old, change)
    return true
  }

  /// Makes what a share is in the network, and notes it in its row.
  private static func publish(
    _ row: inout ShareRow, _ plan: SharePlan, _ tags: JSONObject, _ change: any NetworkChange
  ) throws {
    let environment = row.environmentId
    row.configId = try change.createConfig(
      name: row.token, typeID: change.configType(named: ProxyConfig.typeName),
      data: ProxyConfig(row, clear: plan.clearUsers, hosts: row.hosts ?? []).object(), tags: tags)
    row.serviceId = try change.createService(name: row.token, configs: [row.configId], tags: tags)
    row.bindPolicyId = try change.createServicePolicy(
      name: "\(environment)-\(row.serviceId)-bind", type: .bind, identities: [environment], service: row.serviceId,
      tags: tags)
    row.routerPolicyId = try change.createServiceEdgeRouterPolicy(
      name: plan.isFirstGeneration ? row.token : "\(environment)-\(row.token)-serp", service: row.serviceId, tags: tags)
    if let identities = row.dialIdentities, !identities.isEmpty {
      row.dialPolicyId = try createDialPolicy(row, identities, tags, change)
    }
  }

  static func createDialPolicy(
    _ share: ShareRow, _ identities: [String], _ tags: JSONObject, _ change: any NetworkChange
  ) throws -> String {
    try change.createServicePolicy(
      name: "\(share.environmentId)-\(share.serviceId)-dial", type: .dial, identities: identities,
      service: share.serviceId, tags: tags)
  }

  static func createDialPolicy(
    _ access: ShareAccessRow, _ share: ShareRow, _ tags: JSONObject, _ change: any NetworkChange
  ) throws -> String {
    var tags = tags
    tags["zrokEnvironmentZId"] = .string(access.environmentId)
    tags["zrokFrontendToken"] = .string(access.token)
    return try change.createServicePolicy(
      name: "\(access.token)-\(access.environmentId)-\(share.serviceId)-dial", type: .dial,
      identities: [access.environmentId],
      service: share.serviceId, tags: tags)
  }

  /// Who dials a public share: noted when it was made, else the frontends of the namespaces that its names are in.
  static func dialIdentities(_ share: ShareRow, _ reader: StoreReader) throws -> [String] {
    if let known = share.dialIdentities { return known }
    let frontends = try reader.all(ShareName.self, field: "shareToken", equals: share.token)
      .compactMap { try reader.get(ShareNamespace.self, $0.namespace) }.flatMap(\.frontends).map(\.token)
    return try Set(frontends).compactMap { try reader.get(ShareFrontendRow.self, $0)?.zId }.sorted()
  }

  // MARK: Hosts

  /// The hosts a share is found at: its names in their namespaces.
  static func hosts(_ token: String, _ reader: StoreReader) throws -> [String] {
    try reader.all(ShareName.self, field: "shareToken", equals: token).compactMap { name in
      try reader.get(ShareNamespace.self, name.namespace).map { (name.name + "." + $0.name).lowercased() }
    }.sorted()
  }

  /// Brings what frontends on their own read of public shares in line with the names they have now.
  /// - Returns: tokens of the shares that are found elsewhere now.
  static func publishHosts(_ change: any NetworkChange) throws -> [String] {
    var changed: [String] = []
    for var share in try change.store.all(ShareRow.self) where share.mode == .public && share.publicPort == nil {
      let hosts = try hosts(share.token, change.store)
      guard share.hosts != hosts else { continue }
      share.hosts = hosts
      try change.store.put(share)
      try change.updateConfig(
        share.configId, setting: ["swiftlet": ProxyConfig(share, clear: [], hosts: hosts).object()["swiftlet"] ?? .null]
      )
      changed.append(share.token)
    }
    return changed
  }

  // MARK: Ended and changed

  /// - Parameter reserved: what a v1 client says of the share; when it is wrong nothing happens (zrok.md 1.3). nil in
  ///   v2.
  func unshare(_ accountID: String, environment: String, token: String, reserved: Bool?) async throws {
    let result = await Task { try await self.deleteShare(accountID, environment, token, reserved) }.result
    // Whatever came of it in the network, the frontend asks the rows again.
    try await refresh(token)
    try result.get()
  }

  private func deleteShare(_ accountID: String, _ environment: String, _ token: String, _ reserved: Bool?) async throws
  {
    try await network.write(author: accountID) { change in
      _ = try change.store.environment(environment, of: accountID)
      let share = try change.store.share(token, of: accountID)
      guard share.environmentId == environment else {
        throw ShareRefusal.notFound("share \(token) in environment \(environment)")
      }
      if let reserved, share.reserved != reserved { return }
      try Self.remove(share, change)
    }
  }

  /// Accounts that may access a closed share.
  private static let grantLimit = 1000

  func updateShare(_ accountID: String, token: String, target: String?, add: [String], remove: [String]) async throws {
    guard max(add.count, remove.count) <= Self.grantLimit else {
      throw ShareRefusal(422, "at most \(Self.grantLimit) accounts at once")
    }
    try await network.write(author: accountID) { change in
      var share = try change.store.share(token, of: accountID)
      if let target { share.target = String(target.prefix(2048)) }
      for email in add {
        let id = try change.store.requireAccount(email: email).id
        if !share.accessGrants.contains(id) { share.accessGrants.append(id) }
      }
      for email in remove {
        guard let id = try change.store.account(email: email)?.id else { continue }
        share.accessGrants.removeAll { $0 == id }
      }
      guard share.accessGrants.count <= Self.grantLimit else {
        throw ShareRefusal(
          422,
          "at most \(Self.grantLimit) accounts may be granted access to a share; leave it open, or make another one")
      }
      try change.store.put(share)
    }
  }
}
