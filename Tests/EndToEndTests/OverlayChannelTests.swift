import NIOConcurrencyHelpers
import NIOCore
import NetworkFixture
import Swiftlet
import Testing

@Suite("Connections of the overlay as channels", .timeLimit(.minutes(8)))
struct OverlayChannelTests {
  /// Sends back what it reads, and its end after the peer's.
  private final class Echo: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.writeAndFlush(data, promise: nil) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if case ChannelEvent.inputClosed = event { context.close(mode: .output, promise: nil) }
    }
  }

  /// Says something and listens to nothing.
  private final class Deaf: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    func channelActive(context: ChannelHandlerContext) {
      context.writeAndFlush(NIOAny(ByteBuffer(repeating: 1, count: 1000)), promise: nil)
    }
  }

  /// Reads one batch at a time, only when told.
  private final class Collector: ChannelInboundHandler, @unchecked Sendable {
    // Unchecked: read by the test through the lock only.
    typealias InboundIn = ByteBuffer
    let bytes = NIOLockedValueBox(ByteBuffer())
    let ended = NIOLockedValueBox(false)
    let deafened = NIOLockedValueBox(false)
    let errors = NIOLockedValueBox<[any Error]>([])

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      var part = unwrapInboundIn(data)
      bytes.withLockedValue { _ = $0.writeBuffer(&part) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if case ChannelEvent.inputClosed = event { ended.withLockedValue { $0 = true } }
      if case ChannelEvent.outputClosed = event { deafened.withLockedValue { $0 = true } }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { errors.withLockedValue { $0.append(error) } }
  }

  private static func echo(_ channel: any Channel) -> EventLoopFuture<Void> {
    channel.eventLoop.makeCompletedFuture {
      try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
      try channel.pipeline.syncOperations.addHandler(Echo())
    }
  }

  private static func collect(_ collector: Collector, autoRead: Bool)
    -> @Sendable (any Channel) -> EventLoopFuture<Void>
  {
    { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
        try channel.syncOptions?.setOption(.autoRead, value: autoRead)
        try channel.pipeline.syncOperations.addHandler(collector)
      }
    }
  }

  @Test(
    "16 MiB there and back for a reader that takes one batch at a time, then both half closes",
    arguments: [true, false], [true, false])
  func echoes(_ encrypted: Bool, windowed: Bool) async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("echo", encrypted: encrypted)
    let (host, client) = (try await bench.overlay("host"), try await bench.overlay("client"))
    let server = try await host.serve("echo") { channel, _ in Self.echo(channel) }
    let collector = Collector()
    let channel = try await client.channel(
      to: "echo", options: .windowed(windowed), on: client.group.next(),
      initializer: Self.collect(collector, autoRead: false)
    ).get()
    let sent = OverlayBench.pattern(16 << 20)
    var rest = sent
    while let part = rest.readSlice(length: min(64 * 1024, rest.readableBytes)), part.readableBytes > 0 {
      channel.writeAndFlush(part, promise: nil)
    }
    try await channel.close(mode: .output)
    try await Network.wait("everything came back") {
      channel.read()
      return collector.ended.withLockedValue { $0 }
    }
    #expect(collector.bytes.withLockedValue { $0 } == sent)
    try await channel.closeFuture.get()
    await server.close()
    await bench.stop()
  }

  @Test("with flow control from end to end, readers who read nothing hold up nobody, and get everything when they do")
  func paused() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("echo")
    let (host, client) = (try await bench.overlay("host"), try await bench.overlay("client"))
    let server = try await host.serve("echo") { channel, _ in Self.echo(channel) }
    // One event loop, so one channel to the router for all.
    let loop = client.group.next()
    let sent = OverlayBench.pattern(4 << 20)
    var paused: [(channel: any Channel, collector: Collector)] = []
    for _ in 0..<8 {
      let collector = Collector()
      let channel = try await client.channel(
        to: "echo", options: .windowed(true), on: loop, initializer: Self.collect(collector, autoRead: false)
      ).get()
      channel.writeAndFlush(sent, promise: nil)
      paused.append((channel, collector))
    }
    for round in 0..<20 {
      let collector = Collector()
      let channel = try await client.channel(
        to: "echo", options: .windowed(true), on: loop, initializer: Self.collect(collector, autoRead: true)
      ).get()
      let short = OverlayBench.pattern(100_000, seed: UInt64(round + 1))
      try await channel.writeAndFlush(short)
      try await channel.close(mode: .output)
      try await Network.wait("the short one came back") { collector.ended.withLockedValue { $0 } }
      #expect(collector.bytes.withLockedValue { $0 } == short)
    }
    for (channel, collector) in paused {
      try await channel.setOption(.autoRead, value: true).get()
      try await channel.close(mode: .output)
      try await Network.wait("the paused one got everything") { collector.ended.withLockedValue { $0 } }
      #expect(collector.bytes.withLockedValue { $0 } == sent)
    }
    // The circuit goes while its reader pauses: what waited to leave is told at once, what came can still be read.
    try await bench.network.service("deaf")
    let deaf = try await host.serve("deaf") { channel, _ in
      channel.eventLoop.makeCompletedFuture {
        try channel.syncOptions?.setOption(.autoRead, value: false)
        try channel.pipeline.syncOperations.addHandler(Deaf())
      }
    }
    let collector = Collector()
    let channel = try await client.channel(
      to: "deaf", options: .windowed(true), on: loop, initializer: Self.collect(collector, autoRead: false)
    ).get()
    let written = channel.eventLoop.makePromise(of: Void.self)
    channel.writeAndFlush(sent, promise: written)
    try await Task.sleep(for: .milliseconds(500))
    await bench.network.stopRouter()
    await #expect(throws: (any Error).self) { try await written.futureResult.get() }
    #expect(channel.isActive)
    try await Network.wait("the reader is told that nobody listens any more") {
      collector.deafened.withLockedValue { $0 }
    }
    try await channel.setOption(.autoRead, value: true).get()
    try await channel.closeFuture.get()
    #expect(collector.bytes.withLockedValue { $0.readableBytes } == 1000)
    await deaf.close()
    await server.close()
    await bench.stop()
  }

  @Test(
    "many at once; a close ends the other side; an unknown service and a lost router are errors",
    arguments: [true, false])
  func ends(windowed: Bool) async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("echo")
    let (host, client) = (try await bench.overlay("host"), try await bench.overlay("client"))
    let served = NIOLockedValueBox<[any Channel]>([])
    let server = try await host.serve("echo") { channel, caller in
      served.withLockedValue { $0.append(channel) }
      return Self.echo(channel)
    }
    try await withThrowingDiscardingTaskGroup { group in
      for index in 0..<50 {
        group.addTask {
          let collector = Collector()
          let channel = try await client.channel(
            to: "echo", options: .windowed(windowed), on: client.group.next(),
            initializer: Self.collect(collector, autoRead: true)
          ).get()
          let sent = OverlayBench.pattern(10_000 + index, seed: UInt64(index + 1))
          try await channel.writeAndFlush(sent)
          try await channel.close(mode: .output)
          try await Network.wait("the end came back") { collector.ended.withLockedValue { $0 } }
          #expect(collector.bytes.withLockedValue { $0 } == sent)
        }
      }
    }
    let collector = Collector()
    let channel = try await client.channel(
      to: "echo", options: .windowed(windowed), on: client.group.next(),
      initializer: Self.collect(collector, autoRead: true)
    ).get()
    try await Network.wait("the other side is there") { served.withLockedValue { $0.contains(where: \.isActive) } }
    try await channel.close()
    try await Network.wait("the other side ended") { !served.withLockedValue { $0.contains(where: \.isActive) } }
    await #expect(throws: ChannelError.self) { try await channel.writeAndFlush(ByteBuffer(string: "late")) }
    await #expect(throws: OverlayError.serviceNotFound(name: "none")) {
      _ = try await client.channel(to: "none", on: client.group.next()) { $0.eventLoop.makeSucceededVoidFuture() }.get()
    }
    let lost = Collector()
    let last = try await client.channel(
      to: "echo", options: .windowed(windowed), on: client.group.next(), initializer: Self.collect(lost, autoRead: true)
    ).get()
    await bench.network.stopRouter()
    try await last.closeFuture.get()
    #expect(lost.errors.withLockedValue { $0.first is OverlayError })
    await server.close()
    await bench.stop()
  }
}
