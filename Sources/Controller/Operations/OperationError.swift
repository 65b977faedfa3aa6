import Model

/// Why an operation on entities is refused, beyond what a single value can be blamed for.
enum OperationError: Error, Equatable, Sendable {
  /// The thing belongs to the system, or the network cannot do without it.
  case cannotBeDeleted(kind: EntityKind, id: String, reason: String)
  case cannotBeUpdated(kind: EntityKind, id: String, reason: String)
  /// Something else still needs it.
  case referenced(kind: EntityKind, id: String, by: String)
  /// The identity has an enrollment of the method already.
  case enrollmentExists(method: String)
  /// The identity has an authenticator of the method already.
  case authenticatorExists(method: String)
  case authenticatorCannotChange(reason: String)
  /// The disk did not take it; it holds in memory until the next start.
  case revokedInMemory(kind: EntityKind, id: String, reason: String)
}
