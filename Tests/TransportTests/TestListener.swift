import Foundation
import Logging
import NIOCore
import NIOPosix
import PKI
import Testing
import Transport
import Wire
import X509

/// A listener with an authority of its own, and a client that trusts it.
struct TestNetwork: Sendable {
  let group: any EventLoopGroup
  let authority: CertificateAuthority
  let serverKey: PrivateKey
  let identity: ServerIdentity
  let client: ClientTLS
  let now: Date
  let listener: TLSListener
}

/// Runs `body` against a control-plane listener that accepts router `r1`, echoes 20000 requests with a 1 appended and
/// answers a Route with three messages.
func withListener(
  helloTimeout: TimeAmount = .seconds(5), limits: StrangerLimits = StrangerLimits(),
  loops: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
  _ body: @escaping @Sendable (TestNetwork, PeerAddress) async throws -> Void
) async throws {
  let now = Date()
  let group = MultiThreadedEventLoopGroup.singleton
  let authority = try CertificateAuthority.createRoot(name: "root", trustDomain: "test", algorithm: .p256, now: now)
  let serverKey = try PrivateKey.generate(.p256)
  let chain = try authority.issueServer(publicKey: serverKey.publicKey, names: ["127.0.0.1"], uris: [], now: now)
  let identity = try ServerIdentity(chain: chain, key: serverKey)
  let clientKey = try PrivateKey.generate(.p256)
  let clientChain = try authority.issueIdentity(
    publicKey: clientKey.publicKey, subject: nil, identityID: "r1", trustDomain: "test", now: now)
  let acceptor = HelloAcceptor(timeout: helloTimeout) { request in
    var headers = Headers()
    guard request.hello.body == Array("r1".utf8), request.peer.fingerprint == clientChain.leaf.sha1Fingerprint else {
      headers.set(.errorCode, UInt32(7))
      return .reject(text: "unknown router", headers: headers)
    }
    headers.set(.id, "ctrl")
    return .accept(headers: headers) { underlay in
      let channel = MessageChannel(underlay: underlay, helloHeaders: request.hello.headers)
      return {
        for await message in channel.messages {
          switch message.contentType {
          case .serverHello: channel.reply(Message(contentType: .clientHello, body: message.body + [1]), to: message)
          case .route: for index in 0..<3 { channel.post(Message(contentType: .unroute, body: [UInt8(index)])) }
          default: break
          }
        }
      }
    }
  }
  let listener = TLSListener(
    host: "127.0.0.1", port: 0, identity: identity, acceptors: [(alpn: [ALPN.control], acceptor: acceptor)],
    group: loops, limits: limits,
    logger: Logger(label: "test"))
  let network = TestNetwork(
    group: group, authority: authority, serverKey: serverKey, identity: identity,
    client: ClientTLS(chain: clientChain, key: clientKey, trust: .anchors(TrustAnchors([authority.chain.leaf]))),
    now: now, listener: listener)
  let address = try await listener.start()
  let port = try #require(address.port)
  try await withThrowingTaskGroup(of: Void.self) { tasks in
    tasks.addTask { try await listener.run() }
    try await body(network, PeerAddress(host: "127.0.0.1", port: port))
    listener.stop()
    tasks.cancelAll()
    do { try await tasks.waitForAll() } catch is CancellationError {}
  }
}
