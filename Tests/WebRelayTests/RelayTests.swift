import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@testable import WebRelay

@Suite("The relay over HTTP/1.1", .timeLimit(.minutes(5)))
struct RelayTests {
  @Test("passes requests on with the client's address, and answers without the fields of one hop")
  func passes() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let answer = try await bench.exchange(
      "GET /a?b=%20c HTTP/1.1\r\nHost: shared.example\r\nX-Forwarded-For: 198.51.100.7\r\nConnection: close, x-mine\r\nX-Mine: 1\r\nTE: trailers\r\n\r\n"
    )
    #expect(answer.hasPrefix("HTTP/1.1 200"))
    #expect(answer.hasSuffix("path /a?b=%20c"))
    #expect(answer.contains("x-upstream: yes"))
    #expect(!answer.contains("x-secret") && !answer.contains("keep-alive"))
    let head = try #require(bench.seen.requests.withLockedValue { $0.first })
    #expect(head.headers["x-forwarded-for"] == ["198.51.100.7, 192.0.2.1"])
    #expect(head.headers["x-forwarded-proto"] == ["http"] && head.headers["x-forwarded-host"] == ["shared.example"])
    #expect(head.headers["host"] == ["shared.example"] && head.headers["x-proxy"] == ["zrok"])
    #expect(!head.headers.contains(name: "x-mine") && !head.headers.contains(name: "te"))
    try await bench.stop()
  }

  @Test("carries bodies of both framings, 8 MiB there and back")
  func bodies() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let count = 8 << 20
    // No power of two, so that a lost or doubled block shows.
    let pattern = (0..<65_521).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
    var body = ByteBuffer()
    while body.readableBytes < count { body.writeBytes(pattern.prefix(count - body.readableBytes)) }
    let client = try await bench.connect()
    try await client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(count)\r\nConnection: close\r\n\r\n")
    try await client.send(body)
    try await client.end()
    var echoed = client.bytes
    if let head = String(buffer: echoed.getSlice(at: echoed.readerIndex, length: 400) ?? ByteBuffer()).components(
      separatedBy: "\r\n\r\n"
    ).first {
      echoed.moveReaderIndex(forwardBy: head.utf8.count + 4)
    }
    #expect(echoed == body)
    let chunked = try await bench.exchange(
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    )
    #expect(chunked.hasSuffix("\r\n\r\nhello world"))
    let outgoing = try await bench.exchange("GET /chunked HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    #expect(outgoing.contains("transfer-encoding: chunked") && outgoing.hasSuffix("0\r\n\r\n"))
    // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
    let old = try await bench.exchange("GET /chunked HTTP/1.0\r\nHost: a\r\n\r\n")
    #expect(!old.contains("chunked\r\n") && old.hasSuffix("path /chunked"))
    try await bench.stop()
  }

  @Test("one connection carries many requests, in order when they are pipelined, over one connection to the upstream")
  func reuse() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let client = try await bench.connect()
    try await client.send((0..<20).map { "GET /\($0) HTTP/1.1\r\nHost: a\r\n\r\n" }.joined())
    try await client.wait { $0.contains("path /19") }
    let order = client.text.split(separator: "\r\n").compactMap { line in
      line.firstRange(of: "path /").map { Int(line[$0.upperBound...].prefix { $0.isNumber }) }
    }
    #expect(order == (0..<20).map { $0 })
    try await client.send("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    _ = try await client.rest()
    #expect(bench.seen.connections.withLockedValue { $0 } == 1)
    try await bench.stop()
  }

  @Test("HEAD and 204 have no body and keep the connection")
  func bodiless() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let client = try await bench.connect()
    try await client.send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
    try await client.wait { $0.hasSuffix("\r\n\r\n") }
    try await client.send(
      "HEAD /chunked HTTP/1.1\r\nHost: a\r\n\r\nGET /empty HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    try await client.wait { $0.hasSuffix("path /y") }
    #expect(!client.text.contains("path /x") && !client.text.contains("path /chunked") && client.text.contains("204"))
    client.close()
    try await bench.stop()
  }

  @Test("a connection that died on the shelf is replaced for requests that can be repeated")
  func stale() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let client = try await bench.connect()
    for round in 0..<5 {
      // The upstream closes after this answer, without saying so.
      try await client.send("GET /dies HTTP/1.1\r\nHost: a\r\n\r\n")
      try await client.wait { $0.components(separatedBy: "path /dies").count == round + 2 }
      try await client.send("GET /\(round) HTTP/1.1\r\nHost: a\r\n\r\n")
      try await client.wait { $0.contains("path /\(round)") }
    }
    #expect(!client.text.contains("502"))
    client.close()
    try await bench.stop()
  }

  @Test("an upstream that cannot be reached is a page; one that breaks off an answer is a broken connection")
  func failures() async throws {
    let records = NIOLockedValueBox<[RequestRecord]>([])
    let bench = try await RelayBench.start(
      observer: { record in records.withLockedValue { $0.append(record) } }, handler: { TestServer($0) })
    let cut = try await bench.exchange("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(cut.contains("content-length: 1000") && cut.hasSuffix("half"))
    try await bench.upstream.close()
    let down = try await bench.exchange(
      "GET /down?<script> HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".replacing("<script>", with: "x"))
    #expect(down.hasPrefix("HTTP/1.1 502") && down.contains("content-security-policy"))
    #expect(records.withLockedValue { $0.map(\.status) } == [200, 502])
    try await bench.relay.close()
  }

  @Test("an upstream that speaks no HTTP is a page")
  func garbage() async throws {
    let bench = try await RelayBench.start(raw: true) { _ in Babbler() }
    let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    #expect(answer.hasPrefix("HTTP/1.1 502"))
    try await bench.stop()
  }

  @Test("whoever does not read holds the upstream back")
  func backPressure() async throws {
    let bench = try await RelayBench.start(raw: true) { Fountain($0) }
    let channel = try await ClientBootstrap(group: RelayBench.group).channelOption(.autoRead, value: false)
      .connect(host: "127.0.0.1", port: bench.port).get()
    try await channel.writeAndFlush(ByteBuffer(string: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
    // It stands still after what sockets and water marks hold.
    var last = -1
    for _ in 0..<200 {
      try await Task.sleep(for: .milliseconds(50))
      let now = bench.seen.bytes.withLockedValue { $0 }
      if now == last, now > 0 { break }
      last = now
    }
    #expect(bench.seen.bytes.withLockedValue { $0 } < 64 << 20)
    try await channel.close()
    try await bench.stop()
  }

  @Test("an upgrade becomes a connection of bytes, none lost, with both half closes")
  func upgrade() async throws {
    let bench = try await RelayBench.start(raw: true) { _ in Upgrader() }
    let client = try await bench.connect()
    // Bytes right behind the request belong to the new protocol already.
    try await client.send(
      "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\nearly "
    )
    try await client.wait { $0.contains("early ") }
    #expect(client.text.hasPrefix("HTTP/1.1 101"))
    #expect(client.text.lowercased().contains("upgrade: websocket"))
    #expect(client.text.contains("\r\n\r\nwelcome early "))
    try await client.send("and more")
    try await client.wait { $0.hasSuffix("and more") }
    client.close()
    try await bench.stop()
  }
}

/// Sends what is no HTTP.
private final class Babbler: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    context.writeAndFlush(NIOAny(ByteBuffer(string: "SSH-2.0-what\r\n\r\n\r\n")), promise: nil)
  }
}

/// An answer without end.
private final class Fountain: ChannelInboundHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer

  private let seen: RelayBench.Seen
  private var flows = false

  init(_ seen: RelayBench.Seen) { self.seen = seen }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !flows else { return }
    flows = true
    context.writeAndFlush(
      NIOAny(ByteBuffer(string: "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")), promise: nil)
    pour(context)
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) { pour(context) }

  private func pour(_ context: ChannelHandlerContext) {
    let drop = ByteBuffer(repeating: 1, count: 64 * 1024)
    while context.channel.isWritable, context.channel.isActive {
      seen.bytes.withLockedValue { $0 += drop.readableBytes }
      context.writeAndFlush(NIOAny(drop), promise: nil)
    }
  }
}

/// Agrees to an upgrade, greets in the same write, then echoes.
private final class Upgrader: ChannelInboundHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer

  private var head = ""
  private var isUpgraded = false

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = unwrapInboundIn(data)
    guard !isUpgraded else { return context.writeAndFlush(NIOAny(bytes), promise: nil) }
    head += String(buffer: bytes)
    guard let end = head.firstRange(of: "\r\n\r\n") else { return }
    isUpgraded = true
    let rest = String(head[end.upperBound...])
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome "
    context.writeAndFlush(NIOAny(ByteBuffer(string: answer + rest)), promise: nil)
  }
}
