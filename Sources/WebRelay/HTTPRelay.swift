public import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2

/// A reverse proxy on any byte channel: TCP, TLS, or a connection of an overlay.
public enum HTTPRelay {
  /// Makes a channel a server of HTTP/1.1. Call in the channel's initializer, or when its TLS handshake is complete.
  ///
  /// - Parameters:
  ///   - remoteAddress: of the client, without port, as it is passed on and shown.
  ///   - isTLS: whether the client speaks TLS to us.
  ///   - observer: told about each finished request, on the event loop.
  public static func configureHTTP1(
    _ channel: any Channel, remoteAddress: String, isTLS: Bool, pool: UpstreamPool, judge: @escaping RequestJudge, limits: HTTPLimits = HTTPLimits(),
    observer: RequestObserver? = nil
  ) throws {
    let deadline = HeadDeadline(limits)
    let pipeline = channel.pipeline.syncOperations
    var framing = HTTPResponseEncoder.Configuration()
    framing.automaticallySetFramingHeaders = false
    try? channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
    try pipeline.addHandler(deadline)
    try pipeline.addHandler(HTTPResponseEncoder(configuration: framing))
    try pipeline.addHandler(ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: limits.decoder)))
    try pipeline.addHandler(
      RelayHandler(
        info: RequestInfo(remoteAddress: remoteAddress, isTLS: isTLS, loop: channel.eventLoop), pool: pool, judge: judge, limits: limits,
        observer: observer, isHTTP2: false, deadline: deadline))
  }

  /// Makes a channel a server of HTTP/2, its streams relayed each for itself.
  public static func configureHTTP2(
    _ channel: any Channel, remoteAddress: String, isTLS: Bool, pool: UpstreamPool, judge: @escaping RequestJudge, limits: HTTPLimits = HTTPLimits(),
    observer: RequestObserver? = nil
  ) -> EventLoopFuture<Void> {
    var connection = NIOHTTP2Handler.ConnectionConfiguration()
    connection.initialSettings = [
      HTTP2Setting(parameter: .maxConcurrentStreams, value: limits.concurrentStreams),
      HTTP2Setting(parameter: .maxHeaderListSize, value: limits.headerList),
      HTTP2Setting(parameter: .initialWindowSize, value: 1 << 20),
    ]
    var stream = NIOHTTP2Handler.StreamConfiguration()
    stream.targetWindowSize = 1 << 20
    let loop = channel.eventLoop
    return channel.eventLoop.makeCompletedFuture {
      try channel.pipeline.syncOperations.addHandler(GoAwayCloser())
      _ = try channel.pipeline.syncOperations.configureHTTP2Pipeline(
        mode: .server, connectionConfiguration: connection, streamConfiguration: stream
      ) { stream in
        stream.eventLoop.makeCompletedFuture {
          let pipeline = stream.pipeline.syncOperations
          try pipeline.addHandler(AuthorityCheck())
          try pipeline.addHandler(HTTP2FramePayloadToHTTP1ServerCodec())
          try pipeline.addHandler(
            RelayHandler(
              info: RequestInfo(remoteAddress: remoteAddress, isTLS: isTLS, loop: loop), pool: pool, judge: judge, limits: limits, observer: observer,
              isHTTP2: true, deadline: nil))
        }
      }
      try channel.pipeline.syncOperations.addHandler(IdleStateHandler(allTimeout: limits.stallTimeout), position: .first)
      try channel.pipeline.syncOperations.addHandler(IdleCloser())
    }
  }

  /// Takes the handlers of HTTP out of both pipelines, the decoders last: they hand over the bytes they hold, which by then must go through as bytes.
  static func removeHTTP(from client: any Channel, _ upstream: any Channel) {
    func remove<H: RemovableChannelHandler>(_ type: H.Type, _ channel: any Channel) -> EventLoopFuture<Void> {
      let pipeline = channel.pipeline.syncOperations
      guard let context = try? pipeline.context(handlerType: type) else { return channel.eventLoop.makeSucceededVoidFuture() }
      return pipeline.removeHandler(context: context)
    }
    _ = remove(HeadDeadline.self, client)
    _ = remove(RelayHandler.self, client)
    _ = remove(HTTPResponseEncoder.self, client)
    _ = remove(UpstreamHandler.self, upstream)
    _ = remove(HTTPRequestEncoder.self, upstream)
    // A decoder hands over its bytes when its removal completes, outside of any read burst. That of responses looks at what is written as well, so it must be
    // gone before the other one's bytes come through.
    let channels = NIOLoopBound((client, upstream), eventLoop: client.eventLoop)
    remove(ByteToMessageHandler<HTTPResponseDecoder>.self, upstream).assumeIsolated().whenComplete { _ in
      let (client, upstream) = channels.value
      client.flush()
      remove(ByteToMessageHandler<HTTPRequestDecoder>.self, client).assumeIsolated().whenComplete { _ in upstream.flush() }
    }
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

/// Closes a connection on which nothing happens.
private final class IdleCloser: ChannelInboundHandler {
  typealias InboundIn = NIOAny

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }
}
