import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@testable import WebRelay

/// A server that takes requests and answers when it is told to. It knows which of its clients have gone.
private final class Works: Sendable {
  struct State {
    var asked = 0
    var gone = 0
    var channels: [any Channel] = []
  }

  private let state = NIOLockedValueBox(State())

  var asked: Int { state.withLockedValue { $0.asked } }
  var gone: Int { state.withLockedValue { $0.gone } }

  fileprivate func take(_ channel: any Channel) {
    state.withLockedValue { state in
      state.asked += 1
      if !state.channels.contains(where: { $0 === channel }) { state.channels.append(channel) }
    }
  }

  fileprivate func leave() { state.withLockedValue { $0.gone += 1 } }

  /// Says something on all connections.
  func say(_ text: String) async throws {
    for channel in state.withLockedValue({ $0.channels }) where channel.isActive {
      try await channel.writeAndFlush(ByteBuffer(string: text))
    }
  }

  func wait(_ what: String, _ condition: (Works) -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while !condition(self) {
      try #require(ContinuousClock.now < deadline, "\(what): \(asked) asked, \(gone) gone")
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  /// Its end of one connection.
  final class Handler: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let works: Works

    init(_ works: Works) { self.works = works }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let text = String(buffer: unwrapInboundIn(data))
      for _ in 0..<(text.components(separatedBy: " HTTP/1.1\r\n").count - 1) { works.take(context.channel) }
    }

    func channelInactive(context: ChannelHandlerContext) { works.leave() }
  }
}

@Suite("How exchanges end before their time, and how they do not", .timeLimit(.minutes(5)))
struct RelayEndTests {
  private static let request = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
  private static let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"

  private static func start(
    limits: HTTPLimits = HTTPLimits(), answerLimit: TimeAmount? = nil, observer: RequestObserver? = nil
  ) async throws -> (RelayBench, Works) {
    let works = Works()
    let bench = try await RelayBench.start(limits: limits, answerLimit: answerLimit, observer: observer, raw: true) {
      _ in Works.Handler(works)
    }
    return (bench, works)
  }

  // MARK: Clients that go away

  @Test(
    "a client that goes away while the server works: the server is told, whatever part of the answer has come",
    arguments: ["", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"])
  func gone(_ begun: String) async throws {
    let (bench, works) = try await Self.start()
    let client = try await bench.connect()
    try await client.send(Self.request)
    try await works.wait("the request is there") { $0.asked == 1 }
    if !begun.isEmpty {
      try await works.say(begun)
      try await client.wait { $0.contains("first") }
    }
    client.close()
    try await works.wait("the server is told") { $0.gone == 1 }
    try await bench.stop()
  }

  @Test("and where it had sent its next request already, or breaks off an upload")
  func goneWithMore() async throws {
    let (bench, works) = try await Self.start()
    let eager = try await bench.connect()
    try await eager.send(Self.request + Self.request)
    try await works.wait("the request is there") { $0.asked == 1 }
    eager.close()
    try await works.wait("the server is told") { $0.gone == 1 }
    let upload = try await bench.connect()
    try await upload.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
    try await works.wait("the upload is there") { $0.asked == 2 }
    upload.close()
    try await works.wait("the server is told") { $0.gone == 2 }
    try await bench.stop()
  }

  @Test("curl that has waited long enough, over HTTP/1.1 and HTTP/2", arguments: [false, true])
  func curl(_ isHTTP2: Bool) async throws {
    let (bench, works) = try await Self.start()
    let target = Upstream(
      key: "works", connect: try TCPConnector.make(host: "127.0.0.1", port: bench.upstream.localAddress?.port ?? 0))
    let (pool, judge): (UpstreamPool, RequestJudge) = (
      UpstreamPool(), { head, info in info.loop.makeSucceededFuture(.relay(upstream: target, head: head)) }
    )
    let server = try await ServerBootstrap(group: RelayBench.group)
      .childChannelInitializer { channel in
        if isHTTP2 {
          return HTTPRelay.configureHTTP2(channel, remoteAddress: "", isTLS: false, pool: pool, judge: judge)
        }
        return channel.eventLoop.makeCompletedFuture {
          try HTTPRelay.configureHTTP1(channel, remoteAddress: "", isTLS: false, pool: pool, judge: judge)
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let curl = Process()
    curl.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    curl.arguments =
      ["curl", "--silent", "--max-time", "1"] + (isHTTP2 ? ["--http2-prior-knowledge"] : []) + [
        "http://127.0.0.1:\(server.localAddress?.port ?? 0)/"
      ]
    curl.standardOutput = FileHandle.nullDevice
    curl.standardInput = FileHandle.nullDevice
    try curl.run()
    try await works.wait("the request is there") { $0.asked == 1 }
    #expect(works.gone == 0)
    try await works.wait("the server is told") { $0.gone == 1 }
    #expect(Self.status(curl) == 28)
    try await server.close()
    try await bench.stop()
  }

  private static func status(_ process: Process) -> Int32 {
    process.waitUntilExit()
    return process.terminationStatus
  }

  @Test("a client that has said its last and still reads gets its answer, however long that takes")
  func halfClosed() async throws {
    let (bench, works) = try await Self.start()
    let client = try await bench.connect()
    try await client.send(Self.request)
    try await client.finish()
    try await works.wait("the request is there") { $0.asked == 1 }
    // It has been asked by then whether it is there.
    try await client.wait { $0 == "HTTP/1.1 100 Continue\r\n\r\n" }
    try await Task.sleep(for: .milliseconds(500))
    #expect(works.gone == 0)
    try await works.say(Self.answer)
    let text = try await client.rest()
    #expect(
      text.hasPrefix("HTTP/1.1 100") && text.contains("HTTP/1.1 200") && text.hasSuffix("\r\n\r\ndone"), "\(text)")
    // An answer that comes soon comes alone.
    let quick = try await bench.connect()
    try await quick.send(Self.request)
    try await quick.finish()
    try await works.wait("the request is there") { $0.asked == 2 }
    try await works.say(Self.answer)
    #expect(try await quick.rest().hasPrefix("HTTP/1.1 200"))
    try await bench.stop()
  }

  @Test("and the rest of an answer in chunks; one of HTTP/1.0 is not asked, for it could not understand that")
  func halfClosedWithin() async throws {
    let (bench, works) = try await Self.start()
    let client = try await bench.connect()
    try await client.send(Self.request)
    try await works.wait("the request is there") { $0.asked == 1 }
    try await works.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    try await client.wait { $0.hasSuffix("5\r\nfirst\r\n") }
    try await client.finish()
    // The first digit of the next chunk's size.
    try await client.wait { $0.hasSuffix("first\r\n0") }
    try await works.say("6\r\nsecond\r\n0\r\n\r\n")
    #expect(try await client.rest().hasSuffix("\r\n\r\n5\r\nfirst\r\n06\r\nsecond\r\n0\r\n\r\n"))

    let old = try await bench.connect()
    try await old.send("GET /slow HTTP/1.0\r\n\r\n")
    try await old.finish()
    try await works.wait("the request is there") { $0.asked == 2 }
    try await Task.sleep(for: .milliseconds(600))
    #expect(works.gone == 0 && old.text.isEmpty)
    try await works.say(Self.answer)
    #expect(try await old.rest().hasPrefix("HTTP/1.1 200"))
    try await bench.stop()
  }

  // MARK: Time

  @Test("an answer may take longer than a request: before its first byte, within it, and where both still speak")
  func patience() async throws {
    var limits = HTTPLimits()
    limits.stallTimeout = .milliseconds(200)
    let (bench, works) = try await Self.start(limits: limits)
    let client = try await bench.connect()
    try await client.send(Self.request)
    try await works.wait("the request is there") { $0.asked == 1 }
    try await Task.sleep(for: .milliseconds(700))
    try await works.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    try await client.wait { $0.hasSuffix("half") }
    try await Task.sleep(for: .milliseconds(700))
    try await works.say(" done")
    try await client.wait { $0.hasSuffix("half done") }
    // Both directions are open, and nothing is said for a while.
    try await client.send("POST /talk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    try await works.wait("the talk has begun") { $0.asked == 2 }
    try await works.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
    try await client.wait { $0.hasSuffix("hi\r\n") }
    try await Task.sleep(for: .milliseconds(700))
    try await client.send("0\r\n\r\n")
    try await works.say("3\r\nbye\r\n0\r\n\r\n")
    try await client.wait { $0.hasSuffix("bye\r\n0\r\n\r\n") }
    client.close()
    try await bench.stop()
  }

  /// Counts what comes.
  private final class Counter: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    let bytes = NIOLockedValueBox(0)

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let count = unwrapInboundIn(data).readableBytes
      bytes.withLockedValue { $0 += count }
    }
  }

  @Test(
    "a client that pauses in the middle of an answer, or before its end, gets all of it",
    arguments: [200_000, 1_000_000, 3_000_000, 9_000_000],
    [false, true])
  func pausing(_ size: Int, says: Bool) async throws {
    var limits = HTTPLimits()
    limits.stallTimeout = .milliseconds(200)
    let bench = try await RelayBench.start(limits: limits) { TestServer($0) }
    let counter = Counter()
    let client = try await ClientBootstrap(group: RelayBench.group).channelOption(.autoRead, value: false)
      .channelOption(
        .socketOption(.so_rcvbuf), value: 8192
      )
      .channelOption(.allowRemoteHalfClosure, value: true)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(counter) }
      }
      .connect(host: "127.0.0.1", port: bench.port).get()
    try await client.writeAndFlush(ByteBuffer(string: "GET /length/\(size) HTTP/1.1\r\nHost: a\r\n\r\n"))
    try await Task.sleep(for: .seconds(1))
    #expect(client.isActive)
    // Nor does it matter that it has nothing more to ask.
    if says { try await client.close(mode: .output) }
    try await client.setOption(.autoRead, value: true).get()
    let deadline = ContinuousClock.now + .seconds(30)
    while counter.bytes.withLockedValue({ $0 }) <= size {
      try #require(ContinuousClock.now < deadline, "\(counter.bytes.withLockedValue { $0 }) of \(size)")
      try await Task.sleep(for: .milliseconds(5))
    }
    client.close(promise: nil)
    try await bench.stop()
  }

  @Test(
    "with a limit of the operator's, a silent upstream is a page with status 504 that says so, and within an answer its end; one that speaks now and then is none"
  )
  func answerLimit() async throws {
    let records = NIOLockedValueBox<[RequestRecord]>([])
    let (bench, works) = try await Self.start(
      answerLimit: .seconds(1), observer: { record in records.withLockedValue { $0.append(record) } })
    let client = try await bench.connect()
    try await client.send("GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    let text = try await client.rest()
    #expect(text.hasPrefix("HTTP/1.1 504") && text.contains("it said nothing for 1 s"), "\(text)")
    try await works.wait("the server is told") { $0.gone == 1 }
    let failure = records.withLockedValue { $0.last?.failure ?? "" }
    #expect(failure.contains("said nothing for 1 s") && failure.contains("--response-timeout"), "\(failure)")

    let steady = try await bench.connect()
    try await steady.send(Self.request)
    try await works.wait("the request is there") { $0.asked == 2 }
    try await works.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in 0..<6 {
      try await Task.sleep(for: .milliseconds(300))
      try await works.say("more")
    }
    let rest = try await steady.rest()
    #expect(
      rest.hasPrefix("HTTP/1.1 200") && rest.components(separatedBy: "more").count == 7 && !rest.contains("504"),
      "\(rest)")
    #expect(records.withLockedValue { $0.map(\.status) } == [504, 200])
    try await bench.stop()
  }

  @Test(
    "at the end of whoever serves, an idle connection closes, and a request under way gets its answer as the connection's last"
  )
  func quiescing() async throws {
    let works = Works()
    let children = NIOLockedValueBox<[any Channel]>([])
    let upstream = try await ServerBootstrap(group: RelayBench.group)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Works.Handler(works)) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let target = Upstream(
      key: "works", connect: try TCPConnector.make(host: "127.0.0.1", port: upstream.localAddress?.port ?? 0))
    let pool = UpstreamPool()
    let server = try await ServerBootstrap(group: RelayBench.group)
      .childChannelInitializer { channel in
        children.withLockedValue { $0.append(channel) }
        return channel.eventLoop.makeCompletedFuture {
          try HTTPRelay.configureHTTP1(channel, remoteAddress: "", isTLS: false, pool: pool) { head, info in
            info.loop.makeSucceededFuture(.relay(upstream: target, head: head))
          }
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let port = server.localAddress?.port ?? 0
    let (idle, busy) = (try await RawClient.connect(port: port), try await RawClient.connect(port: port))
    try await idle.send(Self.request)
    try await works.wait("the first is there") { $0.asked == 1 }
    try await works.say(Self.answer)
    try await idle.wait { $0.hasSuffix("done") }
    try await busy.send(Self.request)
    try await works.wait("the second is there") { $0.asked == 2 }
    for child in children.withLockedValue({ $0 }) {
      child.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    }
    try await idle.end()
    #expect(!busy.hasEnded)
    try await works.say(Self.answer)
    let text = try await busy.rest()
    #expect(text.hasPrefix("HTTP/1.1 200") && text.lowercased().contains("connection: close") && text.hasSuffix("done"))
    try await server.close()
    try await upstream.close()
  }
}
