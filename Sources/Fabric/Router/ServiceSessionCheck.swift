public import Access

/// What a service session token says, once its signature is verified.
public struct PresentedServiceSession: Sendable, Equatable {
  /// `jti`
  public var sessionID: String
  /// `sub`
  public var serviceID: String
  /// `z_asid`
  public var apiSessionID: String
  /// `z_iid`
  public var identityID: String
  /// `z_t`
  public var tokenType: String
  /// `z_st`
  public var sessionType: String

  public init(
    sessionID: String, serviceID: String, apiSessionID: String, identityID: String, tokenType: String,
    sessionType: String
  ) {
    self.sessionID = sessionID
    self.serviceID = serviceID
    self.apiSessionID = apiSessionID
    self.identityID = identityID
    self.tokenType = tokenType
    self.sessionType = sessionType
  }
}

/// Why a router does not carry out what an SDK asks.
public enum EdgeRefusal: Error, Sendable, Equatable {
  /// Not a token of this network, expired, deleted, or of somebody else.
  case invalidSession
  case wrongType(expected: AccessAction, got: String)
  case serviceGone
  case noAccess(Decision)
  case encryptionDataMissing
  /// Between the judgement of a bind and its entry.
  case encryptionChanged
}

extension RouterModel {
  /// Judges a request made with a service session: the session must be the caller's own and of the right kind, and
  /// policies must allow it now.
  ///
  /// - Parameters:
  ///   - session: of the channel that sent the token.
  ///   - hasPublicKey: whether a dialler sent a key for the end-to-end encryption.
  public func judge(
    _ presented: PresentedServiceSession, for action: AccessAction, session: SessionTable.APISession,
    hasPublicKey: Bool = true
  ) throws(EdgeRefusal) {
    guard presented.tokenType == "s", presented.apiSessionID == session.id, presented.identityID == session.identityID
    else {
      throw .invalidSession
    }
    guard presented.sessionType == action.rawValue else {
      throw .wrongType(expected: action, got: presented.sessionType)
    }
    guard let service = services[presented.serviceID] else { throw .serviceGone }
    let decision = decide(identity: session.identityID, service: presented.serviceID, action: action)
    guard decision.isAllowed else { throw .noAccess(decision) }
    guard action != .dial || hasPublicKey || !service.encryptionRequired else { throw .encryptionDataMissing }
  }
}
