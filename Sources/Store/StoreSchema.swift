internal import GRDB
internal import Model

/// The tables and what is indexed in them.
enum StoreSchema {
  /// A member that entities are looked up by.
  struct Lookup: Sendable {
    var field: String
    var isUnique = false
  }

  /// Values that are absent or empty are not indexed, so they may repeat.
  static let lookups: [EntityKind: [Lookup]] = [
    .identities: [Lookup(field: "externalId", isUnique: true), Lookup(field: "authPolicyId")],
    .configs: [Lookup(field: "configTypeId")],
    .edgeRouters: [Lookup(field: "fingerprint", isUnique: true), Lookup(field: "unverifiedFingerprint")],
    .terminators: [Lookup(field: "serviceId"), Lookup(field: "routerId"), Lookup(field: "hostId")],
    .enrollments: [
      Lookup(field: "token", isUnique: true), Lookup(field: "identityId"), Lookup(field: "edgeRouterId"), Lookup(field: "transitRouterId"),
    ],
    .authenticators: [
      Lookup(field: "fingerprint", isUnique: true), Lookup(field: "username", isUnique: true), Lookup(field: "identityId"),
      Lookup(field: "unverifiedFingerprint"),
    ],
    .apiSessions: [Lookup(field: "token", isUnique: true), Lookup(field: "identityId"), Lookup(field: "authenticatorId")],
    .sessions: [Lookup(field: "apiSessionId"), Lookup(field: "serviceId"), Lookup(field: "identityId")],
    .apiSessionCertificates: [Lookup(field: "apiSessionId"), Lookup(field: "fingerprint")],
  ]

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
    return migrator
  }()

  /// The timeline of this database, made on first use.
  static func timelineID(_ database: Database, now: Timestamp) throws -> String {
    if let known = try String.fetchOne(database, sql: "SELECT value FROM properties WHERE name = 'timeline'") { return known }
    let made = EntityID.uuidBase62()
    try database.execute(sql: "INSERT INTO properties (name, value) VALUES ('timeline', ?), ('created', ?)", arguments: [made, now.text])
    return made
  }
}
