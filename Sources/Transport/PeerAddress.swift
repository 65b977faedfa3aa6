/// Where a peer listens: `tls:host:port`, or `tls://host:port` as the REST documents write it (edge-data-plane.md 1.1).
public struct PeerAddress: Sendable, Hashable, CustomStringConvertible {
  public let place: HostPort

  public var host: String { place.host }
  public var port: Int { place.port }

  public init(_ place: HostPort) { self.place = place }

  /// - Parameter host: of an IPv6 address with or without brackets.
  public init(host: String, port: Int) { self.init(HostPort(host: host, port: port)) }

  /// - Throws: `TransportError.badAddress` when the scheme is not `tls`, or host or port is missing.
  public init(parsing text: String) throws(TransportError) {
    var rest = Substring(text)
    guard rest.prefix(4).lowercased() == "tls:" else { throw .badAddress(text) }
    rest = rest.dropFirst(4)
    if rest.hasPrefix("//") { rest = rest.dropFirst(2) }
    guard let place = HostPort(rest) else { throw .badAddress(text) }
    self.init(place)
  }

  /// `host:port` or `[v6]:port`; `defaultPort` fills a missing port.
  package static func split(_ text: Substring, defaultPort: Int? = nil) -> (host: String, port: Int)? {
    HostPort(text, defaultPort: defaultPort).map { ($0.host, $0.port) }
  }

  /// `tls:host:port`, the form of configuration files and enrollment tokens.
  public var description: String { "tls:\(place)" }

  /// `tls://host:port`, the form SDKs read in `supportedProtocols`.
  public var url: String { "tls://\(place)" }
}
