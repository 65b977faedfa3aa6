import Model
import Store

/// What was an account's when the service took its share back: a name in a namespace, a share's token, or a port of the frontend. Nobody else gets it
/// for a while, so that what fell over comes back under its address, and nobody who has that address is led to somebody else meanwhile.
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

  var uniqueName: String? { place }

  /// No namespace has an empty token.
  static func place(ofToken token: String) -> String { ShareName.unique("", token) }
  /// No token has a colon.
  static func place(ofPort port: Int, _ mode: BackendMode) -> String { ShareName.unique("", "\(mode.rawValue):\(port)") }

  func validate() throws(ModelError) { try validateBase() }
}

extension StoreReader {
  /// Whether something is held, and for whom that counts.
  private func isHeld(_ place: String, now: Timestamp, _ whose: (_ accountID: String) -> Bool) throws -> Bool {
    try named(ShareHold.self, place).map { $0.until > now && whose($0.accountId) } ?? false
  }

  /// Whether a name or a token is held for another account.
  func isHeld(_ place: String, against accountID: String, now: Timestamp) throws -> Bool {
    try isHeld(place, now: now) { $0 != accountID }
  }

  /// Whether a share that is not there was taken back from that account, and not deleted by it.
  func wasTakenBack(_ token: String, of accountID: String, now: Timestamp) throws -> Bool {
    guard try named(ShareRow.self, token) == nil else { return false }
    return try isHeld(ShareHold.place(ofToken: token), now: now) { $0 == accountID }
  }
}

extension StoreTransaction {
  /// Holds the token of a share, and the names that go with it.
  fileprivate func hold(_ share: ShareRow) throws {
    let names = try all(ShareName.self, field: "shareToken", equals: share.token).filter { !$0.reserved }
    let until = now.adding(seconds: ShareHold.duration)
    var places = [ShareHold.place(ofToken: share.token)] + names.map { ShareName.unique($0.namespace, $0.name) }
    if let port = share.publicPort { places.append(ShareHold.place(ofPort: port, share.backendMode)) }
    for place in places {
      var hold =
        try named(ShareHold.self, place) ?? ShareHold(id: EntityID.short(), place: place, accountId: share.accountId, until: until)
      (hold.accountId, hold.until) = (share.accountId, until)
      try put(hold)
    }
    let held = try all(ShareHold.self, field: "accountId", equals: share.accountId).sorted { ($0.until, $0.place) < ($1.until, $1.place) }
    for old in held.dropLast(ShareHold.limit) { try delete(ShareHold.self, old.id) }
  }

  /// Its account has it again.
  func release(_ place: String) throws {
    if let hold = try named(ShareHold.self, place) { try delete(ShareHold.self, hold.id) }
  }

  /// The port to give: one that is held for the account, else one that is held for nobody, else the one that was held longest. Unlike names there are
  /// few of them, so a held one is the last to be given, not refused.
  /// - Parameter free: ports that no share has.
  func port(of free: [Int], _ mode: BackendMode, for accountID: String) throws -> Int? {
    let held = try all(ShareHold.self).filter { $0.until > now }
    let holds = Dictionary(held.map { ($0.place, $0) }, uniquingKeysWith: { first, _ in first })
    func hold(_ port: Int) -> ShareHold? { holds[ShareHold.place(ofPort: port, mode)] }
    if let own = free.first(where: { hold($0)?.accountId == accountID }) { return own }
    if let unheld = free.first(where: { hold($0) == nil }) { return unheld }
    return free.min { (hold($0)?.until ?? .epoch) < (hold($1)?.until ?? .epoch) }
  }

  func releaseAll(of accountID: String) throws {
    for hold in try all(ShareHold.self, field: "accountId", equals: accountID) { try delete(ShareHold.self, hold.id) }
  }
}

extension ShareDesk {
  /// Removes a share that nobody serves any more, and holds its token and names for its account. Reserved names are the account's anyhow.
  static func takeBack(_ share: ShareRow, _ change: any NetworkChange) throws {
    try change.store.hold(share)
    try remove(share, change)
  }

  /// Deletes what is held no longer.
  func forgetHolds() async throws {
    let now = network.now
    let over = try await network.read { try $0.all(ShareHold.self).filter { $0.until <= now }.map(\.id) }
    guard !over.isEmpty else { return }
    try await network.write(author: "share service") { change in for id in over { try change.store.delete(ShareHold.self, id) } }
  }
}
