internal import GRDB
internal import Model

/// The tables. What is indexed in them is declared by the kinds.
enum StoreSchema {
  static let migrator: DatabaseMigrator = {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1 documents and change-sets") { database in
      try database.execute(
        sql: """
          CREATE TABLE documents (
            kind TEXT NOT NULL,
            id TEXT NOT NULL,
            name TEXT,
            document TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            is_system INTEGER NOT NULL,
            PRIMARY KEY (kind, id)
          ) STRICT;
          CREATE UNIQUE INDEX documents_by_name ON documents (kind, name) WHERE name IS NOT NULL;
          CREATE TABLE lookups (
            kind TEXT NOT NULL,
            field TEXT NOT NULL,
            value TEXT NOT NULL,
            id TEXT NOT NULL,
            is_unique INTEGER NOT NULL,
            PRIMARY KEY (kind, field, value, id)
          ) STRICT, WITHOUT ROWID;
          CREATE UNIQUE INDEX lookups_unique ON lookups (kind, field, value) WHERE is_unique = 1;
          CREATE INDEX lookups_by_entity ON lookups (kind, id);
          CREATE TABLE change_sets (
            number INTEGER PRIMARY KEY,
            previous INTEGER NOT NULL,
            timeline TEXT NOT NULL,
            at INTEGER NOT NULL,
            context TEXT NOT NULL,
            changes TEXT NOT NULL
          ) STRICT;
          CREATE TABLE properties (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
          """)
    }
    migrator.registerMigration("2 no index over session tokens") { database in
      try database.execute(sql: "DELETE FROM lookups WHERE kind = 'api-sessions' AND field = 'token'")
    }
    return migrator
  }()

  /// The timeline of this database, made on first use.
  static func timelineID(_ database: Database, now: Timestamp) throws -> String {
    if let known = try String.fetchOne(database, sql: "SELECT value FROM properties WHERE name = 'timeline'") {
      return known
    }
    let made = EntityID.uuidBase62()
    try database.execute(
      sql: "INSERT INTO properties (name, value) VALUES ('timeline', ?), ('created', ?)", arguments: [made, now.text])
    return made
  }
}
