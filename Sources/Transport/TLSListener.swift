// Transport: sockets for every plane: TLS listeners that split one port by ALPN, channel-v2 underlays on sockets,
// dialling with back-off, and `VerifiedPeer`, the only source of a peer's identity. It knows frames but no message's
// meaning, and holds no entity. Start reading at `TLSListener` (inbound), `MessageChannel` (control plane) and
// `Underlay` (data plane).

public import Logging
import NIOConcurrencyHelpers
public import NIOCore
public import NIOPosix
import NIOSSL
import NIOTLS
import PKI
import X509

/// One TCP port that speaks TLS and hands each connection to the acceptor of its ALPN protocol. Without an identity it
/// speaks no TLS and the fallback serves everyone: for loopback, and behind a proxy that ends TLS.
///
/// Client certificates are requested and recorded, never judged in the handshake. On a resumed session NIOSSL calls no
/// verify callback and shows only the leaf; the helpers the peer sent in its full handshake are then taken from
/// `ResumptionMemory`.
public final class TLSListener: Sendable {
  private let place: HostPort
  private let identity: ServerIdentity?
  private let acceptors: [String: any ConnectionAcceptor]
  private let preference: [String]
  private let fallback: (any ConnectionAcceptor)?
  private let group: any EventLoopGroup
  private let logger: Logger
  private let limits: StrangerLimits
  private let memory = ResumptionMemory()
  private let admission: StrangerAdmission
  private let connections = ConnectionTasks()
  private let bound = NIOLockedValueBox<(any Channel)?>(nil)

  /// - Parameters:
  ///   - host: address to bind, for example `0.0.0.0`.
  ///   - port: 0 picks a free one; `start` tells which.
  ///   - acceptors: protocols in the order of our preference.
  ///   - fallback: serves clients that offer no protocol we know (Go SDKs offer none); without it they are closed.
  ///   - group: event loops of the accepted connections.
  public init(
    host: String, port: Int, identity: ServerIdentity?, acceptors: [(alpn: [String], acceptor: any ConnectionAcceptor)],
    fallback: (any ConnectionAcceptor)? = nil, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
    limits: StrangerLimits = StrangerLimits(),
    logger: Logger
  ) {
    place = HostPort(host: host, port: port)
    self.identity = identity
    self.acceptors = Dictionary(
      acceptors.flatMap { entry in entry.alpn.map { ($0, entry.acceptor) } }, uniquingKeysWith: { first, _ in first })
    self.preference = acceptors.flatMap(\.alpn)
    self.fallback = fallback
    self.group = group
    self.logger = logger
    self.limits = limits
    admission = StrangerAdmission(limits)
  }

  /// Binds the port. Connections wait at the kernel from now on and are served once `run` is called.
  public func start() async throws -> SocketAddress {
    do {
      let channel = try await ServerBootstrap(group: group)
        .serverChannelOption(.backlog, value: 4096)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .serverChannelOption(.autoRead, value: false)
        .childChannelOption(.socketOption(.so_keepalive), value: 1)
        .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        .childChannelInitializer { channel in self.prepare(channel) }
        .bind(host: place.host, port: place.port).get()
      bound.withLockedValue { $0 = channel }
      guard let address = channel.localAddress else {
        throw TransportError.connectFailed(address: "\(place)", reason: "no local address")
      }
      return address
    } catch let error as TransportError {
      throw error
    } catch {
      throw TransportError.connectFailed(
        address: "\(place)",
        reason:
          "cannot listen there: \(ErrorText.words(error)). Is the port in use by another process, or the address not on this machine?"
      )
    }
  }

  /// Serves connections until `stop` or cancellation; returns when all connection tasks ended.
  public func run() async throws {
    guard let server = bound.withLockedValue({ $0 }) else {
      throw TransportError.closed(reason: "listener \(place) was not started")
    }
    try await withTaskCancellationHandler {
      try? await server.setOption(.autoRead, value: true).get()
      try await server.closeFuture.get()
    } onCancel: {
      server.close(promise: nil)
    }
    await connections.end()
  }

  public func stop() {
    bound.withLockedValue { $0 }?.close(promise: nil)
  }

  /// Connections open now, for metrics.
  public var openConnections: Int { admission.openConnections }
  /// Those among them that have not proven who they are.
  public var strangers: Int { admission.strangers }

  private func prepare(_ channel: any Channel) -> EventLoopFuture<Void> {
    guard let stranger = admission.admit(channel) else {
      // A failed initializer alone leaves the socket open.
      channel.close(promise: nil)
      return channel.eventLoop.makeFailedFuture(TransportError.closed(reason: "too many connections"))
    }
    do {
      connections.add(channel, try negotiation(on: channel, stranger)) { [logger] error in
        // A failed handshake is the stranger's business: told to who looks closely.
        logger.trace(
          "handshake refused", metadata: ["peer": "\(stranger.source)", "reason": "\(ErrorText.words(error))"])
      }
      return channel.eventLoop.makeSucceededVoidFuture()
    } catch {
      channel.close(promise: nil)
      return channel.eventLoop.makeFailedFuture(error)
    }
  }

  private func negotiation(on channel: any Channel, _ stranger: Stranger) throws -> EventLoopFuture<ConnectionTask> {
    let pipeline = channel.pipeline.syncOperations
    guard let identity else {
      let gate = WhenActive(on: channel.eventLoop)
      try pipeline.addHandler(gate, position: .first)
      gate.agreed = handOver(channel, shown: nil, result: .fallback, stranger)
      return gate.passed.futureResult
    }
    let shown = NIOLockedValueBox<[NIOSSLCertificate]?>(nil)
    let tls = NIOSSLServerHandler(context: try identity.context(alpn: self.preference)) { certificates, promise in
      shown.withLockedValue { $0 = certificates }
      promise.succeed(.certificateVerified)
    }
    let budget = HandshakeBudget(limits)
    let stray = PlainHTTPHandler(redirects: preference.contains(ALPN.http1))
    let negotiation = NIOTypedApplicationProtocolNegotiationHandler<ConnectionTask> { result, channel in
      budget.isOver()
      return self.handOver(channel, shown: shown.withLockedValue { $0 }, result: result, stranger)
    }
    try pipeline.addHandler(budget)
    try pipeline.addHandler(stray)
    try pipeline.addHandler(tls)
    try pipeline.addHandler(negotiation)
    return negotiation.protocolNegotiationResult
  }

  private func handOver(
    _ channel: any Channel, shown: [NIOSSLCertificate]?, result: ALPNResult, _ stranger: Stranger
  ) -> EventLoopFuture<ConnectionTask> {
    let alpn: String? =
      switch result {
      case .negotiated(let name): name
      case .fallback: nil
      }
    guard let acceptor = alpn.flatMap({ acceptors[$0] }) ?? fallback else {
      channel.close(promise: nil)
      return channel.eventLoop.makeFailedFuture(TransportError.protocolViolation("no protocol in common"))
    }
    let leaf = (try? channel.pipeline.syncOperations.nioSSL_peerCertificate()).flatMap { $0 }
    return acceptor.accept(
      channel, peer: peer(channel, leaf: leaf, shown: shown, source: stranger.source), alpn: alpn, stranger: stranger)
  }

  private func peer(_ channel: any Channel, leaf: NIOSSLCertificate?, shown: [NIOSSLCertificate]?, source: String)
    -> PresentedPeer
  {
    let certificate = leaf.flatMap { try? Certificate(nioSSL: $0) }
    var intermediates: [Certificate] = []
    if let certificate {
      if let shown {
        // The first entry is the leaf itself; a peer gets room for a handful of helpers, not for a dictionary.
        intermediates = shown.dropFirst().prefix(8).compactMap { try? Certificate(nioSSL: $0) }
        memory.remember(certificate.sha1Fingerprint, intermediates, source: source)
      } else {
        intermediates = memory.intermediates(of: certificate.sha1Fingerprint)
      }
    }
    return PresentedPeer(
      leaf: certificate, intermediates: intermediates, isResumed: leaf != nil && shown == nil,
      remoteAddress: channel.remoteAddress?.text ?? "unknown", localAddress: channel.localAddress?.text ?? "unknown")
  }
}

/// Closes a connection whose TLS handshake does not complete in time, or takes more bytes than any honest one. Stands
/// between TLS and the socket: a peer that has not begun to speak TLS is closed without TLS's own goodbye.
private final class HandshakeBudget: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let limits: StrangerLimits
  private var bytes = 0
  private var deadline: Scheduled<Void>?
  private var context: ChannelHandlerContext?

  init(_ limits: StrangerLimits) { self.limits = limits }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    deadline = context.eventLoop.assumeIsolated().scheduleTask(in: limits.handshakeTimeout) { [weak self] in
      self?.context?.close(promise: nil)
    }
  }

  /// The handshake is complete.
  func isOver() {
    deadline?.cancel()
    deadline = nil
    // It may be under way through this handler right now.
    context?.pipeline.syncOperations.removeHandler(self, promise: nil)
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    deadline?.cancel()
    self.context = nil
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    bytes += unwrapInboundIn(data).readableBytes
    context.fireChannelRead(data)
    // The end of the handshake may have come with the first words behind it.
    if deadline != nil, bytes > limits.handshakeBytes { self.context?.close(promise: nil) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    deadline?.cancel()
    context.fireChannelInactive()
  }
}
