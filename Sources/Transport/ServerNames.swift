import PKI
import SwiftASN1
public import X509

extension String {
  var isIPAddress: Bool { IPAddressText.octets(withoutZone) != nil }

  /// An IPv6 address names an interface of this machine behind `%`; certificates know nothing of that.
  fileprivate var withoutZone: String { utf8.contains(UInt8(ascii: ":")) ? String(prefix { $0 != "%" }) : self }
}

extension Certificate {
  /// Whether the certificate names this host in its subject alternative names: DNS with one leading wildcard label, or
  /// the exact IP address.
  public func names(host: String) -> Bool {
    guard let names = try? extensions.subjectAlternativeNames else { return false }
    let address = IPAddressText.octets(host.withoutZone)
    return names.contains { name in
      switch name {
      case .dnsName(let pattern): address == nil && Self.matches(pattern.lowercased(), host.lowercased())
      case .ipAddress(let octets): address == Array(octets.bytes)
      default: false
      }
    }
  }

  private static func matches(_ pattern: String, _ host: String) -> Bool {
    if pattern == host { return true }
    guard pattern.hasPrefix("*."), let dot = host.firstIndex(of: ".") else { return false }
    return pattern.dropFirst(1) == host[dot...] && host.startIndex < dot
  }
}
