public import WireSchemas

/// The API sessions of SDKs that this router may let in, as the controller tells of them (fabric-planes.md 4.8).
///
/// Sessions are known by digests of their tokens. Messages in which a controller names them by token are translated
/// before they come here; what is called a token in a message here is a digest.
public struct SessionTable: Sendable {
  public struct APISession: Sendable, Equatable {
    public var id: String
    public var digest: String
    /// As the SDK showed it at this router; never in the table itself.
    public var token = ""
    public var identityID: String
    /// Lower-case hex SHA-1 of client certificates that may be used with it.
    public var fingerprints: Set<String>

    public init(id: String, digest: String, identityID: String, fingerprints: Set<String>) {
      self.id = id
      self.digest = digest
      self.identityID = identityID
      self.fingerprints = fingerprints
    }
  }

  private struct Synchronization: Sendable {
    var id: String
    var digests: Set<String> = []
  }

  private var sessions: [String: APISession] = [:]
  private var digestsByID: [String: String] = [:]
  private var synchronization: Synchronization?

  public init() {}

  public subscript(digest: String) -> APISession? { sessions[digest] }
  public var count: Int { sessions.count }

  /// Learns of sessions (20200).
  ///
  /// - Parameters:
  ///   - syncID: names the synchronisation that a chunk of the full state belongs to.
  ///   - isLast: of the chunks.
  /// - Returns: digests of those that ended because the complete state does not have them.
  public mutating func add(_ message: EdgeCtrlApiSessionAdded, syncID: String?, isLast: Bool) -> [String] {
    for session in message.apiSessions { put(session) }
    let digests = message.apiSessions.map(\.token)
    guard message.isFullState, let syncID else {
      // A session that is made while the full state is on its way belongs to both.
      synchronization?.digests.formUnion(digests)
      return []
    }
    if synchronization?.id != syncID { synchronization = Synchronization(id: syncID) }
    synchronization?.digests.formUnion(digests)
    guard isLast, let complete = synchronization?.digests else { return [] }
    synchronization = nil
    let ended = sessions.keys.filter { !complete.contains($0) }.sorted()
    for digest in ended { remove(digest: digest) }
    return ended
  }

  /// Certificates of sessions changed (20201).
  public mutating func update(_ message: EdgeCtrlApiSessionUpdated) {
    for session in message.apiSessions { put(session) }
  }

  /// Sessions ended (20202). - Returns: the digests that were known.
  public mutating func remove(_ message: EdgeCtrlApiSessionRemoved) -> [String] {
    let digests = Set(message.tokens + message.ids.compactMap { digestsByID[$0] })
    return digests.filter { remove(digest: $0) }.sorted()
  }

  private mutating func put(_ session: EdgeCtrlApiSession) {
    guard !session.token.isEmpty, !session.identityID.isEmpty else { return }
    sessions[session.token] = APISession(
      id: session.id, digest: session.token, identityID: session.identityID, fingerprints: Set(session.certFingerprints)
    )
    digestsByID[session.id] = session.token
  }

  @discardableResult
  private mutating func remove(digest: String) -> Bool {
    guard let session = sessions.removeValue(forKey: digest) else { return false }
    digestsByID[session.id] = nil
    return true
  }
}
