internal import GRDB
import JSON
public import Model

/// A transaction in progress: reads see its own writes. Valid only inside the closure that received it.
public final class StoreTransaction: StoreReader {
  /// The time stamped on everything this transaction writes.
  public let now: Timestamp

  private struct Touched {
    var before: JSONValue?
    var after: JSONValue?
    var secrets: [String]
  }

  private struct Key: Hashable {
    var kind: EntityKind
    var id: String
  }

  private var touched: [Key: Touched] = [:]
  private var order: [Key] = []

  init(_ database: Database, now: Timestamp) {
    self.now = now
    super.init(database)
  }

  /// Inserts the entity, or replaces the one with its id. `updatedAt` becomes the transaction's time; `createdAt` as
  /// well on insertion (unless given), and is kept afterwards. Returns the entity as stored.
  ///
  /// The entity must be valid (`Entity.validate`): its error is thrown otherwise.
  @discardableResult
  public func put<E: Entity>(_ entity: E) throws -> E {
    try entity.validate()
    var entity = entity
    let stored = try document(E.kind, entity.id).map { try Self.parse($0, kind: E.kind, id: entity.id) }
    entity.updatedAt = now
    if let created = stored?["createdAt"]?.stringValue.flatMap({ Timestamp($0) }) {
      entity.createdAt = created
    } else if entity.createdAt == .epoch {
      entity.createdAt = now
    }
    if let name = entity.uniqueName {
      let other = try String.fetchOne(
        database.cachedStatement(sql: "SELECT id FROM documents WHERE kind = ? AND name = ?"),
        arguments: [E.kind.rawValue, name])
      guard other == nil || other == entity.id else { throw StoreError.duplicateName(kind: E.kind, name: name) }
    }
    let document = try JSONValue(encoding: entity)
    try database.cachedStatement(
      sql: """
        INSERT INTO documents (kind, id, name, document, created_at, updated_at, is_system) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (kind, id) DO UPDATE SET
          name = excluded.name, document = excluded.document, updated_at = excluded.updated_at, is_system = excluded.is_system
        """
    ).execute(arguments: [
      E.kind.rawValue, entity.id, entity.uniqueName, document.text, entity.createdAt.millisecondsSinceEpoch,
      entity.updatedAt.millisecondsSinceEpoch,
      entity.isSystem,
    ])
    try index(document, E.indexedMembers, kind: E.kind, id: entity.id, before: stored)
    if E.isIntent { touch(E.kind, entity.id, before: stored, after: document, secrets: E.secretMembers) }
    return entity
  }

  /// Removes the entity; false when there is none. References to it are the caller's part.
  @discardableResult
  public func delete<E: Entity>(_ type: E.Type, _ id: String) throws -> Bool {
    guard let stored = try document(E.kind, id).map({ try Self.parse($0, kind: E.kind, id: id) }) else { return false }
    try database.cachedStatement(sql: "DELETE FROM lookups WHERE kind = ? AND id = ?").execute(arguments: [
      E.kind.rawValue, id,
    ])
    try database.cachedStatement(sql: "DELETE FROM documents WHERE kind = ? AND id = ?").execute(arguments: [
      E.kind.rawValue, id,
    ])
    if E.isIntent { touch(E.kind, id, before: stored, after: nil, secrets: E.secretMembers) }
    return true
  }

  private func index(
    _ document: JSONValue, _ members: [IndexedMember], kind: EntityKind, id: String, before: JSONValue?
  ) throws {
    for lookup in members {
      let value = document[lookup.field]?.stringValue.flatMap { $0.isEmpty ? nil : $0 }
      let old = before?[lookup.field]?.stringValue.flatMap { $0.isEmpty ? nil : $0 }
      guard value != old else { continue }
      if let old {
        try database.cachedStatement(sql: "DELETE FROM lookups WHERE kind = ? AND field = ? AND value = ? AND id = ?")
          .execute(arguments: [kind.rawValue, lookup.field, old, id])
      }
      guard let value else { continue }
      try NameText.check(value, field: lookup.field)
      if lookup.isUnique {
        let other = try String.fetchOne(
          database.cachedStatement(
            sql: "SELECT id FROM lookups WHERE kind = ? AND field = ? AND value = ? AND is_unique = 1"),
          arguments: [kind.rawValue, lookup.field, value])
        guard other == nil || other == id else {
          throw StoreError.duplicateValue(kind: kind, field: lookup.field, value: value)
        }
      }
      try database.cachedStatement(
        sql: "INSERT INTO lookups (kind, field, value, id, is_unique) VALUES (?, ?, ?, ?, ?)"
      )
      .execute(arguments: [kind.rawValue, lookup.field, value, id, lookup.isUnique])
    }
  }

  private func touch(_ kind: EntityKind, _ id: String, before: JSONValue?, after: JSONValue?, secrets: [String]) {
    let key = Key(kind: kind, id: id)
    if touched[key] == nil {
      order.append(key)
      touched[key] = Touched(before: before, after: after, secrets: secrets)
    } else {
      touched[key]?.after = after
    }
  }

  /// Appends the change-set of everything touched; called once, just before the commit.
  func record(context: ChangeContext, timelineID: String) throws -> ChangeSet? {
    let changes = order.compactMap { key -> Change? in
      guard let touched = touched[key] else { return nil }
      let before = touched.before.map { Self.redact($0, touched.secrets) }
      let after = touched.after.map { Self.redact($0, touched.secrets) }
      switch (before, after) {
      case (nil, nil): return nil
      case (nil, _): return Change(kind: key.kind, id: key.id, action: .create, after: after)
      case (_, nil): return Change(kind: key.kind, id: key.id, action: .delete, before: before)
      default: return Change(kind: key.kind, id: key.id, action: .update, before: before, after: after)
      }
    }
    guard !changes.isEmpty else { return nil }
    let previous = try currentIndex()
    let changeSet = ChangeSet(
      index: previous + 1, previousIndex: previous, timelineID: timelineID, at: now, context: context, changes: changes)
    try database.cachedStatement(
      sql: "INSERT INTO change_sets (number, previous, timeline, at, context, changes) VALUES (?, ?, ?, ?, ?, ?)"
    )
    .execute(arguments: [
      Int64(changeSet.index), Int64(previous), timelineID, now.millisecondsSinceEpoch,
      try JSONValue(encoding: context).text,
      try JSONValue(encoding: changes).text,
    ])
    if changeSet.index > UInt64(Store.retainedChangeSets) {
      try database.cachedStatement(sql: "DELETE FROM change_sets WHERE number <= ?")
        .execute(arguments: [Int64(changeSet.index) - Int64(Store.retainedChangeSets)])
    }
    return changeSet
  }

  private static func redact(_ document: JSONValue, _ secrets: [String]) -> JSONValue {
    guard !secrets.isEmpty, case .object(var members) = document else { return document }
    for secret in secrets { members[secret] = nil }
    return .object(members)
  }
}
