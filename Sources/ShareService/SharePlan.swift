import Model
import ShareFrontend
import Store
import SwiftletShare
import Transport
import Tunnel

/// What an order comes to, as far as it and the service's configuration tell: no row is asked, nothing is changed. What
/// cannot be is refused here; the rest of making a share is one change of rows and network.
struct SharePlan: Sendable {
  /// Where the share is to be found.
  enum Place: Sendable, Equatable {
    /// By its token alone.
    case hidden
    /// At a port of the operator's pool.
    case port(TunnelTransport, pool: ClosedRange<Int>)
    /// Second generation: names in namespaces; without any the share's token in the default one.
    case names([ShareOrder.NameSelection])
    /// First generation: public names of frontends, whose namespaces get the token as a name.
    case frontends([String])
  }

  let order: ShareOrder
  let token: String
  let place: Place
  /// Without its users, whose passwords are to be hashed.
  let gate: ShareGate
  /// The users of the gate.
  let basicUsers: [(username: String, password: String)]
  /// Those of them that the config shows with their passwords, for frontends of upstream.
  let clearUsers: [(username: String, password: String)]
  /// Visitors are warned first, unless the account is spared that.
  let interstitial: Bool

  /// - Throws: `ShareRefusal`.
  init(_ order: ShareOrder, _ configuration: ShareConfiguration) throws {
    self.order = order
    place = try Self.place(order, configuration)
    gate = try Self.gate(order, configuration)
    token = try Self.token(order)
    basicUsers = gate.scheme == "basic" ? order.basicUsers : []
    clearUsers = configuration.upstreamFrontends ? order.basicUsers : []
    interstitial = configuration.interstitial && order.mode == .public && order.backendMode != .drive
  }

  /// Ordered by a call of the first generation.
  var isFirstGeneration: Bool { order.isFirstGeneration }

  /// The names that are to lead to it, as `ShareName.unique` writes them.
  var names: [String] {
    guard case .names(let selections) = place else { return [] }
    return selections.map {
      ShareName.unique($0.namespace.isEmpty ? ShareCore.defaultName : $0.namespace, $0.name)
    }
  }

  /// Ids of the accounts that may access it.
  /// - Throws: `ShareRefusal` when one of them does not exist.
  func grants(_ reader: StoreReader) throws -> [String] {
    try order.grants.map { email in
      guard let account = try reader.account(email: email) else {
        throw ShareRefusal(
          isFirstGeneration ? 500 : 404, "access was to be granted to \(email), but there is no such account")
      }
      return account.id
    }
  }

  // MARK: Parts

  private static func place(_ order: ShareOrder, _ configuration: ShareConfiguration) throws -> Place {
    guard order.mode == .public else { return .hidden }
    if let (transport, pool) = portPool(order.backendMode, configuration) {
      guard order.scheme == "none", order.names.isEmpty else {
        throw ShareRefusal(
          422, "a public \(order.backendMode.rawValue) share has a port: neither a name nor a login is possible")
      }
      return .port(transport, pool: pool)
    }
    guard order.backendMode.isHTTP else {
      throw ShareRefusal(
        422,
        "a public share is reached over HTTP, which \(order.backendMode.rawValue) does not speak; make it private, or use another backend mode"
      )
    }
    return order.frontends.map { .frontends($0) } ?? .names(order.names)
  }

  /// The operator's ports for public shares of a mode.
  private static func portPool(
    _ mode: ShareOptions.Backend, _ configuration: ShareConfiguration
  ) -> (TunnelTransport, ClosedRange<Int>)? {
    // Frontends that run elsewhere open no ports.
    guard configuration.servesFrontend else { return nil }
    return switch mode.transport {
    case .tcp: configuration.tcpPorts.map { (.tcp, $0) }
    case .udp: configuration.udpPorts.map { (.udp, $0) }
    case nil: nil
    }
  }

  private static func token(_ order: ShareOrder) throws -> String {
    let token = order.token.isEmpty ? ShareTokens.share() : order.token
    guard ShareTokens.isLabel(token, lengths: 3...32, dash: !order.isFirstGeneration) else {
      throw ShareRefusal(
        422,
        order.isFirstGeneration
          ? "a unique name has 4 to 32 characters of a-z and 0-9"
          : "a share token has 3 to 32 characters of a-z, 0-9 and -"
      )
    }
    return token
  }

  private static func gate(_ order: ShareOrder, _ configuration: ShareConfiguration) throws -> ShareGate {
    var gate = ShareGate()
    gate.scheme = order.scheme
    switch order.scheme {
    case "none": break
    case "basic": try judge(users: order, configuration)
    case "oauth":
      try judge(login: order, configuration)
      gate.provider = order.provider
      gate.emailPatterns = order.emailPatterns
      gate.refreshInterval = order.refreshInterval
    default:
      throw ShareRefusal(500, "there is no authentication scheme '\(order.scheme)'; there are none, basic and oauth")
    }
    return gate
  }

  private static func judge(users order: ShareOrder, _ configuration: ShareConfiguration) throws {
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
    }
  }

  private static func judge(login order: ShareOrder, _ configuration: ShareConfiguration) throws {
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
  }
}

extension ShareRow {
  /// The row of a planned share; what stands for it in the network is filled in as it is made.
  init(_ plan: SharePlan, _ places: SharePlaces, _ gate: ShareGate, of account: ShareAccount, grants: [String]) {
    let order = plan.order
    self.init(
      id: EntityID.short(), token: plan.token, accountId: account.id, environmentId: order.environment,
      mode: order.mode, backendMode: order.backendMode, target: String(order.target.prefix(2048)),
      permissionMode: order.permissionMode, accessGrants: grants, gate: gate, serviceId: "", configId: "",
      bindPolicyId: "", routerPolicyId: "")
    reserved = order.reserved
    if order.isWindowed { windowed = true }
    if order.isLeased, !order.reserved { leased = true }
    interstitial = plan.interstitial && !account.skipsInterstitial
    publicPort = places.port
    hosts = places.hosts
    dialIdentities = places.dialIdentities
    if case .frontends(let names) = plan.place { frontendSelection = names.first ?? "" }
    endpoints = order.mode == .private ? ["private"] : places.addresses.map(\.shown)
  }
}
