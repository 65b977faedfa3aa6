import Foundation
import NIOCore
import NIOHTTP1

/// What a request to files gets.
enum SiteAnswer: Sendable {
  case page(WebPage)
  /// Content that is read while it is sent.
  case content(HTTPResponseStatus, HTTPHeaders, any SiteContent)
}

/// What goes out piece by piece. Called on a thread that may wait for the disk, one call after the other.
protocol SiteContent: Sendable {
  /// Bytes; nil where only its end tells.
  var length: Int64? { get }
  /// The next piece, of about so many bytes; empty at the end. - Throws: when the rest cannot be had.
  func next(_ count: Int) throws -> ByteBuffer
}

/// A file, or a part of one.
final class FileContent: SiteContent, @unchecked Sendable {
  // Unchecked: asked for one piece after the other.
  private let entry: ConfinedRoot.Entry
  private var rest: Range<Int64>
  let length: Int64?

  init(_ entry: ConfinedRoot.Entry, _ range: Range<Int64>) {
    self.entry = entry
    rest = range
    length = Int64(range.count)
  }

  /// A file that became shorter: the client must see that something is missing.
  private struct Shorter: Error {}

  func next(_ count: Int) throws -> ByteBuffer {
    let bytes = try entry.read(at: rest.lowerBound, count: Int(min(Int64(count), Int64(rest.count))))
    guard !bytes.isEmpty || rest.isEmpty else { throw Shorter() }
    rest = rest.lowerBound + Int64(bytes.count)..<rest.upperBound
    return ByteBuffer(bytes: bytes)
  }
}

extension SiteAnswer {
  /// A file for GET or HEAD: with its validators, as the request's conditions and range want it.
  /// - Parameters:
  ///   - name: tells the media type, with the file's first bytes.
  ///   - more: further fields.
  static func file(_ entry: ConfinedRoot.Entry, name: FileName, _ request: HTTPRequestHead, _ more: HTTPHeaders = [:])
    -> SiteAnswer
  {
    let (status, tag) = (entry.status, entry.status.tag)
    var headers: HTTPHeaders = ["etag": tag.text, "accept-ranges": "bytes", "cache-control": "no-cache"]
    headers.add(contentsOf: more)
    // While the second lasts in which it was written, a file may change and keep its time: then that proves nothing
    // (RFC 9110, 8.8.2.2).
    let modified = status.modified < Int64(Date().timeIntervalSince1970) ? HTTPDate.text(status.modified) : nil
    if let modified { headers.add(name: "last-modified", value: modified) }
    switch Preconditions.judge(request.method, request.headers, .init(status)) {
    case .proceed: break
    case .notModified: return .page(WebPage(status: .notModified, headers: headers))
    case .failed: return .page(.preconditionFailed)
    }
    headers.add(
      name: "content-type", value: ContentTypes.of(name, start: { (try? entry.read(at: 0, count: $0)) ?? [] }))
    headers.add(name: "x-content-type-options", value: "nosniff")
    var range: Range<Int64>?
    let guardian = request.headers.first(name: "if-range")
    if request.method == .GET, let text = request.headers.first(name: "range"),
      guardian == nil || guardian == tag.text || guardian == modified
    {
      switch Self.range(text, size: status.size) {
      case .none: break
      case .some(.none):
        headers.add(name: "content-range", value: "bytes */\(status.size)")
        return .page(WebPage(status: .rangeNotSatisfiable, headers: headers))
      case .some(.some(let wanted)):
        range = wanted
        headers.add(name: "content-range", value: "bytes \(wanted.lowerBound)-\(wanted.upperBound - 1)/\(status.size)")
      }
    }
    return .content(range == nil ? .ok : .partialContent, headers, FileContent(entry, range ?? 0..<status.size))
  }

  /// nil for what is no single range, which is ignored; an empty optional inside for one that the file has no byte of.
  private static func range(_ text: String, size: Int64) -> Range<Int64>?? {
    guard text.hasPrefix("bytes="), !text.contains(",") else { return nil }
    let parts = text.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, parts.allSatisfy({ $0.utf8.allSatisfy { (48...57).contains($0) } }) else { return nil }
    switch (Int64(parts[0]), Int64(parts[1])) {
    case (let first?, let last?):
      guard last >= first else { return nil }
      return first < size ? .some(first..<min(last, size - 1) + 1) : .some(nil)
    case (let first?, nil): return parts[1].isEmpty ? (first < size ? .some(first..<size) : .some(nil)) : nil
    case (nil, let suffix?):
      return parts[0].isEmpty ? (suffix > 0 && size > 0 ? .some(max(0, size - suffix)..<size) : .some(nil)) : nil
    default: return nil
    }
  }
}

extension WebPage {
  static let preconditionFailed = WebPage.text(
    status: .preconditionFailed, "A condition of the request does not hold; nothing was changed.\n")
}
