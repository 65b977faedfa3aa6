import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import PKI
import REST
import Testing
import Transport

@Suite("Exchanges over HTTP/2", .timeLimit(.minutes(5)))
struct HTTP2ExchangeTests {
  /// One stream's answer, whole.
  private struct Heard: Sendable {
    var head: HTTPResponseHead?
    var bytes = 0
    var hasEnded = false
  }

  private final class Listener: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    private let heard: NIOLockedValueBox<Heard>
    init(_ heard: NIOLockedValueBox<Heard>) { self.heard = heard }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let part = unwrapInboundIn(data)
      heard.withLockedValue { heard in
        switch part {
        case .head(let head): heard.head = head
        case .body(let bytes): heard.bytes += bytes.readableBytes
        case .end: heard.hasEnded = true
        }
      }
    }
  }

  @Test("HEAD is answered without a body, and the streams beside and behind it go on")
  func head() async throws {
    let now = Date()
    let authority = try CertificateAuthority.createRoot(name: "root", trustDomain: "test", algorithm: .p256, now: now)
    let key = try PrivateKey.generate(.p256)
    let identity = try ServerIdentity(
      chain: authority.issueServer(publicKey: key.publicKey, names: ["127.0.0.1"], uris: [], now: now), key: key)
    let acceptor = HTTPAcceptor(TestAPI.server) { "q" }
    let listener = TLSListener(
      host: "127.0.0.1", port: 0, identity: identity, acceptors: [(alpn: ["h2"], acceptor: acceptor)],
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let port = try #require(try await listener.start().port)
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await listener.run() }
      let answers = ["GET", "HEAD", "GET", "HEAD", "GET"].map { ($0, NIOLockedValueBox(Heard())) }
      let connection = try await ClientTLS(trust: .anchors(TrustAnchors([authority.chain.leaf]))).connect(
        host: "127.0.0.1", port: port, alpn: ["h2"], group: MultiThreadedEventLoopGroup.singleton, timeout: .seconds(20)
      ) { channel, _ in
        let multiplexer = try channel.pipeline.syncOperations.configureHTTP2Pipeline(
          mode: .client, connectionConfiguration: .init(), streamConfiguration: .init()
        ) { $0.eventLoop.makeSucceededVoidFuture() }
        for (method, heard) in answers {
          let opened = channel.eventLoop.makePromise(of: (any Channel).self)
          multiplexer.createStreamChannel(promise: opened) { stream in
            stream.eventLoop.makeCompletedFuture {
              try stream.pipeline.syncOperations.addHandlers([
                HTTP2FramePayloadToHTTP1ClientCodec(httpProtocol: .https), Listener(heard),
              ])
            }
          }
          opened.futureResult.whenSuccess { stream in
            let head = HTTPRequestHead(
              version: .http2, method: HTTPMethod(rawValue: method), uri: "/edge/client/v1/version",
              headers: ["host": "x"])
            stream.write(HTTPClientRequestPart.head(head), promise: nil)
            stream.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
          }
        }
        return channel
      }
      for _ in 0..<1000 where !answers.allSatisfy({ $0.1.withLockedValue { $0.hasEnded } }) {
        try await Task.sleep(for: .milliseconds(10))
      }
      for (method, heard) in answers {
        let heard = heard.withLockedValue { $0 }
        #expect(heard.hasEnded, "\(method)")
        #expect(heard.head?.status == (method == "GET" ? .ok : .methodNotAllowed))
        #expect(heard.head?.headers.first(name: "allow") == (method == "GET" ? nil : "GET"))
        #expect(heard.head?.headers.first(name: "content-length") == (method == "GET" ? "\(heard.bytes)" : nil))
        #expect((heard.bytes > 0) == (method == "GET"))
      }
      #expect(connection.isActive)
      try await connection.close()
      listener.stop()
      tasks.cancelAll()
      do { try await tasks.waitForAll() } catch is CancellationError {}
    }
  }
}
