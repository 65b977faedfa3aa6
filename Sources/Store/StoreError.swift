internal import GRDB
public import Model

/// Why the store refused or failed. Every text says what to do next.
public enum StoreError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Another entity of the kind has the name.
  case duplicateName(kind: EntityKind, name: String)
  /// Another entity of the kind has this value in a field that must be unique.
  case duplicateValue(kind: EntityKind, field: String, value: String)
  case notFound(kind: EntityKind, id: String)
  /// No index serves look-ups by this field.
  case notIndexed(kind: EntityKind, field: String)
  /// A stored document cannot be read as its type.
  case unreadable(kind: EntityKind, id: String, reason: String)
  case full
  case inputOutput(reason: String)
  case corrupt(reason: String)
  case unavailable(path: String, reason: String)
  case readOnly(reason: String)
  case other(reason: String)

  public var description: String {
    switch self {
    case .duplicateName(let kind, let name):
      "duplicate value '\(name)' in unique index on \(kind.rawValue) store: choose another name"
    case .duplicateValue(let kind, let field, let value):
      "duplicate value '\(value)' of \(field) in unique index on \(kind.rawValue) store: choose another value"
    case .notFound(let kind, let id): "\(kind.rawValue) with id \(id) not found"
    case .notIndexed(let kind, let field):
      "\(kind.rawValue) have no index on \(field): use a query, or declare it in the kind"
    case .unreadable(let kind, let id, let reason):
      "stored document \(id) of \(kind.rawValue) cannot be read: \(reason); restore it from a backup"
    case .full: "the disk of the controller database is full; nothing was changed: free some space and try again"
    case .inputOutput(let reason):
      "reading or writing the controller database failed (\(reason)); check the disk and its mount, then restart"
    case .corrupt(let reason):
      "the controller database is damaged (\(reason)); stop the controller and restore the last snapshot"
    case .unavailable(let path, let reason):
      "the controller database \(path) cannot be opened (\(reason)); check the path and its permissions"
    case .readOnly(let reason):
      "the disk of the controller database takes no writes (\(reason)); nothing was changed: mount it writable, or mend its permissions, and try again"
    case .other(let reason): "the controller database refused the operation: \(reason)"
    }
  }

  /// Whether it is the disk that refused, not what was asked: the same will do once it is mended.
  public var isOfDisk: Bool {
    switch self {
    case .full, .inputOutput, .readOnly: true
    default: false
    }
  }

  init(_ error: DatabaseError) {
    let reason = error.message ?? "\(error.resultCode)"
    switch error.resultCode {
    case .SQLITE_FULL: self = .full
    case .SQLITE_READONLY: self = .readOnly(reason: reason)
    case .SQLITE_IOERR: self = .inputOutput(reason: "\(error.extendedResultCode): \(reason)")
    case .SQLITE_CORRUPT, .SQLITE_NOTADB: self = .corrupt(reason: reason)
    case .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH: self = .unavailable(path: "", reason: reason)
    default: self = .other(reason: "\(error.extendedResultCode): \(reason)")
    }
  }
}
