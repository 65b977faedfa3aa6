/// Services that SDKs on this router host. Terminator ids are chosen here and stay the same when a listener binds again
/// (edge-data-plane.md 4.3, 4.8).
public struct HostedTerminators<Connection: Hashable & Sendable>: Sendable {
  public struct Hosted: Sendable, Equatable {
    public let id: String
    public let connection: Connection
    /// The bind connection.
    public let connID: UInt32
    public let identityID: String
    public let serviceID: String
    /// `jti` of the service session.
    public let sessionID: String
    /// Body of the Bind, repeated in every Dial byte for byte.
    public let token: [UInt8]
    public let instance: String
    public let listenerID: [UInt8]?

    public init(
      id: String, connection: Connection, connID: UInt32, identityID: String, serviceID: String, sessionID: String,
      token: [UInt8], instance: String,
      listenerID: [UInt8]?
    ) {
      self.id = id
      self.connection = connection
      self.connID = connID
      self.identityID = identityID
      self.serviceID = serviceID
      self.sessionID = sessionID
      self.token = token
      self.instance = instance
      self.listenerID = listenerID
    }
  }

  public enum BindOutcome: Sendable, Equatable {
    case new(Hosted)
    /// Takes the place, and the id, of an older bind, which has to be told.
    case replaces(Hosted, old: Hosted)
    /// The very same bind once more.
    case duplicate(Hosted)
    /// Older than what is bound already.
    case stale
  }

  /// What makes two binds the same listener.
  private enum Key: Hashable {
    case listener(identity: String, id: [UInt8])
    case session(token: [UInt8], instance: String)
  }

  private var hosted: [String: Hosted] = [:]
  private var byKey: [Key: String] = [:]
  private var byConnection = Multimap<Connection, String>()
  private var byIdentity = Multimap<String, String>()
  private var byService = Multimap<String, String>()
  private var bySession = Multimap<String, String>()

  public init() {}

  public subscript(id: String) -> Hosted? { hosted[id] }
  public var all: [Hosted] { hosted.values.sorted { $0.id < $1.id } }
  public var count: Int { hosted.count }

  private static func key(_ bind: Hosted) -> Key {
    if let id = bind.listenerID, !id.isEmpty { return .listener(identity: bind.identityID, id: id) }
    return .session(token: bind.token, instance: bind.instance)
  }

  /// - Parameter bind: with a fresh id, which is used unless the listener is known.
  public mutating func bind(_ bind: Hosted) -> BindOutcome {
    let key = Self.key(bind)
    guard let id = byKey[key], let old = hosted[id] else {
      enter(bind)
      byKey[key] = bind.id
      return .new(bind)
    }
    if old.connection == bind.connection {
      if old.connID == bind.connID, old.token == bind.token { return .duplicate(old) }
      if bind.connID < old.connID { return .stale }
    }
    // The id survives only on the same service; another service is another terminator.
    let kept = old.serviceID == bind.serviceID ? id : bind.id
    let new = Hosted(
      id: kept, connection: bind.connection, connID: bind.connID, identityID: bind.identityID,
      serviceID: bind.serviceID, sessionID: bind.sessionID,
      token: bind.token, instance: bind.instance, listenerID: bind.listenerID)
    leave(old)
    enter(new)
    byKey[key] = kept
    return .replaces(new, old: old)
  }

  @discardableResult
  public mutating func remove(_ id: String) -> Hosted? {
    guard let old = hosted[id] else { return nil }
    leave(old)
    if byKey[Self.key(old)] == id { byKey[Self.key(old)] = nil }
    return old
  }

  public func of(_ connection: Connection) -> [Hosted] { byConnection[connection].compactMap { hosted[$0] } }
  public func of(sessions: Set<String>) -> [Hosted] { sessions.flatMap { bySession[$0] }.compactMap { hosted[$0] } }

  /// What one of the identities hosts, and what is hosted of one of the services.
  public func of(identities: Set<String>, services: Set<String>) -> [Hosted] {
    Set(identities.flatMap { byIdentity[$0] } + services.flatMap { byService[$0] }).compactMap { hosted[$0] }
  }

  private mutating func enter(_ bind: Hosted) {
    hosted[bind.id] = bind
    byConnection.insert(bind.id, for: bind.connection)
    byIdentity.insert(bind.id, for: bind.identityID)
    byService.insert(bind.id, for: bind.serviceID)
    bySession.insert(bind.id, for: bind.sessionID)
  }

  private mutating func leave(_ bind: Hosted) {
    hosted[bind.id] = nil
    byConnection.remove(bind.id, for: bind.connection)
    byIdentity.remove(bind.id, for: bind.identityID)
    byService.remove(bind.id, for: bind.serviceID)
    bySession.remove(bind.id, for: bind.sessionID)
  }
}
