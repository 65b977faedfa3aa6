public import NIOHTTP1

/// Fields that a proxy keeps to itself.
enum HopByHop {
  /// Removes them, and what `Connection` names.
  static func strip(_ headers: inout HTTPHeaders) {
    for name in headers[canonicalForm: "connection"] where name.lowercased() != "content-length" && name.lowercased() != "host" {
      headers.remove(name: String(name))
    }
    for name in ConnectionFields.names { headers.remove(name: name) }
  }

  /// The protocol a client wants to change to, as `Connection: upgrade` and `Upgrade` say it together.
  static func upgrade(_ headers: HTTPHeaders) -> String? {
    guard headers[canonicalForm: "connection"].contains(where: { $0.lowercased() == "upgrade" }), let wanted = headers.first(name: "upgrade") else {
      return nil
    }
    // HTTP/2 is offered in TLS only; upstreams are asked in HTTP/1.1.
    return wanted.lowercased() == "h2c" ? nil : wanted
  }
}

/// What a proxy tells the next server about the client.
public enum ForwardedHeaders {
  /// Appends the client's address to `X-Forwarded-For`, sets `X-Forwarded-Proto` and `-Host` where nobody did, and `X-Proxy` as zrok's frontends do
  /// (zrok.md 4.3).
  public static func add(to headers: inout HTTPHeaders, info: RequestInfo) {
    let before = headers["x-forwarded-for"].joined(separator: ", ")
    headers.replaceOrAdd(name: "x-forwarded-for", value: before.isEmpty ? info.remoteAddress : before + ", " + info.remoteAddress)
    if !headers.contains(name: "x-forwarded-proto") { headers.add(name: "x-forwarded-proto", value: info.isTLS ? "https" : "http") }
    if !headers.contains(name: "x-forwarded-host"), let host = headers.first(name: "host") { headers.add(name: "x-forwarded-host", value: host) }
    headers.replaceOrAdd(name: "x-proxy", value: "zrok")
  }

  /// Who asked, as a person is shown it: what the proxies in front say, the nearest of them last, since a visitor can only invent what stands before; else the
  /// peer itself.
  static func shown(_ headers: HTTPHeaders, peer: String) -> String {
    let addresses = headers["x-forwarded-for"].joined(separator: ", ")
    return addresses.isEmpty ? peer : String(addresses.suffix(64))
  }
}

/// How the end of a request's body is told.
enum RequestFraming: Equatable {
  case none
  case length
  case chunked
}

/// Refuses requests that two servers could read as different ones.
enum RequestCheck {
  /// - Returns: the framing, or nil for a request that is to be refused.
  static func framing(_ head: HTTPRequestHead) -> RequestFraming? {
    let headers = head.headers
    let hosts = headers["host"]
    guard hosts.count == 1 || (hosts.isEmpty && head.version.major == 1 && head.version.minor == 0) else { return nil }
    if let host = hosts.first {
      guard host.utf8.count <= 512, !host.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F || $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "@") })
      else {
        return nil
      }
    }
    guard !head.uri.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }), head.method != .CONNECT, head.uri.hasPrefix("/") || head.uri == "*" else {
      return nil
    }
    for (_, value) in headers where value.utf8.contains(where: { $0 == 0 || $0 == 10 || $0 == 13 }) { return nil }
    let lengths = headers["content-length"]
    let encodings = headers["transfer-encoding"]
    switch (lengths.count, encodings.count) {
    case (0, 0): return RequestFraming.none
    case (1, 0):
      guard let length = lengths.first, !length.isEmpty, length.utf8.count <= 18, length.utf8.allSatisfy({ (48...57).contains($0) }) else {
        return nil
      }
      return .length
    case (0, 1):
      guard head.version.major > 1 || head.version.minor >= 1, encodings.first?.lowercased() == "chunked" else { return nil }
      return .chunked
    default: return nil
    }
  }
}
