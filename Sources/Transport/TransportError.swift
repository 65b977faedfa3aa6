public import Wire

/// What can go wrong between two processes, said so that a person can act on it.
public enum TransportError: Error, Sendable, CustomStringConvertible {
  /// The text is not `tls:host:port` or `tls://host:port`.
  case badAddress(String)
  /// The URL is not `https://host[:port]/path`.
  case badURL(String)
  /// No TCP connection could be made.
  case connectFailed(address: String, reason: String)
  /// TLS could not be agreed on.
  case handshakeFailed(address: String, reason: String)
  /// What answers there speaks no TLS.
  case notTLS(address: String)
  /// The server proved another identity than the one asked for.
  case serverNotTrusted(address: String, reason: String)
  /// Something took longer than it may; `what` says what.
  case timedOut(what: String)
  /// The peer answered the hello with a refusal; the text is the peer's.
  case helloRefused(address: String, reason: String, headers: Headers)
  /// The peer said something that the protocol does not allow.
  case protocolViolation(String)
  /// The connection ended, or was ended, before the work on it was done.
  case closed(reason: String)
  /// An answer over HTTP is longer than was asked for, in bytes.
  case answerTooLarge(limit: Int)
  /// The peer took nothing while messages for it piled up, `queued` in bytes.
  case peerDoesNotRead(queued: Int)

  public var description: String {
    switch self {
    case .badAddress(let text):
      "\"\(text)\" is not an address; write it as tls:host:port, an IPv6 address in brackets: tls:[::1]:1280"
    case .badURL(let text): "\"\(text)\" is not an https URL; write it as https://host:port/path"
    case .connectFailed(let address, let reason): "cannot connect to \(address): \(reason)"
    case .handshakeFailed(let address, let reason): "TLS handshake with \(address) failed: \(reason)"
    case .notTLS(let address): "\(address) does not speak TLS"
    case .serverNotTrusted(let address, let reason): "the certificate of \(address) is not trusted: \(reason)"
    case .timedOut(let what): "\(what) timed out"
    case .helloRefused(let address, let reason, _):
      "\(address) refused the channel: \(reason.isEmpty ? "no reason given" : reason)"
    case .protocolViolation(let what): "protocol violation by the peer: \(what)"
    case .closed(let reason): "the channel is closed: \(reason)"
    case .answerTooLarge(let limit): "the answer exceeds \(limit) bytes"
    case .peerDoesNotRead(let queued): "the peer does not read; closed with \(queued) bytes queued"
    }
  }
}
