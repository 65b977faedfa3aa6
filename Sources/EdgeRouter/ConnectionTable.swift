import Fabric

/// The channels of SDKs at this router, found by number, identity and API session.
struct ConnectionTable {
  private var handles: [UInt64: ConnectionHandle] = [:]
  private var byIdentity = Multimap<String, UInt64>()
  private var bySession = Multimap<String, UInt64>()
  private var shares: [String: IdentityShare] = [:]
  /// Identities without a channel, of whom something is still counted.
  private var departed: Set<String> = []

  subscript(id: UInt64) -> ConnectionHandle? { handles[id] }
  var identities: Set<String> { Set(byIdentity.keys) }
  /// API sessions with an open channel, each once.
  var sessions: [SessionTable.APISession] {
    bySession.keys.compactMap { bySession[$0].first.flatMap { handles[$0]?.session } }
  }
  func of(identity: String) -> [ConnectionHandle] { byIdentity[identity].compactMap { handles[$0] } }
  /// - Parameter session: digest of its token.
  func of(session: String) -> [ConnectionHandle] { bySession[session].compactMap { handles[$0] } }

  /// What an identity has; the same for all of its channels, and for the next one while anything of the last is
  /// counted.
  mutating func share(of identity: String, limits: IdentityLimits, total: WaitingBytes) -> IdentityShare {
    if let known = shares[identity] { return known }
    for gone in departed where shares[gone]?.isIdle ?? true {
      shares[gone] = nil
      departed.remove(gone)
    }
    let share = IdentityShare(limits: limits, total: total)
    shares[identity] = share
    departed.insert(identity)
    return share
  }

  /// - Returns: whether it is the identity's first.
  mutating func insert(_ handle: ConnectionHandle) -> Bool {
    let identity = handle.session.identityID
    let isFirst = byIdentity[identity].isEmpty
    handles[handle.id] = handle
    byIdentity.insert(handle.id, for: identity)
    bySession.insert(handle.id, for: handle.session.digest)
    shares[identity] = handle.share
    departed.remove(identity)
    return isFirst
  }

  /// - Returns: whether it was the identity's last; nil when it was not there.
  mutating func remove(_ handle: ConnectionHandle) -> Bool? {
    guard handles.removeValue(forKey: handle.id) != nil else { return nil }
    let identity = handle.session.identityID
    byIdentity.remove(handle.id, for: identity)
    bySession.remove(handle.id, for: handle.session.digest)
    guard byIdentity[identity].isEmpty else { return false }
    departed.insert(identity)
    return true
  }
}
