import Authentication
import Model
import NIOConcurrencyHelpers
import Store

/// What an operator took off the network (an identity, an authenticator, a router) while the disk could not be written:
/// it counts as taken off, in memory, until that can be stored. One entry for each such request.
final class UnstoredRevocations: Sendable {
  private struct Key: Hashable {
    var kind: EntityKind
    var id: String
  }

  private let held = NIOLockedValueBox<Set<Key>>([])

  func contains(_ kind: EntityKind, _ id: String) -> Bool {
    held.withLockedValue { $0.contains(Key(kind: kind, id: id)) }
  }
  func insert(_ kind: EntityKind, _ id: String) { held.withLockedValue { _ = $0.insert(Key(kind: kind, id: id)) } }
  func remove(_ kind: EntityKind, _ id: String) { held.withLockedValue { _ = $0.remove(Key(kind: kind, id: id)) } }
}

extension ControllerCore {
  /// Runs a write that takes an identity, an authenticator or a router off the network. When the disk does not take it,
  /// what needs no disk happens all the same: its sessions end, routers cut what hangs on them, and nobody gets in with
  /// it.
  /// - Throws: `OperationError.revokedInMemory` in that case.
  nonisolated func revoking<R: Sendable>(_ kind: EntityKind, _ id: String, _ write: @Sendable () async throws -> R)
    async throws -> R
  {
    do {
      let value = try await write()
      unstored.remove(kind, id)
      return value
    } catch let error as StoreError where error.isOfDisk && [.identities, .authenticators, .edgeRouters].contains(kind)
    {
      // A disk that is read-only refuses before the write could say that there is no such thing, or that nobody may
      // take it away.
      guard try await store.read({ try $0.mayBeRevoked(kind, id) }) else { throw error }
      unstored.insert(kind, id)
      switch kind {
      case .identities: try await endSessions(apiSessions: sessions.apiSessions(identity: id))
      case .authenticators:
        try await endSessions(apiSessions: Set(sessions.apiSessions.filter { $0.authenticatorId == id }.map(\.id)))
      case .edgeRouters: fabric.disconnect(id)
      default: break
      }
      throw OperationError.revokedInMemory(kind: kind, id: id, reason: "\(error)")
    }
  }
}

extension StoreReader {
  /// - Throws: `StoreError.notFound`.
  fileprivate func mayBeRevoked(_ kind: EntityKind, _ id: String) throws -> Bool {
    guard try exists(kind, id) else { throw StoreError.notFound(kind: kind, id: id) }
    return try kind != .identities || get(Identity.self, id)?.isDefaultAdmin == false
  }
}
