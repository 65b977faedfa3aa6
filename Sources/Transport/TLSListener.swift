public import Logging
import NIOConcurrencyHelpers
public import NIOCore
public import NIOPosix
import NIOSSL
import NIOTLS
import PKI
import Synchronization
import X509

/// One TCP port that speaks TLS and hands each connection to the acceptor of its ALPN protocol. Without an identity it speaks no TLS and the fallback
/// serves everyone: for loopback, and behind a proxy that ends TLS.
///
/// Client certificates are requested and recorded, never judged in the handshake. On a resumed session NIOSSL calls no verify
/// callback and shows only the leaf; the helpers the peer sent in its full handshake are then taken from `ResumptionMemory`.
public final class TLSListener: Sendable {
  private struct Accepted: Sendable {
    let channel: any Channel
    let negotiated: EventLoopFuture<ConnectionTask>
  }

  private let host: String
  private let port: Int
  private let identity: ServerIdentity?
  private let acceptors: [String: any ConnectionAcceptor]
  private let preference: [String]
  private let fallback: (any ConnectionAcceptor)?
  private let group: any EventLoopGroup
  private let logger: Logger
  private let limits: StrangerLimits
  private let memory = ResumptionMemory(capacity: 8192)
  private let open = Atomic<Int>(0)
  private let handshaking = Atomic<Int>(0)
  private let bound = NIOLockedValueBox<NIOAsyncChannel<Accepted, Never>?>(nil)

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
    self.host = host
    self.port = port
    self.identity = identity
    self.acceptors = Dictionary(acceptors.flatMap { entry in entry.alpn.map { ($0, entry.acceptor) } }, uniquingKeysWith: { first, _ in first })
    self.preference = acceptors.flatMap(\.alpn)
    self.fallback = fallback
    self.group = group
    self.logger = logger
    self.limits = limits
  }

  /// Binds the port. Connections are accepted from now on and served once `run` is called.
  public func start() async throws -> SocketAddress {
    do {
      let channel = try await ServerBootstrap(group: group)
        .serverChannelOption(.backlog, value: 4096)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelOption(.socketOption(.so_keepalive), value: 1)
        .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        .bind(host: host, port: port) { channel in self.prepare(channel) }
      bound.withLockedValue { $0 = channel }
      guard let address = channel.channel.localAddress else {
        throw TransportError.connectFailed(address: "\(host):\(port)", reason: "no local address")
      }
      return address
    } catch let error as TransportError {
      throw error
    } catch {
      throw TransportError.connectFailed(
        address: "\(host):\(port)",
        reason: "cannot listen there: \(error). Is the port in use by another process, or the address not on this machine?")
    }
  }

  /// Serves connections until `stop` or cancellation; returns when all connection tasks ended.
  public func run() async throws {
    guard let server = bound.withLockedValue({ $0 }) else { throw TransportError.closed(reason: "listener \(host):\(port) was not started") }
    try await withTaskCancellationHandler {
      try await server.executeThenClose { inbound in
        try await withThrowingDiscardingTaskGroup { tasks in
          for try await accepted in inbound {
            tasks.addTask {
              await withTaskCancellationHandler {
                // A failed handshake is the stranger's business; it is counted, not reported.
                guard let task = try? await accepted.negotiated.get() else { return }
                await task()
              } onCancel: {
                accepted.channel.close(promise: nil)
              }
            }
          }
          tasks.cancelAll()
        }
      }
    } onCancel: {
      server.channel.close(promise: nil)
    }
  }

  public func stop() {
    bound.withLockedValue { $0 }?.channel.close(promise: nil)
  }

  /// Connections open now, for metrics.
  public var openConnections: Int { open.load(ordering: .relaxed) }

  private func prepare(_ channel: any Channel) -> EventLoopFuture<Accepted> {
    guard open.load(ordering: .relaxed) < limits.connections, handshaking.load(ordering: .relaxed) < limits.handshakes else {
      return channel.eventLoop.makeFailedFuture(TransportError.closed(reason: "too many connections"))
    }
    open.add(1, ordering: .relaxed)
    handshaking.add(1, ordering: .relaxed)
    channel.closeFuture.whenComplete { _ in self.open.subtract(1, ordering: .relaxed) }
    guard let identity else {
      handshaking.subtract(1, ordering: .relaxed)
      return channel.eventLoop.makeSucceededFuture(
        Accepted(channel: channel, negotiated: handOver(channel, shown: nil, result: .fallback)))
    }
    return channel.eventLoop.makeCompletedFuture {
      let shown = NIOLockedValueBox<[NIOSSLCertificate]?>(nil)
      let tls = NIOSSLServerHandler(context: try identity.context(alpn: self.preference)) { certificates, promise in
        shown.withLockedValue { $0 = certificates }
        promise.succeed(.certificateVerified)
      }
      let negotiation = NIOTypedApplicationProtocolNegotiationHandler<ConnectionTask> { result, channel in
        self.handOver(channel, shown: shown.withLockedValue { $0 }, result: result)
      }
      let pipeline = channel.pipeline.syncOperations
      try pipeline.addHandler(tls)
      try pipeline.addHandler(HandshakeDeadline(self.limits.handshakeTimeout))
      try pipeline.addHandler(negotiation)
      let future = negotiation.protocolNegotiationResult
      future.whenComplete { _ in self.handshaking.subtract(1, ordering: .relaxed) }
      return Accepted(channel: channel, negotiated: future)
    }
  }

  private func handOver(
    _ channel: any Channel, shown: [NIOSSLCertificate]?, result: ALPNResult
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
    return acceptor.accept(channel, peer: peer(channel, leaf: leaf, shown: shown), alpn: alpn)
  }

  private func peer(_ channel: any Channel, leaf: NIOSSLCertificate?, shown: [NIOSSLCertificate]?) -> PresentedPeer {
    let certificate = leaf.flatMap { try? Certificate(nioSSL: $0) }
    var intermediates: [Certificate] = []
    if let certificate {
      if let shown {
        // The first entry is the leaf itself; a peer gets room for a handful of helpers, not for a dictionary.
        intermediates = shown.dropFirst().prefix(8).compactMap { try? Certificate(nioSSL: $0) }
        memory.remember(certificate.sha1Fingerprint, intermediates: intermediates)
      } else {
        intermediates = memory.intermediates(of: certificate.sha1Fingerprint)
      }
    }
    return PresentedPeer(
      leaf: certificate, intermediates: intermediates, isResumed: leaf != nil && shown == nil,
      remoteAddress: channel.remoteAddress?.text ?? "unknown", localAddress: channel.localAddress?.text ?? "unknown")
  }
}

/// Helpers of leaves seen in full handshakes, by leaf fingerprint: bounded, oldest out first. It holds no verdicts.
private final class ResumptionMemory: Sendable {
  private struct State {
    var helpers: [String: [Certificate]] = [:]
    var order: [String] = []
  }

  private let state = NIOLockedValueBox(State())
  private let capacity: Int

  init(capacity: Int) { self.capacity = capacity }

  func remember(_ fingerprint: String, intermediates: [Certificate]) {
    guard !intermediates.isEmpty else { return }
    state.withLockedValue { state in
      if state.helpers.updateValue(intermediates, forKey: fingerprint) == nil { state.order.append(fingerprint) }
      if state.order.count > capacity {
        for old in state.order.prefix(capacity / 4) { state.helpers[old] = nil }
        state.order.removeFirst(capacity / 4)
      }
    }
  }

  func intermediates(of fingerprint: String) -> [Certificate] { state.withLockedValue { $0.helpers[fingerprint] ?? [] } }
}

/// Closes a connection whose TLS handshake does not complete in time.
final class HandshakeDeadline: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = NIOAny

  private let limit: TimeAmount
  private var deadline: Scheduled<Void>?

  init(_ limit: TimeAmount) { self.limit = limit }

  func handlerAdded(context: ChannelHandlerContext) {
    let channel = context.channel
    deadline = context.eventLoop.scheduleTask(in: limit) { channel.close(promise: nil) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { deadline?.cancel() }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    // Pass the event on first: a removed handler's context leads nowhere.
    context.fireUserInboundEventTriggered(event)
    if case .handshakeCompleted? = event as? TLSUserEvent {
      deadline?.cancel()
      context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    deadline?.cancel()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.fireChannelRead(data) }
}
