/// A host name or IP literal in the one spelling that is compared: lower case, no dot at the end, addresses as
/// `inet_ntop` writes them and IPv4 that hides in IPv6 as IPv4. A certificate's names are compared in it, so that
/// nobody obtains a name by spelling it otherwise.
public struct HostName: Sendable, Hashable, CustomStringConvertible {
  public let description: String
  private let octets: [UInt8]?

  /// - Returns: nil for what is no host name: anything but letters, digits, `-`, `_` in labels of at most 63 bytes, 253
  ///   in all. A leading `*.` is a name too.
  public init?(_ text: String) {
    if let octets = IPAddressText.octets(text) {
      let isMapped =
        octets.count == 16 && octets.prefix(10).allSatisfy { $0 == 0 } && octets[10] == 0xff && octets[11] == 0xff
      let plain = isMapped ? Array(octets.suffix(4)) : octets
      guard let text = IPAddressText.text(plain) else { return nil }
      (self.octets, description) = (plain, text)
      return
    }
    var name = text[...]
    if name.utf8.last == UInt8(ascii: ".") { name = name.dropLast() }
    guard (1...253).contains(name.utf8.count) else { return nil }
    let labels = (name.hasPrefix("*.") ? name.dropFirst(2) : name).utf8.split(
      separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    for label in labels {
      guard (1...63).contains(label.count), label.allSatisfy(Self.isAllowed) else { return nil }
    }
    (octets, description) = (nil, name.lowercased())
  }

  private static func isAllowed(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
      UInt8(ascii: "_"):
      true
    default: false
    }
  }

  public var isWildcard: Bool { description.hasPrefix("*") }

  /// Names that lead no further than the machine that dials them.
  public var isLoopback: Bool {
    if let octets {
      return octets.count == 4 ? octets[0] == 127 : octets.dropLast().allSatisfy { $0 == 0 } && octets.last == 1
    }
    return description == "localhost"
  }
}
