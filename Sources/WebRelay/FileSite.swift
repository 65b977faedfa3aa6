import Foundation
public import NIOCore
import NIOHTTP1
import NIOPosix

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A directory as a web site: files with ranges and validators, `index.html`, and listings.
public final class FileSite: Sendable {
  fileprivate let root: ConfinedRoot
  fileprivate let listsDirectories: Bool

  /// - Parameters:
  ///   - root: the directory; nothing outside it is served.
  ///   - listsDirectories: whether a directory without an index shows what it holds.
  /// - Throws: when there is no such directory.
  public init(root: String, listsDirectories: Bool = true) throws {
    self.root = try ConfinedRoot(root)
    self.listsDirectories = listsDirectories
  }

  /// Makes a byte channel a server of this site. Call in the channel's initializer.
  /// - Parameter observer: told about each finished request, on the event loop.
  public func configure(_ channel: any Channel, remoteAddress: String, limits: HTTPLimits = HTTPLimits(), observer: RequestObserver? = nil) throws {
    let deadline = HeadDeadline(limits)
    let pipeline = channel.pipeline.syncOperations
    var framing = HTTPResponseEncoder.Configuration()
    framing.automaticallySetFramingHeaders = false
    try? channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
    try pipeline.addHandler(deadline)
    try pipeline.addHandler(HTTPResponseEncoder(configuration: framing))
    try pipeline.addHandler(ByteToMessageHandler(HTTPRequestDecoder(limitConfiguration: limits.decoder)))
    try pipeline.addHandler(HTTPServerPipelineHandler())
    try pipeline.addHandler(FileSiteHandler(self, remoteAddress: remoteAddress, observer: observer, deadline: deadline))
  }

  /// What a request gets; found out on a thread that may wait for the disk.
  enum Answer: Sendable {
    case page(WebPage)
    case file(ConfinedRoot.Entry, name: String)
  }

  func answer(_ head: HTTPRequestHead) -> Answer {
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

  private static func page(_ failure: ConfinedRoot.Failure) -> WebPage {
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

  private static func encoded(_ name: String) -> String {
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
      <style>:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}h1{font-size:1.2rem;
      overflow-wrap:anywhere}table{width:100%;border-collapse:collapse}td{padding:.35rem .5rem;border-top:1px solid #8884;overflow-wrap:anywhere}
      td+td{white-space:nowrap;text-align:right;opacity:.75}</style>
      <h1>\(title)</h1><table>
      \(rows)</table>\(more)

      """
    return WebPage(
      status: .ok,
      headers: [
        "content-type": "text/html; charset=utf-8", "cache-control": "no-cache", "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
      ], body: ByteBuffer(string: html))
  }

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

/// Answers the requests of one connection, one after the other; files go out in pieces, as fast as the client takes them.
private final class FileSiteHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private static let pieceSize = 256 * 1024

  /// A file on its way out.
  private struct Sending {
    let entry: ConfinedRoot.Entry
    var offset: Int64
    let end: Int64
    var isReading = false
  }

  private let site: FileSite
  private let remoteAddress: String
  private let observer: RequestObserver?
  private let deadline: HeadDeadline
  private var head: HTTPRequestHead?
  private var started = NIODeadline.now()
  private var sending: Sending?
  private var status = 0
  private var bytesOut = 0
  private var isClosed = false

  init(_ site: FileSite, remoteAddress: String, observer: RequestObserver?, deadline: HeadDeadline) {
    self.site = site
    self.remoteAddress = remoteAddress
    self.observer = observer
    self.deadline = deadline
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      deadline.headArrived()
      self.head = head
      started = .now()
      guard RequestCheck.framing(head) != nil else {
        return answer(
          .html(status: .badRequest, title: "This request was refused", message: "It is malformed.", hint: "Check the address."), closes: true,
          context)
      }
    case .body: break
    case .end:
      guard let head, !isClosed else { return }
      let site = self.site
      NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) { site.answer(head) }.assumeIsolated().whenComplete { result in
        guard !self.isClosed else { return }
        switch result {
        case .success(.page(let page)): self.answer(page, closes: false, context)
        case .success(.file(let entry, let name)): self.send(entry, name, head, context)
        case .failure: context.close(promise: nil)
        }
      }
    }
  }

  private func write(_ response: HTTPResponseHead, closes: Bool, _ context: ChannelHandlerContext) {
    var response = response
    status = Int(response.status.code)
    if closes || !(head?.isKeepAlive ?? false) { response.headers.replaceOrAdd(name: "connection", value: "close") }
    context.write(wrapOutboundOut(.head(response)), promise: nil)
  }

  private func answer(_ page: WebPage, closes: Bool, _ context: ChannelHandlerContext) {
    var response = HTTPResponseHead(version: .http1_1, status: page.status, headers: page.headers)
    response.headers.replaceOrAdd(name: "content-length", value: "\(page.body.readableBytes)")
    write(response, closes: closes, context)
    if head?.method != .HEAD {
      bytesOut = page.body.readableBytes
      context.write(wrapOutboundOut(.body(.byteBuffer(page.body))), promise: nil)
    }
    finish(closes: closes, context)
  }

  private func send(_ entry: ConfinedRoot.Entry, _ name: String, _ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
    let tag = "\"\(String(entry.size, radix: 36))-\(String(entry.modified, radix: 36))\""
    let modified = HTTPDate.text(entry.modified)
    var headers: HTTPHeaders = [
      "content-type": ContentTypes.of(name), "last-modified": modified, "etag": tag, "accept-ranges": "bytes", "x-content-type-options": "nosniff",
      "cache-control": "no-cache",
    ]
    let known = request.headers[canonicalForm: "if-none-match"]
    let isKnown =
      known.isEmpty
      ? request.headers.first(name: "if-modified-since") == modified : known.contains(where: { $0 == tag || $0 == "W/" + tag || $0 == "*" })
    if isKnown {
      write(HTTPResponseHead(version: .http1_1, status: .notModified, headers: headers), closes: false, context)
      return finish(closes: false, context)
    }
    var range: Range<Int64>?
    let guardian = request.headers.first(name: "if-range")
    if let text = request.headers.first(name: "range"), guardian == nil || guardian == tag || guardian == modified {
      switch Self.range(text, size: entry.size) {
      case .none: break
      case .some(.none):
        headers.add(name: "content-range", value: "bytes */\(entry.size)")
        headers.add(name: "content-length", value: "0")
        write(HTTPResponseHead(version: .http1_1, status: .rangeNotSatisfiable, headers: headers), closes: false, context)
        return finish(closes: false, context)
      case .some(.some(let wanted)):
        range = wanted
        headers.add(name: "content-range", value: "bytes \(wanted.lowerBound)-\(wanted.upperBound - 1)/\(entry.size)")
      }
    }
    let span = range ?? 0..<entry.size
    headers.add(name: "content-length", value: "\(span.count)")
    write(HTTPResponseHead(version: .http1_1, status: range == nil ? .ok : .partialContent, headers: headers), closes: false, context)
    guard request.method != .HEAD, !span.isEmpty else { return finish(closes: false, context) }
    sending = Sending(entry: entry, offset: span.lowerBound, end: span.upperBound)
    pump(context)
  }

  /// nil for what is no single range, which is ignored; an empty optional inside for one that the file has no byte of.
  private static func range(_ text: String, size: Int64) -> Range<Int64>?? {
    guard text.hasPrefix("bytes="), !text.contains(",") else { return nil }
    let parts = text.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, parts.allSatisfy({ $0.utf8.allSatisfy { (48...57).contains($0) } }) else { return nil }
    switch (Int64(parts[0]), Int64(parts[1])) {
    case (let first?, let last?):
      guard last >= first else { return nil }
      return first < size ? .some(first..<min(last + 1, size)) : .some(nil)
    case (let first?, nil): return parts[1].isEmpty ? (first < size ? .some(first..<size) : .some(nil)) : nil
    case (nil, let suffix?): return parts[0].isEmpty ? (suffix > 0 && size > 0 ? .some(max(0, size - suffix)..<size) : .some(nil)) : nil
    default: return nil
    }
  }

  private func pump(_ context: ChannelHandlerContext) {
    guard var sending, !sending.isReading, context.channel.isWritable, !isClosed else { return }
    sending.isReading = true
    self.sending = sending
    let (entry, offset) = (sending.entry, sending.offset)
    let count = Int(min(Int64(Self.pieceSize), sending.end - offset))
    NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) { () -> ByteBuffer in
      var buffer = ByteBufferAllocator().buffer(capacity: count)
      buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { max(0, pread(entry.descriptor, $0.baseAddress, count, off_t(offset))) }
      return buffer
    }.assumeIsolated().whenComplete { result in
      guard self.sending != nil, !self.isClosed else { return }
      // A file that became shorter, or a disk that failed: the client must see that something is missing.
      guard case .success(let piece) = result, piece.readableBytes > 0 else { return context.close(promise: nil) }
      self.sending?.isReading = false
      self.sending?.offset += Int64(piece.readableBytes)
      self.bytesOut += piece.readableBytes
      context.writeAndFlush(self.wrapOutboundOut(.body(.byteBuffer(piece))), promise: nil)
      if offset + Int64(piece.readableBytes) >= self.sending?.end ?? 0 {
        self.sending = nil
        self.finish(closes: false, context)
      } else {
        self.pump(context)
      }
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    pump(context)
    context.fireChannelWritabilityChanged()
  }

  private func finish(closes: Bool, _ context: ChannelHandlerContext) {
    let last = closes || !(head?.isKeepAlive ?? false)
    report()
    head = nil
    bytesOut = 0
    deadline.awaitHead()
    let channel = context.channel
    let written = context.writeAndFlush(wrapOutboundOut(.end(nil)))
    if last { written.assumeIsolated().whenComplete { _ in channel.close(promise: nil) } }
  }

  private func report() {
    guard let head else { return }
    observer?(
      RequestRecord(
        method: head.method.rawValue, path: String(head.uri.prefix(512)),
        remoteAddress: head.headers.first(name: "x-forwarded-for").map { String($0.prefix(64)) } ?? remoteAddress, status: status,
        duration: .now() - started, bytesIn: 0, bytesOut: bytesOut, upstream: nil))
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event, head == nil { context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    isClosed = true
    sending = nil
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
