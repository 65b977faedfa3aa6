/// `https://host[:port][/path][?query]`, or the same with `http`; the scheme in any case (RFC 3986 3.1).
package struct ServerURL: Sendable, Equatable {
  package let isTLS: Bool
  package let place: HostPort
  /// Path and query; begins with `/`.
  package let target: String
  private let hasPort: Bool

  /// - Parameters:
  ///   - text: a URL; with `impliesTLS` the scheme may be missing.
  ///   - impliesTLS: what a text without a scheme means; nil refuses it.
  ///   - defaultPort: nil takes that of the scheme.
  /// - Returns: nil for anything else: another scheme, a user before the host, a host that cannot be one.
  package init?(_ text: String, impliesTLS: Bool? = nil, defaultPort: Int? = nil) {
    let rest: Substring
    if let mark = text.firstRange(of: "://") {
      switch text[..<mark.lowerBound].lowercased() {
      case "https": isTLS = true
      case "http": isTLS = false
      default: return nil
      }
      rest = text[mark.upperBound...]
    } else {
      guard let impliesTLS else { return nil }
      isTLS = impliesTLS
      rest = text[...]
    }
    let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
    let written = HostPort(rest[..<end])
    guard let place = written ?? HostPort(rest[..<end], defaultPort: defaultPort ?? (isTLS ? 443 : 80)) else {
      return nil
    }
    self.place = place
    hasPort = written != nil
    let tail = String(rest[end...])
    target = tail.hasPrefix("/") ? tail : "/" + tail
  }

  private var scheme: String { isTLS ? "https" : "http" }

  /// Host and port as `Host` has them: with the port where one was written.
  package var authority: String { hasPort ? place.description : place.bracketed }

  /// `https://host:port`, the port always written.
  package var origin: String { "\(scheme)://\(place)" }
  /// `https://host[:port]`, with the port where one was written.
  package var shortOrigin: String { "\(scheme)://\(authority)" }

  /// The path without slashes at its end and without the query; empty for the root.
  package var path: String {
    var path = target.prefix { $0 != "?" }
    while path.hasSuffix("/") { path = path.dropLast() }
    return String(path)
  }
}
