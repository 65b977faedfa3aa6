import NIOHTTP1

/// Cookies of a request; the number that is looked at is bounded.
enum RequestCookies {
  private static let limit = 256

  private static func pairs(_ headers: HTTPHeaders) -> some Sequence<Substring> {
    headers["cookie"].flatMap { $0.split(separator: ";").prefix(limit).map { $0.drop { $0 == " " } } }
  }

  /// The value of the first cookie of that name.
  static func value(_ name: String, _ headers: HTTPHeaders) -> Substring? {
    let prefix = name + "="
    return pairs(headers).first { $0.hasPrefix(prefix) }.map { $0.dropFirst(prefix.utf8.count) }
  }

  /// What is ours is not the share's.
  static func remove(_ names: [String], from headers: inout HTTPHeaders) {
    guard headers.contains(name: "cookie") else { return }
    let prefixes = names.map { $0 + "=" }
    let kept = headers["cookie"].flatMap { line in line.split(separator: ";").map { $0.drop { $0 == " " } } }
      .filter { cookie in !prefixes.contains { cookie.hasPrefix($0) } }
    headers.remove(name: "cookie")
    if !kept.isEmpty { headers.add(name: "cookie", value: kept.joined(separator: "; ")) }
  }
}
