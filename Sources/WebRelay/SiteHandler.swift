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

/// What a request to files gets.
enum SiteAnswer: Sendable {
  case page(WebPage)
  case file(ConfinedRoot.Entry, name: String)
}

struct SiteRefusal: Error {
  let page: WebPage
}

/// A file that comes in. Called on a thread that may wait for the disk, one call after the other.
protocol SiteUpload: Sendable {
  /// nil when it is stored.
  func write(_ bytes: UnsafeRawBufferPointer) -> SiteRefusal?
  func commit() -> Result<WebPage, SiteRefusal>
}

/// Files behind HTTP. All calls come on a thread that may wait for the disk, but `acceptsUpload`.
protocol Site: Sendable {
  func answer(_ head: HTTPRequestHead, _ body: ByteBuffer) -> SiteAnswer
  func acceptsUpload(_ head: HTTPRequestHead) -> Bool
  func beginUpload(_ head: HTTPRequestHead) -> Result<any SiteUpload, SiteRefusal>
}

extension Site {
  func acceptsUpload(_ head: HTTPRequestHead) -> Bool { false }
  func beginUpload(_ head: HTTPRequestHead) -> Result<any SiteUpload, SiteRefusal> {
    .failure(SiteRefusal(page: .text(status: .methodNotAllowed, "Nothing can be stored here.\n")))
  }

  func serve(_ channel: any Channel, _ remoteAddress: String, _ limits: HTTPLimits, _ observer: RequestObserver?) throws {
    let deadline = try HTTPServerPipeline.configureHTTP1(channel, limits: limits)
    let pipeline = channel.pipeline.syncOperations
    try pipeline.addHandler(HTTPServerPipelineHandler())
    try pipeline.addHandler(SiteHandler(self, remoteAddress: remoteAddress, observer: observer, deadline: deadline))
  }
}

extension FileSite {
  /// Makes a byte channel a server of this site. Call in the channel's initializer.
  /// - Parameter observer: told about each finished request, on the event loop.
  public func configure(_ channel: any Channel, remoteAddress: String, limits: HTTPLimits = HTTPLimits(), observer: RequestObserver? = nil) throws {
    try serve(channel, remoteAddress, limits, observer)
  }
}

extension WebDAVSite {
  /// Makes a byte channel a server of this drive. Call in the channel's initializer.
  /// - Parameter observer: told about each finished request, on the event loop.
  public func configure(_ channel: any Channel, remoteAddress: String, limits: HTTPLimits = HTTPLimits(), observer: RequestObserver? = nil) throws {
    try serve(channel, remoteAddress, limits, observer)
  }
}

/// Answers the requests of one connection, one after the other; files go out in pieces, as fast as the client takes them, and come in as fast as the disk does.
final class SiteHandler: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  private static let pieceSize = 256 * 1024

  /// A file on its way out.
  private struct Sending {
    let entry: ConfinedRoot.Entry
    var offset: Int64
    let end: Int64
    var isReading = false
  }

  /// A file on its way in.
  private struct Receiving {
    var upload: (any SiteUpload)?
    var waiting: [ByteBuffer] = []
    var bytes = 0
    var isWriting = true
    var hasEnded = false
    var failed = false
  }

  /// Bytes of an upload that may wait for the disk.
  private static let uploadBuffer = 1 << 20

  private let site: any Site
  private let remoteAddress: String
  private let observer: RequestObserver?
  private let deadline: HeadDeadline
  private var head: HTTPRequestHead?
  private var started = NIODeadline.now()
  private var sending: Sending?
  private var receiving: Receiving?
  /// Of a request that is no upload.
  private var body = ByteBuffer()
  private var heldRead = false
  private var status = 0
  private var bytesIn = 0
  private var bytesOut = 0
  private var isClosed = false

  init(_ site: any Site, remoteAddress: String, observer: RequestObserver?, deadline: HeadDeadline) {
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
      if site.acceptsUpload(head) { beginUpload(head, context) }
    case .body(var bytes):
      guard !isClosed, head != nil else { return }
      bytesIn += bytes.readableBytes
      if receiving != nil {
        receiving?.waiting.append(bytes)
        receiving?.bytes += bytes.readableBytes
        store(context)
      } else {
        guard body.readableBytes + bytes.readableBytes <= XMLElement.sizeLimit else {
          return answer(.text(status: .payloadTooLarge, "The body is too long.\n"), closes: true, context)
        }
        body.writeBuffer(&bytes)
      }
    case .end:
      guard let head, !isClosed else { return }
      if receiving != nil {
        receiving?.hasEnded = true
        return store(context)
      }
      let (site, body) = (site, body)
      self.body = ByteBuffer()
      NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) { site.answer(head, body) }.assumeIsolated().whenComplete { result in
        guard !self.isClosed else { return }
        switch result {
        case .success(.page(let page)): self.answer(page, closes: false, context)
        case .success(.file(let entry, let name)): self.send(entry, name, head, context)
        case .failure: context.close(promise: nil)
        }
      }
    }
  }

  // MARK: Uploads

  private func beginUpload(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    receiving = Receiving()
    let site = self.site
    if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
      context.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
    }
    NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) { site.beginUpload(head) }.assumeIsolated().whenComplete { result in
      guard self.receiving != nil, !self.isClosed else { return }
      self.receiving?.isWriting = false
      switch result {
      case .success(.success(let upload)):
        self.receiving?.upload = upload
        self.store(context)
      case .success(.failure(let refusal)):
        self.receiving = nil
        self.answer(refusal.page, closes: true, context)
      case .failure: context.close(promise: nil)
      }
    }
  }

  /// Hands what came to the disk, one write after the other, and the end behind them.
  private func store(_ context: ChannelHandlerContext) {
    guard let receiving, let upload = receiving.upload, !receiving.isWriting else { return }
    guard !receiving.waiting.isEmpty || receiving.hasEnded else { return }
    let pieces = receiving.waiting
    let isLast = receiving.hasEnded
    self.receiving?.waiting = []
    self.receiving?.bytes = 0
    self.receiving?.isWriting = true
    NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) { () -> Result<WebPage?, SiteRefusal> in
      for piece in pieces {
        if let refusal = piece.withUnsafeReadableBytes({ upload.write($0) }) { return .failure(refusal) }
      }
      return isLast ? upload.commit().map { $0 } : .success(nil)
    }.assumeIsolated().whenComplete { result in
      guard self.receiving != nil, !self.isClosed else { return }
      switch result {
      case .success(.success(let page)):
        if let page {
          self.receiving = nil
          return self.answer(page, closes: false, context)
        }
        self.receiving?.isWriting = false
        if self.heldRead {
          self.heldRead = false
          context.read()
        }
        self.store(context)
      case .success(.failure(let refusal)):
        self.receiving = nil
        self.answer(refusal.page, closes: true, context)
      case .failure: context.close(promise: nil)
      }
    }
  }

  func read(context: ChannelHandlerContext) {
    if receiving?.bytes ?? 0 < Self.uploadBuffer { context.read() } else { heldRead = true }
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
    let tag = Self.tag(size: entry.size, modified: entry.modified)
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

  static func tag(size: Int64, modified: Int64) -> String { "\"\(String(size, radix: 36))-\(String(modified, radix: 36))\"" }

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
      withExtendedLifetime(entry) {
        _ = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { max(0, pread(entry.descriptor, $0.baseAddress, count, off_t(offset))) }
      }
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
    if heldRead {
      heldRead = false
      context.read()
    }
    let last = closes || !(head?.isKeepAlive ?? false)
    report()
    head = nil
    body = ByteBuffer()
    bytesIn = 0
    bytesOut = 0
    let channel = context.channel
    let written = context.writeAndFlush(wrapOutboundOut(.end(nil)))
    deadline.awaitHead(after: written)
    if last { written.assumeIsolated().whenComplete { _ in channel.close(promise: nil) } }
  }

  private func report() {
    guard let head else { return }
    observer?(
      RequestRecord(
        method: head.method.rawValue, path: String(head.uri.prefix(512)),
        remoteAddress: ForwardedHeaders.shown(head.headers, peer: remoteAddress), status: status,
        duration: .now() - started, bytesIn: bytesIn, bytesOut: bytesOut, upstream: nil))
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event, head == nil { context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    isClosed = true
    sending = nil
    // Its temporary file goes with it.
    receiving = nil
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
