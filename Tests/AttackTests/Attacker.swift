import Controller
import EdgeRouter
import Foundation
import JSON
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NetworkFixture
import PKI
import Swiftlet
import Testing
import Transport
import Wire
import X509

typealias Frame = Wire.Message

/// What a peer shows in the TLS handshake, with the key of the first certificate.
struct Credential: Sendable {
  let key: PrivateKey
  let chain: CertificateChain

  var tls: ClientTLS { ClientTLS(chain: chain, key: key, trust: .any) }
}

/// A network with a victim, a stranger who is enrolled too, and the keys of its authority: what is wrong with a
/// certificate can be shown only with one that is otherwise right.
struct Scene: Sendable {
  let network: Network
  /// Seconds by which the controller's clock is ahead.
  let ahead: NIOLockedValueBox<Int64>
  let victim: Member
  let stranger: Member
  let root: CertificateAuthority
  let signer: CertificateAuthority
  let trustDomain: String
  let controller: PeerAddress
  let router: PeerAddress

  struct Member: Sendable {
    let id: String
    let identity: IdentityFile
    let credential: Credential
  }

  static func start() async throws -> Scene {
    let ahead = NIOLockedValueBox<Int64>(0)
    let network = try await Network.start {
      $0.clock = { Timestamp.now().adding(seconds: ahead.withLockedValue { $0 }) }
    }
    func member(_ name: String) async throws -> Member {
      let invitation = try await network.invite(name)
      let identity = try await IdentityFile.enroll(jwt: invitation.jwt)
      let (chain, key) = try identity.credentials()
      return Member(id: invitation.id, identity: identity, credential: Credential(key: key, chain: chain))
    }
    func authority(_ name: String) throws -> CertificateAuthority {
      func text(_ suffix: String) throws -> String {
        try String(contentsOfFile: "\(network.directory)/controller/pki/\(name).\(suffix)", encoding: .utf8)
      }
      return try CertificateAuthority(chain: CertificateChain(pem: text("pem")), key: PrivateKey(pem: text("key")))
    }
    let url = await network.controller.url
    let port = try #require(url.split(separator: ":").last.flatMap { Int($0) })
    let domain = try #require(try await HTTPSClient.leaf(of: url).spiffeID?.trustDomain)
    let routerPort = try #require(await network.router?.edgeAddress?.port)
    return Scene(
      network: network, ahead: ahead, victim: try await member("victim"), stranger: try await member("stranger"),
      root: try authority("root"),
      signer: try authority("signing"), trustDomain: domain, controller: PeerAddress(host: "127.0.0.1", port: port),
      router: PeerAddress(host: "127.0.0.1", port: routerPort))
  }

  func stop() async { await network.stop() }

  /// The files of the network's router.
  func routerCredential(_ kind: String = "cert") throws -> Credential {
    func text(_ name: String) throws -> String {
      try String(contentsOfFile: "\(network.directory)/router/router.\(name).pem", encoding: .utf8)
    }
    return Credential(key: try PrivateKey(pem: text("key")), chain: try CertificateChain(pem: text(kind)))
  }

  /// A further router, enrolled by hand.
  func enrolledRouter(_ name: String) async throws -> (id: String, credential: Credential) {
    let invitation = try await network.provisioning.createEdgeRouter(name: name)
    let key = try PrivateKey.generate(.p256)
    let csr = try CSR.create(key: key, commonName: invitation.id, names: ["127.0.0.1"])
    let jti = try TokenParts(invitation.jwt).unverifiedClaims(as: EnrollmentClaims.self).jti
    let body: JSONValue = ["certCsr": .string(csr), "serverCertCsr": .string(csr)]
    let answer = try await HTTPSClient(tls: ClientTLS(trust: .any)).request(
      method: "POST", "https://\(controller.host):\(controller.port)/edge/client/v1/enroll?method=erott&token=\(jti)",
      headers: [("content-type", "application/json")], body: body.serialized())
    let pem = try #require(
      try JSONValue(parsing: answer.body)["data"]?["cert"]?.stringValue,
      "\(String(decoding: answer.body, as: UTF8.self))")
    return (invitation.id, Credential(key: key, chain: try CertificateChain(pem: pem)))
  }

  // MARK: Certificates

  func identity(
    _ id: String, from authority: CertificateAuthority? = nil, now: Date = Date(), lifetime: TimeInterval = 3600
  ) throws -> Credential {
    let key = try PrivateKey.generate(.p256)
    return Credential(
      key: key,
      chain: try (authority ?? signer).issueIdentity(
        publicKey: key.publicKey, subject: nil, identityID: id, trustDomain: trustDomain, now: now, lifetime: lifetime))
  }

  /// A certificate with exactly these names, signed by whomever.
  /// - Parameter issuer: nil signs itself.
  func certificate(
    _ commonName: String, uris: [String], usage: ExtendedKeyUsage.Usage = .clientAuth,
    issuer: (Certificate, PrivateKey)? = nil,
    helpers: [Certificate] = []
  ) throws -> Credential {
    let key = try PrivateKey.generate(.p256)
    let subject = try DistinguishedName { CommonName(commonName) }
    let leaf = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey, notValidBefore: Date() - 60,
      notValidAfter: Date() + 3600,
      issuer: issuer?.0.subject ?? subject, subject: subject,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true))
        try ExtendedKeyUsage([usage])
        if !uris.isEmpty { SubjectAlternativeNames(uris.map { .uniformResourceIdentifier($0) }) }
      }, issuerPrivateKey: (issuer?.1 ?? key).signing)
    return Credential(key: key, chain: CertificateChain(leaf: leaf, intermediates: helpers))
  }

  var spiffe: String { SPIFFEID.identity(victim.id, trustDomain: trustDomain).description }

  // MARK: Listeners

  /// - Returns: the id of whoever the client API takes the holder for; nil when it takes him for nobody.
  func logIn(_ credential: Credential) async throws -> (id: String, token: String)? {
    let answer = try await HTTPSClient(tls: credential.tls).request(
      method: "POST", "https://\(controller.host):\(controller.port)/edge/client/v1/authenticate?method=cert",
      headers: [("content-type", "application/json")], body: Array("{}".utf8))
    guard answer.status == 200, let data = try JSONValue(parsing: answer.body)["data"] else { return nil }
    return (data["identity"]?["id"]?.stringValue ?? "", data["token"]?.stringValue ?? "")
  }

  /// Whether the edge router opens a channel for a token.
  func opensEdge(_ credential: Credential, token: String) async throws -> Bool {
    let hello = EdgeMessages.Hello(name: "attacker", token: token).message()
    return try await Self.firstAnswer(to: hello.encoded(), at: router, alpn: ALPN.edge, as: credential)?.headers.bool(
      .resultSuccess) ?? false
  }

  /// Whether the controller opens a control channel for a router's id.
  func opensControl(_ credential: Credential, router id: String) async throws -> Bool {
    let hello = ControlMessages.RouterHello(
      routerID: id, version: .current, capabilities: CapabilityMask([RouterCapability.multiChannel]))
    return try await Self.firstAnswer(
      to: hello.message().encoded(), at: controller, alpn: ALPN.control, as: credential)?.headers.bool(.resultSuccess)
      ?? false
  }

  /// Sends bytes over a new connection.
  /// - Returns: what was answered first, nothing when the peer closed or waits for more for two seconds.
  static func exchange(_ bytes: [UInt8], at address: PeerAddress, alpn: String, as credential: Credential) async throws
    -> [UInt8]
  {
    try await credential.tls.connect(
      host: address.host, port: address.port, alpn: [alpn], group: MultiThreadedEventLoopGroup.singleton,
      timeout: .seconds(20)
    ) { channel, _ in
      let answer = channel.eventLoop.makePromise(of: [UInt8].self)
      try channel.pipeline.syncOperations.addHandler(FirstBytes(answer))
      channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
      channel.eventLoop.scheduleTask(in: .seconds(2)) { channel.close(promise: nil) }
      return answer.futureResult
    }.get()
  }

  /// Sends bytes over a new connection and closes it once something was answered.
  /// - Returns: the first message of the answer; nil when the peer closed without a whole one.
  static func firstAnswer(to bytes: [UInt8], at address: PeerAddress, alpn: String, as credential: Credential)
    async throws -> Frame?
  {
    let answer: EventLoopFuture<[UInt8]>
    do {
      answer = try await credential.tls.connect(
        host: address.host, port: address.port, alpn: [alpn], group: MultiThreadedEventLoopGroup.singleton,
        timeout: .seconds(20)
      ) { channel, _ in
        let collector = FrameCollector(channel.eventLoop.makePromise())
        try channel.pipeline.syncOperations.addHandler(collector)
        channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
        return collector.promise.futureResult
      }
    } catch is TransportError {
      // Refused in the handshake already.
      return nil
    }
    let collected = try await answer.get()
    return try? Frame(parsing: collected)
  }
}

/// Takes what comes first.
private final class FirstBytes: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let promise: EventLoopPromise<[UInt8]>

  init(_ promise: EventLoopPromise<[UInt8]>) { self.promise = promise }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    promise.succeed(Array(unwrapInboundIn(data).readableBytesView))
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) { promise.succeed([]) }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// Collects the first frame, or what came of it before the peer closed.
private final class FrameCollector: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  let promise: EventLoopPromise<[UInt8]>
  private var bytes: [UInt8] = []

  init(_ promise: EventLoopPromise<[UInt8]>) { self.promise = promise }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    bytes += unwrapInboundIn(data).readableBytesView
    guard let header = try? bytes.withUnsafeBytes({ try FrameHeader.parse($0, limits: .peer) }),
      bytes.count >= header.frameLength
    else { return }
    promise.succeed(Array(bytes.prefix(header.frameLength)))
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) { promise.succeed(bytes) }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
