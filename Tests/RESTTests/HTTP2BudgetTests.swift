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

@Suite("Strangers at the API over HTTP/2", .timeLimit(.minutes(5)))
struct HTTP2BudgetTests {
  /// Notes the status of one stream's answer.
  private final class Stream: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    private let statuses: NIOLockedValueBox<[UInt]>
    init(_ statuses: NIOLockedValueBox<[UInt]>) { self.statuses = statuses }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      if case .head(let head) = unwrapInboundIn(data) { statuses.withLockedValue { $0.append(head.status.code) } }
    }
  }

  @Test(
    "streams of one connection share their source's budget, are limited in number, and end in time; a connection without any is closed"
  )
  func streams() async throws {
    let now = Date()
    let authority = try CertificateAuthority.createRoot(name: "root", trustDomain: "test", algorithm: .p256, now: now)
    let key = try PrivateKey.generate(.p256)
    let identity = try ServerIdentity(
      chain: authority.issueServer(publicKey: key.publicKey, names: ["127.0.0.1"], uris: [], now: now), key: key)
    var limits = APILimits()
    limits.strangerBodies.perSource = 4 * APIServer.strangerBodyLimit
    limits.strangerRequestTimeout = .seconds(3)
    limits.strangerIdleTimeout = .milliseconds(200)
    let acceptor = HTTPAcceptor(TestAPI.server, limits: limits) { "q" }
    let listener = TLSListener(
      host: "127.0.0.1", port: 0, identity: identity, acceptors: [(alpn: ["h2"], acceptor: acceptor)],
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let port = try #require(try await listener.start().port)
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await listener.run() }
      let statuses = NIOLockedValueBox<[UInt]>([])
      let connected = try await ClientTLS(trust: .anchors(TrustAnchors([authority.chain.leaf]))).connect(
        host: "127.0.0.1", port: port, alpn: ["h2"], group: MultiThreadedEventLoopGroup.singleton, timeout: .seconds(20)
      ) { channel, _ in
        let multiplexer = try channel.pipeline.syncOperations.configureHTTP2Pipeline(
          mode: .client, connectionConfiguration: .init(), streamConfiguration: .init()
        ) { $0.eventLoop.makeSucceededVoidFuture() }
        for _ in 0..<32 {
          let opened = channel.eventLoop.makePromise(of: (any Channel).self)
          multiplexer.createStreamChannel(promise: opened) { stream in
            stream.eventLoop.makeCompletedFuture {
              try stream.pipeline.syncOperations.addHandlers([
                HTTP2FramePayloadToHTTP1ClientCodec(httpProtocol: .https), Stream(statuses),
              ])
            }
          }
          opened.futureResult.whenSuccess { stream in
            let head = HTTPRequestHead(version: .http2, method: .POST, uri: "/echo", headers: ["host": "x"])
            stream.write(HTTPClientRequestPart.head(head), promise: nil)
            // A body of unknown length, without an end.
            stream.writeAndFlush(
              HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(repeating: 0x61, count: 60_000))), promise: nil)
          }
        }
        return channel
      }
      for _ in 0..<1000 where statuses.withLockedValue({ $0.count { $0 == 429 } }) < 28 {
        try await Task.sleep(for: .milliseconds(10))
      }
      #expect(statuses.withLockedValue { $0.count { $0 == 429 } } >= 28)
      #expect(statuses.withLockedValue { $0.allSatisfy { $0 == 429 } })
      #expect(acceptor.bodiesHeld.strangers <= 4 * APIServer.strangerBodyLimit)
      try await connected.closeFuture.get()
      #expect(acceptor.bodiesHeld == (0, 0))
      for _ in 0..<500 where listener.openConnections > 0 { try await Task.sleep(for: .milliseconds(10)) }
      #expect(listener.openConnections == 0)
      listener.stop()
      tasks.cancelAll()
      do { try await tasks.waitForAll() } catch is CancellationError {}
    }
  }
}
