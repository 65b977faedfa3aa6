import NIOCore
import NIOHTTP1
import Transport

/// The client's end of one HTTP/1.1 connection to an upstream: carries one exchange at a time for the relay that owns
/// it.
final class UpstreamHandler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundIn = HTTPClientRequestPart
  typealias OutboundOut = HTTPClientRequestPart

  /// Interim answers (1xx) that one answer may have before it: more than any server means.
  private static let interimLimit = 64

  private let codec: HTTP1ClientCodec
  private var context: ChannelHandlerContext?
  private var owner: RelayHandler?
  private var mayRead = true
  private var heldRead = false
  private var isReusable = true
  private var answered = false
  private var interims = 0
  private var expiry: Scheduled<Void>?
  private var dropped: (() -> Void)?
  /// Whether it has carried an exchange before: its death may be that of an idle connection.
  private(set) var isUsed = false

  private init(_ codec: HTTP1ClientCodec) { self.codec = codec }

  static func initialize(_ channel: any Channel) -> EventLoopFuture<Void> {
    channel.eventLoop.makeCompletedFuture {
      let pipeline = channel.pipeline.syncOperations
      let codec = HTTP1ClientCodec()
      try pipeline.addHandler(codec)
      try pipeline.addHandler(UpstreamHandler(codec))
    }
  }

  // MARK: For the relay

  var isWritable: Bool { context?.channel.isWritable ?? false }
  var isOpen: Bool { context?.channel.isActive ?? false }
  var channel: (any Channel)? { context?.channel }

  func begin(_ owner: RelayHandler, _ head: HTTPRequestHead) {
    self.owner = owner
    answered = false
    interims = 0
    isReusable = true
    setReading(true)
    write(.head(head))
  }

  func write(_ part: HTTPClientRequestPart) { context?.write(wrapOutboundOut(part), promise: nil) }
  func flush() { context?.flush() }

  func setReading(_ reading: Bool) {
    mayRead = reading
    guard reading, heldRead else { return }
    heldRead = false
    context?.read()
  }

  /// The exchange is over: back to the shelf, or closed.
  func release(to shelf: UpstreamPool.Shelf, key: String, isReusable: Bool) {
    owner = nil
    guard isReusable, self.isReusable, isOpen else { return close() }
    isUsed = true
    setReading(true)
    shelf.put(self, key)
  }

  func close() {
    owner = nil
    // TLS takes its time to end, and nobody may be given a connection that does.
    dropped?()
    dropped = nil
    context?.close(promise: nil)
  }

  /// The exchange is given up: the server is told at once, whatever it is busy with, and whatever waits to be sent to
  /// it.
  func abort() {
    owner = nil
    context?.channel.abort()
  }

  /// The owner takes the bytes over; no more calls come.
  func disown() { owner = nil }

  // MARK: On the shelf

  func stayOnShelf(for time: TimeAmount, dropped: @escaping () -> Void) {
    self.dropped = dropped
    expiry = context?.eventLoop.assumeIsolated().scheduleTask(in: time) { self.close() }
  }

  /// - Returns: whether the connection is still good.
  func leaveShelf() -> Bool {
    expiry?.cancel()
    expiry = nil
    dropped = nil
    return isOpen
  }

  // MARK: Channel

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard let owner else {
      // An answer that nobody asked for.
      isReusable = false
      return context.close(promise: nil)
    }
    switch unwrapInboundIn(data) {
    case .head(let head) where Self.isInterim(head):
      // An endless row of them would be waited for without end.
      interims += 1
      if head.status == .continue { owner.upstreamGoesOn() }
      guard interims > Self.interimLimit else { return }
      gone(RelayError.badUpstream("it sends interim answers without end"))
      context.close(promise: nil)
    case .head(let head):
      answered = true
      if !head.isKeepAlive { isReusable = false }
      owner.upstreamHead(head)
    case .body(let bytes): owner.upstreamBody(bytes)
    case .end(let trailers):
      // Whoever says more than was asked may have anything to say to the next one who asks.
      if codec.hasMore { isReusable = false }
      owner.upstreamEnd(trailers)
    }
  }

  /// None of them says anything about the answer but the one that changes the protocol.
  private static func isInterim(_ head: HTTPResponseHead) -> Bool {
    (100..<200).contains(head.status.code) && head.status != .switchingProtocols
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    owner?.upstreamReadComplete()
    context.fireChannelReadComplete()
  }

  func read(context: ChannelHandlerContext) {
    if mayRead { context.read() } else { heldRead = true }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable { owner?.upstreamBecameWritable() }
    context.fireChannelWritabilityChanged()
  }

  func channelInactive(context: ChannelHandlerContext) {
    gone(RelayError.upstreamClosed)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    gone(error)
    context.close(promise: nil)
  }

  private func gone(_ error: any Error) {
    expiry?.cancel()
    expiry = nil
    dropped?()
    dropped = nil
    let owner = self.owner
    self.owner = nil
    owner?.upstreamGone(error, answered: answered)
  }
}
