internal import GRDB
import JSON
public import Model

/// Questions to one consistent state of the store. Valid only inside the closure that received it.
public class StoreReader {
  let database: Database

  init(_ database: Database) { self.database = database }

  /// Whether SQLite would see the whole text: at a NUL it would end, and find what bears the part before it. Nothing
  /// that is stored has one.
  static func isWhole(_ text: String) -> Bool { !text.utf8.contains(0) }

  public func get<E: Entity>(_ type: E.Type, _ id: String) throws -> E? {
    try document(E.kind, id).map { try Self.decode($0, id: id) }
  }

  /// `get`, or `StoreError.notFound`.
  public func require<E: Entity>(_ type: E.Type, _ id: String) throws -> E {
    guard let entity = try get(type, id) else { throw StoreError.notFound(kind: E.kind, id: id) }
    return entity
  }

  public func exists(_ kind: EntityKind, _ id: String) throws -> Bool {
    guard Self.isWhole(id) else { return false }
    return try Bool.fetchOne(
      database.cachedStatement(sql: "SELECT EXISTS (SELECT 1 FROM documents WHERE kind = ? AND id = ?)"),
      arguments: [kind.rawValue, id])
      ?? false
  }

  public func named<E: Entity>(_ type: E.Type, _ name: String) throws -> E? {
    guard Self.isWhole(name) else { return nil }
    let row = try Row.fetchOne(
      database.cachedStatement(sql: "SELECT id, document FROM documents WHERE kind = ? AND name = ?"),
      arguments: [E.kind.rawValue, name])
    return try row.map { try Self.decode($0["document"], id: $0["id"]) }
  }

  /// All entities of a kind, by id.
  public func all<E: Entity>(_ type: E.Type) throws -> [E] {
    try decodeAll("SELECT id, document FROM documents WHERE kind = ? ORDER BY id", [E.kind.rawValue])
  }

  public func count(_ kind: EntityKind) throws -> Int {
    try Int.fetchOne(
      database.cachedStatement(sql: "SELECT count(*) FROM documents WHERE kind = ?"), arguments: [kind.rawValue]) ?? 0
  }

  /// The entity whose indexed member has the value; with several (members that are not unique) the one with the lowest
  /// id.
  public func first<E: Entity>(_ type: E.Type, field: String, equals value: String) throws -> E? {
    try lookup(type, field: field, equals: value, limit: 1).first
  }

  /// All entities whose indexed member has the value, by id.
  public func all<E: Entity>(_ type: E.Type, field: String, equals value: String) throws -> [E] {
    try lookup(type, field: field, equals: value, limit: -1)
  }

  private func lookup<E: Entity>(_ type: E.Type, field: String, equals value: String, limit: Int) throws -> [E] {
    guard E.indexedMembers.contains(where: { $0.field == field }) else {
      throw StoreError.notIndexed(kind: E.kind, field: field)
    }
    guard Self.isWhole(value) else { return [] }
    return try decodeAll(
      """
      SELECT d.id AS id, d.document AS document FROM lookups l JOIN documents d ON d.kind = l.kind AND d.id = l.id
      WHERE l.kind = ? AND l.field = ? AND l.value = ? ORDER BY l.id LIMIT ?
      """, [E.kind.rawValue, field, value, limit])
  }

  /// Number of the last change-set, 0 before the first.
  public func currentIndex() throws -> UInt64 {
    UInt64(try Int64.fetchOne(database, sql: "SELECT max(number) FROM change_sets") ?? 0)
  }

  /// The change-sets that follow `index`, oldest first. Empty when the caller is up to date; nil when the first of them
  /// is no longer kept, so that the caller has to reload everything.
  public func changeSets(after index: UInt64, limit: Int = 1000) throws -> [ChangeSet]? {
    let current = try currentIndex()
    guard index < current else { return index == current ? [] : nil }
    let rows = try Row.fetchAll(
      database,
      sql:
        "SELECT number, previous, timeline, at, context, changes FROM change_sets WHERE number > ? ORDER BY number LIMIT ?",
      arguments: [Int64(index), limit])
    let changeSets = try rows.map { row -> ChangeSet in
      let number: Int64 = row["number"]
      do {
        return ChangeSet(
          index: UInt64(number), previousIndex: UInt64(row["previous"] as Int64), timelineID: row["timeline"],
          at: Timestamp(millisecondsSinceEpoch: row["at"]),
          context: try JSONValue(parsing: row["context"] as String, limits: .stored).decode(ChangeContext.self),
          changes: try JSONValue(parsing: row["changes"] as String, limits: .stored).decode([Change].self))
      } catch {
        throw StoreError.corrupt(reason: "change-set \(number): \(error)")
      }
    }
    guard changeSets.first?.previousIndex == index else { return nil }
    return changeSets
  }

  // MARK: documents

  func document(_ kind: EntityKind, _ id: String) throws -> String? {
    guard Self.isWhole(id) else { return nil }
    return try String.fetchOne(
      database.cachedStatement(sql: "SELECT document FROM documents WHERE kind = ? AND id = ?"),
      arguments: [kind.rawValue, id])
  }

  func decodeAll<E: Entity>(_ sql: String, _ arguments: StatementArguments) throws -> [E] {
    var entities: [E] = []
    let rows = try Row.fetchCursor(database.cachedStatement(sql: sql), arguments: arguments)
    while let row = try rows.next() { entities.append(try Self.decode(row["document"], id: row["id"])) }
    return entities
  }

  static func parse(_ document: String, kind: EntityKind, id: String) throws -> JSONValue {
    do {
      return try JSONValue(parsing: document, limits: .stored)
    } catch {
      throw StoreError.unreadable(kind: kind, id: id, reason: "\(error)")
    }
  }

  static func decode<E: Entity>(_ document: String, id: String) throws -> E {
    do {
      return try JSONValue(parsing: document, limits: .stored).decode(E.self)
    } catch {
      throw StoreError.unreadable(kind: E.kind, id: id, reason: "\(error)")
    }
  }
}
