public import WireSchemas

/// The API sessions of SDKs that this router may let in, as the controller tells of them (fabric-planes.md 4.8).
public struct SessionTable: Sendable {
  public struct APISession: Sendable, Equatable {
    public var id: String
    public var token: String
    public var identityID: String
    /// Lower-case hex SHA-1 of client certificates that may be used with it.
    public var fingerprints: Set<String>

    public init(id: String, token: String, identityID: String, fingerprints: Set<String>) {
      self.id = id
      self.token = token
      self.identityID = identityID
      self.fingerprints = fingerprints
    }
  }

  private struct Synchronization: Sendable {
    var id: String
    var tokens: Set<String> = []
  }

  private var sessions: [String: APISession] = [:]
  private var tokensByID: [String: String] = [:]
  private var synchronization: Synchronization?

  public init() {}

  public subscript(token: String) -> APISession? { sessions[token] }
  public var count: Int { sessions.count }

  /// Learns of sessions (20200).
  ///
  /// - Parameters:
  ///   - syncID: names the synchronisation that a chunk of the full state belongs to.
  ///   - isLast: of the chunks.
  /// - Returns: tokens that ended because the complete state does not have them.
  public mutating func add(_ message: EdgeCtrlApiSessionAdded, syncID: String?, isLast: Bool) -> [String] {
    for session in message.apiSessions { put(session) }
    let tokens = message.apiSessions.map(\.token)
    guard message.isFullState, let syncID else {
      // A session that is made while the full state is on its way belongs to both.
      synchronization?.tokens.formUnion(tokens)
      return []
    }
    if synchronization?.id != syncID { synchronization = Synchronization(id: syncID) }
    synchronization?.tokens.formUnion(tokens)
    guard isLast, let complete = synchronization?.tokens else { return [] }
    synchronization = nil
    let ended = sessions.keys.filter { !complete.contains($0) }.sorted()
    for token in ended { remove(token: token) }
    return ended
  }

  /// Certificates of sessions changed (20201).
  public mutating func update(_ message: EdgeCtrlApiSessionUpdated) { for session in message.apiSessions { put(session) } }

  /// Sessions ended (20202). - Returns: the tokens that were known.
  public mutating func remove(_ message: EdgeCtrlApiSessionRemoved) -> [String] {
    let tokens = Set(message.tokens + message.ids.compactMap { tokensByID[$0] })
    return tokens.filter { remove(token: $0) }.sorted()
  }

  private mutating func put(_ session: EdgeCtrlApiSession) {
    guard !session.token.isEmpty, !session.identityID.isEmpty else { return }
    sessions[session.token] = APISession(
      id: session.id, token: session.token, identityID: session.identityID, fingerprints: Set(session.certFingerprints))
    tokensByID[session.id] = session.token
  }

  @discardableResult
  private mutating func remove(token: String) -> Bool {
    guard let session = sessions.removeValue(forKey: token) else { return false }
    tokensByID[session.id] = nil
    return true
  }
}
