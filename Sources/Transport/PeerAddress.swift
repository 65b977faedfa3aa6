public import NIOCore

/// Where a peer listens: `tls:host:port`, or `tls://host:port` as the REST documents write it (edge-data-plane.md 1.1).
public struct PeerAddress: Sendable, Hashable, CustomStringConvertible {
  public let host: String
  public let port: Int

  public init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// - Throws: `TransportError.badAddress` when the scheme is not `tls`, or host or port is missing.
  public init(parsing text: String) throws(TransportError) {
    var rest = Substring(text)
    guard rest.hasPrefix("tls:") else { throw .badAddress(text) }
    rest = rest.dropFirst(4)
    if rest.hasPrefix("//") { rest = rest.dropFirst(2) }
    guard let parts = Self.split(rest) else { throw .badAddress(text) }
    self.init(host: parts.host, port: parts.port)
  }

  /// `host:port` or `[v6]:port`; `defaultPort` fills a missing port.
  package static func split(_ text: Substring, defaultPort: Int? = nil) -> (host: String, port: Int)? {
    if text.hasPrefix("[") {
      guard let close = text.firstIndex(of: "]") else { return nil }
      let host = text[text.index(after: text.startIndex)..<close]
      let tail = text[text.index(after: close)...]
      if tail.isEmpty { return defaultPort.map { (String(host), $0) } }
      guard tail.hasPrefix(":"), let port = port(tail.dropFirst()) else { return nil }
      return (String(host), port)
    }
    guard let colon = text.lastIndex(of: ":") else {
      guard let defaultPort, !text.isEmpty else { return nil }
      return (String(text), defaultPort)
    }
    let host = text[..<colon]
    guard !host.isEmpty, !host.contains(":"), let port = port(text[text.index(after: colon)...]) else { return nil }
    return (String(host), port)
  }

  private static func port(_ text: Substring) -> Int? {
    guard let value = Int(text), (0...65535).contains(value) else { return nil }
    return value
  }

  private var hostInURL: String { host.contains(":") ? "[\(host)]" : host }

  /// `tls:host:port`, the form of configuration files and enrollment tokens.
  public var description: String { "tls:\(hostInURL):\(port)" }

  /// `tls://host:port`, the form SDKs read in `supportedProtocols`.
  public var url: String { "tls://\(hostInURL):\(port)" }
}

extension SocketAddress {
  /// `ip:port` for logs and events.
  public var text: String {
    guard let ip = ipAddress, let port else { return "unix" }
    return ip.contains(":") ? "[\(ip)]:\(port)" : "\(ip):\(port)"
  }
}
