import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import NIOHTTP1
import NIOPosix
import Testing

@testable import WebRelay

/// What one request leaves behind must not meet the next one, whoever sends it.
@Suite("Requests among each other", .timeLimit(.minutes(5)))
struct RelayIsolationTests {
  private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

  @Test("what a server says behind an answer is no answer to the next request")
  func behindAnswers() async throws {
    let answers = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    let bench = try await RelayBench.start(raw: true) { _ in Saying(answers) }
    let client = try await bench.connect()
    try await client.send(Self.get + Self.get + Self.get)
    try await client.wait { $0.components(separatedBy: "\r\n\r\nok").count == 4 || $0.contains("evil") }
    #expect(!client.text.contains("evil"))
    #expect(bench.seen.connections.withLockedValue { $0 } == 3)
    client.close()
    try await bench.stop()
  }

  @Test(
    "a connection on which a server was asked whether it wants a body carries no other request: it may take the body for one"
  )
  func askedForBodies() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let client = try await bench.connect()
    for body in ["hello", "again"] {
      try await client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n" + body)
      try await client.wait { $0.hasSuffix(body) }
    }
    #expect(bench.seen.connections.withLockedValue { $0 } == 1)
    for body in ["first", "other"] {
      try await client.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n" + body)
      try await client.wait { $0.hasSuffix(body) }
    }
    try await client.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
    try await client.wait { $0.hasSuffix("path /plain") }
    #expect(bench.seen.connections.withLockedValue { $0 } == 3)
    client.close()
    try await bench.stop()
  }

  @Test("a connection that ends is given to nobody, however long its end takes")
  func endingConnections() throws {
    let channel = EmbeddedChannel()
    try channel.connect(to: SocketAddress(unixDomainSocketPath: "/upstream")).wait()
    try channel.pipeline.syncOperations.addHandler(SlowToEnd())
    try UpstreamHandler.initialize(channel).wait()
    let handler = try channel.pipeline.syncOperations.handler(type: UpstreamHandler.self)
    let shelf = UpstreamPool.Shelf()
    shelf.put(handler, "a")
    #expect(shelf.take("a") === handler)
    shelf.put(handler, "a")
    handler.close()
    #expect(handler.isOpen)
    #expect(shelf.take("a") == nil)
  }

  @Test("a request over HTTP/2 may have a body without a length, and one of HTTP/1.0 may not")
  func framing() {
    func framing(_ version: HTTPVersion, _ method: HTTPMethod, _ target: String, _ fields: HTTPHeaders)
      -> RequestFraming?
    {
      var head = HTTPRequestHead(version: version, method: method, uri: target, headers: fields)
      head.headers.add(name: "host", value: "a")
      return RequestCheck.framing(head)
    }
    let chunked: HTTPHeaders = ["transfer-encoding": "chunked"]
    #expect(framing(HTTPVersion(major: 2, minor: 0), .POST, "/", chunked) == .chunked)
    #expect(framing(.http1_1, .POST, "/", chunked) == .chunked)
    #expect(framing(.http1_0, .POST, "/", chunked) == nil)
    #expect(framing(HTTPVersion(major: 2, minor: 0), .GET, "*", [:]) == nil)
    #expect(framing(HTTPVersion(major: 2, minor: 0), .OPTIONS, "*", [:]) == RequestFraming.none)
  }

  @Test(
    "whoever judges a request sees that a body without a length comes with it, and the server behind sees one coding")
  func unknownLength() async throws {
    let judged = NIOLockedValueBox<[[String]]>([])
    let target = NIOLockedValueBox<Upstream?>(nil)
    let bench = try await RelayBench.start(
      verdict: { head, info in
        judged.withLockedValue { $0.append(head.headers["transfer-encoding"]) }
        guard let upstream = target.withLockedValue({ $0 }) else {
          return info.loop.makeSucceededFuture(.answer(.text(status: .notFound, "")))
        }
        return info.loop.makeSucceededFuture(.relay(upstream: upstream, head: head))
      }, handler: { TestServer($0) })
    let upstream = Upstream(
      key: "a", connect: try TCPConnector.make(host: "127.0.0.1", port: bench.upstream.localAddress?.port ?? 0))
    target.withLockedValue { $0 = upstream }
    let answer = try await bench.exchange(
      "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close, transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    )
    #expect(answer.hasSuffix("\r\n\r\nhi"))
    #expect(judged.withLockedValue { $0 } == [["chunked"]])
    #expect(bench.seen.requests.withLockedValue { $0.map { $0.headers["transfer-encoding"] } } == [["chunked"]])
    try await bench.stop()
  }

  @Test("a way to a server that ends before it is used is an answer, and nothing to wait for")
  func endedWays() async throws {
    let target = NIOLockedValueBox<Upstream?>(nil)
    let bench = try await RelayBench.start(
      verdict: { head, info in
        guard let upstream = target.withLockedValue({ $0 }) else {
          return info.loop.makeSucceededFuture(.answer(.text(status: .notFound, "")))
        }
        return info.loop.makeSucceededFuture(.relay(upstream: upstream, head: head))
      }, handler: { TestServer($0) })
    let connect = try TCPConnector.make(host: "127.0.0.1", port: bench.upstream.localAddress?.port ?? 0)
    let upstream = Upstream(
      key: "a", connect: { loop, initializer in connect(loop, initializer).flatMap { way in way.close().map { way } } })
    target.withLockedValue { $0 = upstream }
    #expect(
      try await bench.exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").hasPrefix("HTTP/1.1 502"))
    try await bench.stop()
  }

  @Test("requests that always come before the last one is answered take no more room with time")
  func room() throws {
    var reading = HTTP1Reading(.requests, limits: HTTPLimits().message)
    reading.append(ByteBuffer(string: Self.get))
    for _ in 0..<20_000 {
      reading.append(ByteBuffer(string: Self.get))
      // Its head and its end.
      let (head, end) = (try reading.next(), try reading.next())
      try #require(head != nil && end != nil)
    }
    let rest = reading.takeRest()
    #expect(rest.readableBytes == Self.get.utf8.count && rest.capacity < 4096)
  }

  @Test("an answer of which all came is whole, though its end has not been asked for")
  func wholeAtTheEnd() throws {
    var reading = HTTP1Reading(.answers, limits: .answers)
    reading.parser.expectAnswer(toHEAD: false)
    reading.append(ByteBuffer(string: "HTTP/1.1 204 No Content\r\n\r\n"))
    guard case .head? = try reading.next(), case .end(nil)? = try reading.finish() else {
      Issue.record("no head, or no end")
      return
    }
    let more = try reading.finish()
    #expect(more == nil)
  }

  @Test("whoever takes a connection over from HTTP hears that its client says no more")
  func endsBeforeUpgrades() throws {
    let channel = EmbeddedChannel()
    let ends = Ends()
    let codec = HTTP1ServerCodec(limits: HTTPLimits().message, turns: .together, grantsUpgrades: true)
    try channel.pipeline.syncOperations.addHandler(codec)
    try channel.pipeline.syncOperations.addHandler(ends)
    try channel.writeInbound(
      ByteBuffer(string: "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"))
    channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
    #expect(ends.count == 1)
    let context = try channel.pipeline.syncOperations.context(handlerType: HTTP1ServerCodec.self)
    channel.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    #expect(ends.count == 2)
  }

  @Test("who would wait for the word to send no body at all is not told, and keeps the connection")
  func expectsNothing() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let client = try await bench.connect()
    try await client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n")
    try await client.wait { $0.hasSuffix("\r\n\r\n") }
    #expect(client.text.hasPrefix("HTTP/1.1 200") && !client.text.contains("connection: close"))
    try await client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n")
    try await client.wait { $0.hasSuffix("path /again") }
    client.close()
    try await bench.stop()
  }

  // MARK: Clients that have said their last

  /// Asks, says no more once it is answered, and only then reads. - Returns: how many bytes came.
  private static func readLate(port: Int, _ isAnswered: @Sendable () -> Bool) async throws -> Int {
    let count = NIOLockedValueBox(0)
    let client = try await ClientBootstrap(group: RelayBench.group)
      .channelOption(.autoRead, value: false)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Counting(count)) }
      }
      .connect(host: "127.0.0.1", port: port).get()
    try await client.writeAndFlush(ByteBuffer(string: Self.get))
    while !isAnswered() { try await Task.sleep(for: .milliseconds(5)) }
    try await client.close(mode: .output)
    try await Task.sleep(for: .milliseconds(200))
    try await client.setOption(.autoRead, value: true).get()
    try await client.closeFuture.get()
    return count.withLockedValue { $0 }
  }

  @Test("a client that says no more gets all of an answer that it has not read yet")
  func lateReaders() async throws {
    let answered = NIOLockedValueBox(0)
    let page = WebPage(status: .ok, body: ByteBuffer(repeating: 7, count: 16 << 20))
    let bench = try await RelayBench.start(
      observer: { _ in answered.withLockedValue { $0 += 1 } },
      verdict: { _, info in info.loop.makeSucceededFuture(.answer(page)) },
      handler: { TestServer($0) })
    let ofPage = try await Self.readLate(port: bench.port) { answered.withLockedValue { $0 == 1 } }
    #expect(ofPage > page.body.readableBytes)
    try await bench.stop()

    let directory = FileManager.default.temporaryDirectory.appending(path: "swiftlet-late-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    try Data(repeating: 7, count: 250_000).write(to: directory.appending(path: "index.html"))
    let site = try FileSite(root: directory.path)
    let server = try await ServerBootstrap(group: RelayBench.group)
      .childChannelOption(.socketOption(.so_sndbuf), value: 4096)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try site.configure(channel, remoteAddress: "", observer: { _ in answered.withLockedValue { $0 += 1 } })
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let ofSite = try await Self.readLate(port: server.localAddress?.port ?? 0) { answered.withLockedValue { $0 == 2 } }
    #expect(ofSite > 250_000)
    try await server.close()
  }
}

/// Says the same to every request, however many come at once.
private final class Saying: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  private let answer: String

  init(_ answer: String) { self.answer = answer }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    context.writeAndFlush(NIOAny(ByteBuffer(string: answer)), promise: nil)
  }
}

/// TLS that waits for the end of the other side.
private final class SlowToEnd: ChannelOutboundHandler {
  typealias OutboundIn = ByteBuffer

  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) { promise?.succeed() }
}

private final class Ends: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart

  private(set) var count = 0

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event { count += 1 }
  }
}

private final class Counting: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  private let count: NIOLockedValueBox<Int>

  init(_ count: NIOLockedValueBox<Int>) { self.count = count }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = unwrapInboundIn(data).readableBytes
    count.withLockedValue { $0 += bytes }
  }
}
