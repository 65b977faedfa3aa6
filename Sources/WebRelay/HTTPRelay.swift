// WebRelay: HTTP on NIO channels of any kind: a reverse proxy that streams, static files, and WebDAV. It knows no
// overlay and no share; where requests go is a closure that makes a channel. Start reading at `HTTPRelay`, then
// `HTTPServerPipeline` and `MessageParser`.

public import NIOCore
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
    _ channel: any Channel, remoteAddress: String, isTLS: Bool, pool: UpstreamPool, judge: @escaping RequestJudge,
    limits: HTTPLimits = HTTPLimits(),
    heard: @escaping @Sendable () -> Void = {}, observer: RequestObserver? = nil
  ) throws {
    let deadline = try HTTPServerPipeline.configureHTTP1(channel, limits: limits, grantsUpgrades: true, heard: heard)
    try channel.pipeline.syncOperations.addHandler(
      RelayHandler(
        info: RequestInfo(remoteAddress: remoteAddress, isTLS: isTLS, loop: channel.eventLoop), pool: pool,
        judge: judge, limits: limits,
        observer: observer, isHTTP2: false, deadline: deadline))
    try watchPeer(channel)
  }

  /// Makes a channel a server of HTTP/2, its streams relayed each for itself.
  public static func configureHTTP2(
    _ channel: any Channel, remoteAddress: String, isTLS: Bool, pool: UpstreamPool, judge: @escaping RequestJudge,
    limits: HTTPLimits = HTTPLimits(),
    heard: @escaping @Sendable () -> Void = {}, observer: RequestObserver? = nil
  ) -> EventLoopFuture<Void> {
    let loop = channel.eventLoop
    return channel.eventLoop.makeCompletedFuture {
      try HTTPServerPipeline.configureHTTP2(channel, limits: limits, heard: heard) { stream in
        try stream.pipeline.syncOperations.addHandler(
          RelayHandler(
            info: RequestInfo(remoteAddress: remoteAddress, isTLS: isTLS, loop: loop), pool: pool, judge: judge,
            limits: limits, observer: observer,
            isHTTP2: true, deadline: nil))
      }
      try watchPeer(channel)
    }
  }

  /// A visitor whose machine went away without a word must not be waited for: nothing else ends an answer that takes
  /// its time.
  private static func watchPeer(_ channel: any Channel) throws {
    // What is no socket has its own ways.
    if channel is any SocketOptionProvider {
      try channel.pipeline.syncOperations.addHandler(PeerWatch(), position: .first)
    }
  }

  /// Takes the handlers of HTTP out of both pipelines. A codec that leaves hands over the bytes that it holds, and by
  /// then both let bytes through as they are.
  static func removeHTTP(from client: any Channel, _ upstream: any Channel) {
    func remove<H: RemovableChannelHandler>(_ type: H.Type, _ channel: any Channel) {
      let pipeline = channel.pipeline.syncOperations
      if let context = try? pipeline.context(handlerType: type) { _ = pipeline.removeHandler(context: context) }
    }
    try? client.pipeline.syncOperations.handler(type: HTTP1ServerCodec.self).becomeRaw()
    try? upstream.pipeline.syncOperations.handler(type: HTTP1ClientCodec.self).becomeRaw()
    remove(HeadDeadline.self, client)
    remove(RelayHandler.self, client)
    remove(UpstreamHandler.self, upstream)
    remove(HTTP1ClientCodec.self, upstream)
    remove(HTTP1ServerCodec.self, client)
  }
}
