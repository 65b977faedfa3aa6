import Foundation
import JSON
import Model
import NIOCore
import NIOPosix
import NetworkFixture
import Swiftlet
import Synchronization
import Testing

@testable import Tunnel

@Suite("Tunnels of TCP programs", .timeLimit(.minutes(10)))
struct TunnelTests {
  /// A TCP server that sends back what it gets until the peer ends, then ends itself.
  private static func echoServer() async throws -> (channel: any Channel, port: Int) {
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Echo()) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return (channel, channel.localAddress?.port ?? 0)
  }

  private final class Echo: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.write(data, promise: nil) }
    func channelReadComplete(context: ChannelHandlerContext) { context.flush() }
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if case ChannelEvent.inputClosed = event { context.close(mode: .output, promise: nil) }
    }
  }

  private final class Counter: Sendable {
    let value = Atomic<Int>(0)
  }

  /// A TCP server that says much before it listens.
  /// - Parameter closed: counts its connections that ended.
  private static func talker(_ closed: Counter) async throws -> (channel: any Channel, port: Int) {
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelOption(.autoRead, value: false)
      .childChannelInitializer { channel in
        channel.closeFuture.whenComplete { _ in closed.value.add(1, ordering: .relaxed) }
        channel.eventLoop.execute {
          channel.writeAndFlush(ByteBuffer(repeating: 7, count: 64 << 20)).whenComplete { _ in
            channel.setOption(.autoRead, value: true).whenComplete { _ in }
          }
        }
        return channel.eventLoop.makeSucceededVoidFuture()
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return (channel, channel.localAddress?.port ?? 0)
  }

  @Test(
    "a dialler who sends, reads nothing and goes away leaves no socket behind at a server that wants to be read first")
  func abandonedServer() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("tcp")
    let closed = Counter()
    let server = try await Self.talker(closed)
    let hosting = HostTunnel(
      overlay: try await bench.overlay("host"), service: "tcp", host: "127.0.0.1", port: server.port,
      logger: bench.network.logger)
    try await hosting.start()
    let client = try await bench.overlay("client")
    let stream = try await OverlayBench.dial(client, "tcp")
    // More than the buffers on the way take.
    let sending = Task { try? await stream.write(ByteBuffer(repeating: 1, count: 64 << 20)) }
    try await Task.sleep(for: .seconds(2))
    sending.cancel()
    await stream.close()
    try await Network.wait("the server's socket is closed", seconds: 30) { closed.value.load(ordering: .relaxed) == 1 }
    await hosting.stop()
    try await server.channel.close()
    await bench.stop()
  }

  /// Sends and ends, and gives what came until the peer's end.
  private static func exchange(_ port: Int, _ bytes: ByteBuffer) async throws -> ByteBuffer {
    let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.allowRemoteHalfClosure, value: true)
      .connect(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
            wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
        }
      }
    return try await client.executeThenClose { inbound, outbound in
      async let writing: Void = {
        try await outbound.write(bytes)
        outbound.finish()
      }()
      var all = ByteBuffer()
      for try await var part in inbound { all.writeBuffer(&part) }
      try await writing
      return all
    }
  }

  /// Waits for its peer's end, says much, and ends.
  private final class Answerer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    static let answer = OverlayBench.pattern(8 << 20)
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      guard case ChannelEvent.inputClosed = event else { return }
      let channel = context.channel
      context.writeAndFlush(NIOAny(Self.answer)).whenComplete { _ in channel.close(mode: .output, promise: nil) }
    }
  }

  /// Keeps what it reads.
  private final class Reader: ChannelInboundHandler, @unchecked Sendable {
    // Unchecked: the test reads what the lock guards, and nothing else.
    typealias InboundIn = ByteBuffer
    let state = Mutex((bytes: ByteBuffer(), hasEnded: false))
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let part = unwrapInboundIn(data)
      state.withLock { _ = $0.bytes.writeImmutableBuffer(part) }
    }
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if case ChannelEvent.inputClosed = event { state.withLock { $0.hasEnded = true } }
    }
    func channelInactive(context: ChannelHandlerContext) { state.withLock { $0.hasEnded = true } }
  }

  /// What waited for the program was dropped when the answer's end came: a socket whose input has ended is closed
  /// whole.
  @Test("a program that ends first and reads its answer slowly gets all of it")
  func slowReader() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("tcp")
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Answerer()) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let hosting = HostTunnel(
      overlay: try await bench.overlay("host"), service: "tcp", host: "127.0.0.1", port: server.localAddress?.port ?? 0,
      logger: bench.network.logger)
    try await hosting.start()
    let proxy = ProxyTunnel(
      overlay: try await bench.overlay("client"), service: "tcp", host: "127.0.0.1", port: 0,
      logger: bench.network.logger)
    let port = try await proxy.start().port ?? 0
    let running = Task { try? await proxy.run() }
    let reader = Reader()
    let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.allowRemoteHalfClosure, value: true)
      .channelOption(.autoRead, value: false)
      .channelOption(.socketOption(.so_rcvbuf), value: 64 * 1024)
      .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 64 * 1024))
      .channelOption(.maxMessagesPerRead, value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(reader) }
      }
      .connect(host: "127.0.0.1", port: port).get()
    try await client.close(mode: .output)
    for _ in 0..<20_000 where !reader.state.withLock({ $0.hasEnded }) {
      client.read()
      try await Task.sleep(for: .milliseconds(3))
    }
    #expect(reader.state.withLock { $0.bytes } == Answerer.answer)
    client.close(promise: nil)
    running.cancel()
    await running.value
    await hosting.stop()
    try await server.close()
    await bench.stop()
  }

  @Test("proxy -> router -> host carries a TCP program with both half closes")
  func tcp() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("tcp")
    let server = try await Self.echoServer()
    let host = try await bench.overlay("host")
    let client = try await bench.overlay("client")
    let hosting = HostTunnel(
      overlay: host, service: "tcp", host: "127.0.0.1", port: server.port, logger: bench.network.logger)
    let proxy = ProxyTunnel(overlay: client, service: "tcp", host: "127.0.0.1", port: 0, logger: bench.network.logger)
    let port = try await proxy.start().port ?? 0
    let running = Task {
      await withDiscardingTaskGroup { group in
        group.addTask { try? await hosting.run() }
        group.addTask { try? await proxy.run() }
      }
    }
    try await Network.wait("the service is hosted") {
      try await bench.network.api("GET", "/terminators").arrayValue?.isEmpty == false
    }
    for size in [0, 1, 100_000, 16 << 20] {
      let sent = OverlayBench.pattern(size)
      #expect(try await Self.exchange(port, sent) == sent)
    }
    try await withThrowingDiscardingTaskGroup { group in
      for index in 0..<32 {
        group.addTask {
          let sent = OverlayBench.pattern(50_000 + index, seed: UInt64(index + 7))
          let got = try await Self.exchange(port, sent)
          #expect(got == sent)
        }
      }
    }
    running.cancel()
    await running.value
    try await server.channel.close()
    await bench.stop()
  }

  /// It was closed then, and the program waited for ever: the channel had no other end, and nobody read from it.
  @Test("a dial that is quicker than the thread that accepts the local connection carries it")
  func dialBeforeActive() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("quick")
    let host = try await bench.overlay("host")
    let client = try await bench.overlay("client")
    let echo = try await bench.echo(host, "quick")
    try await Network.wait("the service is hosted") {
      try await bench.network.api("GET", "/terminators").arrayValue?.isEmpty == false
    }
    // The local channel is not active before its initializer is done, which is after the dial here.
    let proxy = try await ServerBootstrap(group: client.group)
      .childChannelInitializer { channel in
        let loop = channel.eventLoop
        return loop.makeCompletedFuture { NIOLoopBound(try Splice.install(on: channel), eventLoop: loop) }.flatMap {
          splice in
          loop.makeFutureWithTask { try await client.connect("quick", on: loop) }.map { splice.value.join($0.value) }
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let sent = OverlayBench.pattern(1000)
    #expect(try await Self.exchange(proxy.localAddress?.port ?? 0, sent) == sent)
    try await proxy.close()
    echo.cancel()
    await echo.value
    await bench.stop()
  }
}
