public import NIOHTTP1

/// Fields that a proxy keeps to itself.
enum HopByHop {
  /// Removes them, and what `Connection` names.
  static func strip(_ headers: inout HTTPHeaders) {
    for name in headers[canonicalForm: "connection"]
    where name.lowercased() != "content-length" && name.lowercased() != "host" {
      headers.remove(name: String(name))
    }
    for name in ConnectionFields.names { headers.remove(name: name) }
  }

  /// The protocols a client wants to change to, as `Connection: upgrade` and `Upgrade` say it together, without those
  /// that are for this connection alone: HTTP/2 comes about in TLS only, and TLS is whoever's who has the certificate.
  /// Such a wish may be ignored (RFC 9110, 7.8), and no server behind hears of it.
  static func upgrade(_ head: HTTPRequestHead) -> String? {
    guard head.version.major == 1, head.version.minor > 0 else { return nil }
    guard head.headers[canonicalForm: "connection"].contains(where: { $0.lowercased() == "upgrade" }) else {
      return nil
    }
    let wanted = head.headers[canonicalForm: "upgrade"].filter { offer in
      let name = offer.utf8.prefix { $0 != UInt8(ascii: "/") }
      return Octet.isToken(name) && offer.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        && !["h2c", "h2", "http", "tls"].contains(Substring(name).lowercased())
    }
    return wanted.isEmpty ? nil : wanted.joined(separator: ", ")
  }
}

/// What a proxy tells the next server about the client.
public enum ForwardedHeaders {
  /// Appends the client's address to `X-Forwarded-For`, sets `X-Forwarded-Proto` and `-Host` where nobody did, and
  /// `X-Proxy` as zrok's frontends do (zrok.md 4.3).
  public static func add(to headers: inout HTTPHeaders, info: RequestInfo) {
    let before = headers["x-forwarded-for"].joined(separator: ", ")
    headers.replaceOrAdd(
      name: "x-forwarded-for", value: before.isEmpty ? info.remoteAddress : before + ", " + info.remoteAddress)
    if !headers.contains(name: "x-forwarded-proto") {
      headers.add(name: "x-forwarded-proto", value: info.isTLS ? "https" : "http")
    }
    if !headers.contains(name: "x-forwarded-host"), let host = headers.first(name: "host") {
      headers.add(name: "x-forwarded-host", value: host)
    }
    headers.replaceOrAdd(name: "x-proxy", value: "zrok")
  }

  /// Who asked, as a person is shown it: what the proxies in front say, the nearest of them last, since a visitor can
  /// only invent what stands before; else the peer itself.
  static func shown(_ headers: HTTPHeaders, peer: String) -> String {
    let addresses = headers["x-forwarded-for"].joined(separator: ", ")
    return addresses.isEmpty ? peer : OctetText.shown(String(addresses.suffix(64)), limit: 192)
  }
}

/// How the end of a request's body is told.
enum RequestFraming: Equatable {
  case none
  case length
  case chunked
}

/// Refuses requests that two servers could read as different ones. Of HTTP/1 the parser has refused them
/// (`MessageParser`); this is for those of HTTP/2 as well, before they become requests of HTTP/1.
enum RequestCheck {
  /// - Returns: the framing, or nil for a request that is to be refused.
  static func framing(_ head: HTTPRequestHead) -> RequestFraming? {
    let headers = head.headers
    let hosts = headers["host"]
    guard hosts.count == 1 || (hosts.isEmpty && head.version.major == 1 && head.version.minor == 0),
      hosts.allSatisfy(RequestTarget.isHost)
    else {
      return nil
    }
    guard Octet.isToken(head.method.rawValue.utf8), head.method != .CONNECT else { return nil }
    let isPath = head.uri.utf8.first == UInt8(ascii: "/") || (head.uri == "*" && head.method == .OPTIONS)
    guard isPath, !head.uri.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) else { return nil }
    for (name, value) in headers
    where !Octet.isToken(name.utf8) || value.utf8.contains(where: { $0 == 0 || $0 == 10 || $0 == 13 }) { return nil }
    let lengths = headers["content-length"]
    let codings = headers["transfer-encoding"]
    switch (lengths.count, codings.count) {
    case (0, 0): return RequestFraming.none
    case (1, 0): return RequestTarget.length(lengths[0]) == nil ? nil : .length
    case (0, 1):
      // HTTP/1.0 knows no chunks; HTTP/2 is 2.0 here, and its codec says so of a body without a length.
      return (head.version.major > 1 || head.version.minor > 0) && Octet.isNamed(codings[0], "chunked") ? .chunked : nil
    default: return nil
    }
  }
}
