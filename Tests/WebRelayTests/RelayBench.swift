import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix

@testable import WebRelay

/// A relay in front of a server of this process, both on loopback, and clients that speak raw bytes.
struct RelayBench: Sendable {
  /// What the upstream server saw and counts.
  final class Seen: Sendable {
    let connections = NIOLockedValueBox(0)
    let requests = NIOLockedValueBox<[HTTPRequestHead]>([])
    let bytes = NIOLockedValueBox(0)
  }

  static let group = MultiThreadedEventLoopGroup.singleton

  let relay: any Channel
  let upstream: any Channel
  let seen: Seen

  var port: Int { relay.localAddress?.port ?? 0 }

  /// - Parameters:
  ///   - handler: answers on the upstream's connections; HTTP unless `raw`.
  ///   - answerLimit: of the upstream.
  ///   - verdict: instead of relaying everything.
  static func start(
    limits: HTTPLimits = HTTPLimits(), answerLimit: TimeAmount? = nil, observer: RequestObserver? = nil,
    raw: Bool = false,
    verdict: RequestJudge? = nil,
    handler: @escaping @Sendable (Seen) -> any ChannelHandler & Sendable
  ) async throws -> RelayBench {
    let seen = Seen()
    let upstream = try await ServerBootstrap(group: group)
      .childChannelInitializer { channel in
        seen.connections.withLockedValue { $0 += 1 }
        return channel.eventLoop.makeCompletedFuture {
          if !raw { try channel.pipeline.syncOperations.configureHTTPServerPipeline() }
          try channel.pipeline.syncOperations.addHandler(handler(seen))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let target = Upstream(
      key: "upstream", connect: try TCPConnector.make(host: "127.0.0.1", port: upstream.localAddress?.port ?? 0),
      answerLimit: answerLimit)
    let judge: RequestJudge =
      verdict ?? { head, info in
        var head = head
        ForwardedHeaders.add(to: &head.headers, info: info)
        return info.loop.makeSucceededFuture(.relay(upstream: target, head: head))
      }
    let pool = UpstreamPool()
    let relay = try await ServerBootstrap(group: group)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try HTTPRelay.configureHTTP1(
            channel, remoteAddress: "192.0.2.1", isTLS: false, pool: pool, judge: judge, limits: limits,
            observer: observer)
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return RelayBench(relay: relay, upstream: upstream, seen: seen)
  }

  func stop() async throws {
    try await relay.close()
    try? await upstream.close()
  }

  func connect() async throws -> RawClient { try await RawClient.connect(port: port) }

  /// One request, one connection. - Returns: everything that came until the relay closed.
  func exchange(_ text: String) async throws -> String {
    let client = try await connect()
    try await client.send(text)
    return try await client.rest()
  }
}

/// A TCP client that sends and reads bytes.
final class RawClient: Sendable {
  private let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
  private let received = NIOLockedValueBox(ByteBuffer())
  private let ended = NIOLockedValueBox(false)
  private let reader: Task<Void, Never>

  private init(_ channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>) {
    self.channel = channel
    let (received, ended) = (received, ended)
    reader = Task {
      // `executeThenClose` ends with the connection; writers use the channel directly.
      try? await channel.executeThenClose { inbound, _ in
        for try await part in inbound { received.withLockedValue { _ = $0.writeImmutableBuffer(part) } }
      }
      ended.withLockedValue { $0 = true }
    }
  }

  static func connect(port: Int) async throws -> RawClient {
    let channel = try await ClientBootstrap(group: RelayBench.group).connect(host: "127.0.0.1", port: port) { channel in
      channel.eventLoop.makeCompletedFuture {
        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
      }
    }
    return RawClient(channel)
  }

  func send(_ text: String) async throws { try await send(ByteBuffer(string: text)) }
  func send(_ bytes: ByteBuffer) async throws { try await channel.channel.writeAndFlush(bytes) }

  var text: String { received.withLockedValue { String(buffer: $0) } }
  var bytes: ByteBuffer { received.withLockedValue { $0 } }
  var count: Int { received.withLockedValue { $0.readableBytes } }
  var hasEnded: Bool { ended.withLockedValue { $0 } }

  /// No answer within this is a hang.
  private static let hang = Duration.seconds(60)

  /// Waits until something holds of what came.
  func wait(_ condition: (String) -> Bool) async throws {
    let deadline = ContinuousClock.now + Self.hang
    while !condition(text) {
      guard ContinuousClock.now < deadline, !hasEnded else {
        throw Hang(text: String(text.prefix(2000)), ended: hasEnded)
      }
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  /// Waits for the end of the connection.
  func end() async throws {
    let deadline = ContinuousClock.now + Self.hang
    while !hasEnded {
      guard ContinuousClock.now < deadline else { throw Hang(text: String(text.prefix(2000)), ended: false) }
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  /// Everything until the end of the connection.
  func rest() async throws -> String {
    try await end()
    return text
  }

  struct Hang: Error {
    let text: String
    let ended: Bool
  }

  func close() { channel.channel.close(promise: nil) }

  /// Sends no more, and goes on reading.
  func finish() async throws { try await channel.channel.close(mode: .output) }
}

/// Answers `/echo` with the request's body, `/length/N` with N bytes, everything else with its own path; counts what it
/// saw.
final class TestServer: ChannelInboundHandler, @unchecked Sendable {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let seen: RelayBench.Seen
  private var head: HTTPRequestHead?
  private var body = ByteBuffer()

  init(_ seen: RelayBench.Seen) { self.seen = seen }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      body.clear()
      seen.requests.withLockedValue { $0.append(head) }
    case .body(var bytes):
      seen.bytes.withLockedValue { $0 += bytes.readableBytes }
      body.writeBuffer(&bytes)
    case .end: answer(context)
    }
  }

  private func answer(_ context: ChannelHandlerContext) {
    guard let head else { return }
    var headers: HTTPHeaders = [
      "x-upstream": "yes", "connection": "x-secret", "x-secret": "hop", "keep-alive": "timeout=1",
    ]
    var status = HTTPResponseStatus.ok
    var content = ByteBuffer(string: "path \(head.uri)")
    if head.uri == "/echo" { content = body }
    if head.uri.hasPrefix("/length/"), let count = Int(head.uri.dropFirst(8)) {
      content = ByteBuffer(repeating: 7, count: count)
    }
    if head.uri == "/empty" {
      status = .noContent
      content.clear()
    }
    if head.uri == "/cut" {
      headers.add(name: "content-length", value: "1000")
      context.write(
        wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .ok, headers: headers))), promise: nil)
      let channel = context.channel
      context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "half"))))).whenComplete { _ in
        channel.close(promise: nil)
      }
      return
    }
    if !head.uri.hasPrefix("/chunked"), status != .noContent {
      headers.add(name: "content-length", value: "\(content.readableBytes)")
    }
    if head.uri == "/once" { headers.replaceOrAdd(name: "connection", value: "close") }
    context.write(
      wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
    if head.method != .HEAD, content.readableBytes > 0 {
      context.write(wrapOutboundOut(.body(.byteBuffer(content))), promise: nil)
    }
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    if head.uri == "/dies" { context.close(promise: nil) }
  }
}
