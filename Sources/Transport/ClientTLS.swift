import Foundation
import NIOConcurrencyHelpers
public import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
public import PKI
public import X509

/// Which server certificate a client believes.
public enum ServerTrust: Sendable {
  /// The chain must reach one of these, and the certificate must name the host that was dialled, and be one for that
  /// role.
  case anchors(TrustAnchors, as: ServerRole = .any)
  /// Exactly this leaf: enrollment, where the token already proved it (edge-client-api.md 2.2).
  case leaf(Certificate)
  /// Any, only to look at the certificate.
  case any
}

extension ServerTrust {
  /// Where systems keep the roots that their browsers believe.
  private static let systemFiles = [
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
  ]

  /// The roots of this system, or those of a PEM file.
  /// - Throws: `PKIError` when a given file has no certificates; a system without roots trusts nobody.
  public static func roots(file: String? = nil) throws -> ServerTrust {
    if let file {
      let text = String(decoding: FileText.withoutMark(try Data(contentsOf: URL(fileURLWithPath: file))), as: UTF8.self)
      return .anchors(TrustAnchors(try Certificate.list(pem: text)))
    }
    for file in systemFiles {
      guard let text = try? String(contentsOfFile: file, encoding: .utf8), let roots = try? Certificate.list(pem: text)
      else { continue }
      return .anchors(TrustAnchors(roots))
    }
    return .anchors(TrustAnchors([]))
  }
}

/// The client's side of TLS: what it proves and whom it believes.
public final class ClientTLS: Sendable {
  private let chain: CertificateChain?
  private let key: PrivateKey?
  public let trust: ServerTrust
  private let contexts = NIOLockedValueBox<[[String]: NIOSSLContext]>([:])

  /// - Parameters:
  ///   - chain: certificate to present, with `key`; nil presents none.
  ///   - trust: which server certificates are believed.
  public init(chain: CertificateChain? = nil, key: PrivateKey? = nil, trust: ServerTrust) {
    self.chain = chain
    self.key = key
    self.trust = trust
  }

  private func context(alpn: [String]) throws -> NIOSSLContext {
    try contexts.withLockedValue { contexts in
      if let known = contexts[alpn] { return known }
      var tls = TLSConfiguration.makeClientConfiguration()
      tls.minimumTLSVersion = .tlsv12
      tls.applicationProtocols = alpn
      if let chain, let key {
        tls.certificateChain = try chain.all.map {
          .certificate(try NIOSSLCertificate(bytes: $0.derBytes, format: .der))
        }
        tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(key.pem.utf8), format: .pem))
      }
      let context = try NIOSSLContext(configuration: tls)
      contexts[alpn] = context
      return context
    }
  }

  /// Connects, completes the handshake and judges the server.
  ///
  /// - Parameters:
  ///   - alpn: protocols to offer; empty offers none, as Go SDKs do.
  ///   - timeout: for connecting and for the handshake, each.
  ///   - prepare: runs on the event loop when the handshake is complete and installs the protocol's handlers.
  /// - Throws: `TransportError`.
  public func connect<Output: Sendable>(
    host: String, port: Int, alpn: [String], group: any EventLoopGroup, timeout: TimeAmount,
    prepare: @escaping @Sendable (any Channel, PresentedPeer) throws -> Output
  ) async throws -> Output {
    let address = HostPort(host: host, port: port).description
    let verdict = NIOLockedValueBox<TransportError?>(nil)
    let context: NIOSSLContext
    do {
      context = try self.context(alpn: alpn)
    } catch {
      throw TransportError.handshakeFailed(
        address: address, reason: "own certificate and key cannot be used: \(ErrorText.words(error))")
    }
    let trust = self.trust
    // A name may lead to several addresses, so to several channels, of which one wins.
    let outputs = NIOLockedValueBox<[ObjectIdentifier: EventLoopFuture<Output>]>([:])
    let channel: any Channel
    do {
      channel = try await ClientBootstrap(group: group)
        .connectTimeout(timeout)
        .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .channelOption(.socketOption(.so_keepalive), value: 1)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            let shown = NIOLockedValueBox<[Certificate]>([])
            let tls = try NIOSSLClientHandler(context: context, serverHostname: host.isIPAddress ? nil : host) {
              certificates, promise in
              promise.completeWithTask {
                let certificates = certificates.compactMap { try? Certificate(nioSSL: $0) }
                shown.withLockedValue { $0 = certificates }
                guard let problem = await trust.problem(with: certificates, host: host) else {
                  return .certificateVerified
                }
                verdict.withLockedValue { $0 = .serverNotTrusted(address: address, reason: problem) }
                return .failed
              }
            }
            let gate = HandshakeGate(loop: channel.eventLoop, timeout: timeout)
            let output = gate.completed.flatMapThrowing {
              let certificates = shown.withLockedValue { $0 }
              let peer = PresentedPeer(
                leaf: certificates.first, intermediates: Array(certificates.dropFirst()), isResumed: false,
                remoteAddress: channel.remoteAddress?.text ?? address,
                localAddress: channel.localAddress?.text ?? "unknown")
              return try prepare(channel, peer)
            }
            outputs.withLockedValue { $0[ObjectIdentifier(channel)] = output }
            try channel.pipeline.syncOperations.addHandler(tls)
            try channel.pipeline.syncOperations.addHandler(gate)
          }
        }
        .connect(host: host, port: port).get()
    } catch {
      throw TransportError.connectFailed(address: address, reason: ErrorText.words(error))
    }
    do {
      guard let output = outputs.withLockedValue({ $0[ObjectIdentifier(channel)] }) else {
        throw TransportError.closed(reason: "the connection was not prepared")
      }
      return try await output.get()
    } catch {
      channel.close(promise: nil)
      if let verdict = verdict.withLockedValue({ $0 }) { throw verdict }
      if let error = error as? TransportError { throw error }
      if ErrorText.isNotTLS(error) { throw TransportError.notTLS(address: address) }
      throw TransportError.handshakeFailed(address: address, reason: ErrorText.words(error))
    }
  }
}

extension ServerTrust {
  /// - Returns: why the certificates are not believed, nil when they are.
  func problem(with certificates: [Certificate], host: String) async -> String? {
    guard let leaf = certificates.first else { return "the server showed no certificate" }
    switch self {
    case .any: return nil
    case .leaf(let expected):
      return leaf.derBytes == expected.derBytes
        ? nil : "another certificate than the one that signed the token (\(leaf.sha1Fingerprint))"
    case .anchors(let anchors, let role):
      switch await anchors.verify(
        leaf: leaf, intermediates: Array(certificates.dropFirst().prefix(8)), now: Date(), purpose: .serverAuth,
        ignoreLeafExpiry: false)
      {
      case .failure(let error): return "\(error)"
      case .success: return leaf.names(host: host) ? role.problem(with: leaf) : "the certificate does not name \(host)"
      }
    }
  }
}

/// Tells when the handshake is complete. What follows on its future runs within the event itself, before the peer's
/// first byte and before the peer can be seen closing the connection; then the gate leaves the pipeline.
private final class HandshakeGate: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer

  private let promise: EventLoopPromise<Void>
  private var deadline: Scheduled<Void>?
  private let timeout: TimeAmount

  var completed: EventLoopFuture<Void> { promise.futureResult }

  init(loop: any EventLoop, timeout: TimeAmount) {
    promise = loop.makePromise()
    self.timeout = timeout
  }

  func handlerAdded(context: ChannelHandlerContext) {
    let promise = self.promise
    deadline = context.eventLoop.scheduleTask(in: timeout) {
      promise.fail(TransportError.timedOut(what: "TLS handshake"))
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    // Pass the event on first: the handlers to come were not there when it happened, and a removed handler's context
    // leads nowhere.
    context.fireUserInboundEventTriggered(event)
    guard case .handshakeCompleted? = event as? TLSUserEvent else { return }
    deadline?.cancel()
    promise.succeed(())
    context.pipeline.syncOperations.removeHandler(self, promise: nil)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    promise.fail(error)
    context.fireErrorCaught(error)
  }

  func channelInactive(context: ChannelHandlerContext) {
    deadline?.cancel()
    promise.fail(TransportError.closed(reason: "the server closed the connection in the handshake"))
    context.fireChannelInactive()
  }
}
