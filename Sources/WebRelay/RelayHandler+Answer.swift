import NIOCore
import NIOHTTP1

/// What goes back to the client.
extension RelayHandler {
  /// How long a client may go on sending what nobody reads, after an answer that did not wait for it.
  private static let lingering = TimeAmount.seconds(1)

  func answer(_ page: WebPage, _ exchange: RelayExchange) {
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

  /// Tells the client that its request is welcome so far.
  func goOn() {
    context?.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
  }

  func write(_ head: HTTPResponseHead, _ exchange: RelayExchange, upstreamFramed: Bool) {
    var head = head
    head.version = .http1_1
    exchange.answerStarted = true
    exchange.status = Int(head.status.code)
    if !isHTTP2 {
      let hasBody = exchange.head.method != .HEAD && head.status.mayHaveResponseBody
      if !upstreamFramed, hasBody {
        if exchange.head.version.minor >= 1 {
          head.headers.add(name: "transfer-encoding", value: "chunked")
          exchange.answerIsChunked = true
        } else {
          exchange.closes = true
        }
      }
      // Without the word to send it, a body may come or not.
      if exchange.awaitsContinue || (inputEnded && queue.isEmpty) { exchange.closes = true }
      if exchange.closes {
        head.headers.add(name: "connection", value: "close")
      } else if exchange.head.version.minor == 0 {
        head.headers.add(name: "connection", value: "keep-alive")
      }
    }
    context?.write(wrapOutboundOut(.head(head)), promise: nil)
  }

  func finish(_ exchange: RelayExchange, _ trailers: HTTPHeaders?) {
    guard let context, self.exchange === exchange else { return }
    report(exchange)
    if !exchange.requestEnded { exchange.closes = true }
    unsent += 1
    if exchange.closes || isHTTP2 {
      isClosing = true
      self.exchange = nil
      stopWatching()
      let channel = context.channel
      let isWhole = exchange.requestEnded && !isLast
      context.writeAndFlush(wrapOutboundOut(.end(trailers))).assumeIsolated().whenComplete { _ in
        self.sent()
        // A stream ends by itself with its last frame.
        if self.isHTTP2, isWhole { return }
        guard !isWhole, !self.isHTTP2 else { return channel.close(promise: nil) }
        // Closed at once, what the client still sends would be answered by a reset, which may overtake our answer.
        channel.close(mode: .output).assumeIsolated().whenFailure { _ in channel.close(promise: nil) }
        channel.eventLoop.assumeIsolated().scheduleTask(in: Self.lingering) { channel.close(promise: nil) }
        self.updateReading()
      }
      return
    }
    let written = context.writeAndFlush(wrapOutboundOut(.end(trailers)))
    written.assumeIsolated().whenComplete { _ in self.sent() }
    self.exchange = nil
    deadline?.awaitHead(after: written)
    takeQueued()
    updateReading()
    if self.exchange == nil, inputEnded { endWhenSent() }
  }

  private func sent() {
    unsent -= 1
    if unsent == 0, endsWhenSent { context?.close(promise: nil) }
  }

  /// Ends the connection, but what was answered still leaves, as fast as the client takes it.
  func endWhenSent() { if unsent == 0 { context?.close(promise: nil) } else { endsWhenSent = true } }

  /// An answer to what is no request; nothing that follows it is read.
  func refuse(_ fault: MessageFault?) {
    let exchange = self.exchange ?? RelayExchange(HTTPRequestHead(version: .http1_1, method: .GET, uri: "/"), .none)
    self.exchange = exchange
    exchange.connection?.abort()
    exchange.connection = nil
    guard !exchange.answerStarted else { return abort() }
    exchange.closes = true
    queue = []
    answer(.refused(fault), exchange)
  }

  func report(_ exchange: RelayExchange) {
    guard let observer else { return }
    var record = RequestRecord(
      method: exchange.head.method.rawValue, path: OctetText.shown(exchange.head.uri, limit: 512),
      remoteAddress: ForwardedHeaders.shown(exchange.head.headers, peer: info.remoteAddress), status: exchange.status,
      duration: .now() - exchange.started, bytesIn: exchange.bytesIn, bytesOut: exchange.bytesOut,
      upstream: exchange.upstream?.key)
    record.failure = exchange.failure
    observer(record)
  }
}
