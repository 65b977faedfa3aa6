import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@testable import WebRelay

@Suite("Requests that are meant to harm", .timeLimit(.minutes(5)))
struct HostileRequestTests {
  @Test(
    "what two servers could read differently is refused, and nothing behind it is read",
    arguments: [
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhelloGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhelloGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhelloGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhelloGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
      "GET / HTTP/1.1\r\nX: y\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
      "GET http://user@elsewhere/ HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET http://elsewhere/ HTTP/1.1\r\n\r\n",
      "GET ftp://elsewhere/ HTTP/1.1\r\nHost: a\r\n\r\n",
      "CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhelloGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
      "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}",
      "nonsense\r\n\r\n",
    ])
  func smuggling(_ request: String) async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let answer = try await bench.exchange(request)
    #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 400"), "\(answer.prefix(300))")
    #expect(bench.seen.requests.withLockedValue { $0 }.isEmpty)
    try await bench.stop()
  }

  @Test("a chunk that lies about its size reaches the upstream as no second request")
  func badChunks() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    for body in ["-1\r\nx\r\n0\r\n\r\n", "ffffffffffffffffff\r\nx\r\n", "5;\r\u{0}x\r\nhello\r\n0\r\n\r\n", "zz\r\n"] {
      _ = try await bench.exchange(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(body)GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
      )
    }
    #expect(!bench.seen.requests.withLockedValue { $0.map(\.uri) }.contains("/smuggled"))
    try await bench.stop()
  }

  @Test("heads beyond the limits are refused")
  func bigHeads() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let many = (0..<1000).map { "X-\($0): y\r\n" }.joined()
    let long = "X: " + String(repeating: "y", count: 100_000) + "\r\n"
    let cookies = (0..<40).map { _ in "Cookie: a=" + String(repeating: "c", count: 4000) + "\r\n" }.joined()
    for fields in [many, long, cookies] {
      let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
      #expect(
        answer.isEmpty || answer.hasPrefix("HTTP/1.1 431") || answer.hasPrefix("HTTP/1.1 400"), "\(answer.prefix(200))")
    }
    #expect(bench.seen.requests.withLockedValue { $0 }.isEmpty)
    try await bench.stop()
  }

  @Test("a flood of pipelined requests behind one that is not answered is not kept in memory")
  func flood() async throws {
    // An upstream that accepts and says nothing.
    let bench = try await RelayBench.start(raw: true) { _ in Silent() }
    let client = try await ClientBootstrap(group: RelayBench.group).channelOption(
      .writeBufferWaterMark, value: .init(low: 1, high: 1 << 16)
    )
    .connect(host: "127.0.0.1", port: bench.port).get()
    try await client.writeAndFlush(ByteBuffer(string: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"))
    let request = ByteBuffer(string: String(repeating: "GET /next HTTP/1.1\r\nHost: a\r\n\r\n", count: 2000))
    var written = 0
    while client.isWritable || written == 0, written < 256 << 20 {
      client.writeAndFlush(request, promise: nil)
      written += request.readableBytes
      try await Task.sleep(for: .milliseconds(1))
    }
    // Sockets and one read burst hold a few megabytes; what is above stays with the sender.
    #expect(written < 64 << 20)
    try await client.close()
    try await bench.stop()
  }

  @Test("of thousands of requests that come together the first is answered and relayed, and the connection ends")
  func pipelinedFlood() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let answer = try await bench.exchange(String(repeating: "GET /next HTTP/1.1\r\nHost: a\r\n\r\n", count: 1500))
    #expect(answer.hasPrefix("HTTP/1.1 200"))
    #expect(bench.seen.requests.withLockedValue { $0.count } < 1500)
    try await bench.stop()
  }

  @Test("a client cannot have removed what is added for it")
  func connectionNames() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let many = (0..<40).map { "x-\($0)" }.joined(separator: ", ")
    _ = try await bench.exchange(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x-forwarded-for, x-proxy, x-forwarded-proto, \(many), x-last\r\nX-Last: 1\r\n\r\n"
    )
    let head = try #require(bench.seen.requests.withLockedValue { $0.first })
    #expect(
      head.headers["x-forwarded-for"] == ["192.0.2.1"] && head.headers["x-proxy"] == ["zrok"]
        && head.headers["x-forwarded-proto"] == ["http"])
    #expect(!head.headers.contains(name: "x-last"))
    try await bench.stop()
  }

  @Test("garbage behind a good request does not cost that one its answer")
  func garbageBehind() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let answer = try await bench.exchange("GET /good HTTP/1.1\r\nHost: a\r\n\r\nNONSENSE\r\n\r\n")
    #expect(answer.contains("path /good") || answer.contains("HTTP/1.1 200"))
    try await bench.stop()
  }

  @Test("slow heads, unused connections and stalled bodies are cut off")
  func slowness() async throws {
    var limits = HTTPLimits()
    limits.headTimeout = .milliseconds(200)
    limits.idleTimeout = .milliseconds(200)
    limits.stallTimeout = .milliseconds(300)
    let bench = try await RelayBench.start(limits: limits) { TestServer($0) }
    let silent = try await bench.connect()
    #expect(try await silent.rest() == "")
    let slow = try await bench.connect()
    try await slow.send("GET / HTTP/1.1\r\nHo")
    #expect(try await slow.rest() == "")
    let idle = try await bench.connect()
    try await idle.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try await idle.rest().hasSuffix("path /a"))
    let stalled = try await bench.connect()
    try await stalled.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
    #expect(try await !stalled.rest().hasPrefix("HTTP/1.1 200"))
    try await bench.stop()
  }

  @Test("random bytes end with an answer or a closed connection, never otherwise")
  func random() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<200 {
      var text = Array("GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc".utf8)
      for _ in 0..<Int.random(in: 1...6, using: &generator) {
        text[Int.random(in: 0..<text.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      let client = try await bench.connect()
      try? await client.send(ByteBuffer(bytes: text))
      client.close()
    }
    let answer = try await bench.exchange("GET /alive HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    #expect(answer.hasSuffix("path /alive"))
    try await bench.stop()
  }
}

/// Accepts and says nothing.
private final class Silent: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {}
}
