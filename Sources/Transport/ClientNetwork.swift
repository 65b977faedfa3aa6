import Foundation

/// Whose address it is, for counting: whoever has one IPv6 address has a whole /64 of them.
public enum ClientNetwork {
  /// - Parameter address: without port; IPv6 with or without brackets.
  /// - Returns: an IPv6 address's network, an IPv4 address within IPv6 as the IPv4 address that it is, everything else
  ///   as it is.
  public static func key(_ address: String) -> String {
    guard address.utf8.contains(UInt8(ascii: ":")) else { return address }
    let plain = address.filter { $0 != "[" && $0 != "]" }
    var bytes = [UInt8](repeating: 0, count: 16)
    guard inet_pton(AF_INET6, plain, &bytes) == 1 else { return address }
    // An IPv4 address in IPv6 form stands for itself, however it is spelt.
    guard bytes.prefix(12) != [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF] else {
      return bytes.suffix(4).map { String($0) }.joined(separator: ".")
    }
    return bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ".")
  }
}
