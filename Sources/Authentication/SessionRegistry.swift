package import Logging
package import Model
import NIOConcurrencyHelpers
package import PKI
package import Store

/// API sessions and service sessions: durable rows, whose tokens are sealed, with a copy in memory, which every request
/// reads and whose every question is answered from an index.
package final class SessionRegistry: Sendable {
  /// Nominal life of a service session token; it ends earlier with its API session (edge-client-api.md 4.4).
  package static let tokenLifetime = 365 * 24 * 3600

  /// What one identity may have at a time.
  package struct Limits: Sendable {
    /// API sessions; the longest unused one ends for a new one. An identity file may be in use by hundreds of replicas,
    /// and each that crashes leaves a session behind for the idle time.
    package var apiSessions: Int
    /// Service sessions of all its API sessions, about 2 KB each.
    package var serviceSessions: Int

    package init(apiSessions: Int = 1000, serviceSessions: Int = 20_000) {
      self.apiSessions = apiSessions
      self.serviceSessions = serviceSessions
    }
  }

  /// What ended, with the service sessions that went with their API session.
  package struct Ended: Sendable {
    package var api: [APISession] = []
    package var services: [ServiceSession] = []
  }

  package enum Refusal: Error {
    /// The identity has as many service sessions as it may have.
    case tooManyServiceSessions(limit: Int)
    case apiSessionEnded
  }

  /// What an API session has at most one service session for.
  private struct Purpose: Hashable {
    let service: String
    let type: PolicyType
  }

  private struct State {
    private(set) var api: [String: APISession] = [:]
    private(set) var services: [String: ServiceSession] = [:]
    /// Digest of the token -> id. Keyed by digests, because that is what routers name sessions by.
    private(set) var byDigest: [String: String] = [:]
    private(set) var byIdentity: [String: Set<String>] = [:]
    private(set) var byAuthenticator: [String: Set<String>] = [:]
    private(set) var byAPISession: [String: [Purpose: String]] = [:]
    private(set) var byService: [String: Set<String>] = [:]
    private(set) var serviceSessionsOfIdentity: [String: Int] = [:]
    /// Ids whose activity is not on disk yet.
    var dirty: Set<String> = []
    /// Ended ones whose rows are still on disk.
    var undeleted: (api: Set<String>, services: Set<String>) = ([], [])
    /// New ones that the disk did not take: they live in memory, and are written at the next `flush` that succeeds.
    var unwritten: (api: Set<String>, services: Set<String>) = ([], [])

    mutating func put(_ session: APISession) {
      api[session.id] = session
      byDigest[SessionDigest.of(session.token)] = session.id
      byIdentity[session.identityId, default: []].insert(session.id)
      byAuthenticator[session.authenticatorId, default: []].insert(session.id)
    }

    /// Everything but what the indexes are made of.
    mutating func change(_ id: String, _ body: (inout APISession) -> Void) -> APISession? {
      guard var session = api[id] else { return nil }
      body(&session)
      api[id] = session
      return session
    }

    mutating func put(_ session: ServiceSession) {
      services[session.id] = session
      byAPISession[session.apiSessionId, default: [:]][Purpose(service: session.serviceId, type: session.type)] =
        session.id
      byService[session.serviceId, default: []].insert(session.id)
      serviceSessionsOfIdentity[session.identityId, default: 0] += 1
    }

    mutating func remove(api id: String) -> APISession? {
      guard let session = api.removeValue(forKey: id) else { return nil }
      byDigest[SessionDigest.of(session.token)] = nil
      Self.remove(id, from: &byIdentity, key: session.identityId)
      Self.remove(id, from: &byAuthenticator, key: session.authenticatorId)
      dirty.remove(id)
      undeleted.api.insert(id)
      return session
    }

    mutating func remove(service id: String) -> ServiceSession? {
      guard let session = services.removeValue(forKey: id) else { return nil }
      byAPISession[session.apiSessionId]?[Purpose(service: session.serviceId, type: session.type)] = nil
      if byAPISession[session.apiSessionId]?.isEmpty ?? false { byAPISession[session.apiSessionId] = nil }
      Self.remove(id, from: &byService, key: session.serviceId)
      let left = (serviceSessionsOfIdentity[session.identityId] ?? 1) - 1
      serviceSessionsOfIdentity[session.identityId] = left > 0 ? left : nil
      undeleted.services.insert(id)
      return session
    }

    private static func remove(_ id: String, from index: inout [String: Set<String>], key: String) {
      index[key]?.remove(id)
      if index[key]?.isEmpty ?? false { index[key] = nil }
    }
  }

  private let state: NIOLockedValueBox<State>
  private let store: Store
  private let rows: SealedRows
  private let limits: Limits

  package init(store: Store, seal: TokenSeal, limits: Limits = Limits(), now: Timestamp, logger: Logger) async throws {
    self.store = store
    self.limits = limits
    rows = SealedRows(seal: seal)
    let loaded = try await rows.load(store, now: now, logger: logger)
    var state = State()
    for session in loaded.api { state.put(session) }
    for session in loaded.services { state.put(session) }
    self.state = NIOLockedValueBox(state)
  }

  // MARK: Questions

  /// All of them, by id: for tests and for whoever shows them.
  package var apiSessions: [APISession] { state.withLockedValue { $0.api.values.sorted { $0.id < $1.id } } }
  package var serviceSessions: [ServiceSession] {
    state.withLockedValue { $0.services.values.sorted { $0.id < $1.id } }
  }
  package var counts: (api: Int, services: Int) { state.withLockedValue { ($0.api.count, $0.services.count) } }
  package func apiSession(_ id: String) -> APISession? { state.withLockedValue { $0.api[id] } }
  package func serviceSession(_ id: String) -> ServiceSession? { state.withLockedValue { $0.services[id] } }

  /// The live session of a token, if it may be used now; using it keeps it alive.
  /// - Parameter mayUse: whether whoever showed the token may; a refusal prolongs nothing.
  package func use(token: String, now: Timestamp, if mayUse: (APISession) -> Bool = { _ in true }) -> APISession? {
    use(digest: SessionDigest.of(token), now: now, if: mayUse)
  }

  package func use(digest: String, now: Timestamp, if mayUse: (APISession) -> Bool = { _ in true }) -> APISession? {
    state.withLockedValue { state in
      guard let id = state.byDigest[digest], let session = state.api[id], !session.isExpired(at: now), mayUse(session)
      else { return nil }
      state.dirty.insert(id)
      return state.change(id) { $0.lastActivityAt = max($0.lastActivityAt, now) }
    }
  }

  /// The live session of a token, without prolonging it.
  package func apiSession(token: String, now: Timestamp) -> APISession? {
    apiSession(digest: SessionDigest.of(token), now: now)
  }
  package func apiSession(digest: String, now: Timestamp) -> APISession? {
    state.withLockedValue { state in
      guard let session = state.byDigest[digest].flatMap({ state.api[$0] }), !session.isExpired(at: now) else {
        return nil
      }
      return session
    }
  }

  package func serviceSession(apiSession: String, service: String, type: PolicyType) -> ServiceSession? {
    state.withLockedValue { state in
      state.byAPISession[apiSession]?[Purpose(service: service, type: type)].flatMap { state.services[$0] }
    }
  }

  package func serviceSessions(apiSession: String) -> [ServiceSession] {
    state.withLockedValue { state in
      (state.byAPISession[apiSession]?.values).map { $0.compactMap { state.services[$0] } } ?? []
    }
  }

  /// Service sessions of an identity for a service, for rights that were lost.
  package func serviceSessions(identity: String, service: String, type: PolicyType) -> Set<String> {
    state.withLockedValue { state in
      let purpose = Purpose(service: service, type: type)
      return Set((state.byIdentity[identity] ?? []).compactMap { state.byAPISession[$0]?[purpose] })
    }
  }

  package func serviceSessions(service: String) -> Set<String> { state.withLockedValue { $0.byService[service] ?? [] } }

  /// Identities with sessions.
  package var identities: [String] { state.withLockedValue { Array($0.byIdentity.keys) } }
  package func apiSessions(identity: String) -> Set<String> { state.withLockedValue { $0.byIdentity[identity] ?? [] } }
  package func apiSessions(authenticator: String) -> Set<String> {
    state.withLockedValue { $0.byAuthenticator[authenticator] ?? [] }
  }
  package func sessions(identity: String) -> [APISession] {
    state.withLockedValue { state in (state.byIdentity[identity] ?? []).compactMap { state.api[$0] } }
  }

  package func expired(now: Timestamp) -> Set<String> {
    state.withLockedValue { state in Set(state.api.values.filter { $0.isExpired(at: now) }.map(\.id)) }
  }

  // MARK: Changes

  /// Makes a session durable and known.
  /// - Returns: the session as stored, and those that must end because its identity has too many now.
  @discardableResult
  package func add(_ session: APISession, now: Timestamp) async throws -> (session: APISession, surplus: Set<String>) {
    let rows = self.rows
    var stored = session
    do {
      stored = try await store.write(.system("session"), now: now) { try $0.put(try rows.sealed(session)) }.value
    } catch let error as StoreError
      where error.isOfDisk
    {
      // Sessions are activity, not intent: nobody is shut out because a disk is full.
      state.withLockedValue { _ = $0.unwritten.api.insert(session.id) }
    }
    stored.token = session.token
    let made = stored
    let surplus = state.withLockedValue { state -> Set<String> in
      state.put(made)
      let all = state.byIdentity[made.identityId] ?? []
      guard all.count > limits.apiSessions else { return [] }
      let idle = all.compactMap { state.api[$0] }.filter { $0.id != made.id }.sorted {
        ($0.lastActivityAt, $0.id) < ($1.lastActivityAt, $1.id)
      }
      return Set(idle.prefix(all.count - limits.apiSessions).map(\.id))
    }
    return (made, surplus)
  }

  /// Adds a service session unless its API session has one for the same service and type already, which is then
  /// returned.
  /// - Throws: `Refusal`; `StoreError`.
  package func addIfAbsent(_ session: ServiceSession, now: Timestamp) async throws -> ServiceSession {
    let winner = try state.withLockedValue { state throws(Refusal) -> ServiceSession in
      let purpose = Purpose(service: session.serviceId, type: session.type)
      if let known = state.byAPISession[session.apiSessionId]?[purpose].flatMap({ state.services[$0] }) { return known }
      guard state.api[session.apiSessionId] != nil else { throw .apiSessionEnded }
      guard (state.serviceSessionsOfIdentity[session.identityId] ?? 0) < limits.serviceSessions else {
        throw .tooManyServiceSessions(limit: limits.serviceSessions)
      }
      state.put(session)
      return session
    }
    guard winner.id == session.id else { return winner }
    do {
      let rows = self.rows
      _ = try await store.write(.system("session"), now: now) { try $0.put(try rows.sealed(session)) }
    } catch let error as StoreError where error.isOfDisk {
      state.withLockedValue { _ = $0.unwritten.services.insert(session.id) }
    } catch {
      _ = state.withLockedValue { $0.remove(service: session.id) }
      throw error
    }
    return session
  }

  /// Ends sessions in memory, at once; `deleteEnded` then takes them off the disk. - Returns: those that existed.
  package func end(apiSessions: Set<String>) -> Ended {
    state.withLockedValue { state in
      var ended = Ended()
      for id in apiSessions.sorted() {
        guard let session = state.remove(api: id) else { continue }
        ended.api.append(session)
        for service in (state.byAPISession[id]?.values).map(Array.init) ?? [] {
          ended.services += state.remove(service: service).map { [$0] } ?? []
        }
      }
      return ended
    }
  }

  package func end(serviceSessions: Set<String>) -> Ended {
    state.withLockedValue { state in Ended(services: serviceSessions.sorted().compactMap { state.remove(service: $0) })
    }
  }

  /// Deletes the rows of what ended. What fails is tried again with the next call.
  package func deleteEnded(now: Timestamp) async throws {
    let (api, services) = state.withLockedValue { state in
      defer { state.undeleted = ([], []) }
      return state.undeleted
    }
    guard !api.isEmpty || !services.isEmpty else { return }
    do {
      _ = try await store.write(.system("session"), now: now) { transaction in
        for id in services { try transaction.delete(ServiceSession.self, id) }
        for id in api {
          for certificate in try transaction.all(APISessionCertificate.self, field: "apiSessionId", equals: id) {
            try transaction.delete(APISessionCertificate.self, certificate.id)
          }
          try transaction.delete(APISession.self, id)
        }
      }
    } catch {
      state.withLockedValue { state in
        state.undeleted.api.formUnion(api)
        state.undeleted.services.formUnion(services)
      }
      // The sessions have ended in memory already; the next call deletes their rows.
      if let error = error as? StoreError, error.isOfDisk { return }
      throw error
    }
  }

  /// Changes the certificates an API session may be used with. - Returns: false when it is gone.
  package func changeFingerprints(
    of id: String, now: Timestamp, _ change: @Sendable (inout [String]) -> Void
  ) async throws -> Bool {
    guard let changed = state.withLockedValue({ $0.change(id) { change(&$0.certificateFingerprints) } }) else {
      return false
    }
    try await rewrite([changed], now: now)
    return true
  }

  /// Moves what is told in wall time along with a wall clock that jumped: a session is idle as long as it was before.
  /// - Parameters:
  ///   - milliseconds: by which it jumped, back where negative.
  ///   - tolerance: how far clocks may differ that count as right, in milliseconds.
  package func clockJumped(by milliseconds: Int64, tolerance: Int64, now: Timestamp) {
    state.withLockedValue { state in
      for (id, session) in state.api {
        let moved = session.lastActivityAt.adding(milliseconds: milliseconds)
        // Used after the jump, so its time was told by the new clock already.
        guard milliseconds > 0 ? moved.milliseconds(since: now) <= tolerance : session.lastActivityAt > now
        else { continue }
        _ = state.change(id) {
          $0.lastActivityAt = min(moved, now)
          $0.expiresAt = $0.expiresAt?.adding(milliseconds: milliseconds)
        }
        state.dirty.insert(id)
      }
    }
  }

  /// Sessions last used after `limit`, so by a clock that ran ahead, count as used now. - Returns: how many there were.
  package func settle(now: Timestamp, limit: Timestamp) -> Int {
    state.withLockedValue { state in
      let early = state.api.values.filter { $0.lastActivityAt > limit }.map(\.id)
      for id in early {
        _ = state.change(id) { $0.lastActivityAt = now }
        state.dirty.insert(id)
      }
      return early.count
    }
  }

  /// Writes activity to disk in one transaction; called every minute and at the end.
  package func flush(now: Timestamp) async throws {
    try await writeUnwritten(now: now)
    try await deleteEnded(now: now)
    let dirty = state.withLockedValue { state in
      defer { state.dirty = [] }
      return state.dirty.compactMap { state.api[$0] }
    }
    try await rewrite(dirty, now: now)
  }

  private func writeUnwritten(now: Timestamp) async throws {
    let (ids, api, services) = state.withLockedValue { state in
      let ids = state.unwritten
      state.unwritten = ([], [])
      return (ids, ids.api.compactMap { state.api[$0] }, ids.services.compactMap { state.services[$0] })
    }
    guard !api.isEmpty || !services.isEmpty else { return }
    let rows = self.rows
    do {
      _ = try await store.write(.system("session"), now: now) { transaction in
        // A session that ends leaves memory first and the disk later: one that has left memory is not written again.
        for session in api where self.apiSession(session.id) != nil { try transaction.put(try rows.sealed(session)) }
        for session in services where self.serviceSession(session.id) != nil {
          try transaction.put(try rows.sealed(session))
        }
      }
    } catch {
      state.withLockedValue { state in
        state.unwritten.api.formUnion(ids.api)
        state.unwritten.services.formUnion(ids.services)
      }
      throw error
    }
  }

  /// Rows that were deleted meanwhile stay deleted.
  private func rewrite(_ sessions: [APISession], now: Timestamp) async throws {
    guard !sessions.isEmpty else { return }
    let rows = self.rows
    _ = try await store.write(.system("session"), now: now) { transaction in
      for session in sessions where try transaction.exists(.apiSessions, session.id) {
        try transaction.put(try rows.sealed(session))
      }
    }
  }
}
