// Store: the durable state of a controller: entities as documents and the numbered change-sets that made them, in
// SQLite. It does not know what entities mean (that is `Model` and `Access`), answers no network and keeps no read
// model in memory. Start reading at `Store.write`, the only way in, and `StoreReader`, everything one can ask.

internal import Foundation
internal import GRDB
public import Model

/// One database: a single writer, whose every transaction appends a change-set, and readers beside it.
public final class Store: Sendable {
  /// Names the history the change-set numbers belong to. A database that is replaced gets another one, so that replicas
  /// reload.
  public let timelineID: String

  private let database: any DatabaseWriter
  private let searches = SearchGate(places: min(Store.readers / 2, ProcessInfo.processInfo.activeProcessorCount / 2))

  /// Connections that read at the same time.
  private static let readers = 4

  /// How many change-sets are kept for replicas that catch up (management spec 8.3).
  public static let retainedChangeSets = 10_000

  private init(database: any DatabaseWriter, now: Timestamp) throws {
    self.database = database
    do {
      // The pool sets NORMAL for WAL; what we acknowledge must survive a power cut.
      try database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
      try StoreSchema.migrator.migrate(database)
      timelineID = try database.write { try StoreSchema.timelineID($0, now: now) }
    } catch let error as DatabaseError {
      throw StoreError(error)
    }
  }

  /// Opens or creates the database. The directory is made with mode 0700 and the file with 0600: it holds keys and
  /// password hashes.
  public static func open(path: String, now: Timestamp) async throws -> Store {
    let files = FileManager.default
    let directory = URL(fileURLWithPath: path).deletingLastPathComponent().path
    do {
      if !files.fileExists(atPath: directory) {
        try files.createDirectory(
          atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      }
      if !files.fileExists(atPath: path) {
        guard files.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600]) else {
          throw StoreError.unavailable(path: path, reason: "the file cannot be created")
        }
      }
      try files.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    } catch let error as StoreError {
      throw error
    } catch {
      throw StoreError.unavailable(path: path, reason: "\(error.localizedDescription)")
    }
    do {
      return try Store(database: DatabasePool(path: path, configuration: configuration()), now: now)
    } catch let error as DatabaseError {
      throw StoreError(error)
    }
  }

  /// A store without a file, for tests.
  public static func inMemory(now: Timestamp = .epoch) async throws -> Store {
    try Store(database: DatabaseQueue(configuration: configuration()), now: now)
  }

  private static func configuration() -> Configuration {
    var configuration = Configuration()
    configuration.label = "swiftlet.store"
    configuration.maximumReaderCount = readers
    configuration.busyMode = .timeout(10)
    configuration.prepareDatabase { database in
      // Unicode case folding for `icontains`; SQLite's lower() knows ASCII only.
      database.add(
        function: DatabaseFunction("fold", argumentCount: 1, pure: true) { values in
          values.first.flatMap { String.fromDatabaseValue($0) }?.lowercased()
        })
      // A value as the filter language takes it for a text: numbers without exponent, truth values by their JSON type
      // (the second argument, for members that may be anything), nothing of arrays and objects.
      database.add(
        function: DatabaseFunction("plain", pure: true) { values -> (any DatabaseValueConvertible)? in
          let type = values.dropFirst().first.flatMap { String.fromDatabaseValue($0) }
          switch (type, values.first?.storage) {
          case ("true"?, _), ("false"?, _): return type
          case ("array"?, _), ("object"?, _): return nil
          case (_, .string(let text)?): return text
          case (_, .int64(let number)?): return String(number)
          case (_, .double(let number)?): return number.plainText
          default: return nil
          }
        })
    }
    return configuration
  }

  /// Runs one transaction. Writers take turns; when `body` throws, nothing has happened. On return the transaction is
  /// on disk and, when it touched intent, numbered: the number is what routers see as index.
  /// - Throws: `StoreError`; `ChangeDeadline.Passed` when the request behind it was given up while it waited for its
  ///   turn; what `body` throws.
  public func write<R: Sendable>(
    _ context: ChangeContext, now: Timestamp, _ body: @escaping @Sendable (StoreTransaction) throws -> R
  ) async throws -> Committed<R> {
    let timelineID = timelineID
    let deadline = ChangeDeadline.current
    do {
      return try await database.write { database in
        try deadline?.begin()
        let transaction = StoreTransaction(database, now: now)
        let value = try body(transaction)
        return Committed(value: value, changeSet: try transaction.record(context: context, timelineID: timelineID))
      }
    } catch let error as DatabaseError {
      throw StoreError(error)
    }
  }

  /// Runs `body` on one consistent state.
  public func read<R: Sendable>(_ body: @escaping @Sendable (StoreReader) throws -> R) async throws -> R {
    do {
      return try await database.read { try body(StoreReader($0)) }
    } catch let error as DatabaseError {
      throw StoreError(error)
    }
  }

  /// `read` for questions that look at whole collections (`SymbolTable.isIndexed`). Only some of them run at a time, in
  /// their turn, so that questions that an index answers find a connection and a processor free.
  /// - Parameter asker: whom it is done for; those of one asker take turns with those of others, however many it has.
  public func search<R: Sendable>(for asker: String, _ body: @escaping @Sendable (StoreReader) throws -> R) async throws
    -> R
  {
    try await searches.pass(for: asker) { try await read(body) }
  }

  /// Number of the last change-set, 0 before the first.
  public func currentIndex() async throws -> UInt64 { try await read { try $0.currentIndex() } }

  /// Copies the database, as one consistent state, into a new file of mode 0600.
  public func backup(to path: String) async throws {
    guard FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600]) else {
      throw StoreError.unavailable(path: path, reason: "the file cannot be created")
    }
    do {
      try database.backup(to: try DatabaseQueue(path: path))
    } catch let error as DatabaseError {
      throw StoreError(error)
    }
  }

  /// Writes the file anew, and ends the write-ahead log, so that free pages keep nothing of what was deleted or
  /// replaced. Takes time and disk space in proportion to the file.
  public func compact() async throws {
    do {
      try await database.writeWithoutTransaction { try $0.execute(sql: "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)") }
    } catch let error as DatabaseError {
      throw StoreError(error)
    }
  }

  /// Writes what is pending and closes the file. Later calls fail.
  public func close() throws {
    do { try database.close() } catch let error as DatabaseError { throw StoreError(error) }
  }

  /// Bounds the file at `pages` pages; lets tests meet a full disk.
  func limitSize(pages: Int) async throws {
    try await database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA max_page_count = \(pages)") }
  }

  /// Lets tests meet a disk that takes nothing.
  func refuseWrites(_ refuses: Bool) async throws {
    try await database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA query_only = \(refuses ? "ON" : "OFF")") }
  }

  /// A value of SQLite's settings on the writing connection, for tests.
  func setting(_ name: String) async throws -> String? {
    try await database.writeWithoutTransaction { try String.fetchOne($0, sql: "PRAGMA \(name)") }
  }

  /// The stored text of all changes, for tests of what must not be there.
  func rawChangeSetText() async throws -> String {
    try await database.read {
      try String.fetchAll($0, sql: "SELECT changes FROM change_sets ORDER BY number").joined(separator: "\n")
    }
  }
}

/// What a transaction gave and the number it got; no change-set when nothing of intent changed.
public struct Committed<Value: Sendable>: Sendable {
  public let value: Value
  public let changeSet: ChangeSet?

  public init(value: Value, changeSet: ChangeSet?) {
    self.value = value
    self.changeSet = changeSet
  }
}
