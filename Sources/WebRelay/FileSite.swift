import Foundation
import NIOCore
import NIOHTTP1

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A directory as a web site: files with ranges and validators, `index.html`, and listings.
public final class FileSite: Site {
  private let root: ConfinedRoot
  private let listsDirectories: Bool

  /// - Parameters:
  ///   - root: the directory; nothing outside it is served.
  ///   - listsDirectories: whether a directory without an index shows what it holds.
  /// - Throws: when there is no such directory.
  public init(root: String, listsDirectories: Bool = true) throws {
    self.root = try ConfinedRoot(root)
    self.listsDirectories = listsDirectories
  }

  func answer(_ head: HTTPRequestHead, _ body: ByteBuffer) -> SiteAnswer {
    guard head.method == .GET || head.method == .HEAD else {
      return .page(.text(status: .methodNotAllowed, "This site is for reading: GET and HEAD.\n", headers: [("allow", "GET, HEAD")]))
    }
    let path = head.uri.prefix { $0 != "?" && $0 != "#" }
    do throws(ConfinedRoot.Failure) {
      let segments = try ConfinedRoot.segments(path)
      let entry = try root.open(segments)
      guard entry.isDirectory else {
        if path.hasSuffix("/") { throw .notFound }
        return .file(entry, name: segments.last ?? "")
      }
      // Relative links of a page need the slash. The path is ours again, encoded: a target such as //elsewhere cannot come of it.
      guard path.hasSuffix("/") else {
        return .page(.redirect(to: "/" + segments.map(Self.encoded).joined(separator: "/") + "/", status: .movedPermanently))
      }
      do throws(ConfinedRoot.Failure) {
        let index = try root.open(segments + ["index.html"])
        if !index.isDirectory { return .file(index, name: "index.html") }
      } catch .notFound {}
      guard listsDirectories else { throw .notFound }
      return .page(listing(segments, ConfinedRoot.list(entry)))
    } catch {
      return .page(Self.page(error))
    }
  }

  static func page(_ failure: ConfinedRoot.Failure) -> WebPage {
    switch failure {
    case .badPath: .html(status: .badRequest, title: "No such address", message: "The address is not one of this site.", hint: "Check it for a typo.")
    case .notFound:
      .html(status: .notFound, title: "Nothing here", message: "There is no file of this name.", hint: "Check the address, or go up one level.")
    case .forbidden: .html(status: .forbidden, title: "Not shared", message: "This file is not part of what is shared.", hint: "Go up one level.")
    case .failed(let code):
      .html(
        status: .internalServerError, title: "The file cannot be read", message: String(cString: strerror(code)),
        hint: "Try again, or tell the person who shares it.")
    }
  }

  static func encoded(_ name: String) -> String {
    var result = ""
    for byte in name.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
        UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
        result.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        let digits = String(byte, radix: 16, uppercase: true)
        result += "%" + (digits.count == 1 ? "0" : "") + digits
      }
    }
    return result
  }

  private func listing(_ segments: [String], _ entries: [ConfinedRoot.Listed]) -> WebPage {
    var rows = segments.isEmpty ? "" : "<tr><td><a href=\"../\">../</a><td><td>\n"
    for entry in entries {
      let slash = entry.isDirectory ? "/" : ""
      rows +=
        "<tr><td><a href=\"\(Self.encoded(entry.name))\(slash)\">\(WebPage.escaped(entry.name))\(slash)</a><td>\(entry.isDirectory ? "" : Self.size(entry.size))"
        + "<td>\(Self.day(entry.modified))\n"
    }
    let more = entries.count >= ConfinedRoot.listingLimit ? "<p>There is more than is shown.</p>" : ""
    let title = WebPage.escaped("/" + segments.joined(separator: "/"))
    let html = """
      <!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>\(title)</title>
      <style>\(Self.style)</style>
      <h1>\(title)</h1><table>
      \(rows)</table>\(more)

      """
    return WebPage(
      status: .ok,
      headers: [
        "content-type": "text/html; charset=utf-8", "cache-control": "no-cache", "x-content-type-options": "nosniff",
        "content-security-policy": Self.policy,
      ], body: ByteBuffer(string: html))
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

extension Calendar {
  fileprivate static let utc: Calendar = {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = TimeZone(secondsFromGMT: 0) ?? calendar.timeZone
    return calendar
  }()
}

/// Times as HTTP writes them (RFC 9110, 5.6.7).
enum HTTPDate {
  private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

  static func text(_ seconds: Int64) -> String {
    let parts = Calendar.utc.dateComponents(
      [.year, .month, .day, .hour, .minute, .second, .weekday], from: Date(timeIntervalSince1970: Double(seconds)))
    func two(_ number: Int?) -> String {
      let text = "\(number ?? 0)"
      return text.count < 2 ? "0" + text : text
    }
    return
      "\(days[((parts.weekday ?? 1) - 1) % 7]), \(two(parts.day)) \(months[((parts.month ?? 1) - 1) % 12]) \(parts.year ?? 1970) "
      + "\(two(parts.hour)):\(two(parts.minute)):\(two(parts.second)) GMT"
  }
}
