import JSON
import Model
import Store

/// What one may do with entities, free of HTTP: every change is one transaction, with its checks and its consequences
/// in it.
struct Operations: Sendable {
  let core: ControllerCore
  let context: ChangeContext

  /// Makes an entity. `also` runs in the same transaction, after the entity was stored.
  @discardableResult
  func create<E: ManagedEntity>(
    _ type: E.Type, _ members: JSONObject, also: @escaping @Sendable (StoreTransaction, E) throws -> Void = { _, _ in }
  ) async throws -> E {
    var entity = E.blank()
    try entity.read(EntityBody(members: members, mode: .create))
    let made = entity
    return try await core.write(context) { transaction in
      let stored = try transaction.insert(made)
      try also(transaction, stored)
      return stored
    }
  }

  /// Changes an entity: all its members, or those that the document has.
  func update<E: ManagedEntity>(_ type: E.Type, _ id: String, _ members: JSONObject, partial: Bool) async throws {
    let body = EntityBody(members: members, mode: partial ? .patch : .replace)
    guard E.kind == .edgeRouters, members["disabled"] == true else {
      return try await change(type, id) { try $0.read(body) }
    }
    try await core.revoking(E.kind, id) { try await change(type, id) { try $0.read(body) } }
  }

  /// Changes an entity in place.
  func change<E: ManagedEntity>(_ type: E.Type, _ id: String, _ body: @escaping @Sendable (inout E) throws -> Void)
    async throws
  {
    try await core.write(context) { transaction in
      let old = try transaction.require(E.self, id)
      guard !old.isSystem || E.kind == .authPolicies else {
        throw OperationError.cannotBeUpdated(kind: E.kind, id: id, reason: "it belongs to the system")
      }
      var entity = old
      try body(&entity)
      try entity.validate()
      try entity.checkReferences(old, transaction)
      guard entity != old else { return }
      try transaction.put(entity).didStore(old, transaction)
    }
  }

  /// Deletes an entity with what must not outlive it. Sessions of the deleted end before this returns: `ControllerCore`
  /// sees to it.
  func delete<E: ManagedEntity>(_ type: E.Type, _ id: String) async throws {
    let context = context
    try await core.revoking(E.kind, id) { try await core.write(context) { try $0.remove(try $0.require(E.self, id)) } }
  }
}
