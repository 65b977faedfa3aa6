import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@testable import WebRelay

/// What real programs send and real servers answer, through a relay, octet by octet.
@Suite("Messages through a relay", .timeLimit(.minutes(5)))
struct RelayedMessageTests {
  /// Says the same to every request, notes what it read, and ends the connection where its answer needs that.
  private final class Canned: ChannelInboundHandler, @unchecked Sendable {
    // Sendable: `text` is behind a lock, the rest is the event loop's.
    typealias InboundIn = ByteBuffer

    private let answer: [UInt8]
    private let closes: Bool
    private let heard: NIOLockedValueBox<[UInt8]>
    private var rest: [UInt8] = []

    init(_ answer: [UInt8], closes: Bool, _ heard: NIOLockedValueBox<[UInt8]>) {
      self.answer = answer
      self.closes = closes
      self.heard = heard
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let bytes = Array(unwrapInboundIn(data).readableBytesView)
      heard.withLockedValue { $0 += bytes }
      rest += bytes
      while let end = rest.firstRange(of: Array("\r\n\r\n".utf8)) {
        rest.removeSubrange(..<end.upperBound)
        let (channel, closes) = (context.channel, closes)
        context.writeAndFlush(NIOAny(ByteBuffer(bytes: answer))).whenComplete { _ in
          if closes { channel.close(promise: nil) }
        }
      }
    }
  }

  private struct Bench {
    let relay: RelayBench
    let heard: NIOLockedValueBox<[UInt8]>
    let records: NIOLockedValueBox<[RequestRecord]>

    /// - Parameter answer: `^E9` is the octet E9.
    static func start(_ answer: String, closes: Bool = false) async throws -> Bench {
      let heard = NIOLockedValueBox<[UInt8]>([])
      let records = NIOLockedValueBox<[RequestRecord]>([])
      let octets = MessageParserTests.octets(answer)
      let relay = try await RelayBench.start(
        observer: { record in records.withLockedValue { $0.append(record) } }, raw: true,
        handler: { _ in
          Canned(octets, closes: closes, heard)
        })
      return Bench(relay: relay, heard: heard, records: records)
    }

    func ask(_ request: String) async throws -> [UInt8] {
      let client = try await relay.connect()
      try await client.send(ByteBuffer(bytes: MessageParserTests.octets(request)))
      try await client.end()
      return Array(client.bytes.readableBytesView)
    }

    func text(_ request: String = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") async throws -> String {
      String(decoding: try await ask(request), as: UTF8.self)
    }
  }

  @Test(
    "what a server answers and RFC 9112 lets a recipient mend is mended and passed on",
    arguments: [
      ("HTTP/1.1 200 OK\r\nX-Odd : v\r\nContent-Length: 2\r\n\r\nok", "X-Odd: v\r\n"),
      ("HTTP/1.1 200 OK\nX-Odd: v\nContent-Length: 2\n\nok", "X-Odd: v\r\n"),
      ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "Content-Length: 2\r\n"),
      ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "Content-Length: 2\r\n"),
      ("HTTP/1.1 200 OK\r\nX-Odd: v\r\n  w\r\nContent-Length: 2\r\n\r\nok", "X-Odd: v w\r\n"),
      (
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n"
      ),
    ])
  func mended(_ answer: String, _ field: String) async throws {
    let bench = try await Bench.start(answer)
    let text = try await bench.text()
    #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n") && text.contains("\r\n" + field), "\(text)")
    #expect(text.hasSuffix("\r\n\r\nok") || text.hasSuffix("\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "\(text)")
    #expect(text.lowercased().components(separatedBy: "content-length").count <= 2)
    try await bench.relay.stop()
  }

  @Test("an answer without a length ends with its connection")
  func untilEnd() async throws {
    let bench = try await Bench.start("HTTP/1.0 200 OK\r\nX: y\r\n\r\nall of it", closes: true)
    #expect(try await bench.text().hasSuffix("\r\n\r\n9\r\nall of it\r\n0\r\n\r\n"))
    try await bench.relay.stop()
  }

  @Test("answers with a thousand fields, and with 256 KiB of them, pass two relays")
  func large() async throws {
    let many = (0..<1000).map { "X-\($0): y\r\n" }.joined()
    let large = (0..<4).map { "X-\($0): \(String(repeating: "y", count: 64 * 1024 - 32))\r\n" }.joined()
    for (fields, count) in [(many, 1000), (large, 4)] {
      let bench = try await Bench.start("HTTP/1.1 200 OK\r\n\(fields)Content-Length: 2\r\n\r\nok")
      let backend = Upstream(key: "backend", connect: try TCPConnector.make(host: "127.0.0.1", port: bench.relay.port))
      let frontend = try await RelayBench.start(
        verdict: { head, info in info.loop.makeSucceededFuture(.relay(upstream: backend, head: head)) },
        handler: {
          TestServer($0)
        })
      let text = try await frontend.exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      #expect(
        text.hasPrefix("HTTP/1.1 200") && text.hasSuffix("ok")
          && text.components(separatedBy: "\r\nX-").count == count + 1)
      try await frontend.stop()
      try await bench.relay.stop()
    }
  }

  @Test(
    "an answer that cannot be passed on is a page that says what is wrong with it, and whoever shares reads the same",
    arguments: [
      ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", MessageFault.severalLengths),
      ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", .coding),
      ("HTTP/1.1 200 OK\r\nno field\r\n\r\n", .field),
      ("SSH-2.0-x\r\n", .startLine),
    ] as [(String, MessageFault)])
  func refused(_ answer: String, _ fault: MessageFault) async throws {
    let bench = try await Bench.start(answer)
    let text = try await bench.text()
    #expect(text.hasPrefix("HTTP/1.1 502") && text.contains("\(fault)"), "\(text)")
    #expect(bench.records.withLockedValue { $0.first?.failure?.contains("\(fault)") ?? false })
    try await bench.relay.stop()
  }

  @Test("a server that speaks TLS where none is expected is told from one that is down")
  func tls() async throws {
    let bench = try await Bench.start("^15^03^03^00^02^02^16")
    #expect(try await bench.text().contains("it speaks TLS"))
    #expect(bench.records.withLockedValue { $0.first?.failure } == "it speaks TLS; share https:// instead of http://")
    try await bench.relay.stop()
  }

  @Test("octets that are not UTF-8 pass both ways as they are, in fields and in targets")
  func octets() async throws {
    let odd = "caf^E9 ^FF^80 ^C3^A9 ^F4^8F^BF^A9"
    let bench = try await Bench.start("HTTP/1.1 200 OK\r\nX-Name: \(odd)\r\nContent-Length: 2\r\n\r\nok")
    let answer = try await bench.ask(
      "GET /caf^E9?^C3^A9 HTTP/1.1\r\nHost: a\r\nX-Name: \(odd)\r\nConnection: close\r\n\r\n")
    let value = MessageParserTests.octets("X-Name: \(odd)\r\n")
    #expect(answer.firstRange(of: value) != nil)
    let heard = bench.heard.withLockedValue { $0 }
    #expect(
      heard.firstRange(of: value) != nil
        && heard.starts(with: MessageParserTests.octets("GET /caf^E9?^C3^A9 HTTP/1.1\r\n")))
    #expect(bench.records.withLockedValue { $0.first?.path } == "/caf%E9?\u{E9}")
    try await bench.relay.stop()
  }

  @Test("a target with a host is taken, and its host is the one that counts")
  func absolute() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let answer = try await bench.exchange(
      "GET http://other.example:81/a?b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    #expect(answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix("path /a?b"))
    let head = try #require(bench.seen.requests.withLockedValue { $0.first })
    #expect(head.headers["host"] == ["other.example:81"] && head.headers["x-forwarded-host"] == ["other.example:81"])
    try await bench.stop()
  }

  // MARK: Expect

  private static let expecting = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

  @Test("where the answer is known nobody is told to send a body first: it comes at once, and the connection ends")
  func knownAnswer() async throws {
    let bench = try await RelayBench.start(
      verdict: { _, info in info.loop.makeSucceededFuture(.answer(.text(status: .notFound, "none\n"))) },
      handler: {
        TestServer($0)
      })
    #expect(try await bench.exchange(Self.expecting).hasPrefix("HTTP/1.1 404"))
    try await bench.stop()
    // The upstream may know it too.
    let refusing = try await Bench.start("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n")
    let text = try await refusing.text(Self.expecting)
    #expect(text.hasPrefix("HTTP/1.1 413") && text.contains("connection: close"))
    #expect(String(decoding: refusing.heard.withLockedValue { $0 }, as: UTF8.self).contains("expect: 100-continue"))
    try await refusing.relay.stop()
  }

  @Test("the word to send a body is the upstream's, and comes without it where an upstream never says it")
  func goingOn() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let client = try await bench.connect()
    try await client.send(Self.expecting)
    try await client.wait { $0.hasPrefix("HTTP/1.1 100 Continue\r\n\r\n") }
    try await client.send("hello")
    try await client.wait { $0.hasSuffix("hello") }
    #expect(client.text.components(separatedBy: "HTTP/1.1 100").count == 2)
    // Who does not wait is not told.
    try await client.send(Self.expecting + "again")
    try await client.wait { $0.hasSuffix("again") }
    client.close()
    try await bench.stop()
    let saying = try await Bench.start("HTTP/1.1 100 Continue\r\n\r\n")
    let told = try await saying.relay.connect()
    try await told.send(Self.expecting)
    try await told.wait { $0 == "HTTP/1.1 100 Continue\r\n\r\n" }
    told.close()
    try await saying.relay.stop()
  }

  // MARK: Upgrades

  @Test("an offer of HTTP/2 without TLS is not heard: the connection goes on, and no server behind hears of it")
  func h2c() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let client = try await bench.connect()
    let offer =
      "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n"
    for (number, protocols) in ["h2c", "TLS/1.3, h2c", "H2C"].enumerated() {
      try await client.send("GET /offer\(number) HTTP/1.1\r\nHost: a\r\n\(offer)Upgrade: \(protocols)\r\n\r\n")
      try await client.wait { $0.hasSuffix("path /offer\(number)") }
      try await client.send("GET /plain\(number) HTTP/1.1\r\nHost: a\r\n\r\n")
      try await client.wait { $0.hasSuffix("path /plain\(number)") }
    }
    #expect(!client.text.contains("connection: close"))
    for head in bench.seen.requests.withLockedValue({ $0 }) {
      #expect(!head.headers.contains(name: "upgrade") && !head.headers.contains(name: "http2-settings"))
    }
    client.close()
    try await bench.stop()
  }

  @Test("a wish for another protocol that a server declines costs nothing: what came behind it is the next request")
  func declined() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let client = try await bench.connect()
    let wish = "GET /wish HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n"
    try await client.send(wish + "GET /behind HTTP/1.1\r\nHost: a\r\n\r\n" + wish)
    try await client.wait { $0.components(separatedBy: "path /wish").count == 3 }
    try await client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    let text = try await client.rest()
    #expect(text.hasSuffix("hello") && text.contains("path /behind"))
    #expect(
      bench.seen.requests.withLockedValue { $0.map { $0.headers["upgrade"] } } == [
        ["websocket"], [], ["websocket"], [],
      ])
    try await bench.stop()
  }

  @Test("a flood behind a wish for another protocol, while the server thinks, is not kept in memory")
  func flood() async throws {
    let bench = try await RelayBench.start(raw: true) { _ in Thinking() }
    let client = try await ClientBootstrap(group: RelayBench.group).channelOption(
      .writeBufferWaterMark, value: .init(low: 1, high: 1 << 16)
    )
    .connect(host: "127.0.0.1", port: bench.port).get()
    try await client.writeAndFlush(
      ByteBuffer(string: "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
    let flood = ByteBuffer(repeating: 7, count: 64 * 1024)
    var written = 0
    while client.isWritable || written == 0, written < 256 << 20 {
      client.writeAndFlush(flood, promise: nil)
      written += flood.readableBytes
      try await Task.sleep(for: .milliseconds(1))
    }
    #expect(written < 64 << 20)
    try await client.close()
    try await bench.stop()
  }

  // MARK: Sites

  @Test("a site answers what is no request with the reason, and hears no offer of another protocol")
  func site() async throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "swiftlet-site-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    try Data("text".utf8).write(to: directory.appending(path: "a.txt"))
    let site = try FileSite(root: directory.path)
    let server = try await ServerBootstrap(group: RelayBench.group)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try site.configure(channel, remoteAddress: "") }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let client = try await RawClient.connect(port: server.localAddress?.port ?? 0)
    try await client.send(
      "GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\nX : y\r\n\r\n"
    )
    let text = try await client.rest()
    #expect(text.components(separatedBy: "HTTP/1.1 200").count == 3)
    #expect(text.contains("HTTP/1.1 400") && text.contains("\(MessageFault.startLine)"))
    try await server.close()
  }
}

/// Takes a request and says nothing.
private final class Thinking: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {}
}
