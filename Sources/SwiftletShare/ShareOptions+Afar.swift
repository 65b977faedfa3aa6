import Transport

extension ShareOptions.Backend {
  /// How something on another machine is served where nobody says: as at home, as far as its text tells. Whether it is
  /// there, only that machine knows.
  ///
  /// zrok's agents have no default of their own, and read servers of tunnels without a scheme.
  /// - Returns: the mode, and the target as an agent of either make reads it.
  package static func afar(_ text: String) -> (mode: ShareOptions.Backend, target: String) {
    if let mark = text.firstRange(of: "://") {
      switch text[..<mark.lowerBound].lowercased() {
      case "tcp": return (.tcpTunnel, String(text[mark.upperBound...]))
      case "udp": return (.udpTunnel, String(text[mark.upperBound...]))
      default: return (.proxy, text)
      }
    }
    let server = text.prefix { $0 != "/" }
    let isServer =
      Int(text) != nil || (PeerAddress.split(server, defaultPort: 0)?.port ?? 0) > 0 || text.hasPrefix("unix:")
    guard !isServer else { return (.proxy, text) }
    return (text.split(separator: "/").last == "Caddyfile" ? .caddy : .web, text)
  }
}
