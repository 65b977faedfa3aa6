import Foundation
import NIOCore
import NIOHTTP1

/// What a directory shows to a browser.
enum DirectoryPage {
  /// - Parameters:
  ///   - path: where it is below the root.
  ///   - isCut: there is more in it.
  static func page(_ path: FilePath, _ entries: [ConfinedRoot.Listed], isCut: Bool) -> WebPage {
    var rows = path.isEmpty ? "" : "<tr><td><a href=\"../\">../</a><td><td>\n"
    for entry in entries {
      let slash = entry.isDirectory ? "/" : ""
      rows +=
        "<tr><td><a href=\"\(entry.name.encoded)\(slash)\">\(WebPage.escaped(entry.name.shown))\(slash)</a><td>"
        + "\(entry.isDirectory ? "" : size(entry.size))<td>\(day(entry.modified))\n"
    }
    let more = isCut ? "<p>There is more than is shown.</p>" : ""
    let title = WebPage.escaped("/" + path.map(\.shown).joined(separator: "/"))
    let html = """
      <!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>\(title)</title>
      <style>\(style)</style>
      <h1>\(title)</h1><table>
      \(rows)</table>\(more)

      """
    return WebPage(
      status: .ok,
      headers: [
        "content-type": "text/html; charset=utf-8", "cache-control": "no-cache", "x-content-type-options": "nosniff",
        "content-security-policy": policy,
      ], body: ByteBuffer(string: html))
  }

  /// To the same directory with the slash that relative links of a page need. The path is written anew: a target such
  /// as `//elsewhere` cannot come of it.
  static func slash(_ path: FilePath, _ uri: String) -> WebPage {
    .redirect(to: path.url(isDirectory: true) + uri.drop { $0 != "?" }, status: .movedPermanently)
  }

  private static let style =
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}h1{font-size:1.2rem;"
    + "overflow-wrap:anywhere}table{width:100%;border-collapse:collapse}td{padding:.35rem .5rem;border-top:1px solid #8884;overflow-wrap:anywhere}"
    + "td+td{white-space:nowrap;text-align:right;opacity:.75}"
  private static let policy = PagePolicy.text(styles: [style])

  private static func size(_ bytes: Int64) -> String {
    var value = Double(bytes)
    for unit in ["B", "kB", "MB", "GB"] {
      if value < 1000 { return unit == "B" ? "\(bytes) B" : "\((value * 10).rounded() / 10) \(unit)" }
      value /= 1000
    }
    return "\((value * 10).rounded() / 10) TB"
  }

  private static func day(_ seconds: Int64) -> String {
    let parts = Calendar.utc.dateComponents([.year, .month, .day], from: Date(timeIntervalSince1970: Double(seconds)))
    func two(_ number: Int?) -> String {
      let text = "\(number ?? 0)"
      return text.count < 2 ? "0" + text : text
    }
    return "\(parts.year ?? 0)-\(two(parts.month))-\(two(parts.day))"
  }
}
