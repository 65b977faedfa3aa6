import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import PKI
import Testing
import Transport
import Wire
import X509

@Suite("Channels over TLS on loopback", .timeLimit(.minutes(5)))
struct MessageChannelTests {
  @Test("a request gets its reply, unsolicited messages arrive in order, the peer's certificate is seen")
  func requestReply() async throws {
    try await withListener { network, address in
      let channel = try await MessageChannel.dial(
        address: address, tls: network.client, alpn: ALPN.control,
        hello: Message(contentType: .hello, body: Array("r1".utf8)), group: network.group)
      #expect(channel.helloHeaders.string(.id) == "ctrl")
      #expect(channel.peer.leaf != nil)
      for index in 0..<100 {
        let reply = try await channel.request(
          Message(contentType: .serverHello, body: [UInt8(index)]), timeout: .seconds(5))
        #expect(reply.body == [UInt8(index), 1])
      }
      channel.post(Message(contentType: .route, body: Array("send three".utf8)))
      var received: [[UInt8]] = []
      for await message in channel.messages {
        received.append(message.body)
        if received.count == 3 { break }
      }
      #expect(received == [[0], [1], [2]])
      channel.close()
    }
  }

  @Test("latency probes and heartbeats are answered inside")
  func probes() async throws {
    try await withListener { network, address in
      let channel = try await MessageChannel.dial(
        address: address, tls: network.client, alpn: ALPN.control,
        hello: Message(contentType: .hello, body: Array("r1".utf8)), group: network.group)
      var probe = Message(contentType: .latency)
      probe.headers[.reflected] = [1, 2, 3, 4, 5, 6, 7, 8]
      let reply = try await channel.request(probe, timeout: .seconds(5))
      #expect(reply.contentType == .result)
      #expect(reply.headers.bool(.resultSuccess) == true)
      #expect(reply.headers[.reflected] == [1, 2, 3, 4, 5, 6, 7, 8])
      channel.close()
    }
  }

  @Test("a refused hello carries the peer's text")
  func refused() async throws {
    try await withListener { network, address in
      await #expect {
        _ = try await MessageChannel.dial(
          address: address, tls: network.client, alpn: ALPN.control,
          hello: Message(contentType: .hello, body: Array("stranger".utf8)),
          group: network.group)
      } throws: { error in
        guard case .helloRefused(_, let reason, let headers)? = error as? TransportError else { return false }
        return reason == "unknown router" && headers.uint32(.errorCode) == 7
      }
    }
  }

  @Test("a server of another authority, another name, another leaf is not believed")
  func trust() async throws {
    try await withListener { network, address in
      let foreign = try CertificateAuthority.createRoot(
        name: "foreign", trustDomain: "foreign", algorithm: .p256, now: network.now)
      let hello = Message(contentType: .hello, body: Array("r1".utf8))
      for tls in [
        ClientTLS(trust: .anchors(TrustAnchors([foreign.chain.leaf]))),
        ClientTLS(trust: .leaf(foreign.chain.leaf)),
      ] {
        await #expect(throws: TransportError.self) {
          _ = try await MessageChannel.dial(
            address: address, tls: tls, alpn: ALPN.control, hello: hello, group: network.group)
        }
      }
      // Same server, same authority, but dialled by a name the certificate does not carry: 127.0.0.2 is loopback too,
      // where nothing listens for it.
      await #expect(throws: TransportError.self) {
        _ = try await MessageChannel.dial(
          address: PeerAddress(host: "127.0.0.2", port: address.port), tls: network.client, alpn: ALPN.control,
          hello: hello, group: network.group)
      }
    }
  }

  @Test("a peer that stays silent after the handshake is closed")
  func silentStranger() async throws {
    try await withListener(helloTimeout: .milliseconds(200)) { network, address in
      let closed = try await network.client.connect(
        host: address.host, port: address.port, alpn: [ALPN.control], group: network.group, timeout: .seconds(5)
      ) {
        channel, _ in channel.closeFuture
      }
      try await closed.get()
    }
  }

  @Test("another version of the channel is told which versions are spoken")
  func otherVersion() async throws {
    try await withListener { network, address in
      let answer = NIOLockedValueBox<[UInt8]>([])
      let closed = try await network.client.connect(
        host: address.host, port: address.port, alpn: [ALPN.control], group: network.group, timeout: .seconds(5)
      ) {
        channel, _ in
        try channel.pipeline.syncOperations.addHandler(RawReader(into: answer))
        channel.writeAndFlush(ByteBuffer(bytes: [3, 6, 9, 0x0d] + [UInt8](repeating: 0, count: 16)), promise: nil)
        return channel.closeFuture
      }
      try await closed.get()
      #expect(answer.withLockedValue { $0 } == [3, 6, 9, 0x0a, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])
    }
  }

  @Test("a replaced certificate serves the next handshake without a restart")
  func replacedCertificate() async throws {
    try await withListener { network, address in
      let url = "https://127.0.0.1:\(address.port)/"
      let first = try await HTTPSClient.leaf(of: url)
      let renewed = try network.authority.issueServer(
        publicKey: network.serverKey.publicKey, names: ["127.0.0.1"], uris: [], now: network.now)
      try network.identity.replace(chain: renewed, key: network.serverKey)
      let second = try await HTTPSClient.leaf(of: url)
      #expect(first.sha1Fingerprint != second.sha1Fingerprint)
      #expect(second.sha1Fingerprint == renewed.leaf.sha1Fingerprint)
    }
  }

  @Test("a server that closes as soon as the handshake is complete has shown its certificate all the same")
  func closesAtOnce() async throws {
    try await withListener { network, address in
      // Nobody serves `http/1.1` here, so the listener closes; the certificate must not depend on who is faster.
      let expected = network.identity.chain.leaf.sha1Fingerprint
      let seen = try await withThrowingTaskGroup(of: String.self) { tasks in
        for _ in 0..<64 {
          tasks.addTask { try await HTTPSClient.leaf(of: "https://127.0.0.1:\(address.port)/").sha1Fingerprint }
        }
        return try await tasks.reduce(into: []) { $0.append($1) }
      }
      #expect(seen == Array(repeating: expected, count: 64))
    }
  }
}

final class RawReader: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  private let bytes: NIOLockedValueBox<[UInt8]>
  init(into bytes: NIOLockedValueBox<[UInt8]>) { self.bytes = bytes }
  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    bytes.withLockedValue { $0 += Array(buffer.readableBytesView) }
  }
}
