import Logging
import Model
import PKI
import Store

/// Session rows as they lie on disk: their tokens sealed, each to its own row. They must be readable again, since
/// OpenZiti's routers are told the tokens after a restart of the controller as well (fabric-planes.md 4.8).
struct SealedRows: Sendable {
  let seal: TokenSeal

  func sealed(_ session: APISession) throws -> APISession {
    var row = session
    row.token = try seal.seal(session.token, at: Self.place(session))
    return row
  }

  func sealed(_ session: ServiceSession) throws -> ServiceSession {
    var row = session
    row.token = try seal.seal(session.token, at: Self.place(session))
    return row
  }

  private static func place(_ entity: some Entity) -> String { place(type(of: entity), entity.id) }
  private static func place<E: Entity>(_ type: E.Type, _ id: String) -> String { "\(E.kind.rawValue)/\(id)" }

  /// The live sessions of the store. Rows of earlier versions, with tokens in clear, are sealed; rows that cannot be
  /// opened, whose key is lost, are deleted.
  func load(_ store: Store, now: Timestamp, logger: Logger) async throws -> (
    api: [APISession], services: [ServiceSession]
  ) {
    let rows = try await store.read { reader in (try reader.all(APISession.self), try reader.all(ServiceSession.self)) }
    var api: [APISession] = []
    var services: [ServiceSession] = []
    var clear: (api: [APISession], services: [ServiceSession]) = ([], [])
    var lost: (api: [String], services: [String]) = ([], [])
    for row in rows.0 where !row.isExpired(at: now) {
      guard let session = try await opened(row, store) else {
        lost.api.append(row.id)
        continue
      }
      api.append(session)
      if !TokenSeal.isSealed(row.token) { clear.api.append(session) }
    }
    let live = Set(api.map(\.id))
    for row in rows.1 where live.contains(row.apiSessionId) {
      guard let token = token(row.token, Self.place(row)) else {
        lost.services.append(row.id)
        continue
      }
      var session = row
      session.token = token
      services.append(session)
      if !TokenSeal.isSealed(row.token) { clear.services.append(session) }
    }
    // Ended rows of earlier versions hold tokens too.
    lost.api += rows.0.filter { $0.isExpired(at: now) }.map(\.id)
    lost.services += rows.1.filter { !live.contains($0.apiSessionId) }.map(\.id)
    let unreadable = rows.0.filter { !live.contains($0.id) && !$0.isExpired(at: now) }.count
    if unreadable > 0 {
      logger.warning(
        "sessions ended: their tokens cannot be read, because pki/session.key is not the one they were sealed with; clients log in again",
        metadata: ["sessions": "\(unreadable)"])
    }
    try await replace(clear, lost, store, now: now)
    let hadClearText = (rows.0.map(\.token) + rows.1.map(\.token)).contains { !TokenSeal.isSealed($0) }
    if hadClearText {
      // The old text is still in free pages.
      try await store.compact()
      logger.notice("session tokens in the database are sealed now", metadata: ["sessions": "\(clear.api.count)"])
    }
    return (api, services)
  }

  private func replace(
    _ clear: (api: [APISession], services: [ServiceSession]), _ lost: (api: [String], services: [String]),
    _ store: Store, now: Timestamp
  ) async throws {
    guard !(clear.api.isEmpty && clear.services.isEmpty && lost.api.isEmpty && lost.services.isEmpty) else { return }
    _ = try await store.write(.system("session"), now: now) { transaction in
      for session in clear.api { try transaction.put(try sealed(session)) }
      for session in clear.services { try transaction.put(try sealed(session)) }
      for id in lost.services { try transaction.delete(ServiceSession.self, id) }
      for id in lost.api {
        for certificate in try transaction.all(APISessionCertificate.self, field: "apiSessionId", equals: id) {
          try transaction.delete(APISessionCertificate.self, certificate.id)
        }
        try transaction.delete(APISession.self, id)
      }
    }
  }

  private func token(_ stored: String, _ place: String) -> String? {
    TokenSeal.isSealed(stored) ? seal.open(stored, at: place) : stored
  }

  private func opened(_ row: APISession, _ store: Store) async throws -> APISession? {
    guard let token = token(row.token, Self.place(row)) else { return nil }
    var session = row
    session.token = token
    if session.authenticationMethod == nil {
      session.authenticationMethod = try await store.read {
        try $0.get(Authenticator.self, row.authenticatorId)?.method
      }
    }
    return session
  }
}
