import Authentication
import JSON
import Model
import REST
import Store

/// The errors of operations and of the store in the catalogue of the REST APIs (management-and-model.md 4.4).
enum ManagementErrors {
  static func translate(_ error: any Error) -> APIError? {
    switch error {
    case let error as APIError: error
    case let error as ModelError: APIError(error)
    case let error as FilterError: .filter(error)
    case let error as OperationError: translate(error)
    case let error as StoreError: translate(error)
    case let error as LoginAttempts.TooMany: APIError(.rateLimited, "\(error)")
    case let error as AuthenticationError:
      switch error {
      case .busy: APIError(.rateLimited, "\(error)")
      case .badPolicy: .field("password", "\(error)")
      default: nil
      }
    default: nil
    }
  }

  private static func translate(_ error: StoreError) -> APIError? {
    switch error {
    case .duplicateName(let kind, let name):
      .field("name", "duplicate value '\(name)' in unique index on \(kind.rawValue) store", value: .string(name))
    case .duplicateValue(let kind, let field, let value):
      .field(field, "duplicate value '\(value)' in unique index on \(kind.rawValue) store", value: .string(value))
    case .notFound(let kind, let id):
      APIError(
        .notFound, "The resource requested was not found or is no longer available",
        cause: .field(name: "id", reason: "\(kind.rawValue) with id \(id) not found", value: .string(id)))
    case _ where error.isOfDisk: APIError(.unavailable, "\(error)")
    default: nil
    }
  }

  private static func translate(_ error: OperationError) -> APIError {
    switch error {
    case .cannotBeDeleted(let kind, let id, let reason):
      APIError(
        .cannotBeDeleted, "The entity requested for delete can not be deleted",
        cause: .text("\(kind.rawValue) \(id): \(reason)"))
    case .cannotBeUpdated(let kind, let id, let reason):
      APIError(
        .cannotBeUpdated, "The entity requested for update can not be updated",
        cause: .text("\(kind.rawValue) \(id): \(reason)"))
    case .referenced(let kind, let id, let by):
      APIError(
        .cannotDeleteReferenced, "The entity requested for delete is referenced by others",
        cause: .text("\(kind.rawValue) \(id) is used by \(by)"))
    case .enrollmentExists(let method):
      APIError(
        .enrollmentExists, "The identity has an outstanding enrollment of method \(method): delete or refresh it")
    case .authenticatorExists(let method):
      APIError(
        .maxAuthenticatorMethods, "The identity has an authenticator of method \(method) already: change or delete it")
    case .revokedInMemory(let kind, let id, let reason):
      APIError(
        .unavailable,
        "It holds from now on, but is not stored: a restart would undo it. Repeat the request once the disk is mended",
        cause: .text("\(kind.rawValue) \(id): sessions are ended and no new ones are made; \(reason)"))
    case .authenticatorCannotChange(let reason):
      APIError(.cannotUpdateAuthenticator, "The authenticator cannot be updated", cause: .text(reason))
    }
  }
}
