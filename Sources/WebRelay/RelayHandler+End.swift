import NIOCore
import NIOHTTP1

/// Whatever ends an exchange before its time: a client that goes away, a server of ours that ends, errors, silence.
///
/// How long an answer takes is between the client and the upstream: it lasts as long as both live, unless the operator
/// of either end gave the upstream a limit (`Upstream.answerLimit`). Machines that went away without a word are noticed
/// below HTTP, by `PeerWatch` and by the overlay. Only a client that owes the rest of its request has a limit of ours.
///
/// A client that ended its side (FIN, or the close_notify of TLS) has either closed its connection or sent its last
/// request and waits for the answer: the same bytes on the wire. Others decide without looking: nginx, Go and Envoy
/// take it for gone, Node waits until it writes. It is asked here: a moment later something is written that every
/// client has to ignore, and the machine of one that has closed its socket answers that with a reset, which ends the
/// exchange. Before the answer this is `100 Continue` (RFC 9110, 15.2: a client must be able to read it unasked); in a
/// silent answer of chunks it is the first digit of the next chunk's size, a zero that counts for nothing (RFC 9112,
/// 7.1). Where neither can be sent, to HTTP/1.0 and within an answer of known length, it is believed until the next
/// byte of the answer.
extension RelayHandler {
  /// How long an answer may still come by itself before a client is asked.
  private static let beforeAsking = TimeAmount.milliseconds(300)

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case ChannelEvent.inputClosed: inputEnd(context)
    // Nothing that is written arrives any more, whatever there is to read yet.
    case ChannelEvent.outputClosed: if !isClosing { context.close(promise: nil) }
    case is ChannelShouldQuiesceEvent: quiesce()
    default: break
    }
    context.fireUserInboundEventTriggered(event)
  }

  private func inputEnd(_ context: ChannelHandlerContext) {
    inputEnded = true
    guard let exchange else { return endWhenSent() }
    guard exchange.requestEnded else {
      // One that broke off a request waits for nothing but what was answered before.
      exchange.connection?.abort()
      report(exchange)
      self.exchange = nil
      isClosing = true
      return endWhenSent()
    }
    if queue.isEmpty { exchange.closes = true }
    guard !isHTTP2, exchange.head.version.minor >= 1 else { return }
    let (hadStarted, sent) = (exchange.answerStarted, exchange.bytesOut)
    context.eventLoop.assumeIsolated().scheduleTask(in: Self.beforeAsking) { [weak self] in
      // What was written meanwhile has asked already.
      guard let self, self.exchange === exchange, exchange.answerStarted == hadStarted, exchange.bytesOut == sent else {
        return
      }
      self.ask(exchange)
    }
  }

  private func ask(_ exchange: RelayExchange) {
    guard exchange.answerStarted else { return goOn() }
    // Below the encoder, which knows whole chunks only.
    guard exchange.answerIsChunked, let deadline,
      let wire = try? context?.pipeline.syncOperations.context(handler: deadline)
    else { return }
    wire.writeAndFlush(NIOAny(ByteBuffer(string: "0")), promise: nil)
  }

  /// The request under way gets its answer, and says that no other one will; idle, the connection closes.
  private func quiesce() {
    guard !isHTTP2 else { return }
    isQuiescing = true
    if let exchange { exchange.closes = true } else if queue.isEmpty, !isClosing { endWhenSent() }
  }

  /// Ends the connection so that the client sees that something is missing.
  func abort() {
    isClosing = true
    if let exchange { report(exchange) }
    exchange = nil
    context?.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    isClosing = true
    stopWatching()
    if let exchange {
      report(exchange)
      exchange.connection?.abort()
    }
    exchange = nil
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard !isClosing else { return }
    guard let fault = error as? MessageFault else { return context.close(promise: nil) }
    guard let exchange, exchange.requestEnded else { return refuse(fault) }
    // What came behind a good request is none: that one gets its answer, and the connection ends.
    takeNoMore()
    updateReading()
  }

  // MARK: Silence

  /// How long nothing may move before somebody has to be looked at; nil where everybody may take their time.
  private var patience: TimeAmount? {
    guard let exchange else { return nil }
    let ofClient = exchange.requestEnded || exchange.framing == .none ? nil : limits.stallTimeout
    guard let ofUpstream = exchange.upstream?.answerLimit else { return ofClient }
    return ofClient.map { min($0, ofUpstream) } ?? ofUpstream
  }

  /// Has it noticed when nobody moves who should. One timer for the connection, however many requests it carries: it is
  /// set anew when it fires, or when less patience is wanted.
  func watch() {
    guard let patience, let context else { return }
    let now = NIODeadline.now()
    let due = (now - lastProgress < patience ? lastProgress : now) + patience
    if let watchdog {
      guard due < watchdog.due else { return }
      watchdog.timer.cancel()
    }
    let timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: due) { [weak self] () -> Void in self?.look()
    }
    watchdog = (timer, due)
  }

  func stopWatching() {
    watchdog?.timer.cancel()
    watchdog = nil
  }

  private func look() {
    watchdog = nil
    guard let exchange else { return }
    let silence = NIODeadline.now() - lastProgress
    if awaitsBody, silence >= limits.stallTimeout {
      exchange.failure = "the client stopped in the middle of its request"
      exchange.connection?.abort()
      return abort()
    }
    // One that is held back by its peer has its time from when it is not.
    if !awaitsBody, let limit = exchange.upstream?.answerLimit, silence >= limit, context?.channel.isWritable ?? false {
      return fail(exchange, RelayError.silent(limit))
    }
    watch()
  }
}
