import NIOCore
import NIOHTTP1

/// HTTP/1.1 on the server's end of a byte channel: requests in, answers out.
///
/// Behind a request that asks for another protocol nothing is read as HTTP until it is answered: with 101 the bytes
/// belong to that protocol, and go on raw when the codec leaves the pipeline; with anything else they are the next
/// request.
final class HTTP1ServerCodec: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = IOData

  /// What becomes of requests that come before the one in front of them is answered.
  enum Turns: Sendable {
    /// They go on, and the handler behind keeps them.
    case together
    /// They wait here, unread.
    case oneByOne
  }

  private enum Mode {
    case requests
    /// Nothing is read until the last request that came is answered.
    case waiting
    /// What comes is no request, and nobody's.
    case unreadable
    /// Bytes go through.
    case raw
  }

  /// Bytes that may wait; what is above stays with the sender.
  private static let waitingLimit = 64 * 1024

  private let turns: Turns
  /// Whether the handler behind can change the protocol. Where it cannot, no wish for one is heard.
  private let grantsUpgrades: Bool
  private var mode = Mode.requests
  private var reader: HTTP1Reading
  private var writing = HTTP1Writing()
  /// Whether each request that has no answer yet is HEAD.
  private var unanswered = CircularBuffer<Bool>()
  private var asksUpgrade = false
  private var isReading = false
  private var heldRead = false
  /// The client has said its last.
  private var hasEnded = false
  /// Some of that waits, and the end behind it.
  private var heldEnd = false
  private var context: ChannelHandlerContext?

  init(limits: MessageLimits, turns: Turns, grantsUpgrades: Bool) {
    reader = HTTP1Reading(.requests, limits: limits)
    self.turns = turns
    self.grantsUpgrades = grantsUpgrades
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  /// From now on bytes go through both ways, as they are.
  func becomeRaw() { mode = .raw }

  func removeHandler(context: ChannelHandlerContext, removalToken: ChannelHandlerContext.RemovalToken) {
    mode = .raw
    let rest = reader.takeRest()
    if rest.readableBytes > 0 {
      context.fireChannelRead(NIOAny(rest))
      context.fireChannelReadComplete()
    }
    // Whoever takes over has not heard of it.
    if hasEnded { context.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
    if heldRead { context.read() }
    context.leavePipeline(removalToken: removalToken)
  }

  // MARK: Requests

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch mode {
    case .raw: context.fireChannelRead(data)
    case .unreadable: return
    case .requests, .waiting:
      reader.append(unwrapInboundIn(data))
      takeRequests(context)
    }
  }

  private func takeRequests(_ context: ChannelHandlerContext) {
    // Whoever is told of a part may have more bytes come.
    guard !isReading else { return }
    isReading = true
    defer { isReading = false }
    while case .requests = mode {
      do {
        guard let part = try reader.next() else { return }
        tell(part, context)
      } catch {
        return fail(error, context)
      }
    }
  }

  private func tell(_ part: HTTP1Reading.Part, _ context: ChannelHandlerContext) {
    switch part {
    case .head(let head):
      let request = HTTPRequestHead(head)
      unanswered.append(request.method == .HEAD)
      asksUpgrade = grantsUpgrades && HopByHop.upgrade(request) != nil
      context.fireChannelRead(wrapInboundOut(.head(request)))
    case .body(let bytes): context.fireChannelRead(wrapInboundOut(.body(bytes)))
    case .end(let trailers):
      if asksUpgrade || turns == .oneByOne, !unanswered.isEmpty { mode = .waiting }
      context.fireChannelRead(wrapInboundOut(.end(trailers)))
    }
  }

  private func fail(_ error: any Error, _ context: ChannelHandlerContext) {
    mode = .unreadable
    _ = reader.takeRest()
    context.fireErrorCaught(error)
  }

  func read(context: ChannelHandlerContext) {
    if case .waiting = mode, reader.readableBytes >= Self.waitingLimit { heldRead = true } else { context.read() }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard case ChannelEvent.inputClosed = event else { return context.fireUserInboundEventTriggered(event) }
    hasEnded = true
    if case .waiting = mode, turns == .oneByOne, reader.readableBytes > 0 { heldEnd = true } else { end(context) }
  }

  private func end(_ context: ChannelHandlerContext) {
    if case .requests = mode {
      do { _ = try reader.finish() } catch { fail(error, context) }
    }
    context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
  }

  // MARK: Answers

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .raw = mode { return context.write(data, promise: promise) }
    let allocator = context.channel.allocator
    switch unwrapOutboundIn(data) {
    case .head(let head):
      let bytes = writing.head(head, hasBody: !(unanswered.first ?? false), allocator)
      context.write(wrapOutboundOut(.byteBuffer(bytes)), promise: promise)
    case .body(let data):
      let writing = writing
      writing.body(data, allocator, promise) { context.write(wrapOutboundOut($0), promise: $1) }
    case .end(let trailers):
      _ = unanswered.popFirst()
      if let bytes = writing.end(trailers, allocator) {
        context.write(wrapOutboundOut(.byteBuffer(bytes)), promise: promise)
      } else if let promise {
        // In turn behind what was written before.
        context.write(wrapOutboundOut(.byteBuffer(ByteBuffer())), promise: promise)
      }
      if case .waiting = mode, unanswered.isEmpty { goOn(context) }
    }
  }

  /// The last request is answered, and in HTTP: what came behind it are requests.
  private func goOn(_ context: ChannelHandlerContext) {
    mode = .requests
    asksUpgrade = false
    guard reader.readableBytes > 0 || heldRead || heldEnd else { return }
    // Whoever answered has not come to its end yet.
    context.eventLoop.assumeIsolated().execute { [weak self] in
      guard let self, let context = self.context else { return }
      self.takeRequests(context)
      context.fireChannelReadComplete()
      if self.heldEnd, self.reader.readableBytes == 0 {
        self.heldEnd = false
        self.end(context)
      }
      if self.heldRead {
        self.heldRead = false
        self.read(context: context)
      }
    }
  }
}

extension HTTPRequestHead {
  init(_ head: MessageHead) {
    var (method, target) = ("GET", "/")
    if case .request(let name, let wanted) = head.start { (method, target) = (name, wanted) }
    self.init(
      version: head.minor == 0 ? .http1_0 : .http1_1, method: HTTPMethod(rawValue: method), uri: target,
      headers: HTTPHeaders(head.fields))
  }
}
