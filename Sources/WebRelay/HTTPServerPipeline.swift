package import NIOCore
import NIOHPACK
package import NIOHTTP1
import NIOHTTP2
import Transport

/// A server's end of HTTP on any byte channel, with limits of bytes and time for what comes before a request: whoever answers requests, be it a relay, a site or an API,
/// stands behind it as a handler of `HTTPServerRequestPart`.
package enum HTTPServerPipeline {
  /// - Parameters:
  ///   - leftOver: what becomes of bytes behind the last request when the decoder is taken out.
  ///   - idleTimeout: asked each time the connection begins to wait for another request; nil for that of the limits.
  ///   - heard: called once, when the first head has come.
  /// - Returns: the deadline of heads, to be told by the handler behind when one has come, and when the next is awaited.
  package static func configureHTTP1(
    _ channel: any Channel, limits: HTTPLimits, leftOver: RemoveAfterUpgradeStrategy = .dropBytes, idleTimeout: (@Sendable () -> TimeAmount)? = nil,
    heard: @escaping @Sendable () -> Void = {}
  ) throws -> HeadDeadline {
    let deadline = HeadDeadline(limits, idleTimeout: idleTimeout, heard: heard)
    let pipeline = channel.pipeline.syncOperations
    var framing = HTTPResponseEncoder.Configuration()
    framing.automaticallySetFramingHeaders = false
    try? channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
    try pipeline.addHandler(deadline)
    try pipeline.addHandler(HTTPResponseEncoder(configuration: framing))
    try pipeline.addHandler(ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: leftOver, limitConfiguration: limits.decoder)))
    return deadline
  }

  /// - Parameters:
  ///   - idleTimeout: asked each time the connection is left without a stream; nil for that of the limits.
  ///   - heard: called once, when the first head has come.
  ///   - initialize: adds the handler of one request to its stream.
  package static func configureHTTP2(
    _ channel: any Channel, limits: HTTPLimits, idleTimeout: (@Sendable () -> TimeAmount)? = nil, heard: @escaping @Sendable () -> Void = {},
    initialize: @escaping @Sendable (any Channel) throws -> Void
  ) throws {
    var connection = NIOHTTP2Handler.ConnectionConfiguration()
    connection.initialSettings = [
      HTTP2Setting(parameter: .maxConcurrentStreams, value: limits.concurrentStreams),
      HTTP2Setting(parameter: .maxHeaderListSize, value: limits.headerList),
      HTTP2Setting(parameter: .initialWindowSize, value: limits.streamWindow),
    ]
    var stream = NIOHTTP2Handler.StreamConfiguration()
    stream.targetWindowSize = limits.streamWindow
    let clock = NIOLoopBound(StreamClock(channel, limits, idleTimeout: idleTimeout, heard: heard), eventLoop: channel.eventLoop)
    try channel.pipeline.syncOperations.addHandler(GoAwayCloser())
    _ = try channel.pipeline.syncOperations.configureHTTP2Pipeline(
      mode: .server, connectionConfiguration: connection, streamConfiguration: stream
    ) { stream in
      stream.eventLoop.makeCompletedFuture {
        clock.value.opened(stream)
        let pipeline = stream.pipeline.syncOperations
        try pipeline.addHandler(AuthorityCheck())
        try pipeline.addHandler(HTTP2FramePayloadToHTTP1ServerCodec())
        try initialize(stream)
      }
    }
  }
}

/// Closes an HTTP/2 connection that asks for nothing: pings and half a head are no request.
private final class StreamClock {
  private let channel: any Channel
  private let idleTimeout: @Sendable () -> TimeAmount
  private let heard: @Sendable () -> Void
  private var streams = 0
  private var wasHeard = false
  private var timer: Scheduled<Void>?

  init(_ channel: any Channel, _ limits: HTTPLimits, idleTimeout: (@Sendable () -> TimeAmount)?, heard: @escaping @Sendable () -> Void) {
    self.channel = channel
    self.idleTimeout = idleTimeout ?? { limits.idleTimeout }
    self.heard = heard
    start(limits.headTimeout)
    channel.closeFuture.assumeIsolated().whenComplete { _ in self.timer?.cancel() }
  }

  func opened(_ stream: any Channel) {
    streams += 1
    timer?.cancel()
    if !wasHeard {
      wasHeard = true
      heard()
    }
    stream.closeFuture.assumeIsolated().whenComplete { _ in
      self.streams -= 1
      if self.streams == 0, self.channel.isActive { self.start(self.idleTimeout()) }
    }
  }

  private func start(_ time: TimeAmount) {
    timer?.cancel()
    let (channel, wasHeard) = (channel, wasHeard)
    timer = channel.eventLoop.assumeIsolated().scheduleTask(in: time) { if wasHeard { channel.close(promise: nil) } else { channel.abort() } }
  }
}

/// Ends a stream whose request names two hosts, one in `:authority` and another one in `host` (RFC 9113, 8.3.1): behind the codec only one of them is left.
private final class AuthorityCheck: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame.FramePayload
  typealias OutboundOut = HTTP2Frame.FramePayload

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .headers(let frame) = unwrapInboundIn(data), let authority = frame.headers.first(name: ":authority")?.lowercased(),
      frame.headers["host"].contains(where: { $0.lowercased() != authority })
    {
      return context.writeAndFlush(wrapOutboundOut(.rstStream(.protocolError)), promise: nil)
    }
    context.fireChannelRead(data)
  }
}

/// Ends a connection once it has been told that it is over: the HTTP/2 handler says GOAWAY to a peer that breaks the protocol and leaves the rest to others, and such a peer
/// may go on sending for as long as it likes. Stands between that handler and the network, and looks at nothing but the frames' heads (RFC 9113, 4.1).
private final class GoAwayCloser: ChannelOutboundHandler {
  typealias OutboundIn = IOData
  typealias OutboundOut = IOData

  private static let goAway: UInt8 = 7

  /// Bytes of a frame's head that came so far, and how many follow it.
  private var head: [UInt8] = []
  private var payload = 0
  private var isEnding = false

  init() { head.reserveCapacity(9) }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .byteBuffer(let bytes) = unwrapOutboundIn(data) { look(at: bytes) }
    context.write(data, promise: promise)
  }

  func flush(context: ChannelHandlerContext) {
    context.flush()
    guard isEnding else { return }
    isEnding = false
    // What was written goes out before the end of TLS does.
    context.close(promise: nil)
  }

  private func look(at bytes: ByteBuffer) {
    var bytes = bytes
    while bytes.readableBytes > 0 {
      if payload > 0 {
        let step = min(payload, bytes.readableBytes)
        bytes.moveReaderIndex(forwardBy: step)
        payload -= step
        continue
      }
      guard let byte = bytes.readInteger(as: UInt8.self) else { return }
      head.append(byte)
      guard head.count == 9 else { continue }
      payload = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
      if head[3] == Self.goAway { isEnding = true }
      head.removeAll(keepingCapacity: true)
    }
  }
}
