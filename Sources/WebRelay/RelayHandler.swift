import NIOCore
import NIOHTTP1

/// The server's end of one HTTP/1.1 connection, or of one HTTP/2 stream: takes requests one after the other, has each
/// judged, and relays it or answers it. Bodies stream both ways; whoever is slower holds the other back.
///
/// Requests come in here; `RelayHandler+Upstream` sends them on and takes what comes back, `RelayHandler+Answer` writes
/// answers, `RelayHandler+End` has everything that ends an exchange before its time.
final class RelayHandler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  /// Parts of later requests that are kept: a read of short heads would make thousands. A client that says more before
  /// it has heard anything is answered once, and asks again on another connection (RFC 9112, 9.3.2).
  private static let queueLimit = 256

  let info: RequestInfo
  let pool: UpstreamPool
  private let judge: RequestJudge
  let limits: HTTPLimits
  let observer: RequestObserver?
  let isHTTP2: Bool
  /// nil on HTTP/2 streams, whose connection has a limit of its own.
  let deadline: HeadDeadline?
  var context: ChannelHandlerContext?
  var exchange: RelayExchange?
  /// Parts of later requests that came in the same burst.
  var queue = CircularBuffer<HTTPServerRequestPart>()
  /// The request under way is the connection's last, and nothing behind it is kept.
  var isLast = false
  private var mayRead = true
  private var heldRead = false
  /// The client sends no more.
  var inputEnded = false
  /// Whoever serves here is about to end: the request under way is the connection's last.
  var isQuiescing = false
  var isClosing = false
  /// Answers that are written, and have not left yet.
  var unsent = 0
  /// The connection ends as soon as they have.
  var endsWhenSent = false
  /// When something of the exchange last moved, or could move again.
  var lastProgress = NIODeadline.now()
  /// Looks whether anything has moved, and when.
  var watchdog: (timer: Scheduled<Void>, due: NIODeadline)?

  init(
    info: RequestInfo, pool: UpstreamPool, judge: @escaping RequestJudge, limits: HTTPLimits,
    observer: RequestObserver?, isHTTP2: Bool,
    deadline: HeadDeadline?
  ) {
    self.info = info
    self.pool = pool
    self.judge = judge
    self.limits = limits
    self.observer = observer
    self.isHTTP2 = isHTTP2
    self.deadline = deadline
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) {
    stopWatching()
    self.context = nil
  }

  // MARK: Requests

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let part = unwrapInboundIn(data)
    lastProgress = .now()
    guard exchange?.requestEnded ?? false || !queue.isEmpty else { return take(part) }
    guard !isLast else { return }
    // The next request came before the answer to this one: it waits, and nothing behind it is read.
    queue.append(part)
    if queue.count > Self.queueLimit { takeNoMore() }
    updateReading()
  }

  /// The request under way is the last one: the client asks for the others again, elsewhere.
  func takeNoMore() {
    isLast = true
    exchange?.closes = true
    queue = []
  }

  func take(_ part: HTTPServerRequestPart) {
    guard !isClosing else { return }
    switch part {
    case .head(let head): begin(head)
    case .body(let bytes):
      guard let exchange else { return }
      exchange.bytesIn += bytes.readableBytes
      // A body without a frame around it would be the next request for the upstream.
      guard exchange.framing != .none || bytes.readableBytes == 0 else { return refuse(nil) }
      // Who sends it has not waited for the word to do so.
      exchange.awaitsContinue = false
      forward(part, exchange)
    case .end:
      guard let exchange else { return }
      exchange.requestEnded = true
      exchange.awaitsContinue = false
      forward(part, exchange)
      // From here on it is the upstream's turn.
      if exchange.upstream?.answerLimit != nil { watch() }
    }
  }

  func forward(_ part: HTTPServerRequestPart, _ exchange: RelayExchange) {
    guard let connection = exchange.connection else {
      // An answer of ours needs no body.
      if exchange.answerStarted { return }
      exchange.early.append(part)
      return updateReading()
    }
    switch part {
    case .head: break
    case .body(let bytes): connection.write(.body(.byteBuffer(bytes)))
    // Trailers may be dropped (RFC 9110, 6.5.1): a server that reads them as fields would believe what nobody has
    // judged.
    case .end: connection.write(.end(nil))
    }
  }

  private func begin(_ head: HTTPRequestHead) {
    deadline?.headArrived()
    guard let framing = RequestCheck.framing(head) else { return refuse(nil) }
    guard head.headers.count <= limits.headerFields else { return refuse(.headTooLarge) }
    let exchange = RelayExchange(head, framing)
    let wanted = isHTTP2 ? nil : HopByHop.upgrade(head)
    if isQuiescing { exchange.closes = true }
    exchange.awaitsContinue =
      !isHTTP2 && framing != .none && head.version.minor >= 1
      && head.headers.first(name: "expect")?.lowercased() == "100-continue"
    self.exchange = exchange
    lastProgress = .now()
    watch()
    // Before the judge adds anything: a client must not be able to name what is added as a field of its own hop.
    var stripped = head
    HopByHop.strip(&stripped.headers)
    // That it is no mere request, a judge may want to know.
    if let wanted { stripped.headers.add(name: "upgrade", value: wanted) }
    // That it brings something, too.
    if framing == .chunked { stripped.headers.add(name: "transfer-encoding", value: "chunked") }
    judge(stripped, info).hop(to: info.loop).assumeIsolated().whenComplete { [weak self] result in
      guard let self, self.exchange === exchange else { return }
      switch result {
      case .success(.answer(let page)): self.answer(page, exchange)
      case .success(.relay(let upstream, let head)): self.relay(exchange, upstream, head)
      case .failure:
        self.answer(
          .html(
            status: .internalServerError, title: "Something went wrong here",
            message: "The server could not decide about this request.",
            hint: "Try again in a moment."), exchange)
      }
    }
  }

  /// Requests that came with the last one.
  func takeQueued() {
    while !queue.isEmpty, !(exchange?.requestEnded ?? false), !isClosing { take(queue.removeFirst()) }
    exchange?.connection?.flush()
  }

  // MARK: Reading

  /// Whether more of the client's bytes are wanted. While an answer is under way one read goes ahead, and what it
  /// brings waits: so a client that goes away is noticed.
  private var wantsInput: Bool {
    if isClosing { return true }
    guard queue.isEmpty, !isLast else { return false }
    guard let exchange, !exchange.requestEnded else { return true }
    guard let connection = exchange.connection else { return exchange.early.isEmpty || exchange.answerStarted }
    return connection.isWritable
  }

  func updateReading() {
    let wanted = wantsInput
    // Who was held back has its time from now on.
    if wanted, !mayRead { lastProgress = .now() }
    mayRead = wanted
    guard wanted, heldRead else { return }
    heldRead = false
    context?.read()
  }

  func read(context: ChannelHandlerContext) {
    if mayRead { context.read() } else { heldRead = true }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    if let connection = exchange?.connection {
      connection.flush()
      updateReading()
    }
    context.fireChannelReadComplete()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable { lastProgress = .now() }
    exchange?.connection?.setReading(context.channel.isWritable)
    context.fireChannelWritabilityChanged()
  }

  /// Whether the client is what a body waits for, not the upstream.
  var awaitsBody: Bool { exchange.map { !$0.requestEnded && !$0.answerStarted } ?? false && mayRead }
}
