public import NIOCore
import NIOHTTP1
import Transport

/// A reverse proxy on any byte channel: TCP, TLS, or a connection of an overlay.
public enum HTTPRelay {
  /// Makes a channel a server of HTTP/1.1. Call in the channel's initializer, or when its TLS handshake is complete.
  ///
  /// - Parameters:
  ///   - remoteAddress: of the client, without port, as it is passed on and shown.
  ///   - isTLS: whether the client speaks TLS to us.
  ///   - heard: called when the first request's head has come.
  ///   - observer: told about each finished request, on the event loop.
  public static func configureHTTP1(
    _ channel: any Channel, remoteAddress: String, isTLS: Bool, pool: UpstreamPool, judge: @escaping RequestJudge, limits: HTTPLimits = HTTPLimits(),
    heard: @escaping @Sendable () -> Void = {}, observer: RequestObserver? = nil
  ) throws {
    let deadline = try HTTPServerPipeline.configureHTTP1(channel, limits: limits, leftOver: .forwardBytes, heard: heard)
    try channel.pipeline.syncOperations.addHandler(
      RelayHandler(
        info: RequestInfo(remoteAddress: remoteAddress, isTLS: isTLS, loop: channel.eventLoop), pool: pool, judge: judge, limits: limits,
        observer: observer, isHTTP2: false, deadline: deadline))
    try watchPeer(channel)
  }

  /// Makes a channel a server of HTTP/2, its streams relayed each for itself.
  public static func configureHTTP2(
    _ channel: any Channel, remoteAddress: String, isTLS: Bool, pool: UpstreamPool, judge: @escaping RequestJudge, limits: HTTPLimits = HTTPLimits(),
    heard: @escaping @Sendable () -> Void = {}, observer: RequestObserver? = nil
  ) -> EventLoopFuture<Void> {
    let loop = channel.eventLoop
    return channel.eventLoop.makeCompletedFuture {
      try HTTPServerPipeline.configureHTTP2(channel, limits: limits, heard: heard) { stream in
        try stream.pipeline.syncOperations.addHandler(
          RelayHandler(
            info: RequestInfo(remoteAddress: remoteAddress, isTLS: isTLS, loop: loop), pool: pool, judge: judge, limits: limits, observer: observer,
            isHTTP2: true, deadline: nil))
      }
      try watchPeer(channel)
    }
  }

  /// A visitor whose machine went away without a word must not be waited for: nothing else ends an answer that takes its time.
  private static func watchPeer(_ channel: any Channel) throws {
    // What is no socket has its own ways.
    if channel is any SocketOptionProvider { try channel.pipeline.syncOperations.addHandler(PeerWatch(), position: .first) }
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
