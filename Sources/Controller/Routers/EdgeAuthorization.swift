import Access
import Authentication
import Fabric
import Model
import PKI
import Wire

/// Judges what routers ask on behalf of SDKs. A router's word is not enough: tokens, certificates and policies are
/// checked here again.
struct EdgeAuthorization: Sendable {
  struct Refusal: Error {
    let error: StructuredError

    init(_ text: String, _ code: EdgeErrorCode) {
      error = StructuredError(message: text, code: code, retryHint: code.usualRetryHint)
    }
  }

  let core: ControllerCore

  /// The API session of a token, used with a certificate that belongs to it. The token shows that its SDK came to the
  /// router: a digest, which routers know of every session that may come, is not enough.
  func apiSession(token: String, fingerprints: [String]) throws(Refusal) -> APISession {
    guard let session = core.sessions.apiSession(token: token, now: core.now), !session.isAdminAPI else {
      throw Refusal("invalid api session", .invalidAPISession)
    }
    guard !Set(session.certificateFingerprints).isDisjoint(with: fingerprints) else {
      throw Refusal("the client certificate does not belong to the api session", .invalidAPISession)
    }
    guard let identity = core.model({ $0.identities[session.identityId] }) else {
      throw Refusal("invalid api session: its identity is gone", .invalidAPISession)
    }
    guard !identity.isDisabled(at: core.now) else {
      throw Refusal("identity \"\(identity.name)\" is disabled", .accessDenied)
    }
    return session
  }

  /// The service session of a token that this controller signed for that API session.
  func serviceSession(token: String, of api: APISession, type: PolicyType) throws(Refusal) -> ServiceSession {
    struct ID: Decodable { var jti: String }
    guard let id = try? TokenParts(token).unverifiedClaims(as: ID.self).jti,
      let session = core.sessions.serviceSession(id),
      SecretText.equal(session.token, token), session.apiSessionId == api.id
    else { throw Refusal("invalid session", .invalidSession) }
    guard session.type == type else {
      throw Refusal("the session is for \(session.type.rawValue), not for \(type.rawValue)", .wrongSessionType)
    }
    return session
  }

  /// The service, when policies let the identity do that with it through that router.
  func service(_ id: String, identity: String, action: AccessAction, router: String) throws(Refusal) -> EdgeService {
    let (service, granted, whole) = core.model { state in
      (
        state.services[id], state.access.decide(identity: identity, service: id, action: action, router: nil),
        state.access.decide(identity: identity, service: id, action: action, router: router)
      )
    }
    guard let service else { throw Refusal("invalid service: \(id) does not exist", .invalidService) }
    guard granted.isAllowed else { throw Refusal("access denied: \(granted.text)", .accessDenied) }
    guard whole.isAllowed else {
      throw Refusal("invalid edge router for session: \(whole.text)", .invalidEdgeRouterForSession)
    }
    return service
  }
}
