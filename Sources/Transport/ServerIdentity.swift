import NIOConcurrencyHelpers
import NIOCore
package import NIOSSL
public import PKI
import X509

/// The certificate and key a listener proves. Replaced without a restart: handshakes that begin after `replace` use the
/// new one.
public final class ServerIdentity: Sendable {
  private struct State {
    var chain: CertificateChain
    var key: PrivateKey
    var contexts: [[String]: NIOSSLContext] = [:]
  }

  private let state: NIOLockedValueBox<State>

  /// - Throws: when key and chain do not belong together or cannot be used for TLS.
  public init(chain: CertificateChain, key: PrivateKey) throws {
    state = NIOLockedValueBox(State(chain: chain, key: key))
    _ = try context(alpn: [])
  }

  public var chain: CertificateChain { state.withLockedValue { $0.chain } }
  public var key: PrivateKey { state.withLockedValue { $0.key } }

  public func replace(chain: CertificateChain, key: PrivateKey) throws {
    let probe = try ServerIdentity(chain: chain, key: key)
    let fresh = probe.state.withLockedValue { $0 }
    state.withLockedValue { $0 = fresh }
  }

  /// The TLS context for listeners that offer these protocols, most wanted first. Building one takes about a
  /// millisecond, so they are kept.
  package func context(alpn: [String]) throws -> NIOSSLContext {
    try state.withLockedValue { state in
      if let known = state.contexts[alpn] { return known }
      var tls = TLSConfiguration.makeServerConfiguration(
        certificateChain: try state.chain.all.map {
          .certificate(try NIOSSLCertificate(bytes: $0.derBytes, format: .der))
        },
        privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(state.key.pem.utf8), format: .pem)))
      tls.applicationProtocols = alpn
      tls.minimumTLSVersion = .tlsv12
      // Requested, never required: the application decides what a certificate is worth (edge-client-api.md 1.1).
      tls.certificateVerification = .optionalVerification
      let context = try NIOSSLContext(configuration: tls)
      state.contexts[alpn] = context
      return context
    }
  }
}
