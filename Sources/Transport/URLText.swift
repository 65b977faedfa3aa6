extension String {
  /// As one segment of a URL's path, or one value of its query: everything but unreserved characters is percent-encoded
  /// (RFC 3986 2.3).
  package var pathSegment: String { PercentText.encoded(Array(utf8)) }

  /// As a string literal of the filter language (management-and-model.md 4.3).
  package var filterLiteral: String { "\"" + replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\"" }
}
