import Transport

/// Names below `localhost`, as shares of a service on this machine have them. Browsers and curl lead them to the
/// machine itself; whether a system's resolver does is up to it (RFC 6761 6.3), and the usual one of Linux does not, so
/// wget, Python, node and Java find nothing.
enum LoopbackName {
  /// - Parameters:
  ///   - url: of a share.
  ///   - endpoint: of its service: on which of this machine's addresses it is, its frontend is too.
  /// - Returns: how programs reach it that do not find the name; nil where any does that finds names at all.
  static func hint(_ url: String, endpoint: String? = nil) -> String? {
    guard let parts = ServerURL(url), parts.place.host.lowercased().hasSuffix(".localhost") else { return nil }
    let isV6 = endpoint.flatMap { ServerURL($0, impliesTLS: true) }?.place.host == "::1"
    let address = isV6 ? "::1" : "127.0.0.1"
    let begin = "Browsers and curl find \(parts.place.host); other programs may not, then:"
    // A certificate is for the name.
    guard !parts.isTLS else { return "\(begin) write '\(address) \(parts.place.host)' into /etc/hosts" }
    return "\(begin) curl -H 'Host: \(parts.authority)' 'http://\(HostPort(host: address, port: parts.place.port))/'"
  }
}
