public import NIOCore
import NIOHTTP1
public import Transport
import WebRelay

/// Time and memory that a client of an API gets.
public struct APILimits: Sendable {
  /// From the end of TLS to the head of the first request, and from the first byte of a later one to the end of its
  /// head.
  public var headTimeout = TimeAmount.seconds(10)
  /// From the head of a request to the end of its body, for clients without a session.
  public var strangerRequestTimeout = TimeAmount.seconds(10)
  /// The same for clients with one: a mebibyte over a slow line.
  public var requestTimeout = TimeAmount.seconds(60)
  /// Between two requests of one connection, for clients without a session: one that asks now and then connects anew.
  public var strangerIdleTimeout = TimeAmount.seconds(10)
  /// The same for clients with one. Programs of ours ask every 15 s and leave by themselves after 45 s
  /// (`KeptConnections`): a handshake for each question would cost more than a connection that waits.
  public var idleTimeout = TimeAmount.seconds(60)
  /// For an answer to leave.
  public var answerTimeout = TimeAmount.seconds(60)
  /// How long a client may go on sending a body that nobody wants, after it has been told so.
  public var lingering = TimeAmount.seconds(2)
  /// Bytes of bodies of clients without a session, in memory at the same time: of the listener, and of one source.
  public var strangerBodies = (total: 16 << 20, perSource: 512 << 10)
  /// The same for clients with one: of the listener, and of one identity.
  public var callerBodies = (total: 64 << 20, perIdentity: 4 << 20)
  /// Bytes of answers that have not left, in memory at the same time: of the listener, and of one identity, or one
  /// source without a session. One answer may have more.
  public var answers = (total: 256 << 20, perAsker: 16 << 20)

  public init() {}

  /// A browser asks for a handful at a time; the window of a stream is what it may send before its request is judged.
  var http: HTTPLimits {
    var limits = HTTPLimits()
    limits.headTimeout = headTimeout
    limits.idleTimeout = idleTimeout
    limits.headerList = 32 * 1024
    limits.concurrentStreams = 32
    limits.streamWindow = 64 * 1024
    return limits
  }
}

/// Serves an `APIServer` over HTTP/1.1 and HTTP/2 on Transport's listener.
public struct HTTPAcceptor: ConnectionAcceptor {
  private let api: APIContext

  /// - Parameter requestID: makes the id that names a request in answers and logs.
  public init(_ server: APIServer, limits: APILimits = APILimits(), requestID: @escaping @Sendable () -> String) {
    api = APIContext(
      server: server, limits: limits, requestID: requestID,
      strangers: BodyBudget(total: limits.strangerBodies.total, perKey: limits.strangerBodies.perSource),
      callers: BodyBudget(total: limits.callerBodies.total, perKey: limits.callerBodies.perIdentity),
      answers: BodyBudget(total: limits.answers.total, perKey: limits.answers.perAsker))
  }

  /// Bytes of bodies in memory now, of clients without a session and of those with one.
  public var bodiesHeld: (strangers: Int, callers: Int) { (api.strangers.used, api.callers.used) }

  /// Bytes of answers that have not left.
  public var answersHeld: Int { api.answers.used }

  public func accept(_ channel: any Channel, peer: PresentedPeer, alpn: String?, stranger: Stranger) -> EventLoopFuture<
    ConnectionTask
  > {
    let api = api
    let limits = api.limits
    // Asked when the connection begins to wait for another request.
    let idleTimeout: @Sendable () -> TimeAmount = {
      stranger.rests() ? limits.idleTimeout : limits.strangerIdleTimeout
    }
    let (jobs, continuation) = AsyncStream.makeStream(of: (@Sendable () async -> Void).self)
    channel.closeFuture.whenComplete { _ in continuation.finish() }
    return channel.eventLoop.makeCompletedFuture {
      if alpn == ALPN.http2 {
        try HTTPServerPipeline.configureHTTP2(
          channel, limits: limits.http, idleTimeout: idleTimeout, heard: stranger.heard
        ) { stream in
          try stream.pipeline.syncOperations.addHandler(
            APIExchangeHandler(api, peer: peer, stranger: stranger, deadline: nil, jobs: continuation))
        }
      } else {
        let deadline = try HTTPServerPipeline.configureHTTP1(
          channel, limits: limits.http, idleTimeout: idleTimeout, heard: stranger.heard)
        try channel.pipeline.syncOperations.addHandler(
          APIExchangeHandler(api, peer: peer, stranger: stranger, deadline: deadline, jobs: continuation))
      }
      return {
        // What was asked is done even if nobody waits for the answer any more; each has a time limit.
        await withDiscardingTaskGroup { group in
          for await job in jobs { group.addTask { await job() } }
        }
      }
    }
  }
}
