import Model
import NIOConcurrencyHelpers
import Store

/// API sessions and service sessions: durable rows with a copy in memory, which every request reads.
final class SessionRegistry: Sendable {
  /// Nominal life of a service session token; it ends earlier with its API session (edge-client-api.md 4.4).
  static let tokenLifetime = 365 * 24 * 3600

  private struct State {
    var api: [String: APISession] = [:]  // by id
    var tokens: [String: String] = [:]  // token -> id
    var services: [String: ServiceSession] = [:]  // by id
    var dirty: Set<String> = []  // ids whose activity is not on disk yet
  }

  private let state: NIOLockedValueBox<State>
  private let store: Store

  init(store: Store, now: Timestamp) async throws {
    self.store = store
    let loaded = try await store.read { reader in (try reader.all(APISession.self), try reader.all(ServiceSession.self)) }
    var state = State()
    for session in loaded.0 where !session.isExpired(at: now) {
      state.api[session.id] = session
      state.tokens[session.token] = session.id
    }
    for session in loaded.1 where state.api[session.apiSessionId] != nil { state.services[session.id] = session }
    self.state = NIOLockedValueBox(state)
  }

  var apiSessions: [APISession] { state.withLockedValue { $0.api.values.sorted { $0.id < $1.id } } }
  var serviceSessions: [ServiceSession] { state.withLockedValue { $0.services.values.sorted { $0.id < $1.id } } }
  func apiSession(_ id: String) -> APISession? { state.withLockedValue { $0.api[id] } }
  func serviceSession(_ id: String) -> ServiceSession? { state.withLockedValue { $0.services[id] } }

  /// The live session of a token; using it keeps it alive.
  func use(token: String, now: Timestamp) -> APISession? {
    state.withLockedValue { state in
      guard let id = state.tokens[token], var session = state.api[id], !session.isExpired(at: now) else { return nil }
      session.lastActivityAt = max(session.lastActivityAt, now)
      state.api[id] = session
      state.dirty.insert(id)
      return session
    }
  }

  /// The live session of a token, without prolonging it.
  func apiSession(token: String, now: Timestamp) -> APISession? {
    state.withLockedValue { state in
      guard let session = state.tokens[token].flatMap({ state.api[$0] }), !session.isExpired(at: now) else { return nil }
      return session
    }
  }

  @discardableResult
  func add(_ session: APISession, now: Timestamp) async throws -> APISession {
    let stored = try await store.write(.system("session"), now: now) { try $0.put(session) }.value
    state.withLockedValue { state in
      state.api[stored.id] = stored
      state.tokens[stored.token] = stored.id
    }
    return stored
  }

  /// Adds a service session unless its API session has one for the same service and type already, which is then returned.
  func addIfAbsent(_ session: ServiceSession, now: Timestamp) async throws -> ServiceSession {
    let winner = state.withLockedValue { state -> ServiceSession in
      if let known = Self.serviceSession(state.services, session.apiSessionId, session.serviceId, session.type) { return known }
      state.services[session.id] = session
      return session
    }
    guard winner.id == session.id else { return winner }
    do {
      _ = try await store.write(.system("session"), now: now) { try $0.put(session) }
    } catch {
      state.withLockedValue { $0.services[session.id] = nil }
      throw error
    }
    return session
  }

  private static func serviceSession(_ all: [String: ServiceSession], _ apiSession: String, _ service: String, _ type: PolicyType) -> ServiceSession?
  {
    all.values.first { $0.apiSessionId == apiSession && $0.serviceId == service && $0.type == type }
  }

  func serviceSession(apiSession: String, service: String, type: PolicyType) -> ServiceSession? {
    state.withLockedValue { Self.serviceSession($0.services, apiSession, service, type) }
  }

  func serviceSessions(apiSession: String) -> [ServiceSession] {
    state.withLockedValue { $0.services.values.filter { $0.apiSessionId == apiSession }.sorted { $0.id < $1.id } }
  }

  /// Ends sessions. - Returns: those that existed, with the service sessions that went with them.
  func remove(apiSessions ids: Set<String>, now: Timestamp) async throws -> (api: [APISession], services: [ServiceSession]) {
    let removed = state.withLockedValue { state in
      let api = ids.compactMap { state.api.removeValue(forKey: $0) }
      for session in api { state.tokens[session.token] = nil }
      let services = state.services.values.filter { ids.contains($0.apiSessionId) }
      for session in services { state.services[session.id] = nil }
      return (api, services)
    }
    if removed.0.isEmpty { return ([], []) }
    _ = try await store.write(.system("session"), now: now) { transaction in
      for session in removed.1 { try transaction.delete(ServiceSession.self, session.id) }
      for session in removed.0 {
        for certificate in try transaction.all(APISessionCertificate.self, field: "apiSessionId", equals: session.id) {
          try transaction.delete(APISessionCertificate.self, certificate.id)
        }
        try transaction.delete(APISession.self, session.id)
      }
    }
    return removed
  }

  func remove(serviceSessions ids: Set<String>, now: Timestamp) async throws -> [ServiceSession] {
    let removed = state.withLockedValue { state in ids.compactMap { state.services.removeValue(forKey: $0) } }
    if removed.isEmpty { return [] }
    _ = try await store.write(.system("session"), now: now) { transaction in
      for session in removed { try transaction.delete(ServiceSession.self, session.id) }
    }
    return removed
  }

  /// Changes the certificates an API session may be used with. - Returns: the session as it is now, nil when it is gone.
  func changeFingerprints(of id: String, now: Timestamp, _ change: @Sendable (inout [String]) -> Void) async throws -> APISession? {
    let changed = state.withLockedValue { state in
      guard var session = state.api[id] else { return APISession?.none }
      change(&session.certificateFingerprints)
      state.api[id] = session
      return session
    }
    if let changed { _ = try await store.write(.system("session"), now: now) { try $0.put(changed) } }
    return changed
  }

  /// Service sessions of an identity for a service, for rights that were lost.
  func serviceSessions(identity: String, service: String, type: PolicyType) -> Set<String> {
    state.withLockedValue { state in
      Set(state.services.values.lazy.filter { $0.identityId == identity && $0.serviceId == service && $0.type == type }.map(\.id))
    }
  }

  func serviceSessions(service: String) -> Set<String> {
    state.withLockedValue { state in Set(state.services.values.lazy.filter { $0.serviceId == service }.map(\.id)) }
  }

  func apiSessions(identity: String) -> Set<String> {
    state.withLockedValue { state in Set(state.api.values.lazy.filter { $0.identityId == identity }.map(\.id)) }
  }

  func expired(now: Timestamp) -> Set<String> { state.withLockedValue { state in Set(state.api.values.filter { $0.isExpired(at: now) }.map(\.id)) } }

  /// Writes activity to disk in one transaction; called every minute and at the end.
  func flush(now: Timestamp) async throws {
    let dirty = state.withLockedValue { state in
      defer { state.dirty = [] }
      return state.dirty.compactMap { state.api[$0] }
    }
    guard !dirty.isEmpty else { return }
    _ = try await store.write(.system("session"), now: now) { transaction in for session in dirty { try transaction.put(session) } }
  }
}
