public import JSON
public import Model

/// An error of the REST APIs, in the reference's catalogue of codes (edge-client-api.md 1.6, 1.7).
public struct APIError: Error, Sendable, Equatable {
  public enum Cause: Sendable, Equatable {
    case field(name: String, reason: String, value: JSONValue)
    case text(String)
  }

  /// Codes with their HTTP status; the table is the only place where they meet.
  public enum Code: String, Sendable, CaseIterable {
    case unauthorized = "UNAUTHORIZED"
    case invalidAuth = "INVALID_AUTH"
    case notFound = "NOT_FOUND"
    case methodNotAllowed = "METHOD_NOT_ALLOWED"
    case couldNotParseBody = "COULD_NOT_PARSE_BODY"
    case couldNotValidate = "COULD_NOT_VALIDATE"
    case invalidFilter = "INVALID_FILTER"
    case invalidPagination = "INVALID_PAGINATION"
    case invalidSortIdentifier = "INVALID_SORT_IDENTIFIER"
    case unsupportedMedia = "UNSUPPORTED_MEDIA"
    case notAcceptable = "NOT_ACCEPTABLE"
    case entityTooLarge = "REQUEST_ENTITY_TOO_LARGE"
    case rateLimited = "SERVER_TOO_MANY_REQUESTS"
    case timeout = "TIMEOUT"
    /// The store takes nothing: the disk is full, gone or read-only.
    case unavailable = "UNAVAILABLE"
    case unhandled = "UNHANDLED"
    case cannotBeDeleted = "ENTITY_CAN_NOT_BE_DELETED"
    case cannotBeUpdated = "ENTITY_CAN_NOT_BE_UPDATED"
    case cannotDeleteReferenced = "CAN_NOT_DELETE_REFERENCED_ENTITY"
    case referencedNotFound = "REFERENCED_ENTITY_NOT_FOUND"
    case invalidEnrollmentToken = "INVALID_ENROLLMENT_TOKEN"
    case invalidEnrollMethod = "INVALID_ENROLL_METHOD"
    case enrollmentExpired = "ENROLLMENT_EXPIRED"
    case enrollmentExists = "ENROLLMENT_EXISTS"
    case missingCSR = "MISSING_OR_INVALID_CSR"
    case couldNotProcessCSR = "COULD_NOT_PROCESS_CSR"
    case certificateInUse = "CERT_IN_USE"
    case invalidClientCertificate = "INVALID_CLIENT_CERT"
    case cannotUpdateAuthenticator = "CAN_NOT_UPDATE_AUTHENTICATOR"
    case maxAuthenticatorMethods = "MAX_AUTHENTICATOR_METHODS_REACHED"
    case mfaNotEnrolled = "MFA_NOT_ENROLLED"
    case invalidBackingToken = "INVALID_BACKING_TOKEN_TYPE"
    case noEdgeRouters = "NO_EDGE_ROUTERS_AVAILABLE"

    /// The code as answers bear it: clients know both refusals of a media type by the code of an invalid document, and
    /// their status.
    var published: String {
      switch self {
      case .unsupportedMedia, .notAcceptable: Self.couldNotValidate.rawValue
      default: rawValue
      }
    }

    public var status: Int {
      switch self {
      case .unauthorized, .invalidAuth: 401
      case .notFound: 404
      case .methodNotAllowed: 405
      case .notAcceptable: 406
      case .unsupportedMedia: 415
      case .entityTooLarge: 413
      case .rateLimited: 429
      case .timeout, .unavailable: 503
      case .unhandled: 500
      case .cannotDeleteReferenced, .enrollmentExists, .certificateInUse, .cannotUpdateAuthenticator,
        .maxAuthenticatorMethods, .mfaNotEnrolled:
        409
      default: 400
      }
    }
  }

  public let code: Code
  public let message: String
  public let cause: Cause?
  /// What the resource can do, where a method was refused.
  let allowedMethods: [String]

  public init(_ code: Code, _ message: String, cause: Cause? = nil, allowedMethods: [String] = []) {
    self.code = code
    self.message = message
    self.cause = cause
    self.allowedMethods = allowedMethods
  }

  static let invalidDocument =
    "The supplied request contains an invalid document or no valid accept content were available, see cause"

  public static let unauthorized = APIError(
    .unauthorized, "The request could not be completed. The session is not authorized or the credentials are invalid")
  public static let invalidAuth = APIError(.invalidAuth, "The authentication request failed")

  public static func notFound(_ what: String = "The resource requested was not found or is no longer available")
    -> APIError
  {
    APIError(.notFound, what)
  }

  /// A value that does not fit its field.
  public static func field(_ name: String, _ reason: String, value: JSONValue = .null) -> APIError {
    APIError(.couldNotValidate, invalidDocument, cause: .field(name: name, reason: reason, value: value))
  }

  public init(_ error: ModelError) {
    switch error.code {
    case .notFound:
      self = APIError(
        .notFound, error.reason, cause: .field(name: error.field, reason: error.reason, value: error.value))
    default: self = .field(error.field, error.reason, value: error.value)
    }
  }

  public static func filter(_ error: FilterError) -> APIError {
    APIError(.invalidFilter, "The filter query supplied is invalid", cause: .text("\(error)"))
  }

  public static func sort(_ error: FilterError) -> APIError {
    APIError(.invalidSortIdentifier, "The sort order supplied is invalid", cause: .text("\(error)"))
  }

  func body(requestID: String) -> JSONValue {
    var error: JSONObject = [
      "code": .string(code.published), "message": .string(message), "requestId": .string(requestID),
    ]
    switch cause {
    case .field(let name, let reason, let value)?:
      error["cause"] = ["field": .string(name), "reason": .string(reason), "value": value]
    case .text(let text)?: error["cause"] = ["code": .string(code.published), "message": .string(text)]
    case nil: break
    }
    return ["error": .object(error), "meta": ["apiEnrollmentVersion": "0.0.1", "apiVersion": "0.0.1"]]
  }
}
