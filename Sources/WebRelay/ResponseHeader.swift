/// Which fields belong to one connection only (RFC 9110, 7.6.1).
enum ConnectionFields {
  static let names: [String] = [
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
    "http2-settings",
  ]
}

/// A field that a proxy sets on every answer.
public struct ResponseHeader: Sendable, Equatable {
  public let name: String
  public let value: String

  /// - Parameter text: `Name: value`. nil for what is no field, and for those that frame an answer or belong to one
  ///   connection.
  public init?(_ text: String) {
    guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) else { return nil }
    name = String(text[..<colon])
    var rest = text.utf8[text.utf8.index(after: colon)...]
    while let byte = rest.first, byte == 0x20 || byte == 0x09 { rest.removeFirst() }
    while let byte = rest.last, byte == 0x20 || byte == 0x09 { rest.removeLast() }
    value = String(decoding: rest, as: UTF8.self)
    let isToken =
      !name.isEmpty && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"()<>@,;:\\\"/[]?={}".utf8.contains($0) }
    guard isToken, !value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) else { return nil }
    guard !ConnectionFields.names.contains(name.lowercased()), name.lowercased() != "content-length" else { return nil }
  }
}
