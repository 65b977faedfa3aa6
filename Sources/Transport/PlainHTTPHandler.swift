import NIOCore

/// Stands before TLS until the first bytes tell what is spoken. Whoever speaks plain HTTP to a TLS port reads in plain
/// HTTP where to go, or what is wrong; everything else is TLS's business. What it reads and how long it waits is within
/// the handshake's budget.
final class PlainHTTPHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let redirects: Bool
  private var held = ByteBuffer()
  private var isAnswered = false

  /// - Parameter redirects: whether HTTP is spoken within TLS here.
  init(redirects: Bool) { self.redirects = redirects }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    // What follows a head that was answered is nobody's.
    guard !isAnswered else { return }
    var bytes = unwrapInboundIn(data)
    if held.readableBytes == 0 { held = bytes } else { held.writeBuffer(&bytes) }
    switch PlainHTTPRequest.judge(held.readableBytesView) {
    case .other: leave(context)
    case .unfinished: if held.readableBytes > PlainHTTPRequest.headLimit { answer(nil, context) }
    case .request(let request): answer(request, context)
    }
  }

  private func leave(_ context: ChannelHandlerContext) {
    let bytes = held
    held = ByteBuffer()
    context.fireChannelRead(wrapInboundOut(bytes))
    context.pipeline.syncOperations.removeHandler(self, promise: nil)
  }

  private func answer(_ request: PlainHTTPRequest?, _ context: ChannelHandlerContext) {
    isAnswered = true
    held = ByteBuffer()
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    // The client closes when it has read: closed at once, with bytes of it unread, the answer could be lost on its way.
    context.writeAndFlush(
      wrapOutboundOut(ByteBuffer(string: PlainHTTPRequest.answer(to: request, redirects: redirects)))
    ).whenComplete { _ in
      bound.value.close(mode: .output, promise: nil)
    }
  }
}

/// A request in plain HTTP, as far as it matters where TLS is spoken.
package struct PlainHTTPRequest: Sendable, Equatable {
  package enum Verdict: Sendable, Equatable {
    /// No HTTP.
    case other
    /// It may become a request.
    case unfinished
    case request(PlainHTTPRequest)
  }

  /// Bytes of a head; no browser sends half of it.
  package static let headLimit = 8 * 1024
  private static let methodLimit = 32

  package let method: String
  /// The same under `https`; nil where that cannot be told.
  package let location: String?

  /// - Parameter bytes: what came so far, from the first byte of the connection on.
  package static func judge<Bytes: BidirectionalCollection>(_ bytes: Bytes) -> Verdict where Bytes.Element == UInt8 {
    let start = bytes.prefix(methodLimit + 1)
    let word = start.prefix(while: isOfMethod)
    // A TLS record begins with a number below 32.
    guard !word.isEmpty || start.isEmpty else { return .other }
    guard word.endIndex < start.endIndex else { return word.count > methodLimit ? .other : .unfinished }
    guard start[word.endIndex] == UInt8(ascii: " ") else { return .other }
    let head = bytes.prefix(headLimit)
    let newline = UInt8(ascii: "\n")
    guard let end = head.firstIndex(of: newline) else { return .unfinished }
    guard let (method, target) = requestLine(withoutReturn(head[..<end])) else { return .other }
    let fields = head[head.index(after: end)...]
    var rest = fields
    // A head may come byte by byte, and is judged each time: nothing is made of it before it is whole.
    while let end = rest.firstIndex(of: newline) {
      if withoutReturn(rest[..<end]).isEmpty {
        let lines = fields[..<rest.startIndex].split(separator: newline).map {
          String(decoding: withoutReturn($0), as: UTF8.self)
        }
        return .request(PlainHTTPRequest(method: method, target: target, fields: lines))
      }
      rest = rest[rest.index(after: end)...]
    }
    return .unfinished
  }

  private static func withoutReturn<Line: BidirectionalCollection>(_ line: Line) -> Line.SubSequence
  where Line.Element == UInt8 {
    line.last == UInt8(ascii: "\r") ? line.dropLast() : line[...]
  }

  /// - Parameter fields: lines of a whole head.
  private init(method: String, target: String, fields: [String]) {
    self.method = method
    let hosts = fields.filter { $0.prefix(5).lowercased() == "host:" }.map { $0.dropFirst(5).trimmingBlanks }
    location = Self.location(target, hosts: hosts)
  }

  private static func location(_ target: String, hosts: [Substring]) -> String? {
    guard target.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
    let place: HostPort
    let path: String
    if target.hasPrefix("/") {
      guard hosts.count == 1, let host = hosts.first, let named = HostPort(host, defaultPort: 80) else { return nil }
      (place, path) = (named, target)
    } else {
      guard let url = ServerURL(target) else { return nil }
      (place, path) = (url.place, url.target)
    }
    guard place.host.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "%") }) else { return nil }
    return "https://" + (place.port == 443 ? place.bracketed : place.description) + path
  }

  private static func isOfMethod(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"): true
    default: false
    }
  }

  /// `method target HTTP/x`.
  private static func requestLine<Line: BidirectionalCollection>(_ line: Line) -> (method: String, target: String)?
  where Line.Element == UInt8 {
    let words = line.split(separator: UInt8(ascii: " "))
    guard words.count == 3, words[2].starts(with: "HTTP/".utf8) else { return nil }
    return (String(decoding: words[0], as: UTF8.self), String(decoding: words[1], as: UTF8.self))
  }

  /// - Parameters:
  ///   - request: nil for a head that is too long.
  ///   - redirects: whether HTTP is spoken within TLS here.
  package static func answer(to request: PlainHTTPRequest?, redirects: Bool) -> String {
    var fields = ["content-type: text/plain; charset=utf-8", "cache-control: no-store", "connection: close"]
    let status: String
    let text: String
    if redirects, let request, let location = request.location, request.method == "GET" || request.method == "HEAD" {
      status = "308 Permanent Redirect"
      text = "This port speaks TLS: \(location)\n"
      fields.append("location: \(location)")
    } else {
      status = "400 Bad Request"
      text =
        redirects
        ? "This port speaks TLS: write https:// in place of http://\n"
        : "This port speaks TLS, and no HTTP within it.\n"
    }
    fields.append("content-length: \(text.utf8.count)")
    return "HTTP/1.1 \(status)\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
      + (request?.method == "HEAD" ? "" : text)
  }
}

extension Substring {
  fileprivate var trimmingBlanks: Substring {
    var rest = self.drop { $0 == " " || $0 == "\t" }
    while rest.last == " " || rest.last == "\t" { rest.removeLast() }
    return rest
  }
}
