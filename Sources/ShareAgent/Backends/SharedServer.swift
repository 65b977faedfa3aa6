import NIOHTTP1
import Transport
import WebRelay

/// A web server behind a share: how it is reached, and what is changed in requests and answers so that it, which knows
/// itself by its own address, and a visitor, who knows it by the share's, understand each other.
///
/// Requests go below the target's path, as Go's `ReverseProxy` and with it zrok's proxy join the two (`/app` and `/x`
/// is `/app/x`), its query comes before theirs. What the server says of places of its own is turned round: a path below
/// the target's path always; its own host where we made it believe that this is what visitors ask for (`HostHeader`). A
/// visitor who asks for something above that path gets an error: less than the server is shared.
struct SharedServer: Sendable {
  let connect: Connector
  /// Host and port as `Host` has them.
  let authority: String
  private let hostHeader: BackendOptions.HostHeader
  /// Without a slash at its end; empty for the whole server.
  private let path: String
  private let query: String
  /// Host and port of every address by which the server may call itself.
  private let own: Set<Place>

  private struct Place: Hashable {
    let host: String
    let port: Int
  }

  private static let loopback = ["localhost", "127.0.0.1", "::1"]

  /// - Throws: `NIOSSLError` when TLS cannot be set up.
  init(_ scheme: BackendTarget.Scheme, host: String, port: Int, path: String, _ options: BackendOptions) throws {
    let isTLS = scheme == .https
    let security: TCPConnector.Security =
      isTLS ? options.insecure ? .insecure(name: host) : .verified(name: host) : .plain
    self.init(
      connect: try TCPConnector.make(host: host, port: port, security: security),
      authority: (host.contains(":") ? "[\(host)]" : host) + (port == (isTLS ? 443 : 80) ? "" : ":\(port)"),
      hosts: Self.loopback.contains(host.lowercased()) ? Self.loopback : [host.lowercased()], ports: [port],
      target: path, options)
  }

  /// - Parameter connect: to a server that has no address, only a socket.
  init(connect: @escaping Connector, _ options: BackendOptions) {
    self.init(connect: connect, authority: "localhost", hosts: ["localhost"], ports: [80, 443], target: "", options)
  }

  private init(
    connect: @escaping Connector, authority: String, hosts: [String], ports: [Int], target: String,
    _ options: BackendOptions
  ) {
    self.connect = connect
    self.authority = authority
    hostHeader = options.hostHeader
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    var path = parts.first ?? ""
    while path.hasSuffix("/") { path = path.dropLast() }
    self.path = String(path)
    query = parts.count > 1 ? String(parts[1]) : ""
    var own = Set(hosts.flatMap { host in ports.map { Place(host: host, port: $0) } })
    switch options.hostHeader {
    case .keep: own = []
    case .target: break
    case .value(let value):
      // It may add its own port to the name that it reads.
      for port in Set(ports + [80, 443]) {
        if let named = PeerAddress.split(value[...], defaultPort: port) {
          own.insert(Place(host: named.host.lowercased(), port: named.port))
        }
      }
    }
    self.own = own
  }

  // MARK: Requests

  /// Turns a visitor's request into one for the server.
  /// - Returns: false when it leads above what is shared.
  func rewrite(_ head: inout HTTPRequestHead) -> Bool {
    switch hostHeader {
    case .keep: break
    case .target: head.headers.replaceOrAdd(name: "host", value: authority)
    case .value(let value): head.headers.replaceOrAdd(name: "host", value: value)
    }
    guard !path.isEmpty || !query.isEmpty, head.uri.hasPrefix("/") else { return true }
    let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    guard let asked = parts.first, path.isEmpty || Self.staysBelow(asked) else { return false }
    head.uri = path + String(asked)
    let queries = [query[...]] + parts.dropFirst()
    if parts.count > 1 || !query.isEmpty { head.uri += "?" + queries.filter { !$0.isEmpty }.joined(separator: "&") }
    return true
  }

  /// Whether a path has no more steps up than down before them, read as the most generous server reads it: encoded dots
  /// and slashes, backslashes, and parameters behind `;`.
  private static func staysBelow(_ path: Substring) -> Bool {
    var bytes: [UInt8] = []
    var rest = path.utf8[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), let code = UInt8(Substring(rest.prefix(2)), radix: 16), rest.count >= 2 {
        rest = rest.dropFirst(2)
        bytes.append(code)
      } else {
        bytes.append(byte)
      }
    }
    var depth = 0
    for name in bytes.split(whereSeparator: { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") }) {
      switch name.prefix(while: { $0 != UInt8(ascii: ";") }) {
      case let dots where dots.elementsEqual("..".utf8): depth -= 1
      case let dot where dot.elementsEqual(".".utf8): break
      default: depth += 1
      }
      guard depth >= 0 else { return false }
    }
    return true
  }

  // MARK: Answers

  /// What has to be changed in the answer to a visitor's request; nil where nothing can have to be.
  /// - Parameter head: as the visitor sent it and the frontend passed it on.
  func answering(_ head: HTTPRequestHead) -> (@Sendable (inout HTTPResponseHead) -> Void)? {
    guard !own.isEmpty || !path.isEmpty else { return nil }
    let visitor = Visitor(
      authority: head.headers.first(name: "host") ?? "",
      scheme: head.headers[canonicalForm: "x-forwarded-proto"].first.map { $0.lowercased() }.flatMap {
        ["http", "https"].contains($0) ? $0 : nil
      })
    return { [self] answer in
      for name in ["location", "content-location"] {
        if let place = answer.headers.first(name: name).flatMap({ seen($0, by: visitor) }) {
          answer.headers.replaceOrAdd(name: name, value: place)
        }
      }
      guard answer.headers.contains(name: "set-cookie") else { return }
      let cookies = answer.headers["set-cookie"].map(cookie)
      answer.headers.remove(name: "set-cookie")
      for cookie in cookies { answer.headers.add(name: "set-cookie", value: cookie) }
    }
  }

  /// How a visitor calls the share.
  private struct Visitor {
    let authority: String
    /// nil where no frontend said.
    let scheme: String?
  }

  /// - Returns: a URL of the server as the visitor has to write it; nil for one that stays as it is.
  private func seen(_ url: String, by visitor: Visitor) -> String? {
    if url.hasPrefix("/"), !url.hasPrefix("//") { return below(url[...]).map(String.init) }
    let rest: Substring
    let port: Int
    switch url.prefix(8).lowercased() {
    case "https://": (rest, port) = (url.dropFirst(8), 443)
    case let start where start.hasPrefix("http://"): (rest, port) = (url.dropFirst(7), 80)
    case let start where start.hasPrefix("//"): (rest, port) = (url.dropFirst(2), visitor.scheme == "https" ? 443 : 80)
    default: return nil
    }
    let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
    guard let named = PeerAddress.split(rest[..<end], defaultPort: port) else { return nil }
    let tail = rest[end...].hasPrefix("/") ? rest[end...] : "/" + rest[end...]
    guard own.contains(Place(host: named.host.lowercased(), port: named.port)) else {
      // The share's own address, with a path that only the server knows.
      guard rest[..<end].lowercased() == visitor.authority.lowercased(), let tail = below(tail) else { return nil }
      return String(url[..<end]) + tail
    }
    let shown = below(tail) ?? tail
    guard let scheme = visitor.scheme, !visitor.authority.isEmpty else { return String(shown) }
    return "\(scheme)://\(visitor.authority)\(shown)"
  }

  /// - Returns: a path of the server without the path that visitors do not know; nil for one outside of that.
  private func below(_ path: Substring) -> Substring? {
    guard !self.path.isEmpty, path.hasPrefix(self.path) else { return nil }
    let rest = path.dropFirst(self.path.count)
    switch rest.first {
    case nil: return "/"
    case "/": return rest
    case "?", "#": return "/" + rest
    default: return nil
    }
  }

  /// A cookie for a path or a domain that its visitor's browser does not see there would never come back.
  private func cookie(_ text: String) -> String {
    let parts = text.split(separator: ";", omittingEmptySubsequences: false)
    return parts.enumerated().compactMap { index, part -> Substring? in
      guard index > 0, let equals = part.firstIndex(of: "=") else { return part }
      let value = part[part.index(after: equals)...].trimmingPrefix { $0 == " " || $0 == "\"" }
      switch part[..<equals].filter({ $0 != " " }).lowercased() {
      case "domain":
        let host = value.trimmingPrefix { $0 == "." }.prefix { $0 != " " && $0 != "\"" }.lowercased()
        // Left away, it is the visitor's host alone.
        return own.contains { $0.host == host } ? nil : part
      case "path": return below(value).map { " Path=" + $0 } ?? part
      default: return part
      }
    }.joined(separator: ";")
  }
}
