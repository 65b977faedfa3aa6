import NIOHTTP1

/// Cookies of a request, told apart by bytes: what combines with a semicolon in one character must not hide the next
/// cookie. The number that is looked at is bounded.
enum RequestCookies {
  private static let limit = 256

  private static func pairs(_ line: String) -> [Substring] {
    line.utf8.split(separator: UInt8(ascii: ";"), maxSplits: limit).map {
      Substring($0.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") })
    }
  }

  private static func isNamed(_ pair: Substring, _ name: String) -> Bool {
    pair.utf8.starts(with: name.utf8) && pair.utf8.dropFirst(name.utf8.count).first == UInt8(ascii: "=")
  }

  /// The value of the first cookie of that name.
  static func value(_ name: String, _ headers: HTTPHeaders) -> Substring? {
    for line in headers["cookie"] {
      if let pair = pairs(line).first(where: { isNamed($0, name) }) {
        return Substring(pair.utf8.dropFirst(name.utf8.count + 1))
      }
    }
    return nil
  }

  /// What is ours is not the share's.
  static func remove(_ names: [String], from headers: inout HTTPHeaders) {
    guard headers.contains(name: "cookie") else { return }
    let kept = headers["cookie"].flatMap { line in pairs(line).filter { pair in !names.contains { isNamed(pair, $0) } }
    }
    headers.remove(name: "cookie")
    if !kept.isEmpty { headers.add(name: "cookie", value: kept.joined(separator: "; ")) }
  }
}
