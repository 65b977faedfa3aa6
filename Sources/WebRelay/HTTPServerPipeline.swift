package import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2
import Transport

/// A server's end of HTTP on any byte channel, with limits of bytes and time for what comes before a request: whoever
/// answers requests, be it a relay, a site or an API, stands behind it as a handler of `HTTPServerRequestPart`.
package enum HTTPServerPipeline {
  /// - Parameters:
  ///   - oneByOne: a request waits, unread, until the one before it is answered; otherwise the handler behind keeps
  ///     what comes meanwhile.
  ///   - grantsUpgrades: the handler behind can change the protocol (`HTTP1ServerCodec`); otherwise no wish for that is
  ///     heard.
  ///   - idleTimeout: asked each time the connection begins to wait for another request; nil for that of the limits.
  ///   - heard: called once, when the first head has come.
  /// - Returns: the deadline of heads, to be told by the handler behind when one has come, and when the next is
  ///   awaited.
  package static func configureHTTP1(
    _ channel: any Channel, limits: HTTPLimits, oneByOne: Bool = false, grantsUpgrades: Bool = false,
    idleTimeout: (@Sendable () -> TimeAmount)? = nil, heard: @escaping @Sendable () -> Void = {}
  ) throws -> HeadDeadline {
    let deadline = HeadDeadline(limits, idleTimeout: idleTimeout, heard: heard)
    let pipeline = channel.pipeline.syncOperations
    try? channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
    try pipeline.addHandler(deadline)
    try pipeline.addHandler(
      HTTP1ServerCodec(limits: limits.message, turns: oneByOne ? .oneByOne : .together, grantsUpgrades: grantsUpgrades))
    return deadline
  }

  /// - Parameters:
  ///   - idleTimeout: asked each time the connection is left without a stream; nil for that of the limits.
  ///   - heard: called once, when the first head has come.
  ///   - initialize: adds the handler of one request to its stream.
  package static func configureHTTP2(
    _ channel: any Channel, limits: HTTPLimits, idleTimeout: (@Sendable () -> TimeAmount)? = nil,
    heard: @escaping @Sendable () -> Void = {},
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
    let clock = NIOLoopBound(
      StreamClock(channel, limits, idleTimeout: idleTimeout, heard: heard), eventLoop: channel.eventLoop)
    try channel.pipeline.syncOperations.addHandler(HTTP2Wire())
    _ = try channel.pipeline.syncOperations.configureHTTP2Pipeline(
      mode: .server, connectionConfiguration: connection, streamConfiguration: stream
    ) { stream in
      stream.eventLoop.makeCompletedFuture {
        clock.value.opened(stream)
        let pipeline = stream.pipeline.syncOperations
        try pipeline.addHandler(AuthorityCheck())
        try pipeline.addHandler(HTTP2FramePayloadToHTTP1ServerCodec())
        try pipeline.addHandler(StreamTexts())
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

  init(
    _ channel: any Channel, _ limits: HTTPLimits, idleTimeout: (@Sendable () -> TimeAmount)?,
    heard: @escaping @Sendable () -> Void
  ) {
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
    timer = channel.eventLoop.assumeIsolated().scheduleTask(in: time) {
      if wasHeard { channel.close(promise: nil) } else { channel.abort() }
    }
  }
}

/// Ends a stream whose request names two hosts, one in `:authority` and another one in `host` (RFC 9113, 8.3.1): behind
/// the codec only one of them is left.
private final class AuthorityCheck: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame.FramePayload
  typealias OutboundOut = HTTP2Frame.FramePayload

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .headers(let frame) = unwrapInboundIn(data),
      let authority = frame.headers.first(name: ":authority")?.lowercased(),
      frame.headers["host"].contains(where: { $0.lowercased() != authority })
    {
      return context.writeAndFlush(wrapOutboundOut(.rstStream(.protocolError)), promise: nil)
    }
    context.fireChannelRead(data)
  }
}

/// HTTP/2 knows octets as well, its codec knows texts only: what is not UTF-8 goes out as the characters of ISO 8859-1,
/// and what a visitor sends that looks like a stand-in of `OctetText` is taken by its octets.
private final class StreamTexts: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .head(var head) = unwrapInboundIn(data), !OctetText.isPlain(head.uri) || !Self.isPlain(head.headers)
    else {
      return context.fireChannelRead(data)
    }
    head.uri = OctetText.text(head.uri)
    head.headers = HTTPHeaders(head.headers.map { ($0.name, OctetText.text($0.value)) })
    context.fireChannelRead(wrapInboundOut(.head(head)))
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch unwrapOutboundIn(data) {
    case .head(var head) where !Self.isPlain(head.headers):
      head.headers = Self.latin(head.headers)
      context.write(wrapOutboundOut(.head(head)), promise: promise)
    case .end(let trailers?) where !Self.isPlain(trailers):
      context.write(wrapOutboundOut(.end(Self.latin(trailers))), promise: promise)
    default: context.write(data, promise: promise)
    }
  }

  private static func isPlain(_ fields: HTTPHeaders) -> Bool { fields.allSatisfy { OctetText.isPlain($0.value) } }
  private static func latin(_ fields: HTTPHeaders) -> HTTPHeaders {
    HTTPHeaders(fields.map { ($0.name, OctetText.latin($0.value)) })
  }
}
