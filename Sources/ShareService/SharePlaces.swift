import Model
import Store
import SwiftletShare
import Tunnel

/// What addresses of public shares are made of.
struct PublicEntry: Sendable {
  let zone: String
  /// `http` or `https`.
  let scheme: String
  /// `:8080` where browsers need it.
  let portSuffix: String
  /// Where visitors sign in: no share is found there.
  let loginHost: String?
}

/// An address of a public share.
struct ShareAddress: Sendable, Equatable {
  /// As the API shows it.
  let shown: String
  let url: String
}

/// Where a planned share will be found, and who dials it: names and ports that are free for its account. Found by
/// reading; `take` then makes them the share's.
struct SharePlaces: Sendable {
  /// Names that lead to it.
  private(set) var names: [ShareName] = []
  /// Lower case, without port; nil for one that is found by no host.
  private(set) var hosts: [String]?
  private(set) var port: Int?
  /// Nil where accesses dial it, and nobody else.
  private(set) var dialIdentities: [String]?
  private(set) var addresses: [ShareAddress] = []
  /// What may be held for the account in these places.
  private var holds: [String] = []

  /// - Throws: `ShareRefusal` when a place is not the account's to take.
  static func find(
    _ plan: SharePlan, _ account: ShareAccount, _ entry: PublicEntry, _ store: StoreTransaction
  ) throws -> SharePlaces {
    switch plan.place {
    case .hidden: SharePlaces()
    case .port(let transport, let pool):
      try atPort(transport, pool, plan.order.backendMode, account, entry, store)
    case .names(let selections):
      try atHosts(inNamespaces(selections, plan.token, account, store), plan.token, entry)
    case .frontends(let publicNames):
      try atHosts(atFrontends(publicNames, plan.token, account, store), plan.token, entry)
    }
  }

  /// Stores the names, and ends what is held of the places.
  func take(_ store: StoreTransaction) throws {
    for name in names { try store.put(name) }
    for hold in holds { try store.release(hold) }
  }

  // MARK: A port

  private static func atPort(
    _ transport: TunnelTransport, _ pool: ClosedRange<Int>, _ mode: ShareOptions.Backend, _ account: ShareAccount,
    _ entry: PublicEntry, _ store: StoreTransaction
  ) throws -> SharePlaces {
    let taken = Set(try store.all(ShareRow.self).filter { $0.backendMode == mode }.compactMap(\.publicPort))
    guard let port = try store.port(of: pool.filter { !taken.contains($0) }, mode, for: account.id) else {
      throw ShareRefusal(
        409,
        "all \(pool.count) ports for public \(mode.rawValue) shares are in use; try again later, or make the share private"
      )
    }
    guard let frontend = try store.named(ShareFrontendRow.self, ShareCore.defaultName) else {
      throw ShareRefusal.notFound("frontend \(ShareCore.defaultName)")
    }
    var places = SharePlaces()
    places.port = port
    places.dialIdentities = [frontend.zId]
    let shown = "\(entry.zone):\(port)"
    places.addresses = [ShareAddress(shown: shown, url: "\(transport.rawValue)://\(shown)")]
    places.holds = [ShareHold.place(ofPort: port, mode)]
    return places
  }

  // MARK: Hosts

  /// A name that leads to a share, and who dials.
  private struct Host {
    var name: ShareName
    var host: String
    var identities: [String]
    /// v1 shows the frontend's template.
    var template: String?
  }

  private static func atHosts(_ found: [Host], _ token: String, _ entry: PublicEntry) throws -> SharePlaces {
    for place in found where place.host == entry.loginHost {
      throw ShareRefusal(409, "\(place.host) is where visitors sign in; take another name")
    }
    var places = SharePlaces()
    places.names = found.map(\.name)
    places.hosts = found.map(\.host).sorted()
    places.dialIdentities = Set(found.flatMap(\.identities)).sorted()
    places.addresses = found.map { place in
      if let template = place.template {
        let url = template.replacing("{token}", with: token)
        return ShareAddress(shown: url, url: url)
      }
      let shown = place.host + entry.portSuffix
      return ShareAddress(shown: shown, url: entry.scheme + "://" + shown)
    }
    places.holds = found.map { ShareName.unique($0.name.namespace, $0.name.name) }
    return places
  }

  /// v1: the frontends' default namespaces carry the token as a name.
  private static func atFrontends(
    _ publicNames: [String], _ token: String, _ account: ShareAccount, _ store: StoreTransaction
  ) throws -> [Host] {
    guard !publicNames.isEmpty else {
      throw ShareRefusal(404, "a public share needs a frontend; the default one is called \(ShareCore.defaultName)")
    }
    guard publicNames.count <= 32 else { throw ShareRefusal(422, "at most 32 frontends for one share") }
    return try publicNames.map { publicName in
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
      return Host(
        name: ShareName(
          id: EntityID.short(), namespace: namespace.id, name: token, accountId: account.id, shareToken: token),
        host: (token + "." + namespace.name).lowercased(), identities: [frontend.zId], template: frontend.urlTemplate)
    }
  }

  /// v2: names in namespaces; without a selection the default namespace, under the share's token.
  private static func inNamespaces(
    _ selections: [ShareOrder.NameSelection], _ token: String, _ account: ShareAccount, _ store: StoreTransaction
  ) throws -> [Host] {
    let selections = selections.isEmpty ? [ShareOrder.NameSelection(namespace: "", name: "")] : selections
    return try selections.map { selection in
      let namespace = try ShareCore.usableNamespace(selection.namespace, account, store)
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
        try ShareCore.check(label: label)
        guard try !store.isHeld(ShareName.unique(namespace.id, label), against: account.id, now: store.now) else {
          throw ShareRefusal(409, "the name \(label) belongs to another account")
        }
        name = ShareName(id: EntityID.short(), namespace: namespace.id, name: label, accountId: account.id)
      }
      name.shareToken = token
      let identities = try namespace.frontends.compactMap { try store.get(ShareFrontendRow.self, $0.token)?.zId }
      return Host(name: name, host: (label + "." + namespace.name).lowercased(), identities: identities, template: nil)
    }
  }
}
