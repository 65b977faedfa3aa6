import NIOCore
import NIOHTTP1

/// Between a request and its upstream.
extension RelayHandler {
  /// How long an upstream may think whether it wants a body whose client waits for the word to send it; some never say
  /// it.
  private static let thinking = TimeAmount.milliseconds(500)

  func relay(_ exchange: RelayExchange, _ upstream: Upstream, _ rewritten: HTTPRequestHead) {
    var head = rewritten
    let wanted = isHTTP2 ? nil : HopByHop.upgrade(exchange.head)
    head.version = .http1_1
    for name in ["connection", "transfer-encoding", "upgrade"] { head.headers.remove(name: name) }
    head.headers.remove(name: "expect")
    // Who knows whether the body is wanted is the upstream.
    if exchange.awaitsContinue {
      exchange.endsConnection = true
      head.headers.add(name: "expect", value: "100-continue")
    }
    if let wanted {
      exchange.isUpgrade = true
      exchange.endsConnection = true
      head.headers.add(name: "connection", value: "upgrade")
      head.headers.add(name: "upgrade", value: wanted)
    }
    // The length is what the check saw, whatever the rewriting did.
    head.headers.remove(name: "content-length")
    switch exchange.framing {
    case .none: if [.POST, .PUT, .PATCH].contains(head.method) { head.headers.add(name: "content-length", value: "0") }
    case .length:
      head.headers.add(name: "content-length", value: exchange.head.headers.first(name: "content-length") ?? "0")
    case .chunked: head.headers.add(name: "transfer-encoding", value: "chunked")
    }
    exchange.upstream = upstream
    exchange.forwarded = head
    watch()
    connect(exchange, upstream, head, fresh: exchange.isUpgrade)
  }

  private func connect(_ exchange: RelayExchange, _ upstream: Upstream, _ head: HTTPRequestHead, fresh: Bool) {
    if !fresh, let connection = pool.shelf(info.loop).take(upstream.key) { return send(exchange, head, connection) }
    upstream.connect(info.loop, UpstreamHandler.initialize).hop(to: info.loop).assumeIsolated().whenComplete {
      [weak self] result in
      switch result {
      case .success(let channel):
        guard let self, self.exchange === exchange, !exchange.answerStarted else { return channel.close(promise: nil) }
        // One that has ended already tells nobody any more.
        guard channel.isActive,
          let connection = try? channel.pipeline.syncOperations.handler(type: UpstreamHandler.self)
        else {
          channel.close(promise: nil)
          return self.fail(exchange, RelayError.upstreamClosed)
        }
        self.send(exchange, head, connection)
      case .failure(let error):
        guard let self, self.exchange === exchange, !exchange.answerStarted else { return }
        self.fail(exchange, error)
      }
    }
  }

  private func send(_ exchange: RelayExchange, _ head: HTTPRequestHead, _ connection: UpstreamHandler) {
    exchange.connection = connection
    connection.begin(self, head)
    let early = exchange.early
    exchange.early = []
    for part in early { forward(part, exchange) }
    connection.flush()
    updateReading()
    guard exchange.awaitsContinue else { return }
    info.loop.assumeIsolated().scheduleTask(in: Self.thinking) { [weak self] () -> Void in
      if let self, self.exchange === exchange { self.upstreamGoesOn() }
    }
  }

  // MARK: From the upstream

  /// It wants the body.
  func upstreamGoesOn() {
    guard let exchange, exchange.awaitsContinue, !exchange.answerStarted else { return }
    exchange.awaitsContinue = false
    goOn()
  }

  func upstreamBecameWritable() { updateReading() }

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
    if let upstream = exchange.upstream {
      upstream.rewrite?(&answer)
      for header in upstream.responseHeaders { answer.headers.replaceOrAdd(name: header.name, value: header.value) }
    }
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
      connection.release(
        to: pool.shelf(info.loop), key: key, isReusable: exchange.requestEnded && !exchange.endsConnection)
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

  func fail(_ exchange: RelayExchange, _ error: any Error) {
    exchange.connection?.abort()
    exchange.connection = nil
    let failure = UpstreamFailure(error)
    exchange.failure = failure.description
    if !exchange.answerStarted, let upstream = exchange.upstream {
      return answer(upstream.failurePage(failure), exchange)
    }
    // Half an answer must not look like a whole one.
    abort()
  }

  // MARK: Upgrade

  private func upgrade(_ exchange: RelayExchange) {
    guard let context, let connection = exchange.connection, let upstream = connection.channel else { return abort() }
    isClosing = true
    report(exchange)
    self.exchange = nil
    if let lease = exchange.upstream?.lease {
      context.channel.closeFuture.whenComplete { _ in withExtendedLifetime(lease) {} }
    }
    stopWatching()
    deadline?.stop()
    connection.disown()
    let client = context.channel
    do {
      context.writeAndFlush(
        wrapOutboundOut(.head(exchange.switching ?? HTTPResponseHead(version: .http1_1, status: .switchingProtocols))),
        promise: nil)
      try Glue.join(client, upstream)
    } catch {
      client.close(promise: nil)
      return upstream.close(promise: nil)
    }
    // Reads held back here would be asked for by nobody.
    updateReading()
    connection.setReading(true)
    HTTPRelay.removeHTTP(from: client, upstream)
  }
}
