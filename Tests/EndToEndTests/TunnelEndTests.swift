import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NetworkFixture
import ServiceLifecycle
import Swiftlet
import Testing

@testable import Tunnel

@Suite("The end of tunnels", .timeLimit(.minutes(5)))
struct TunnelEndTests {
  /// Sends back what it gets.
  private final class Echo: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.writeAndFlush(data, promise: nil) }
  }

  /// Keeps what came, and whether the end did.
  private final class Reader: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    let state = NIOLockedValueBox((text: "", hasEnded: false))
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let text = String(buffer: unwrapInboundIn(data))
      state.withLockedValue { $0.text += text }
    }
    func channelInactive(context: ChannelHandlerContext) { state.withLockedValue { $0.hasEnded = true } }
    var text: String { state.withLockedValue { $0.text } }
    var hasEnded: Bool { state.withLockedValue { $0.hasEnded } }
  }

  private static func server() async throws -> any Channel {
    try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Echo()) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
  }

  private static func connect(_ port: Int) async throws -> (channel: any Channel, reader: Reader) {
    let reader = Reader()
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(reader) }
      }
      .connect(host: "127.0.0.1", port: port).get()
    return (channel, reader)
  }

  private static func say(_ text: String, _ client: (channel: any Channel, reader: Reader), expecting all: String)
    async throws
  {
    try await client.channel.writeAndFlush(ByteBuffer(string: text))
    try await Network.wait("\(text) comes back") { client.reader.text == all }
  }

  /// A service in a group that can be told to end.
  private struct Group {
    let group: ServiceGroup
    let running: Task<Void, any Error>
    private let ended: NIOLockedValueBox<Bool>

    init(_ service: any Service) {
      let (made, over) = (ServiceGroup(services: [service], logger: Logger(label: "test")), NIOLockedValueBox(false))
      group = made
      ended = over
      running = Task {
        defer { over.withLockedValue { $0 = true } }
        try await made.run()
      }
    }

    var hasEnded: Bool { ended.withLockedValue { $0 } }
  }

  /// One end of the tunnel is the subject: the other one stays.
  enum End: String, CaseIterable, Sendable { case host, proxy }

  private struct Bench {
    let overlays: OverlayBench
    let server: any Channel
    let hosting: HostTunnel
    let proxy: ProxyTunnel
    let port: Int
    let subject: Group
    let other: Task<Void, Never>

    static func start(_ end: End, grace: Duration) async throws -> Bench {
      let overlays = try await OverlayBench.start()
      try await overlays.network.service("tcp")
      let server = try await TunnelEndTests.server()
      let hosting = HostTunnel(
        overlay: try await overlays.overlay("host"), service: "tcp", host: "127.0.0.1",
        port: server.localAddress?.port ?? 0, grace: grace,
        logger: overlays.network.logger)
      try await hosting.start()
      let proxy = ProxyTunnel(
        overlay: try await overlays.overlay("client"), service: "tcp", host: "127.0.0.1", port: 0, grace: grace,
        logger: overlays.network.logger)
      let port = try await proxy.start().port ?? 0
      let subject = Group(end == .host ? hosting as any Service : proxy)
      let other = Task {
        switch end {
        case .host: _ = try? await proxy.run()
        case .proxy: _ = try? await hosting.run()
        }
      }
      return Bench(
        overlays: overlays, server: server, hosting: hosting, proxy: proxy, port: port, subject: subject, other: other)
    }

    func stop() async throws {
      other.cancel()
      await other.value
      try await server.close()
      await overlays.stop()
    }
  }

  @Test("open connections end in their own time, new ones are refused meanwhile", arguments: End.allCases)
  func own(end: End) async throws {
    let bench = try await Bench.start(end, grace: .seconds(120))
    let client = try await Self.connect(bench.port)
    try await Self.say("before", client, expecting: "before")
    await bench.subject.group.triggerGracefulShutdown()
    try await Network.wait("new ones are refused") {
      guard let late = try? await Self.connect(bench.port) else { return true }
      try? await late.channel.writeAndFlush(ByteBuffer(string: "late"))
      try await Network.wait("it ends or is served") { late.reader.hasEnded || !late.reader.text.isEmpty }
      let wasRefused = late.reader.hasEnded && late.reader.text.isEmpty
      try? await late.channel.close()
      return wasRefused
    }
    try await Self.say("after", client, expecting: "beforeafter")
    #expect(!bench.subject.hasEnded)
    try await client.channel.close()
    try await bench.subject.running.value
    try await bench.stop()
  }

  @Test("nothing open is nothing to wait for", arguments: End.allCases)
  func idle(end: End) async throws {
    let bench = try await Bench.start(end, grace: .seconds(600))
    let client = try await Self.connect(bench.port)
    try await Self.say("x", client, expecting: "x")
    try await client.channel.close()
    await bench.subject.group.triggerGracefulShutdown()
    try await bench.subject.running.value
    try await bench.stop()
  }

  @Test("at the limit it ends all the same", arguments: End.allCases)
  func limit(end: End) async throws {
    let bench = try await Bench.start(end, grace: .milliseconds(300))
    let client = try await Self.connect(bench.port)
    try await Self.say("x", client, expecting: "x")
    await bench.subject.group.triggerGracefulShutdown()
    try await bench.subject.running.value
    try? await client.channel.close()
    try await bench.stop()
  }

  @Test("cancelled, as by a second signal, it ends at once", arguments: End.allCases)
  func cancelled(end: End) async throws {
    let bench = try await Bench.start(end, grace: .seconds(3600))
    let client = try await Self.connect(bench.port)
    try await Self.say("x", client, expecting: "x")
    await bench.subject.group.triggerGracefulShutdown()
    try await Task.sleep(for: .milliseconds(200))
    #expect(!bench.subject.hasEnded)
    bench.subject.running.cancel()
    _ = await bench.subject.running.result
    try? await client.channel.close()
    try await bench.stop()
  }

  @Test("what a program wrote before its end arrives, though the overlay is closed right behind it")
  func lastBytes() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("tcp")
    let sink = Reader()
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(sink) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let hosting = HostTunnel(
      overlay: try await bench.overlay("host"), service: "tcp", host: "127.0.0.1", port: server.localAddress?.port ?? 0,
      logger: bench.network.logger)
    try await hosting.start()
    let overlay = try await bench.overlay("client")
    let proxy = ProxyTunnel(overlay: overlay, service: "tcp", host: "127.0.0.1", port: 0, logger: bench.network.logger)
    let port = try await proxy.start().port ?? 0
    let running = Task { try? await proxy.run() }
    let client = try await Self.connect(port)
    let count = 2_000_000
    try await client.channel.writeAndFlush(ByteBuffer(repeating: UInt8(ascii: "x"), count: count))
    try await Network.wait("it begins to arrive") { !sink.text.isEmpty }
    try await client.channel.close()
    await proxy.end(within: .seconds(60))
    await overlay.close()
    try await Network.wait("all of it arrives") { sink.text.utf8.count == count }
    running.cancel()
    await running.value
    await hosting.stop()
    try await server.close()
    await bench.stop()
  }
}
