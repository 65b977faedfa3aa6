import JSON
public import Model

/// Checked before the operation runs, so that no member of the wrong type passes unread (management-and-model.md 4.7).
extension BodyShape {
  /// - Throws: an error that names the first member that does not fit.
  func check(_ body: JSONValue) throws(APIError) { try check(body, at: "") }

  private func check(_ value: JSONValue, at place: String) throws(APIError) {
    let name = place.isEmpty ? "body" : place
    switch self {
    case .required(let shape): try shape.check(value, at: place)
    case .anything: break
    case .members(let members):
      guard let object = value.objectValue else { throw Self.wrongType(name, "object", value) }
      for (member, shape) in members {
        let path = place.isEmpty ? member : "\(place).\(member)"
        if let found = object[member], !found.isNull {
          try shape.check(found, at: path)
        } else if case .required = shape {
          throw .field(path, "\(path) in body is required")
        }
      }
    case .map(let shape):
      guard let object = value.objectValue else { throw Self.wrongType(name, "object", value) }
      for (member, found) in object.sorted(by: { $0.key < $1.key }) where !found.isNull {
        try shape.check(found, at: "\(name).\(member)")
      }
    case .list(let shape):
      guard let elements = value.arrayValue else { throw Self.wrongType(name, "array", value) }
      for (index, element) in elements.enumerated() { try shape.check(element, at: "\(name).\(index)") }
    default: try checkScalar(value, name)
    }
  }

  private func checkScalar(_ value: JSONValue, _ name: String) throws(APIError) {
    switch self {
    case .string(let lengths):
      guard let text = value.stringValue else { throw Self.wrongType(name, "string", value) }
      // Absent and empty are the same to clients that send every member they know.
      guard text.isEmpty || lengths.contains(text.unicodeScalars.count) else {
        throw .field(name, "\(name) in body should have \(lengths.lowerBound) to \(lengths.upperBound) characters")
      }
    case .word(let words):
      guard let text = value.stringValue else { throw Self.wrongType(name, "string", value) }
      guard words.contains(text) else {
        throw .field(name, "\(name) in body should be one of [\(words.joined(separator: " "))]", value: value)
      }
    case .time:
      guard let text = value.stringValue, Timestamp(text) != nil else { throw Self.wrongType(name, "date-time", value) }
    case .boolean:
      guard value.boolValue != nil else { throw Self.wrongType(name, "boolean", value) }
    case .number(let range):
      guard let number = value.intValue else { throw Self.wrongType(name, "integer", value) }
      guard range.contains(number) else {
        throw .field(
          name, "\(name) in body should be between \(range.lowerBound) and \(range.upperBound)", value: value)
      }
    default: break
    }
  }

  /// The value may be a secret that stands in the wrong place: it is not told.
  private static func wrongType(_ name: String, _ expected: String, _ value: JSONValue) -> APIError {
    .field(name, "\(name) in body must be of type \(expected): \"\(value.typeName)\"")
  }
}

/// What an operation says of its body.
public struct RequestBody: Sendable {
  /// nil: what comes is read by the operation itself.
  let shape: BodyShape?
  let isRequired: Bool
  /// Media types that are read; "" is a body that names none.
  let mediaTypes: [String]

  /// - Parameter mediaTypes: what may come; another type is refused before anything is read.
  public init(_ shape: BodyShape?, isRequired: Bool = true, mediaTypes: [String] = ["application/json"]) {
    self.shape = shape
    self.isRequired = isRequired
    self.mediaTypes = mediaTypes
  }

  /// An operation that takes none.
  public static let none = RequestBody(nil, isRequired: false)
}

extension APIRequest {
  /// Checks type, presence and shape of the body, and keeps what it read.
  mutating func read(as declared: RequestBody) throws(APIError) {
    guard !body.isEmpty else {
      if declared.isRequired { throw .field("body", "body in body is required") }
      return
    }
    guard declared.mediaTypes.contains(mediaType) else {
      throw APIError(
        .unsupportedMedia, APIError.invalidDocument,
        cause: .field(
          name: "Content-Type",
          reason:
            "unsupported media type \"\(mediaType.prefix(100))\", only [\(declared.mediaTypes.filter { !$0.isEmpty }.joined(separator: " "))] are allowed",
          value: .string(String(mediaType.prefix(100)))))
    }
    guard let shape = declared.shape, mediaType == "application/json" else { return }
    let value = try parsed()
    try shape.check(value)
    json = value
  }
}
