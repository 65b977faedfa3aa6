import Authentication
import Controller
import Logging
import Model
import NIOCore
import ShareFrontend
import Store
import SwiftletShare
import Transport
import Tunnel

/// What a client asks for when it shares, of either generation of the API (zrok.md 2.2).
struct ShareOrder: Sendable {
  struct NameSelection: Sendable {
    /// Empty is the default namespace.
    var namespace: String
    /// Empty takes the share's token.
    var name: String
    /// Made with the share and gone with it where the account has no such name; otherwise a name is made before it is
    /// used, as zrok's clients do.
    var isEphemeral = false
  }

  var environment: String
  var mode: ShareOptions.Mode
  var backendMode: ShareOptions.Backend
  var target = ""
  var scheme = "none"
  var basicUsers: [(username: String, password: String)] = []
  var provider = ""
  var emailPatterns: [String] = []
  var refreshInterval = ""
  var permissionMode = PermissionMode.open
  var grants: [String] = []
  var names: [NameSelection] = []
  /// v1: public names of frontends; nil in v2.
  var frontends: [String]?
  var reserved = false
  /// The wanted token; empty takes a random one.
  var token = ""
  /// Its host knows flow control from end to end.
  var isWindowed = false
  /// It is to live only as long as it is served.
  var isLeased = false
}

extension ShareDesk {
  struct MadeShare: Sendable {
    let token: String
    let endpoints: [String]
    /// With scheme, for clients of ours.
    let urls: [String]
    /// What the sharer should know of it.
    var warnings: [String] = []
  }

  func createShare(_ accountID: String, _ order: ShareOrder) async throws -> MadeShare {
    let pool = order.mode == .public ? portPool(order.backendMode) : nil
    guard order.mode == .private || order.backendMode.isHTTP || pool != nil else {
      throw ShareRefusal(
        422,
        "a public share is reached over HTTP, which \(order.backendMode.rawValue) does not speak; make it private, or use another backend mode"
      )
    }
    guard pool == nil || (order.scheme == "none" && order.names.isEmpty) else {
      throw ShareRefusal(
        422, "a public \(order.backendMode.rawValue) share has a port: neither a name nor a login is possible")
    }
    let zone = configuration.zone
    let gate = try await gate(order)
    let token = order.token.isEmpty ? ShareTokens.share() : order.token
    guard ShareTokens.isLabel(token, lengths: 3...32, dash: order.frontends == nil) else {
      throw ShareRefusal(
        422,
        order.frontends == nil
          ? "a share token has 3 to 32 characters of a-z, 0-9 and -"
          : "a unique name has 4 to 32 characters of a-z and 0-9"
      )
    }
    let interstitial = configuration.interstitial
    let (limits, suffix, scheme) = (configuration.limits, portSuffix, configuration.scheme)
    let loginHost = configuration.login?.origin.host
    let clear = configuration.upstreamFrontends ? order.basicUsers : []
    let tags = tags(share: token)
    let (endpoints, replaced) = try await network.write(author: accountID) {
      change -> ([(shown: String, url: String)], [String]) in
      let store = change.store
      let account = try store.account(accountID)
      _ = try store.environment(order.environment, of: accountID)
      let count = try store.all(ShareRow.self, field: "accountId", equals: accountID).count
      try Self.refuseIfLimited(account, "sharing")
      if account.limitedModes?.contains(order.backendMode) ?? false {
        throw ShareRefusal(
          401, "the account has used up its bandwidth for \(order.backendMode.rawValue) shares; try again later")
      }
      if let limit = limits.effective(account).counts.shares, count >= limit {
        throw ShareRefusal(401, "the account has \(count) shares and may have \(limit); delete one first")
      }
      var replaced: [String] = []
      if let old = try store.named(ShareRow.self, token), try Self.replace(old, account, change) {
        replaced.append(old.token)
      }
      guard try store.named(ShareRow.self, token) == nil, try !change.hasService(named: token),
        try !store.isHeld(ShareHold.place(ofToken: token), against: accountID, now: store.now)
      else { throw ShareRefusal(409, "the share token \(token) is in use") }
      try store.release(ShareHold.place(ofToken: token))
      let grants = try order.grants.map { email in
        guard let account = try store.account(email: email) else {
          throw ShareRefusal(
            order.frontends == nil ? 500 : 404, "access was to be granted to \(email), but there is no such account")
        }
        return account.id
      }
      var row = ShareRow(
        id: EntityID.short(), token: token, accountId: accountID, environmentId: order.environment, mode: order.mode,
        backendMode: order.backendMode,
        target: String(order.target.prefix(2048)), permissionMode: order.permissionMode, accessGrants: grants,
        gate: gate, serviceId: "",
        configId: "",
        bindPolicyId: "", routerPolicyId: "")
      row.reserved = order.reserved
      if order.isWindowed { row.windowed = true }
      if order.isLeased, !order.reserved { row.leased = true }
      row.interstitial =
        interstitial && order.mode == .public && order.backendMode != .drive && !account.skipsInterstitial

      var made: [(shown: String, url: String)] = []
      if let pool {
        let taken = Set(
          try store.all(ShareRow.self).filter { $0.backendMode == order.backendMode }.compactMap(\.publicPort))
        guard
          let port = try store.port(of: pool.ports.filter { !taken.contains($0) }, order.backendMode, for: accountID)
        else {
          throw ShareRefusal(
            409,
            "all \(pool.ports.count) ports for public \(order.backendMode.rawValue) shares are in use; try again later, or make the share private"
          )
        }
        guard let frontend = try store.named(ShareFrontendRow.self, Self.defaultName) else {
          throw ShareRefusal.notFound("frontend \(Self.defaultName)")
        }
        try store.release(ShareHold.place(ofPort: port, order.backendMode))
        row.publicPort = port
        row.dialIdentities = [frontend.zId]
        made = [("\(zone):\(port)", "\(pool.transport.rawValue)://\(zone):\(port)")]
        row.endpoints = made.map(\.shown)
      } else if order.mode == .public {
        for selection in order.names {
          let name = ShareName.unique(
            selection.namespace.isEmpty ? Self.defaultName : selection.namespace, selection.name)
          guard
            let old = try store.named(ShareName.self, name).flatMap({ try store.named(ShareRow.self, $0.shareToken) })
          else { continue }
          if try Self.replace(old, account, change) { replaced.append(old.token) }
        }
        let places =
          try order.frontends.map { try Self.places(frontends: $0, token: token, account, store) }
          ?? Self.places(order, token, account, store)
        for place in places where place.host == loginHost {
          throw ShareRefusal(409, "\(place.host) is where visitors sign in; take another name")
        }
        for place in places {
          try store.put(place.name)
          try store.release(ShareName.unique(place.name.namespace, place.name.name))
          made.append(
            place.template.map { ($0.replacing("{token}", with: token), $0.replacing("{token}", with: token)) }
              ?? (place.host + suffix, scheme + "://" + place.host + suffix))
        }
        row.dialIdentities = Set(places.flatMap(\.identities)).sorted()
        row.hosts = places.map(\.host).sorted()
        row.frontendSelection = order.frontends?.first ?? ""
        row.endpoints = made.map(\.shown)
      } else {
        row.endpoints = ["private"]
      }

      row.configId = try change.createConfig(
        name: token, typeID: change.configType(named: ProxyConfig.typeName),
        data: ProxyConfig(row, clear: clear, hosts: row.hosts ?? []).object(),
        tags: tags)
      row.serviceId = try change.createService(name: token, configs: [row.configId], tags: tags)
      row.bindPolicyId = try change.createServicePolicy(
        name: "\(order.environment)-\(row.serviceId)-bind", type: .bind, identities: [order.environment],
        service: row.serviceId, tags: tags)
      row.routerPolicyId = try change.createServiceEdgeRouterPolicy(
        name: order.frontends == nil ? "\(order.environment)-\(token)-serp" : token, service: row.serviceId, tags: tags)
      if let identities = row.dialIdentities, !identities.isEmpty {
        row.dialPolicyId = try Self.createDialPolicy(row, identities, tags, change)
      }
      try store.put(row)
      return (made, replaced)
    }
    for old in replaced { try await refresh(old) }
    try await refresh(token)
    var made = MadeShare(token: token, endpoints: endpoints.map(\.shown), urls: endpoints.map(\.url))
    if !clear.isEmpty {
      made.warnings = [
        "this share's passwords stand in clear in the network's configs, because its operator runs frontends of upstream: use none that you use elsewhere"
      ]
      logger.warning(
        "passwords of a share stand in clear in its config, for frontends of upstream", metadata: ["share": "\(token)"])
    }
    return made
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

  /// The operator's ports for public shares of a mode.
  private func portPool(_ mode: ShareOptions.Backend) -> (transport: TunnelTransport, ports: ClosedRange<Int>)? {
    // Frontends that run elsewhere open no ports.
    guard configuration.servesFrontend else { return nil }
    return switch mode.transport {
    case .tcp: configuration.tcpPorts.map { (.tcp, $0) }
    case .udp: configuration.udpPorts.map { (.udp, $0) }
    case nil: nil
    }
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

  /// Where a public share will be found: a name that leads to it, and who dials.
  private struct Place {
    var name: ShareName
    var host: String
    var identities: [String]
    /// v1 shows the frontend's template.
    var template: String?
  }

  /// v1: the frontends' default namespaces carry the token as a name.
  private static func places(frontends: [String], token: String, _ account: ShareAccount, _ store: StoreTransaction)
    throws -> [Place]
  {
    guard !frontends.isEmpty else {
      throw ShareRefusal(404, "a public share needs a frontend; the default one is called \(defaultName)")
    }
    guard frontends.count <= 32 else { throw ShareRefusal(422, "at most 32 frontends for one share") }
    return try frontends.map { publicName in
      guard let frontend = try store.named(ShareFrontendRow.self, publicName),
        frontend.permissionMode == .open || account.frontendGrants.contains(frontend.id),
        let namespace = try store.all(ShareNamespace.self).first(where: {
          $0.frontends.contains { $0.token == frontend.id }
        })
      else { throw ShareRefusal.notFound("frontend \(publicName)") }
      let unique = ShareName.unique(namespace.id, token)
      guard try store.named(ShareName.self, unique) == nil,
        try !store.isHeld(unique, against: account.id, now: store.now)
      else {
        throw ShareRefusal(409, "the name \(token) is taken")
      }
      return Place(
        name: ShareName(
          id: EntityID.short(), namespace: namespace.id, name: token, accountId: account.id, shareToken: token),
        host: (token + "." + namespace.name).lowercased(), identities: [frontend.zId], template: frontend.urlTemplate)
    }
  }

  /// v2: names in namespaces; without a selection the default namespace, under the share's token.
  private static func places(_ order: ShareOrder, _ token: String, _ account: ShareAccount, _ store: StoreTransaction)
    throws -> [Place]
  {
    let selections = order.names.isEmpty ? [ShareOrder.NameSelection(namespace: "", name: "")] : order.names
    return try selections.map { selection in
      let namespace = try usableNamespace(selection.namespace, account, store)
      let label = selection.name.isEmpty ? token : selection.name
      var name: ShareName
      if let known = try store.named(ShareName.self, ShareName.unique(namespace.id, label)) {
        guard known.accountId == account.id else {
          throw ShareRefusal(409, "the name \(label) belongs to another account")
        }
        guard try known.shareToken.isEmpty || store.named(ShareRow.self, known.shareToken) == nil else {
          throw ShareRefusal(409, "the name \(label) is in use by share \(known.shareToken)")
        }
        name = known
      } else {
        guard selection.name.isEmpty || selection.isEphemeral else {
          throw ShareRefusal(409, "the account has no name \(label) in \(namespace.name); reserve it first")
        }
        try check(label: label)
        guard try !store.isHeld(ShareName.unique(namespace.id, label), against: account.id, now: store.now) else {
          throw ShareRefusal(409, "the name \(label) belongs to another account")
        }
        name = ShareName(id: EntityID.short(), namespace: namespace.id, name: label, accountId: account.id)
      }
      name.shareToken = token
      let identities = try namespace.frontends.compactMap { try store.get(ShareFrontendRow.self, $0.token)?.zId }
      return Place(name: name, host: (label + "." + namespace.name).lowercased(), identities: identities, template: nil)
    }
  }

  /// The gate of a share, with its passwords hashed.
  private func gate(_ order: ShareOrder) async throws -> ShareGate {
    var gate = ShareGate()
    gate.scheme = order.scheme
    switch order.scheme {
    case "none": break
    case "basic":
      guard order.mode == .public || configuration.upstreamFrontends else {
        throw ShareRefusal(
          422,
          "nobody would ask for the password of a private share; accounts are granted access instead, with accessGrants"
        )
      }
      guard (1...32).contains(order.basicUsers.count) else {
        throw ShareRefusal(422, "basic authentication needs 1 to 32 users")
      }
      for user in order.basicUsers {
        guard (1...256).contains(user.username.utf8.count), !user.username.contains(":"),
          (1...256).contains(user.password.utf8.count)
        else {
          throw ShareRefusal(422, "a user name has 1 to 256 bytes without a colon, a password 1 to 256")
        }
        gate.users.append(BasicUser(username: user.username, password: try await passwords.hash(user.password)))
      }
    case "oauth":
      guard order.mode == .public else {
        throw ShareRefusal(
          422, "visitors of a private share are known already; make it public, or grant access to accounts")
      }
      let known = configuration.login?.providers.map(\.name) ?? []
      guard known.contains(order.provider) else {
        let names =
          known.isEmpty
          ? "it has none; use basic authentication, or a private share" : "it has " + known.joined(separator: ", ")
        throw ShareRefusal(422, "this service has no sign-in provider '\(order.provider.prefix(64))'; \(names)")
      }
      guard order.emailPatterns.count <= EmailPattern.countLimit else {
        throw ShareRefusal(
          422,
          "at most \(EmailPattern.countLimit) e-mail patterns are possible; one with * or {a,b} stands for several addresses"
        )
      }
      for pattern in order.emailPatterns where EmailPattern(pattern) == nil {
        throw ShareRefusal(
          422,
          "'\(pattern.prefix(64))' is no e-mail pattern; write an address, or one with * for any characters, such as *@example.com"
        )
      }
      guard order.refreshInterval.isEmpty || GoDuration.parse(order.refreshInterval) != nil else {
        throw ShareRefusal(422, "'\(order.refreshInterval.prefix(32))' is no interval; write one such as 30m or 3h")
      }
      gate.provider = order.provider
      gate.emailPatterns = order.emailPatterns
      gate.refreshInterval = order.refreshInterval
    default:
      throw ShareRefusal(500, "there is no authentication scheme '\(order.scheme)'; there are none, basic and oauth")
    }
    return gate
  }

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

  // MARK: Accesses

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
