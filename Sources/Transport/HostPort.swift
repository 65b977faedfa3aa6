public import NIOCore
import PKI

/// A host and a port as people, files and wires write them: `host:port`, and `[2001:db8::1]:port` where the host is an
/// IPv6 address. The one reader and the one writer of such texts.
public struct HostPort: Sendable, Hashable, CustomStringConvertible {
  /// A name or an address; an IPv6 address without brackets and in its shortest spelling, with its zone where one was
  /// given (`fe80::1%eth0`).
  public var host: String
  /// 0 stands for any free port, where something is to listen.
  public var port: Int

  /// - Parameter host: of an IPv6 address with or without brackets.
  public init(host: String, port: Int) {
    self.host = Self.host(host) ?? host
    self.port = port
  }

  /// - Parameters:
  ///   - text: `host:port` or `[v6]:port`.
  ///   - defaultPort: with it the port may be missing, and an IPv6 address then needs no brackets.
  /// - Returns: nil for any other text: an IPv6 address before a port has to stand in brackets, or nobody could tell
  ///   where it ends.
  public init?(_ text: some StringProtocol, defaultPort: Int? = nil) {
    let text = Substring(text)
    if let defaultPort, let host = Self.host(text) {
      (self.host, self.port) = (host, defaultPort)
      return
    }
    guard let colon = text.lastIndex(of: ":") else { return nil }
    let (place, digits) = (text[..<colon], text[text.index(after: colon)...])
    // A port may be empty (RFC 3986 3.2.3).
    guard let port = digits.isEmpty ? defaultPort : Self.port(digits) else { return nil }
    guard place.hasPrefix("[") || !place.utf8.contains(UInt8(ascii: ":")), let host = Self.host(place) else {
      return nil
    }
    (self.host, self.port) = (host, port)
  }

  public var description: String { "\(bracketed):\(port)" }

  /// The host as it stands before a port.
  package var bracketed: String { Self.bracketed(host) }

  package static func bracketed(_ host: String) -> String { host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host }

  /// A host alone: a name, or an address, of IPv6 with or without brackets.
  /// - Returns: what `host` of a whole place would be; nil for text that cannot be one.
  public static func host(_ text: some StringProtocol) -> String? {
    let text = Substring(text)
    if text.hasPrefix("[") {
      guard text.hasSuffix("]"), text.utf8.count > 2 else { return nil }
      return shortest(text.dropFirst().dropLast())
    }
    if text.utf8.contains(UInt8(ascii: ":")) { return shortest(text) }
    guard (1...253).contains(text.utf8.count), text.utf8.allSatisfy(isOfNames) else { return nil }
    return String(text)
  }

  /// An address alone, of IPv6 with or without brackets.
  /// - Returns: nil for anything else, names too.
  public static func address(_ text: some StringProtocol) -> String? {
    host(text).flatMap { $0.isIPAddress ? $0 : nil }
  }

  /// - Returns: an IPv6 address in its shortest spelling.
  private static func shortest(_ text: Substring) -> String? {
    let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
    guard let octets = IPAddressText.octets(String(parts[0])), octets.count == 16,
      let plain = IPAddressText.text(octets)
    else { return nil }
    guard parts.count == 2 else { return plain }
    var zone = parts[1]
    // In URLs the sign itself is encoded (RFC 6874).
    while zone.hasPrefix("25"), zone.utf8.count > 2 { zone = zone.dropFirst(2) }
    guard (1...32).contains(zone.utf8.count), zone.utf8.allSatisfy({ $0 != UInt8(ascii: ":") && isOfNames($0) }) else {
      return nil
    }
    return "\(plain)%\(zone)"
  }

  /// What resolvers may be asked for: anything but blanks and what ends or encloses a host in other texts.
  private static func isOfNames(_ byte: UInt8) -> Bool {
    switch byte {
    case ...0x20, 0x7F: false
    case UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: "#"), UInt8(ascii: "@"), UInt8(ascii: "["),
      UInt8(ascii: "]"), UInt8(ascii: "%"),
      UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "\\"), UInt8(ascii: ","), UInt8(ascii: "<"),
      UInt8(ascii: ">"):
      false
    default: true
    }
  }

  private static func port(_ text: Substring) -> Int? {
    guard (1...5).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }), let value = Int(text)
    else { return nil }
    return value <= 65535 ? value : nil
  }
}

extension SocketAddress {
  /// `ip:port` for logs and events.
  public var text: String {
    guard let plainAddress, let port else { return "unix" }
    return HostPort(host: plainAddress, port: port).description
  }

  /// The address without its port; one of IPv4 that came to an IPv6 socket as the IPv4 address that it is. nil for what
  /// is no internet address.
  package var plainAddress: String? {
    guard let ipAddress else { return nil }
    let mapped = "::ffff:"
    return ipAddress.hasPrefix(mapped) && ipAddress.utf8.contains(UInt8(ascii: "."))
      ? String(ipAddress.dropFirst(mapped.count)) : ipAddress
  }
}
