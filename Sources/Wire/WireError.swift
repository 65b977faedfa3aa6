/// Why bytes from a peer are not a frame, a header or a message.
public enum WireError: Error, Equatable, Sendable, CustomStringConvertible {
  case badMagic
  case headersTooLong(Int, limit: Int)
  case bodyTooLong(Int, limit: Int)
  /// A header record does not end within the header section.
  case misalignedHeaders
  case truncated
  case tooManyHeaders(limit: Int)
  /// Receivers disagree on which of the two counts.
  case duplicateHeader(HeaderID)
  case badHeader(HeaderID, reason: String)
  case missingHeader(HeaderID)
  case unexpectedType(ContentType)
  case badBody(String)

  public var description: String {
    switch self {
    case .badMagic: "the frame does not begin with 03 06 09 0c"
    case .headersTooLong(let size, let limit): "\(size) bytes of headers, at most \(limit) are accepted"
    case .bodyTooLong(let size, let limit): "a body of \(size) bytes, at most \(limit) are accepted"
    case .misalignedHeaders: "the header records do not fill the header section exactly"
    case .truncated: "the frame is shorter than its header says"
    case .tooManyHeaders(let limit): "more than \(limit) header records"
    case .duplicateHeader(let id): "header \(id.rawValue) appears twice"
    case .badHeader(let id, let reason): "header \(id.rawValue): \(reason)"
    case .missingHeader(let id): "header \(id.rawValue) is missing"
    case .unexpectedType(let type): "unexpected content type \(type.rawValue)"
    case .badBody(let reason): "body: \(reason)"
    }
  }

  /// A number of another width than the four bytes it must have.
  @usableFromInline
  static func badHeader(_ id: HeaderID, bytes: Int) -> WireError {
    .badHeader(id, reason: "\(bytes) bytes instead of 4")
  }
}
