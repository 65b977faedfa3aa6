import JSON
import Model
import Store
import SwiftletShare

/// What was an account's when its share ended: a name in a namespace, a share's token, or a port of the frontend.
/// Nobody else gets it for a while, so that what fell over comes back under its address, and nobody who has that
/// address, or an access that waits for the share, is led to somebody else meanwhile. It may outlive its account.
struct ShareHold: Entity {
  static let kind = EntityKind(rawValue: "share-holds")
  static let indexedMembers = [IndexedMember("accountId")]
  static let isIntent = false

  /// Seconds: a machine may be asleep over night.
  static let duration: Int64 = 12 * 3600
  /// What is held for one account; the oldest gives way.
  static let limit = 64

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  /// As ``place(ofToken:)`` and `ShareName.unique` write it.
  var place: String
  var accountId: String
  /// From then on it is anybody's.
  var until: Timestamp
  /// The service ended the share, not its account.
  var isTakenBack: Bool

  var uniqueName: String? { place }

  /// No namespace has an empty token.
  static func place(ofToken token: String) -> String { ShareName.unique("", token) }
  /// No token has a colon.
  static func place(ofPort port: Int, _ mode: ShareOptions.Backend) -> String {
    ShareName.unique("", "\(mode.rawValue):\(port)")
  }

  func validate() throws(ModelError) { try validateBase() }
}

extension StoreReader {
  private func hold(_ place: String, now: Timestamp) throws -> ShareHold? {
    try named(ShareHold.self, place).flatMap { $0.until > now ? $0 : nil }
  }

  /// Whether a name or a token is held for another account.
  func isHeld(_ place: String, against accountID: String, now: Timestamp) throws -> Bool {
    try hold(place, now: now).map { $0.accountId != accountID } ?? false
  }

  /// Whether a share that is not there was taken back from that account, and not deleted by it.
  func wasTakenBack(_ token: String, of accountID: String, now: Timestamp) throws -> Bool {
    guard try named(ShareRow.self, token) == nil else { return false }
    return try hold(ShareHold.place(ofToken: token), now: now).map { $0.accountId == accountID && $0.isTakenBack }
      ?? false
  }
}

extension StoreTransaction {
  /// Holds what an account had.
  private func hold(_ places: [String], for accountID: String, isTakenBack: Bool) throws {
    let until = now.adding(seconds: ShareHold.duration)
    for place in places {
      let id = try named(ShareHold.self, place)?.id ?? EntityID.short()
      try put(ShareHold(id: id, place: place, accountId: accountID, until: until, isTakenBack: isTakenBack))
    }
    let held = try all(ShareHold.self, field: "accountId", equals: accountID).sorted {
      ($0.until, $0.place) < ($1.until, $1.place)
    }
    for old in held.dropLast(ShareHold.limit) { try delete(ShareHold.self, old.id) }
  }

  /// Holds what an account has of a share that ends.
  /// - Parameter isTakenBack: the service ends it: the names and the port that go with it are held too. Of one that its
  ///   account ends only the token is, and only where others access it: their ports stay open, and lead to the next
  ///   share of that token.
  func hold(_ share: ShareRow, accessedBy accesses: [ShareAccessRow], isTakenBack: Bool) throws {
    var places = [ShareHold.place(ofToken: share.token)]
    if isTakenBack {
      let names = try all(ShareName.self, field: "shareToken", equals: share.token)
      places += names.filter { !$0.reserved }.map { ShareName.unique($0.namespace, $0.name) }
      if let port = share.publicPort { places.append(ShareHold.place(ofPort: port, share.backendMode)) }
    } else if try !accesses.contains(where: {
      try get(ShareEnvironmentRow.self, $0.environmentId)?.accountId != share.accountId
    }) {
      return
    }
    try hold(places, for: share.accountId, isTakenBack: isTakenBack)
  }

  /// Its account has it again.
  func release(_ place: String) throws {
    if let hold = try named(ShareHold.self, place) { try delete(ShareHold.self, hold.id) }
  }

  /// The port to give: one that is held for the account, else one that is held for nobody, else the one that was held
  /// longest. Unlike names there are few of them, so a held one is the last to be given, not refused.
  /// - Parameter free: ports that no share has.
  func port(of free: [Int], _ mode: ShareOptions.Backend, for accountID: String) throws -> Int? {
    let held = try all(ShareHold.self).filter { $0.until > now }
    let holds = Dictionary(held.map { ($0.place, $0) }, uniquingKeysWith: { first, _ in first })
    func holder(_ port: Int) -> ShareHold? { holds[ShareHold.place(ofPort: port, mode)] }
    if let own = free.first(where: { holder($0)?.accountId == accountID }) { return own }
    if let unheld = free.first(where: { holder($0) == nil }) { return unheld }
    return free.min { (holder($0)?.until ?? .epoch) < (holder($1)?.until ?? .epoch) }
  }
}

extension ShareCore {
  /// Deletes what is held no longer.
  func forgetHolds() async throws {
    let now = network.now
    let over = try await network.read { try $0.all(ShareHold.self).filter { $0.until <= now }.map(\.id) }
    guard !over.isEmpty else { return }
    try await network.write(author: "share service") { change in
      for id in over { try change.store.delete(ShareHold.self, id) }
    }
  }
}
