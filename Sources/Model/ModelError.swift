public import JSON

/// A value that the model refuses: which field, why, and the value itself, in the shape of a REST field error
/// (management spec 4.3).
public struct ModelError: Error, Equatable, Sendable, CustomStringConvertible {
  public enum Code: String, Sendable {
    /// The document or one of its fields is not acceptable.
    case couldNotValidate = "COULD_NOT_VALIDATE"
    /// The value names something that does not exist.
    case notFound = "NOT_FOUND"
  }

  public var code: Code
  /// Path of the member, such as `roleAttributes`; `(root)` is the whole document.
  public var field: String
  public var reason: String
  public var value: JSONValue

  public init(code: Code = .couldNotValidate, field: String, reason: String, value: JSONValue = .null) {
    self.code = code
    self.field = field
    self.reason = reason
    self.value = value
  }

  /// A schema that cannot be used.
  init(_ error: JSONSchemaError) {
    self.init(field: error.path, reason: error.reason, value: error.value)
  }

  public var description: String { "\(field): \(reason) (value \(value.text))" }
}
