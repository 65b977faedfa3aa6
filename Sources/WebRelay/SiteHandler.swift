import Foundation
public import NIOCore
import NIOHTTP1
import NIOPosix

struct SiteRefusal: Error {
  let page: WebPage
}

/// A file that comes in. Called on a thread that may wait for the disk, one call after the other.
protocol SiteUpload: Sendable {
  /// nil when it is stored.
  func write(_ bytes: UnsafeRawBufferPointer) -> SiteRefusal?
  func commit() -> Result<WebPage, SiteRefusal>
}

/// What a request's body is for.
enum BodyUse: Sendable {
  /// For nothing: the head alone decides.
  case nothing
  /// It is short, and comes before the answer.
  case document
  /// It is stored as it comes.
  case upload
}

/// Files behind HTTP. All calls come on a thread that may wait for the disk, but `bodyUse`.
protocol Site: Sendable {
  func bodyUse(_ head: HTTPRequestHead) -> BodyUse
  func answer(_ head: HTTPRequestHead, _ body: ByteBuffer) -> SiteAnswer
  func beginUpload(_ head: HTTPRequestHead) -> Result<any SiteUpload, SiteRefusal>
}

extension Site {
  func bodyUse(_ head: HTTPRequestHead) -> BodyUse { .nothing }
  func beginUpload(_ head: HTTPRequestHead) -> Result<any SiteUpload, SiteRefusal> {
    .failure(SiteRefusal(page: .text(status: .methodNotAllowed, "Nothing can be stored here.\n")))
  }

  func serve(_ channel: any Channel, _ remoteAddress: String, _ limits: HTTPLimits, _ observer: RequestObserver?) throws
  {
    let deadline = try HTTPServerPipeline.configureHTTP1(channel, limits: limits, oneByOne: true)
    try channel.pipeline.syncOperations.addHandler(
      SiteHandler(self, remoteAddress: remoteAddress, observer: observer, deadline: deadline))
  }
}

extension FileSite {
  /// Makes a byte channel a server of this site. Call in the channel's initializer.
  /// - Parameter observer: told about each finished request, on the event loop.
  public func configure(
    _ channel: any Channel, remoteAddress: String, limits: HTTPLimits = HTTPLimits(), observer: RequestObserver? = nil
  ) throws {
    try serve(channel, remoteAddress, limits, observer)
  }
}

extension SingleFileSite {
  /// Makes a byte channel a server of this file. Call in the channel's initializer.
  /// - Parameter observer: told about each finished request, on the event loop.
  public func configure(
    _ channel: any Channel, remoteAddress: String, limits: HTTPLimits = HTTPLimits(), observer: RequestObserver? = nil
  ) throws {
    try serve(channel, remoteAddress, limits, observer)
  }
}

extension WebDAVSite {
  /// Makes a byte channel a server of this drive. Call in the channel's initializer.
  /// - Parameter observer: told about each finished request, on the event loop.
  public func configure(
    _ channel: any Channel, remoteAddress: String, limits: HTTPLimits = HTTPLimits(), observer: RequestObserver? = nil
  ) throws {
    try serve(channel, remoteAddress, limits, observer)
  }
}

/// Answers the requests of one connection, one after the other; files go out in pieces, as fast as the client takes
/// them, and come in as fast as the disk does.
final class SiteHandler: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  /// Bytes that are read from the disk at once.
  private static let pieceSize = 256 * 1024
  /// Bytes of an upload that may wait for the disk.
  private static let uploadBuffer = 1 << 20
  /// Bytes of a body which nobody needs that are read, so that the connection can go on after the answer.
  private static let discardLimit = 256 * 1024
  /// How long a client may go on sending what nobody reads, after an answer that did not wait for it.
  private static let lingering = TimeAmount.seconds(1)

  /// What comes in behind a head.
  private enum Intake {
    case document(ByteBuffer)
    case upload(Receiving)
    /// A body for nothing, and the answer that waits for its end; nil asks the site then.
    case discarding(WebPage?, bytes: Int)
  }

  /// A file on its way in.
  private struct Receiving {
    var upload: (any SiteUpload)?
    var waiting: [ByteBuffer] = []
    var bytes = 0
    /// A call to the site is under way.
    var isBusy = true
    var hasEnded = false
  }

  private let site: any Site
  private let remoteAddress: String
  private let observer: RequestObserver?
  private let deadline: HeadDeadline
  private var head: HTTPRequestHead?
  private var started = NIODeadline.now()
  private var intake: Intake?
  private var sending: (any SiteContent)?
  private var isReadingPiece = false
  /// The client sends its body when it has been told to go on, and has not been told.
  private var expectsContinue = false
  private var heldRead = false
  /// Everything of the request has come.
  private var hasEnded = false
  private var status = 0
  private var bytesIn = 0
  private var bytesOut = 0
  /// Whether the answer under way is the connection's last.
  private var isLast = false
  private var isLingering = false
  /// The client says no more, or whoever serves here is about to end: the request under way is the connection's last.
  private var isEnding = false
  private var isClosed = false
  /// Answers that are written, and have not left yet.
  private var unsent = 0
  /// The connection ends as soon as they have.
  private var endsWhenSent = false

  init(_ site: any Site, remoteAddress: String, observer: RequestObserver?, deadline: HeadDeadline) {
    self.site = site
    self.remoteAddress = remoteAddress
    self.observer = observer
    self.deadline = deadline
  }

  // MARK: Requests

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isClosed, !isLingering else { return }
    switch unwrapInboundIn(data) {
    case .head(let head): begin(head, context)
    case .body(let bytes):
      guard head != nil else { return }
      bytesIn += bytes.readableBytes
      take(bytes, context)
    case .end: end(context)
    }
  }

  private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    deadline.headArrived()
    self.head = head
    hasEnded = false
    started = .now()
    guard let framing = RequestCheck.framing(head) else { return answer(.refused(nil), closes: true, context) }
    // HTTP/1.0 knows no such answer (RFC 9110, 10.1.1).
    expectsContinue =
      framing != .none && head.version.minor >= 1 && head.headers.first(name: "expect")?.lowercased() == "100-continue"
    switch site.bodyUse(head) {
    case .upload:
      intake = .upload(Receiving())
      beginUpload(head, context)
    case .document:
      intake = .document(ByteBuffer())
      goOn(context)
    case .nothing:
      intake = .discarding(nil, bytes: 0)
      if expectsContinue { ask(closes: true, context) }
    }
  }

  private func goOn(_ context: ChannelHandlerContext) {
    guard expectsContinue else { return }
    expectsContinue = false
    context.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
  }

  private func take(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
    switch intake {
    case .document(var body):
      guard body.readableBytes + bytes.readableBytes <= XMLElement.sizeLimit else {
        return answer(.text(status: .payloadTooLarge, "The body is too long.\n"), closes: true, context)
      }
      // The only one who has it writes into it.
      intake = nil
      body.writeImmutableBuffer(bytes)
      intake = .document(body)
    case .upload(var receiving):
      intake = nil
      receiving.waiting.append(bytes)
      receiving.bytes += bytes.readableBytes
      intake = .upload(receiving)
      store(context)
    case .discarding(let page, let count):
      intake = .discarding(page, bytes: count + bytes.readableBytes)
      guard count + bytes.readableBytes > Self.discardLimit else { return }
      if let page { answer(page, closes: true, context) } else { ask(closes: true, context) }
    case nil: return
    }
  }

  private func end(_ context: ChannelHandlerContext) {
    hasEnded = true
    guard head != nil else { return }
    switch intake {
    case .upload(var receiving):
      receiving.hasEnded = true
      intake = .upload(receiving)
      store(context)
    case .discarding(let page?, _): answer(page, closes: false, context)
    case .document, .discarding(nil, _): ask(closes: false, context)
    case nil: return
    }
  }

  /// Has the site answer.
  private func ask(closes: Bool, _ context: ChannelHandlerContext) {
    guard let head else { return }
    var body = ByteBuffer()
    if case .document(let read) = intake { body = read }
    intake = nil
    let (site, document) = (site, body)
    NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) { site.answer(head, document) }.assumeIsolated()
      .whenComplete { result in
        guard !self.isClosed else { return }
        switch result {
        case .success(.page(let page)): self.answer(page, closes: closes, context)
        case .success(.content(let status, let headers, let content)):
          self.send(status, headers, content, closes: closes, context)
        case .failure: context.close(promise: nil)
        }
      }
  }

  // MARK: Uploads

  private func beginUpload(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    let site = self.site
    NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) { site.beginUpload(head) }.assumeIsolated()
      .whenComplete { result in
        guard case .upload(var receiving) = self.intake, !self.isClosed else { return }
        switch result {
        case .success(.success(let upload)):
          receiving.upload = upload
          receiving.isBusy = false
          self.intake = .upload(receiving)
          self.goOn(context)
          self.store(context)
        case .success(.failure(let refusal)): self.refuse(refusal.page, receiving, context)
        case .failure: context.close(promise: nil)
        }
      }
  }

  /// Hands what came to the disk, one write after the other, and the end behind them.
  private func store(_ context: ChannelHandlerContext) {
    guard case .upload(var receiving) = intake, let upload = receiving.upload, !receiving.isBusy else { return }
    guard !receiving.waiting.isEmpty || receiving.hasEnded else { return }
    let (pieces, isLast) = (receiving.waiting, receiving.hasEnded)
    receiving.waiting = []
    receiving.bytes = 0
    receiving.isBusy = true
    intake = .upload(receiving)
    NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) { () -> Result<WebPage?, SiteRefusal> in
      for piece in pieces {
        if let refusal = piece.withUnsafeReadableBytes({ upload.write($0) }) { return .failure(refusal) }
      }
      return isLast ? upload.commit().map { $0 } : .success(nil)
    }.assumeIsolated().whenComplete { result in
      guard case .upload(var receiving) = self.intake, !self.isClosed else { return }
      switch result {
      case .success(.success(let page?)):
        self.intake = nil
        self.answer(page, closes: false, context)
      case .success(.success(nil)):
        receiving.isBusy = false
        self.intake = .upload(receiving)
        self.resume(context)
        self.store(context)
      case .success(.failure(let refusal)): self.refuse(refusal.page, receiving, context)
      case .failure: context.close(promise: nil)
      }
    }
  }

  /// Refuses an upload: at once where the client waits for that, else behind a body that is nearly here.
  private func refuse(_ page: WebPage, _ receiving: Receiving, _ context: ChannelHandlerContext) {
    if receiving.hasEnded { return answer(page, closes: false, context) }
    guard !expectsContinue, receiving.bytes <= Self.discardLimit else { return answer(page, closes: true, context) }
    intake = .discarding(page, bytes: receiving.bytes)
    resume(context)
  }

  func read(context: ChannelHandlerContext) {
    if case .upload(let receiving) = intake, receiving.bytes >= Self.uploadBuffer {
      heldRead = true
    } else {
      context.read()
    }
  }

  private func resume(_ context: ChannelHandlerContext) {
    guard heldRead else { return }
    heldRead = false
    context.read()
  }

  // MARK: Answers

  private func write(
    _ status: HTTPResponseStatus, _ headers: HTTPHeaders, closes: Bool, _ context: ChannelHandlerContext
  ) {
    intake = nil
    self.status = Int(status.code)
    isLast = closes || isEnding || !(head?.isKeepAlive ?? false)
    var headers = headers
    if isLast { headers.replaceOrAdd(name: "connection", value: "close") }
    context.write(
      wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
  }

  private func answer(_ page: WebPage, closes: Bool, _ context: ChannelHandlerContext) {
    var headers = page.headers
    // Neither has content, nor tells how long it would be (RFC 9110, 8.6).
    let isBare = page.status == .noContent || page.status == .notModified
    if !isBare { headers.replaceOrAdd(name: "content-length", value: "\(page.body.readableBytes)") }
    write(page.status, headers, closes: closes, context)
    if head?.method != .HEAD, !isBare, page.body.readableBytes > 0 {
      bytesOut = page.body.readableBytes
      context.write(wrapOutboundOut(.body(.byteBuffer(page.body))), promise: nil)
    }
    finish(context)
  }

  private func send(
    _ status: HTTPResponseStatus, _ headers: HTTPHeaders, _ content: any SiteContent, closes: Bool,
    _ context: ChannelHandlerContext
  ) {
    var headers = headers
    var closes = closes
    if let length = content.length {
      headers.replaceOrAdd(name: "content-length", value: "\(length)")
    } else if head?.version.minor ?? 0 >= 1 {
      headers.replaceOrAdd(name: "transfer-encoding", value: "chunked")
    } else {
      closes = true
    }
    write(status, headers, closes: closes, context)
    guard head?.method != .HEAD, content.length != 0 else { return finish(context) }
    sending = content
    pump(context)
  }

  private func pump(_ context: ChannelHandlerContext) {
    guard let content = sending, !isReadingPiece, context.channel.isWritable, !isClosed else { return }
    isReadingPiece = true
    let left = content.length.map { $0 - Int64(bytesOut) }
    NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) { try content.next(Self.pieceSize) }
      .assumeIsolated().whenComplete { result in
        self.isReadingPiece = false
        guard self.sending != nil, !self.isClosed else { return }
        // The client must see that something is missing.
        guard case .success(let piece) = result else { return context.close(promise: nil) }
        self.bytesOut += piece.readableBytes
        if piece.readableBytes > 0 {
          context.writeAndFlush(self.wrapOutboundOut(.body(.byteBuffer(piece))), promise: nil)
        }
        if piece.readableBytes == 0 || left == Int64(piece.readableBytes) {
          self.sending = nil
          self.finish(context)
        } else {
          self.pump(context)
        }
      }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    pump(context)
    context.fireChannelWritabilityChanged()
  }

  private func finish(_ context: ChannelHandlerContext) {
    report()
    head = nil
    expectsContinue = false
    bytesIn = 0
    bytesOut = 0
    let channel = context.channel
    unsent += 1
    let written = context.writeAndFlush(wrapOutboundOut(.end(nil)))
    written.assumeIsolated().whenComplete { _ in
      self.unsent -= 1
      if self.unsent == 0, self.endsWhenSent { channel.close(promise: nil) }
    }
    deadline.awaitHead(after: written)
    if isLast || isEnding {
      isLingering = true
      let hasEnded = hasEnded
      written.assumeIsolated().whenComplete { _ in
        guard !hasEnded else { return channel.close(promise: nil) }
        // Bytes that nobody reads would be answered with a reset, which takes the answer with it: they are read for a
        // while.
        channel.close(mode: .output, promise: nil)
        channel.eventLoop.scheduleTask(in: Self.lingering) { channel.close(promise: nil) }
      }
    }
    resume(context)
  }

  private func report() {
    guard let head else { return }
    observer?(
      RequestRecord(
        method: head.method.rawValue, path: OctetText.shown(head.uri, limit: 512),
        remoteAddress: ForwardedHeaders.shown(head.headers, peer: remoteAddress), status: status,
        duration: .now() - started, bytesIn: bytesIn, bytesOut: bytesOut, upstream: nil))
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case ChannelEvent.inputClosed: if head == nil { endWhenSent(context) } else { isEnding = true }
    case is ChannelShouldQuiesceEvent: if head == nil, !isLingering { endWhenSent(context) } else { isEnding = true }
    default: break
    }
    context.fireUserInboundEventTriggered(event)
  }

  /// Ends the connection, but what was answered still leaves, as fast as the client takes it.
  private func endWhenSent(_ context: ChannelHandlerContext) {
    if unsent == 0 { context.close(promise: nil) } else { endsWhenSent = true }
  }

  func channelInactive(context: ChannelHandlerContext) {
    isClosed = true
    sending = nil
    // Its temporary file goes with it.
    intake = nil
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let fault = error as? MessageFault, !isClosed, !isLingering else {
      return isLingering ? () : context.close(promise: nil)
    }
    // Half an answer must not look like a whole one.
    guard head == nil || isAnswerable else { return context.close(promise: nil) }
    hasEnded = false
    intake = nil
    answer(.refused(fault), closes: true, context)
  }

  /// Nothing of an answer to the request under way was sent.
  private var isAnswerable: Bool { intake != nil }
}
