import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Testing

@testable import WebRelay

/// What a server behind a relay may answer with: whatever it is, the visitor reads a page that says what is wrong, or
/// sees that something is missing.
@Suite("Servers that answer with anything", .timeLimit(.minutes(5)))
struct HostileUpstreamTests {
  /// Says its piece once it has heard anything, and goes on with the rest for as long as somebody takes it.
  private final class Rude: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer

    private let seen: RelayBench.Seen
    private let piece: String
    private let rest: String
    private let closes: Bool
    private var hasSpoken = false

    init(_ seen: RelayBench.Seen, _ piece: String, rest: String = "", closes: Bool = true) {
      self.seen = seen
      self.piece = piece
      self.rest = rest
      self.closes = closes
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      guard !hasSpoken else { return }
      hasSpoken = true
      let channel = context.channel
      let written = context.writeAndFlush(NIOAny(ByteBuffer(string: piece)))
      if closes { written.whenComplete { _ in channel.close(promise: nil) } } else { pour(context) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) { if hasSpoken { pour(context) } }

    private func pour(_ context: ChannelHandlerContext) {
      let drop = ByteBuffer(string: String(repeating: rest, count: 1 + 4096 / max(rest.utf8.count, 1)))
      while !rest.isEmpty, context.channel.isWritable, context.channel.isActive {
        seen.bytes.withLockedValue { $0 += drop.readableBytes }
        context.writeAndFlush(NIOAny(drop), promise: nil)
      }
    }
  }

  private static func ask(
    _ piece: String, rest: String = "", closes: Bool = true, _ request: String = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
  )
    async throws
    -> (answer: String, reason: String, bytes: Int)
  {
    let records = NIOLockedValueBox<[RequestRecord]>([])
    let bench = try await RelayBench.start(
      observer: { record in records.withLockedValue { $0.append(record) } }, raw: true,
      handler: {
        Rude($0, piece, rest: rest, closes: closes)
      })
    let client = try await bench.connect()
    try await client.send(request)
    // An answer that keeps the connection ends with the page, one that does not ends it.
    let deadline = ContinuousClock.now + .seconds(30)
    while !client.hasEnded, !client.text.contains("class=\"hint\"") {
      try #require(ContinuousClock.now < deadline, "neither a page nor an end: \(client.text.prefix(300))")
      try await Task.sleep(for: .milliseconds(5))
    }
    client.close()
    let result = (
      client.text, records.withLockedValue { $0.last?.failure ?? "" }, bench.seen.bytes.withLockedValue { $0 }
    )
    try await bench.stop()
    return result
  }

  @Test(
    "no answer at all, or none of HTTP: a page that says so, and a reason for whoever shares",
    arguments: [
      "", "HTTP/1.1 200 OK\r\nContent-Le", "SSH-2.0-OpenSSH\r\n", "\u{16}\u{3}\u{1}\u{0}\u{2}\u{2}\u{28}",
      "HTTP/9.9 200 OK\r\n\r\n",
      "HTTP/1.1 abc OK\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: twelve\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
      "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nx",
      "HTTP/1.1 200 OK\r\nX: a\u{0}b\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ])
  func unreadable(_ piece: String) async throws {
    let (answer, reason, _) = try await Self.ask(piece)
    #expect(answer.hasPrefix("HTTP/1.1 502"), "\(answer.prefix(300))")
    #expect(!reason.isEmpty && answer.contains("The server behind this address"), "\(reason), \(answer)")
  }

  @Test(
    "an answer that breaks off looks like one",
    arguments: [
      "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf",
      "HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999\r\n\r\nhalf",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\nx\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nffffffffffffffffff\r\n",
    ])
  func broken(_ piece: String) async throws {
    let (answer, reason, _) = try await Self.ask(piece)
    // What came with the fault may be lost with it.
    #expect(
      answer.isEmpty || answer.hasPrefix("HTTP/1.1 200") && !answer.hasSuffix("0\r\n\r\n") && !answer.contains("502"),
      "\(answer)")
    #expect(!reason.isEmpty)
  }

  @Test(
    "what never comes to its point is given up, before it has filled anything",
    arguments: [
      ("HTTP/1.1 200 OK\r\n", "X-More: and more\r\n"), ("HTTP/1.1 200 OK\r\nX: ", "long"), ("HTTP/1.1 ", "200"),
      ("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ])
  func endless(_ piece: String, _ rest: String) async throws {
    let (answer, reason, bytes) = try await Self.ask(piece, rest: rest, closes: false)
    #expect(answer.hasPrefix("HTTP/1.1 502") && !reason.isEmpty, "\(answer.prefix(300))")
    // What sockets and water marks hold.
    #expect(bytes < 64 << 20)
  }

  @Test("extensions and trailers without end are not kept in memory, and end with the visitor")
  func endlessChunks() async throws {
    for piece in ["4;", "4\r\nhalf\r\n0\r\n"] {
      let bench = try await RelayBench.start(raw: true) {
        Rude(
          $0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + piece,
          rest: piece == "4;" ? "extension" : "X: y\r\n", closes: false)
      }
      let client = try await bench.connect()
      try await client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      try await client.wait { $0.hasPrefix("HTTP/1.1 200") }
      try await Task.sleep(for: .milliseconds(300))
      #expect(client.count < 1 << 20)
      client.close()
      try await bench.stop()
    }
  }

  @Test("an answer that does not wait for the request is passed on, and the connection ends")
  func early() async throws {
    let (answer, _, _) = try await Self.ask(
      "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nno!",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome")
    #expect(answer.hasPrefix("HTTP/1.1 413") && answer.hasSuffix("no!"), "\(answer)")
  }

  @Test("random bytes for an answer end with a page or a closed connection, never otherwise")
  func random() async throws {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<100 {
      var text = Array(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".utf8)
      for _ in 0..<Int.random(in: 1...8, using: &generator) {
        text[Int.random(in: 0..<text.count, using: &generator)] = UInt8.random(in: 0...127, using: &generator)
      }
      _ = try await Self.ask(
        String(decoding: text, as: UTF8.self), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    }
  }

  @Test(
    "a certificate that nobody believes, TLS where there is none, nobody at all: each has its own words, and the first says what helps"
  )
  func words() throws {
    func page(_ error: any Error) -> (text: String, line: String) {
      let failure = UpstreamFailure(error)
      return (String(buffer: failure.page(behind: "share").body), failure.description)
    }
    let unbelieved = page(NIOSSLExtraError.failedToValidateHostname)
    #expect(unbelieved.text.contains("its certificate is for another name") && unbelieved.text.contains("--insecure"))
    #expect(unbelieved.line.contains("--insecure"))
    let nobody = page(IOError(errnoCode: ECONNREFUSED, reason: "connect"))
    #expect(nobody.text.contains("does not answer") && nobody.line.contains("refused"))
    let other = page(RelayError.badUpstream("it says <b>nothing</b>"))
    #expect(other.text.contains("it says &lt;b&gt;nothing&lt;/b&gt;") && other.line == "it says <b>nothing</b>")
    #expect(UpstreamFailure(RelayError.silent(.milliseconds(1500))).page(behind: "share").status == .gatewayTimeout)
  }
}
