/// Whom a request is for, where its target names that (RFC 9112, 3.2.2), and what a host and a length are.
struct RequestTarget {
  /// With its port.
  let host: String
  /// With the query: what the target would have been without a host.
  let path: String

  /// nil for what is no URL of HTTP, or names a user.
  init?(absolute target: String, method: String) {
    let octets = target.utf8
    guard let colon = octets.firstIndex(of: UInt8(ascii: ":")),
      ["http", "https"].contains(target[..<colon].lowercased())
    else { return nil }
    let behind = octets[octets.index(after: colon)...]
    guard behind.starts(with: "//".utf8) else { return nil }
    let rest = behind.dropFirst(2)
    let end =
      rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") } ?? rest.endIndex
    host = String(Substring(rest[..<end]))
    guard !host.isEmpty, Self.isHost(host) else { return nil }
    let path = Substring(rest[end...])
    switch path.utf8.first {
    case nil: self.path = method == "OPTIONS" ? "*" : "/"
    case UInt8(ascii: "/"): self.path = String(path)
    default: self.path = "/\(path)"
    }
  }

  /// Whether a Host may be that: at most 512 octets that stand in a host (RFC 3986, 3.2.2), with those of names that
  /// are not ASCII.
  static func isHost(_ text: String) -> Bool {
    text.utf8.count <= 512 && !text.utf8.contains { $0 <= 0x20 || $0 == 0x7F || "\"#/<>?@\\^`{|}".utf8.contains($0) }
  }

  /// Of a body. nil for what is no number, and for one that nobody can send.
  static func length(_ text: some StringProtocol) -> Int? {
    guard !text.isEmpty, text.utf8.count <= 18, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    return Int(text)
  }
}
