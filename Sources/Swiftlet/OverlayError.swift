public import SealedStream
import Wire

/// Why something on the overlay did not work, with the words of the side that refused.
public enum OverlayError: Error, Sendable, Equatable, CustomStringConvertible {
  /// No controller of the identity answered.
  case controllerUnreachable(reason: String)
  /// The controller answered with an error; `code` is the stable code of its error catalogue.
  case controllerRefused(operation: String, status: Int, code: String, message: String)
  /// The identity is not accepted, or needs a second factor that this SDK does not offer.
  case notAuthenticated(reason: String)
  /// The token does not lead to an identity.
  case enrollmentRefused(reason: String)
  /// The controller answered something that this SDK cannot read: another program, or a proxy, may stand there.
  case badAnswer(operation: String, reason: String)
  /// No service of that name is visible to the identity.
  case serviceNotFound(name: String)
  /// The service is visible, but no policy allows this.
  case notPermitted(service: String, action: String)
  /// No edge router may carry this service for this identity.
  case noRouters(service: String)
  /// None of the routers that may carry the service could be reached in time.
  case routersUnreachable(service: String, reason: String)
  /// The router or the hosting side refused the connection; `text` is theirs.
  case dialRefused(service: String, text: String, error: OverlayRefusal?)
  /// The router refused to let this identity host; `text` is its own.
  case bindRefused(service: String, text: String, error: OverlayRefusal?)
  /// The service demands end-to-end encryption and the other side sent no key.
  case peerDoesNotEncrypt(service: String)
  /// A byte of the encrypted stream was changed, lost or repeated on the way.
  case encryptionBroken(SealedStreamError)
  /// The connection ended before both sides were done; `text` is the router's.
  case connectionClosed(text: String)
  /// The channel to the router is gone.
  case channelLost(router: String, reason: String)
  /// The other side said something that the protocol does not allow.
  case protocolViolation(String)
  /// Nobody answered in time; `what` was waited for.
  case timedOut(what: String)
  /// The overlay, listener or stream was closed by this program.
  case closed
  /// Two tasks read from one stream at the same time.
  case concurrentReads

  /// What went wrong, with the words of the side that refused, and what to do where that is known.
  public var description: String {
    switch self {
    case .controllerUnreachable(let reason): "no controller answers: \(reason)"
    case .controllerRefused(let operation, let status, let code, let message):
      "the controller refused to \(operation): \(message) (\(code), HTTP \(status))"
    case .notAuthenticated(let reason): "the controller does not accept this identity: \(reason)"
    case .enrollmentRefused(let reason): "cannot enroll: \(reason)"
    case .badAnswer(let operation, let reason): "the controller's answer to \"\(operation)\" cannot be read: \(reason)"
    case .serviceNotFound(let name):
      "no service \"\(name)\" for this identity; check the name and that a service policy grants it"
    case .notPermitted(let service, let action):
      "no service policy lets this identity \(action.lowercased()) \"\(service)\"; ask for a \(action) policy"
    case .noRouters(let service):
      "no edge router may carry \"\(service)\" for this identity; check edge-router and service-edge-router policies"
    case .routersUnreachable(let service, let reason): "no edge router of \"\(service)\" can be reached: \(reason)"
    case .dialRefused(let service, let text, _): "cannot connect to \"\(service)\": \(text)"
    case .bindRefused(let service, let text, _): "cannot host \"\(service)\": \(text)"
    case .peerDoesNotEncrypt(let service):
      "\"\(service)\" demands end-to-end encryption, and the other side sent no key"
    case .encryptionBroken(let error): "\(error)"
    case .connectionClosed(let text): "the connection was closed: \(text.isEmpty ? "no reason given" : text)"
    case .channelLost(let router, let reason): "the channel to router \(router) is lost: \(reason)"
    case .protocolViolation(let what): "protocol violation: \(what)"
    case .timedOut(let what): "\(what) took too long"
    case .closed: "closed by this program"
    case .concurrentReads: "two tasks read from one stream at the same time; let one task read"
    }
  }

  /// Whether a new service session may help: the router does not know the one it was shown (edge-data-plane.md 4.2,
  /// 9.3), or none of its routers can be reached.
  var speaksOfSession: Bool {
    switch self {
    case .dialRefused(_, let text, let error), .bindRefused(_, let text, let error):
      if text.lowercased() == EdgeMessages.StateClosed.invalidSessionText.lowercased() { return true }
      switch error?.error.code {
      case .invalidAPISession, .invalidSession, .wrongSessionType, .invalidEdgeRouterForSession, .invalidAPISessionType:
        return true
      default: return false
      }
    case .routersUnreachable: return true
    default: return false
    }
  }

  /// Whether the service may be another one than the SDK knows, or be encrypted otherwise.
  var speaksOfService: Bool {
    switch self {
    case .dialRefused(_, _, let error), .bindRefused(_, _, let error):
      switch error?.error.code {
      case .accessDenied, .invalidService, .encryptionDataMissing: true
      default: false
      }
    case .notPermitted, .peerDoesNotEncrypt: true
    default: false
    }
  }

  /// Whether nobody hosts the service now (edge-data-plane.md 4.6): its hosts may be about to bind anew.
  var saysUnhosted: Bool {
    if case .dialRefused(_, let text, _) = self {
      text.contains("no terminators") || text.contains("no online terminators")
    } else {
      false
    }
  }

  /// Whether the router, the controller or the host said no.
  var isRefusal: Bool {
    switch self {
    case .dialRefused, .peerDoesNotEncrypt, .notPermitted: true
    default: false
    }
  }
}
