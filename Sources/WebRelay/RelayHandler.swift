import NIOCore
import NIOHTTP1

/// The server's end of one HTTP/1.1 connection, or of one HTTP/2 stream: takes requests one after the other, has each judged, and relays it or answers it.
/// Bodies stream both ways; whoever is slower holds the other back.
final class RelayHandler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  /// One request and its answer.
  private final class Exchange {
    let head: HTTPRequestHead
    let framing: RequestFraming
    let started: NIODeadline
    var upstream: Upstream?
    var forwarded: HTTPRequestHead?
    var connection: UpstreamHandler?
    /// Body that came while nobody could take it; bounded, as nothing is read meanwhile.
    var early: [HTTPServerRequestPart] = []
    var requestEnded = false
    var answerStarted = false
    var isUpgrade = false
    var retried = false
    var status = 0
    /// The upstream's agreement to an upgrade.
    var switching: HTTPResponseHead?
    var bytesIn = 0
    var bytesOut = 0
    /// The client expects the connection to close after the answer.
    var closes: Bool

    init(_ head: HTTPRequestHead, _ framing: RequestFraming) {
      self.head = head
      self.framing = framing
      started = .now()
      closes = !head.isKeepAlive
    }

    /// Nothing of it was used up: it can be sent once more.
    var isRepeatable: Bool { framing == .none && !retried && [.GET, .HEAD, .OPTIONS].contains(head.method) }
  }

  /// Parts of later requests that are kept: a read of short heads would make thousands. A client that says more before it has heard anything is answered once, and asks
  /// again on another connection (RFC 9112, 9.3.2).
  private static let queueLimit = 256
  /// How long a client may go on sending what nobody reads, after an answer that did not wait for it.
  private static let lingering = TimeAmount.seconds(1)

  private let info: RequestInfo
  private let pool: UpstreamPool
  private let judge: RequestJudge
  private let limits: HTTPLimits
  private let observer: RequestObserver?
  private let isHTTP2: Bool
  /// nil on HTTP/2 streams, whose connection has a limit of its own.
  private let deadline: HeadDeadline?
  private var context: ChannelHandlerContext?
  private var exchange: Exchange?
  /// Parts of later requests that came in the same burst.
  private var queue = CircularBuffer<HTTPServerRequestPart>()
  /// The request under way is the connection's last, and nothing behind it is kept.
  private var isLast = false
  private var mayRead = true
  private var heldRead = false
  private var inputEnded = false
  private var isClosing = false
  private var lastProgress = NIODeadline.now()
  private var stallCheck: Scheduled<Void>?

  init(
    info: RequestInfo, pool: UpstreamPool, judge: @escaping RequestJudge, limits: HTTPLimits, observer: RequestObserver?, isHTTP2: Bool,
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
    stallCheck?.cancel()
    self.context = nil
  }

  // MARK: Requests

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let part = unwrapInboundIn(data)
    lastProgress = .now()
    guard exchange?.requestEnded ?? false || !queue.isEmpty else { return take(part) }
    guard !isLast else { return }
    // The next request came with this one: it waits, and nothing behind it is read.
    queue.append(part)
    setReading(false)
    if queue.count > Self.queueLimit {
      isLast = true
      exchange?.closes = true
      queue = []
    }
  }

  private func take(_ part: HTTPServerRequestPart) {
    guard !isClosing else { return }
    switch part {
    case .head(let head): begin(head)
    case .body(let bytes):
      guard let exchange else { return }
      exchange.bytesIn += bytes.readableBytes
      // A body without a frame around it would be the next request for the upstream.
      guard exchange.framing != .none || bytes.readableBytes == 0 else { return refuse(.badRequest, "The request has a body of unknown length.") }
      forward(part, exchange)
    case .end:
      guard let exchange else { return }
      exchange.requestEnded = true
      forward(part, exchange)
    }
  }

  private func forward(_ part: HTTPServerRequestPart, _ exchange: Exchange) {
    guard let connection = exchange.connection else {
      // An answer of ours needs no body.
      if exchange.answerStarted { return }
      exchange.early.append(part)
      return setReading(false)
    }
    switch part {
    case .head: break
    case .body(let bytes): connection.write(.body(.byteBuffer(bytes)))
    // Trailers may be dropped (RFC 9110, 6.5.1): a server that reads them as fields would believe what nobody has judged.
    case .end: connection.write(.end(nil))
    }
  }

  private func begin(_ head: HTTPRequestHead) {
    deadline?.headArrived()
    guard let framing = RequestCheck.framing(head) else {
      return refuse(.badRequest, "The request cannot be understood: its host, target or length is missing, doubled or malformed.")
    }
    guard head.headers.count <= limits.headerFields else {
      return refuse(.requestHeaderFieldsTooLarge, "The fields of the request's head are too many.")
    }
    let exchange = Exchange(head, framing)
    // The decoder stops at a wish for another protocol: unless it comes true, this is the connection's last request.
    if !isHTTP2, HopByHop.upgrade(head.headers) != nil { exchange.closes = true }
    self.exchange = exchange
    watchStalls()
    if !isHTTP2, framing != .none, head.version.minor >= 1, head.headers.first(name: "expect")?.lowercased() == "100-continue" {
      context?.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
    }
    // Before the judge adds anything: a client must not be able to name what is added as a field of its own hop.
    var stripped = head
    HopByHop.strip(&stripped.headers)
    judge(stripped, info).hop(to: info.loop).assumeIsolated().whenComplete { [weak self] result in
      guard let self, self.exchange === exchange else { return }
      switch result {
      case .success(.answer(let page)): self.answer(page, exchange)
      case .success(.relay(let upstream, let head)): self.relay(exchange, upstream, head)
      case .failure:
        self.answer(
          .html(
            status: .internalServerError, title: "Something went wrong here", message: "The server could not decide about this request.",
            hint: "Try again in a moment."), exchange)
      }
    }
  }

  // MARK: Relaying

  private func relay(_ exchange: Exchange, _ upstream: Upstream, _ rewritten: HTTPRequestHead) {
    var head = rewritten
    let wanted = isHTTP2 ? nil : HopByHop.upgrade(exchange.head.headers)
    head.version = .http1_1
    for name in ["connection", "transfer-encoding", "upgrade"] { head.headers.remove(name: name) }
    head.headers.remove(name: "expect")
    head.headers.remove(name: "http2-settings")
    if let wanted {
      exchange.isUpgrade = true
      head.headers.add(name: "connection", value: "upgrade")
      head.headers.add(name: "upgrade", value: wanted)
    }
    // The length is what the check saw, whatever the rewriting did.
    head.headers.remove(name: "content-length")
    switch exchange.framing {
    case .none: if [.POST, .PUT, .PATCH].contains(head.method) { head.headers.add(name: "content-length", value: "0") }
    case .length: head.headers.add(name: "content-length", value: exchange.head.headers.first(name: "content-length") ?? "0")
    case .chunked: head.headers.add(name: "transfer-encoding", value: "chunked")
    }
    exchange.upstream = upstream
    exchange.forwarded = head
    connect(exchange, upstream, head, fresh: exchange.isUpgrade)
  }

  private func connect(_ exchange: Exchange, _ upstream: Upstream, _ head: HTTPRequestHead, fresh: Bool) {
    if !fresh, let connection = pool.shelf(info.loop).take(upstream.key) { return send(exchange, head, connection) }
    upstream.connect(info.loop, UpstreamHandler.initialize).hop(to: info.loop).assumeIsolated().whenComplete { [weak self] result in
      switch result {
      case .success(let channel):
        guard let connection = try? channel.pipeline.syncOperations.handler(type: UpstreamHandler.self), let self, self.exchange === exchange,
          !exchange.answerStarted
        else { return channel.close(promise: nil) }
        self.send(exchange, head, connection)
      case .failure(let error):
        guard let self, self.exchange === exchange, !exchange.answerStarted else { return }
        self.answer(upstream.failurePage(error), exchange)
      }
    }
  }

  private func send(_ exchange: Exchange, _ head: HTTPRequestHead, _ connection: UpstreamHandler) {
    exchange.connection = connection
    connection.begin(self, head)
    let early = exchange.early
    exchange.early = []
    for part in early { forward(part, exchange) }
    connection.flush()
    if connection.isWritable { setReading(!exchange.requestEnded || isHTTP2) }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    if let connection = exchange?.connection {
      connection.flush()
      if !connection.isWritable { setReading(false) }
    }
    // Nothing of a later request is wanted yet, but the client's going away is.
    context.fireChannelReadComplete()
  }

  func read(context: ChannelHandlerContext) {
    if mayRead { context.read() } else { heldRead = true }
  }

  private func setReading(_ reading: Bool) {
    mayRead = reading
    guard reading, heldRead else { return }
    heldRead = false
    context?.read()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    exchange?.connection?.setReading(context.channel.isWritable)
    context.fireChannelWritabilityChanged()
  }

  // MARK: From the upstream

  func upstreamBecameWritable() { if isHTTP2 || !(exchange?.requestEnded ?? false) { setReading(true) } }

  func upstreamHead(_ head: HTTPResponseHead) {
    guard let exchange, !isClosing else { return }
    lastProgress = .now()
    if head.status == .switchingProtocols {
      guard exchange.isUpgrade else { return fail(exchange, RelayError.badUpstream("it changes the protocol unasked")) }
      exchange.status = 101
      exchange.switching = head
      return
    }
    exchange.isUpgrade = false
    var answer = head
    HopByHop.strip(&answer.headers)
    for header in exchange.upstream?.responseHeaders ?? [] { answer.headers.replaceOrAdd(name: header.name, value: header.value) }
    write(answer, exchange, upstreamFramed: head.headers.contains(name: "content-length"))
  }

  func upstreamBody(_ bytes: ByteBuffer) {
    guard let exchange, exchange.answerStarted, let context else { return }
    lastProgress = .now()
    exchange.bytesOut += bytes.readableBytes
    context.write(wrapOutboundOut(.body(.byteBuffer(bytes))), promise: nil)
  }

  func upstreamReadComplete() {
    guard let context else { return }
    context.flush()
    if !context.channel.isWritable { exchange?.connection?.setReading(false) }
  }

  func upstreamEnd(_ trailers: HTTPHeaders?) {
    guard let exchange else { return }
    if exchange.status == 101, exchange.isUpgrade { return upgrade(exchange) }
    if let connection = exchange.connection, let key = exchange.upstream?.key {
      exchange.connection = nil
      connection.release(to: pool.shelf(info.loop), key: key, isReusable: exchange.requestEnded)
    }
    finish(exchange, trailers)
  }

  func upstreamGone(_ error: any Error, answered: Bool) {
    guard let exchange, !isClosing else { return }
    let wasUsed = exchange.connection?.isUsed ?? false
    exchange.connection = nil
    if !answered, wasUsed, exchange.isRepeatable, let upstream = exchange.upstream, let head = exchange.forwarded {
      exchange.retried = true
      // Its body is empty; only its end was sent.
      exchange.early = exchange.requestEnded ? [.end(nil)] : []
      return connect(exchange, upstream, head, fresh: true)
    }
    fail(exchange, error)
  }

  private func fail(_ exchange: Exchange, _ error: any Error) {
    exchange.connection?.close()
    exchange.connection = nil
    if !exchange.answerStarted, let upstream = exchange.upstream { return answer(upstream.failurePage(error), exchange) }
    // Half an answer must not look like a whole one.
    abort()
  }

  // MARK: Answers

  private func answer(_ page: WebPage, _ exchange: Exchange) {
    var head = HTTPResponseHead(version: .http1_1, status: page.status, headers: page.headers)
    head.headers.replaceOrAdd(name: "content-length", value: "\(page.body.readableBytes)")
    // A body that nobody reads any more ends the connection.
    if !exchange.requestEnded, !isHTTP2 { exchange.closes = true }
    write(head, exchange, upstreamFramed: true)
    exchange.early = []
    if exchange.head.method != .HEAD, page.body.readableBytes > 0 {
      exchange.bytesOut += page.body.readableBytes
      context?.write(wrapOutboundOut(.body(.byteBuffer(page.body))), promise: nil)
    }
    finish(exchange, nil)
  }

  private func write(_ head: HTTPResponseHead, _ exchange: Exchange, upstreamFramed: Bool) {
    var head = head
    head.version = .http1_1
    exchange.answerStarted = true
    exchange.status = Int(head.status.code)
    if !isHTTP2 {
      let hasBody = exchange.head.method != .HEAD && head.status.mayHaveResponseBody
      if !upstreamFramed, hasBody {
        if exchange.head.version.minor >= 1 { head.headers.add(name: "transfer-encoding", value: "chunked") } else { exchange.closes = true }
      }
      if inputEnded, queue.isEmpty { exchange.closes = true }
      if exchange.closes {
        head.headers.add(name: "connection", value: "close")
      } else if exchange.head.version.minor == 0 {
        head.headers.add(name: "connection", value: "keep-alive")
      }
    }
    context?.write(wrapOutboundOut(.head(head)), promise: nil)
  }

  private func finish(_ exchange: Exchange, _ trailers: HTTPHeaders?) {
    guard let context, self.exchange === exchange else { return }
    report(exchange)
    if !exchange.requestEnded { exchange.closes = true }
    if exchange.closes || isHTTP2 {
      isClosing = true
      self.exchange = nil
      stallCheck?.cancel()
      let channel = context.channel
      let isWhole = exchange.requestEnded && !isLast
      context.writeAndFlush(wrapOutboundOut(.end(trailers))).assumeIsolated().whenComplete { _ in
        // A stream ends by itself with its last frame.
        if self.isHTTP2, isWhole { return }
        guard !isWhole, !self.isHTTP2 else { return channel.close(promise: nil) }
        // Closed at once, what the client still sends would be answered by a reset, which may overtake our answer.
        channel.close(mode: .output).assumeIsolated().whenFailure { _ in channel.close(promise: nil) }
        channel.eventLoop.assumeIsolated().scheduleTask(in: Self.lingering) { channel.close(promise: nil) }
        self.setReading(true)
      }
      return
    }
    let written = context.writeAndFlush(wrapOutboundOut(.end(trailers)))
    self.exchange = nil
    deadline?.awaitHead(after: written)
    takeQueued()
    if self.exchange == nil { setReading(true) }
  }

  /// Requests that came with the last one.
  private func takeQueued() {
    while !queue.isEmpty, !(exchange?.requestEnded ?? false), !isClosing { take(queue.removeFirst()) }
    exchange?.connection?.flush()
  }

  /// An answer to what is no request; nothing that follows it is read.
  private func refuse(_ status: HTTPResponseStatus, _ message: String) {
    let exchange = self.exchange ?? Exchange(HTTPRequestHead(version: .http1_1, method: .GET, uri: "/"), .none)
    self.exchange = exchange
    exchange.connection?.close()
    exchange.connection = nil
    guard !exchange.answerStarted else { return abort() }
    exchange.closes = true
    queue = []
    answer(
      .html(
        status: status, title: "This request was refused", message: message, hint: "If a browser sent it, a program between it and here changed it."),
      exchange)
  }

  private func report(_ exchange: Exchange) {
    observer?(
      RequestRecord(
        method: exchange.head.method.rawValue, path: String(exchange.head.uri.prefix(512)),
        remoteAddress: ForwardedHeaders.shown(exchange.head.headers, peer: info.remoteAddress), status: exchange.status,
        duration: .now() - exchange.started, bytesIn: exchange.bytesIn, bytesOut: exchange.bytesOut, upstream: exchange.upstream?.key))
  }

  /// Ends the connection so that the client sees that something is missing.
  private func abort() {
    isClosing = true
    if let exchange { report(exchange) }
    exchange = nil
    context?.close(promise: nil)
  }

  // MARK: Upgrade

  private func upgrade(_ exchange: Exchange) {
    guard let context, let connection = exchange.connection, let upstream = connection.channel else { return abort() }
    isClosing = true
    report(exchange)
    self.exchange = nil
    if let lease = exchange.upstream?.lease { context.channel.closeFuture.whenComplete { _ in withExtendedLifetime(lease) {} } }
    stallCheck?.cancel()
    deadline?.stop()
    connection.disown()
    let client = context.channel
    do {
      context.writeAndFlush(
        wrapOutboundOut(.head(exchange.switching ?? HTTPResponseHead(version: .http1_1, status: .switchingProtocols))), promise: nil)
      try Glue.join(client, upstream)
    } catch {
      client.close(promise: nil)
      return upstream.close(promise: nil)
    }
    // Reads held back here would be asked for by nobody.
    setReading(true)
    connection.setReading(true)
    HTTPRelay.removeHTTP(from: client, upstream)
  }

  // MARK: The end

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event {
      inputEnded = true
      // A client that shut down its side may still wait for an answer, but not one that broke off a request.
      if exchange?.requestEnded ?? false {
        if queue.isEmpty { exchange?.closes = true }
      } else {
        context.close(promise: nil)
      }
    }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    isClosing = true
    stallCheck?.cancel()
    if let exchange {
      report(exchange)
      exchange.connection?.close()
    }
    exchange = nil
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard !isClosing else { return }
    if error is HTTPParserError, let exchange, exchange.requestEnded {
      // What came behind a good request is none: that one gets its answer, and the connection ends.
      exchange.closes = true
      queue = []
      return setReading(false)
    }
    switch error {
    case HTTPParserError.headerOverflow: refuse(.requestHeaderFieldsTooLarge, "The fields of the request's head are too large or too many.")
    case is HTTPParserError: refuse(.badRequest, "The request is not HTTP.")
    default: context.close(promise: nil)
    }
  }

  /// One timer for the connection, however many requests it carries.
  private func watchStalls() {
    guard stallCheck == nil, let context else { return }
    stallCheck = context.eventLoop.assumeIsolated().scheduleTask(in: limits.stallTimeout) { [weak self] in
      guard let self else { return }
      self.stallCheck = nil
      guard self.exchange != nil else { return }
      guard NIODeadline.now() - self.lastProgress < self.limits.stallTimeout else {
        self.exchange?.connection?.close()
        return self.abort()
      }
      self.watchStalls()
    }
  }
}
