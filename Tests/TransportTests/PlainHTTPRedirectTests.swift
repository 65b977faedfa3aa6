import Foundation
import Logging
import NIOCore
import NIOPosix
import PKI
import Testing

@testable import Transport

@Suite("Plain HTTP at a TLS port", .timeLimit(.minutes(5)))
struct PlainHTTPRedirectTests {
  /// Serves nothing: the test looks at what comes before.
  private struct Nobody: ConnectionAcceptor {
    func accept(_ channel: any Channel, peer: PresentedPeer, alpn: String?, stranger: Stranger) -> EventLoopFuture<
      ConnectionTask
    > {
      channel.eventLoop.makeSucceededFuture({ _ = try? await channel.closeFuture.get() })
    }
  }

  /// Runs `body` beside a listener that speaks HTTP within TLS.
  private func withHTTPListener(
    limits: StrangerLimits = StrangerLimits(), _ body: @escaping @Sendable (TLSListener, Int) async throws -> Void
  ) async throws {
    let (now, key) = (Date(), try PrivateKey.generate(.p256))
    let authority = try CertificateAuthority.createRoot(name: "root", trustDomain: "test", algorithm: .p256, now: now)
    let identity = try ServerIdentity(
      chain: authority.issueServer(publicKey: key.publicKey, names: ["127.0.0.1"], uris: [], now: now), key: key)
    let listener = TLSListener(
      host: "127.0.0.1", port: 0, identity: identity,
      acceptors: [(alpn: [ALPN.http2, ALPN.http1], acceptor: Nobody())], fallback: Nobody(),
      limits: limits, logger: Logger(label: "test"))
    let port = try #require(try await listener.start().port)
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await listener.run() }
      try await body(listener, port)
      listener.stop()
      tasks.cancelAll()
      do { try await tasks.waitForAll() } catch is CancellationError {}
    }
  }

  /// Sends pieces, and gives everything until the peer's end.
  private static func exchange(_ port: Int, _ pieces: [String], pause: Duration = .milliseconds(20)) async throws
    -> String
  {
    let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connect(
      host: "127.0.0.1", port: port
    ) { channel in
      channel.eventLoop.makeCompletedFuture {
        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
      }
    }
    return try await client.executeThenClose { inbound, outbound in
      for (index, piece) in pieces.enumerated() {
        if index > 0 { try await Task.sleep(for: pause) }
        try await outbound.write(ByteBuffer(string: piece))
      }
      var all = ByteBuffer()
      for try await var part in inbound { all.writeBuffer(&part) }
      return String(buffer: all)
    }
  }

  @Test("a GET is led to https at the host and port that it asked for")
  func redirected() async throws {
    try await withHTTPListener { _, port in
      let answer = try await Self.exchange(
        port, ["GET /edge?a=b HTTP/1.1\r\nHost: ctrl.example.com:\(port)\r\nAccept: */*\r\n\r\n"])
      #expect(answer.hasPrefix("HTTP/1.1 308 "))
      #expect(answer.contains("\r\nlocation: https://ctrl.example.com:\(port)/edge?a=b\r\n"))
      #expect(answer.contains("\r\nconnection: close\r\n") && answer.contains("\r\ncache-control: no-store\r\n"))
      let v6 = try await Self.exchange(port, ["GET / HTTP/1.1\r\nhost: [::1]:\(port)\r\n\r\n"])
      #expect(v6.contains("\r\nlocation: https://[::1]:\(port)/\r\n"))
      let absolute = try await Self.exchange(port, ["GET http://a.example/x HTTP/1.1\r\nhost: b.example\r\n\r\n"])
      #expect(absolute.contains("\r\nlocation: https://a.example:80/x\r\n"))
      let head = try await Self.exchange(port, ["HEAD / HTTP/1.1\r\nhost: a.example\r\n\r\n"])
      #expect(head.hasPrefix("HTTP/1.1 308 ") && head.hasSuffix("\r\n\r\n"))
    }
  }

  @Test("a request that comes byte by byte is one all the same")
  func pieces() async throws {
    try await withHTTPListener { _, port in
      let answer = try await Self.exchange(
        port, "GET / HTTP/1.1\nHost: a:1\n\n".map(String.init), pause: .milliseconds(1))
      #expect(answer.contains("\r\nlocation: https://a:1/\r\n"))
    }
  }

  @Test(
    "what cannot be led elsewhere reads what is wrong",
    arguments: [
      "POST / HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\nabc", "GET / HTTP/1.0\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a b\u{7}\r\n\r\n", "GET * HTTP/1.1\r\nHost: a@b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a:1\r\nX: \(String(repeating: "x", count: 20_000))",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ])
  func told(request: String) async throws {
    try await withHTTPListener { _, port in
      let answer = try await Self.exchange(port, [request])
      #expect(
        answer.hasPrefix("HTTP/1.1 400 ")
          && answer.hasSuffix("This port speaks TLS: write https:// in place of http://\n"))
    }
  }

  @Test("a port that speaks no HTTP says so too")
  func router() async throws {
    try await withListener { _, address in
      let answer = try await Self.exchange(address.port, ["GET / HTTP/1.1\r\nHost: a:1\r\n\r\n"])
      #expect(answer.hasPrefix("HTTP/1.1 400 ") && answer.contains("no HTTP within it"))
    }
  }

  @Test(
    "what is neither gets no HTTP, and who says half a request is not waited for",
    arguments: ["SSH-2.0-OpenSSH_9\r\n", "\u{3}\u{6}\u{9}", "GET / HT"])
  func others(bytes: String) async throws {
    var limits = StrangerLimits()
    limits.handshakeTimeout = .milliseconds(500)
    try await withHTTPListener(limits: limits) { listener, port in
      let answer = try? await Self.exchange(port, [bytes])
      #expect(!(answer ?? "").contains("HTTP/1.1"))
      try await eventually("nothing stays behind") { listener.openConnections == 0 }
    }
  }

  @Test("TLS is served as before, with and without ALPN")
  func untouched() async throws {
    try await withHTTPListener { _, port in
      for alpn in [[ALPN.http1], [ALPN.http2], []] {
        let leaf = try await ClientTLS(trust: .any).connect(
          host: "127.0.0.1", port: port, alpn: alpn, group: MultiThreadedEventLoopGroup.singleton, timeout: .seconds(10)
        ) { channel, peer in
          channel.close(promise: nil)
          return peer.leaf?.hostNames
        }
        #expect(leaf == ["127.0.0.1"])
      }
    }
  }
}

@Suite("Words for errors", .timeLimit(.minutes(2)))
struct ErrorTextTests {
  /// Answers everything with a line of plain text.
  private final class Grumbler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      context.writeAndFlush(
        wrapOutboundOut(ByteBuffer(string: "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")), promise: nil)
    }
  }

  @Test("a server without TLS is called one, and no file of the TLS library's build is named")
  func plainServer() async throws {
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Grumbler()) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let port = try #require(server.localAddress?.port)
    do {
      _ = try await HTTPSClient(tls: ClientTLS(trust: .any)).request("https://127.0.0.1:\(port)/")
      Issue.record("it was answered")
    } catch TransportError.notTLS(let address) {
      #expect(address == "127.0.0.1:\(port)")
      #expect("\(TransportError.notTLS(address: address))" == "127.0.0.1:\(port) does not speak TLS")
    }
    try await server.close()
  }

  @Test("nobody there, said without Swift's names")
  func nobody() async throws {
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(
      host: "127.0.0.1", port: 0
    ).get()
    let port = try #require(server.localAddress?.port)
    try await server.close()
    for url in ["https://127.0.0.1:\(port)/", "http://127.0.0.1:\(port)/"] {
      do {
        _ = try await HTTPSClient(tls: ClientTLS(trust: .any), allowsPlaintext: true).request(url)
        Issue.record("it was answered")
      } catch {
        #expect("\(error)" == "cannot connect to 127.0.0.1:\(port): Connection refused")
      }
    }
  }

  @Test("texts into which an error was put before keep their sense and lose the path")
  func plain() {
    let text =
      "cannot: handshakeFailed(NIOSSL.BoringSSLError.sslError([Error: 268435703 error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER"
      + " at /build/checkouts/swift-nio-ssl/Sources/CNIOBoringSSL/ssl/tls_record.cc:231]))"
    #expect(
      ErrorText.plain(text)
        == "cannot: handshakeFailed(NIOSSL.BoringSSLError.sslError([what answers does not speak TLS]))")
    #expect(ErrorText.plain("error:10000410:SSL routines:OPENSSL_internal:SOME_NEW_REASON") == "some new reason")
    #expect(ErrorText.plain("nothing of TLS at all: OPENSSL") == "nothing of TLS at all: OPENSSL")
    #expect(ErrorText.words(TransportError.timedOut(what: "it")) == "it timed out")
    #expect(ErrorText.words(ChannelError.connectTimeout(.seconds(1))) == "no answer in time")
  }
}
