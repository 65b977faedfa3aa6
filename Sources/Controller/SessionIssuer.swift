import Access
import Authentication
import Foundation
import JSON
import Logging
import Model
import NIOConcurrencyHelpers
import PKI
import REST
import Store
import Transport
import X509

/// Logs identities in and gives them sessions (edge-client-api.md 3, 5.9).
struct SessionIssuer: Sendable {
  /// Routers named with a session, at most.
  private static let routerLimit = 25

  let core: ControllerCore
  private let pace = LoginPace()
  private let certificates: CertificateLogin

  init(core: ControllerCore) {
    self.core = core
    let all = core.pki.anchors.certificates
    certificates = CertificateLogin(
      roots: all.filter { $0.issuer == $0.subject }, signers: all.filter { $0.issuer != $0.subject })
  }

  // MARK: Login

  private struct Proof {
    var authenticator: Authenticator
    var fingerprints: [String] = []
    var improperChain = false
  }

  func logIn(_ request: APIRequest, isAdminAPI: Bool) async throws -> APISession {
    let address = request.peer.remoteHost
    let body = try request.object()
    let proof: Proof
    do {
      switch request.query("method") {
      case "cert": proof = try await byCertificate(request.peer)
      case "password":
        proof = try await byPassword(
          try body.required("username", body.string("username")),
          try body.required("password", body.string("password")), from: address)
      // `ext-jwt` among them, tokens of external signers: this network has no such signers.
      default: throw APIError.invalidAuth
      }
    } catch let error as APIError where error.code == .invalidAuth {
      core.facts.loginRefused()
      throw error
    }
    guard let identity = core.model({ $0.identities[proof.authenticator.identityId] }),
      !identity.isDisabled(at: core.now),
      !core.unstored.contains(.identities, identity.id),
      !core.unstored.contains(.authenticators, proof.authenticator.id)
    else { throw APIError.invalidAuth }
    guard pace.admits(identity.id, now: core.now) else {
      throw APIError(
        .rateLimited,
        "The identity \(identity.name) logs in too often; use the session that it has, or try again in a few seconds")
    }
    let sdk = try await remember(body, identity)
    let types = try body.strings("configTypes") ?? []
    let session = APISession(
      id: EntityID.short(), token: EntityID.uuid(), identityId: identity.id, authenticatorId: proof.authenticator.id,
      authenticationMethod: proof.authenticator.method, certificateFingerprints: proof.fingerprints,
      configTypes: configTypeIDs(types), ipAddress: address, lastActivityAt: core.now,
      idleTimeoutSeconds: core.configuration.sessionTimeout,
      isCertExtendable: proof.authenticator.method == .cert && proof.authenticator.isIssuedByNetwork,
      isCertExtendRequested: proof.authenticator.isExtendRequested,
      isCertKeyRollRequested: proof.authenticator.isKeyRollRequested,
      improperClientCertChain: proof.improperChain, isAdminAPI: isAdminAPI, sdkInfo: sdk, createdAt: core.now,
      updatedAt: core.now)
    let (stored, surplus) = try await core.sessions.add(session, now: core.now)
    core.publication.began(stored)
    if !surplus.isEmpty {
      core.logger.notice(
        "the longest unused sessions of an identity ended: it has as many as it may have",
        metadata: ["identity": "\(identity.name)", "limit": "\(core.configuration.sessionsPerIdentity)"])
      try await core.endSessions(apiSessions: surplus)
    }
    core.facts.apiSessionMade()
    core.logger.info(
      "logged in",
      metadata: [
        "identity": "\(identity.name)", "method": "\(proof.authenticator.method.rawValue)", "from": "\(address)",
      ])
    return stored
  }

  private func byCertificate(_ peer: PresentedPeer) async throws -> Proof {
    let verdict = try await certificates.judge(
      leaf: peer.leaf, intermediates: peer.intermediates, now: core.now.date,
      lookup: { fingerprint in
        try await core.store.read { try $0.first(Authenticator.self, field: "fingerprint", equals: fingerprint) }
      },
      policy: { core.authPolicy(of: $0.identityId).primary.cert })
    switch verdict {
    case .success(let success):
      return Proof(
        authenticator: success.authenticator, fingerprints: [success.authenticator.fingerprint ?? ""],
        improperChain: success.improperClientCertChain)
    case .failure(let refusal):
      core.logger.info(
        "login by certificate refused", metadata: ["from": "\(peer.remoteAddress)", "reason": "\(refusal.rawValue)"])
      throw APIError.invalidAuth
    }
  }

  private func byPassword(_ username: String, _ password: String, from address: String) async throws -> Proof {
    let login = PasswordLogin(attempts: core.attempts, passwords: core.passwords, clock: core.configuration.clock)
    let authenticator: Authenticator?
    do {
      authenticator = try await login.judge(
        username, password, from: address,
        lookup: { name in
          try await core.store.read { try $0.first(Authenticator.self, field: "username", equals: name) }
        },
        policy: { core.authPolicy(of: $0.identityId).primary.updb },
        mayLogIn: { authenticator in
          core.model { $0.identities[authenticator.identityId].map { !$0.isDisabled(at: core.now) } } ?? false
        },
        lockOut: { try await lockOut($0.identityId, $1) })
    } catch AuthenticationError.busy {
      throw APIError(.rateLimited, "Too many logins are being checked; try again in a moment")
    }
    guard let authenticator else { throw APIError.invalidAuth }
    return Proof(authenticator: authenticator)
  }

  private func lockOut(_ identity: String, _ rules: PrimaryAuthPolicy.Password) async throws {
    let now = core.now
    let isLocked: Bool
    do {
      isLocked = try await core.write(.system("login lock-out")) { try $0.lockOut(identity, rules, now: now) }
    } catch let error as StoreError where error.isOfDisk {
      // The lock-out could not be stored; the waits of the limiter, which grow with each guess, stand without it.
      core.logger.error("nobody is locked out", metadata: ["identity": "\(identity)", "reason": "\(error)"])
      return
    }
    if isLocked {
      core.logger.warning(
        "locked out after wrong passwords",
        metadata: ["identity": "\(identity)", "minutes": "\(rules.lockoutDurationMinutes)"])
    }
  }

  /// Keeps what the client says of itself on its identity, when it changed. - Returns: the SDK that it says it is.
  private func remember(_ body: JSONObject, _ identity: Identity) async throws -> SDKInfo? {
    let sdk = try body.object("sdkInfo").map { info in
      func text(_ names: String...) -> String {
        String(names.lazy.compactMap { info[$0]?.stringValue }.first?.prefix(200) ?? "")
      }
      return SDKInfo(
        appId: text("appID", "appId"), appVersion: text("appVersion"), branch: text("branch"),
        revision: text("revision"), type: text("type"),
        version: text("version"))
    }
    let env = try body.object("envInfo").map { info in
      func text(_ name: String) -> String { String(info[name]?.stringValue?.prefix(200) ?? "") }
      return EnvInfo(
        arch: text("arch"), os: text("os"), osRelease: text("osRelease"), osVersion: text("osVersion"),
        domain: text("domain"),
        hostname: text("hostname"))
    }
    guard (sdk != nil && sdk != identity.sdkInfo) || (env != nil && env != identity.envInfo) else { return sdk }
    do {
      _ = try await core.write(.system("login")) { transaction in
        guard var stored = try transaction.get(Identity.self, identity.id) else { return }
        stored.sdkInfo = sdk ?? stored.sdkInfo
        stored.envInfo = env ?? stored.envInfo
        try transaction.put(stored)
      }
    } catch let error as StoreError where error.isOfDisk {
      // The login goes on: what a client says of itself may be stored another time.
      core.logger.warning("not stored", metadata: ["what": "client of \(identity.name)", "reason": "\(error)"])
    }
    return sdk
  }

  /// Ids of config types given by name or id; unknown ones are dropped, `all` stays.
  func configTypeIDs(_ names: [String]) -> [String] {
    if names.contains("all") { return ["all"] }
    return core.model { state in
      let ids = Dictionary(state.configTypes.values.map { ($0.name, $0.id) }, uniquingKeysWith: { first, _ in first })
      return names.compactMap { ids[$0] ?? (state.configTypes[$0] == nil ? nil : $0) }
    }
  }

  /// Who calls, by the session token of the request.
  func caller(_ request: APIRequest) -> Caller? {
    let shown = request.peer.fingerprint
    guard let token = request.header("zt-session"),
      let session = core.sessions.use(
        token: token, now: core.now,
        // A token alone is not enough where a certificate was: the wrong one, or none, answers like an unknown token.
        if: { !$0.isCertificateBound || (shown.map($0.certificateFingerprints.contains) ?? false) }),
      let identity = core.model({ $0.identities[session.identityId] }), !identity.isDisabled(at: core.now)
    else { return nil }
    let seconds = max(0, session.endsAt.milliseconds(since: core.now) / 1000)
    return Caller(
      identityID: identity.id, identityName: identity.name,
      // Routers of other makers know the tokens of client sessions: such a token alone administrates nothing.
      isAdmin: identity.isAdmin && (session.isAdminAPI || session.isCertificateBound), apiSessionID: session.id,
      sessionHeaders: [("expiration-seconds", "\(seconds)"), ("expires-at", session.endsAt.text)])
  }

  func session(of caller: Caller) throws -> APISession {
    guard let session = core.sessions.apiSession(caller.apiSessionID) else { throw APIError.unauthorized }
    return session
  }

  // MARK: Service sessions

  /// A session for a service, the existing one if there is one.
  func serviceSession(_ caller: Caller, service id: String, type: PolicyType) async throws -> ServiceSession {
    let action = AccessAction(type)
    let (service, actions, routers, policies) = core.model { state in
      (
        state.services[id], state.access.grants.actions(identity: caller.identityID, service: id),
        state.access.commonRouters(identity: caller.identityID, service: id),
        state.access.grants.policies(identity: caller.identityID, service: id, action: action)
      )
    }
    guard let service, actions.contains(action) else {
      // 404 also without the permission: on 400 C SDKs start over for nothing (edge-client-api.md 5.9).
      let reason = core.model {
        $0.access.decide(identity: caller.identityID, service: id, action: action, router: nil).text
      }
      core.logger.info(
        "session refused", metadata: ["identity": "\(caller.identityName)", "service": "\(id)", "reason": "\(reason)"])
      // The reason is the operator's: it would tell a caller without rights that the service exists, and its name.
      throw APIError.notFound("The service \(id) was not found or may not be used for \(type.rawValue)")
    }
    guard !routers.isEmpty else {
      throw APIError(
        .noEdgeRouters,
        "No edge routers are available: no edge router policy and service edge router policy have a router in common for identity \(caller.identityName) and service \(service.name)"
      )
    }
    if let known = core.sessions.serviceSession(apiSession: caller.apiSessionID, service: id, type: type) {
      return known
    }
    guard core.sessionPace.admits(caller.identityID, now: core.now) else {
      throw APIError(
        .rateLimited,
        "The identity \(caller.identityName) has sessions for services made too often; keep those that it has, or try again in a few seconds"
      )
    }
    let sessionID = EntityID.short()
    let now = core.now
    let claims = ServiceSessionClaims(
      iss: core.url, serviceID: id, sessionID: sessionID, apiSessionID: caller.apiSessionID,
      identityID: caller.identityID, type: type.rawValue,
      // Routers and clients with slow clocks must not find it in their future.
      issuedAt: now.secondsSinceEpoch - 60, expiresAt: now.secondsSinceEpoch + Int64(SessionRegistry.tokenLifetime))
    let token = try await core.pki.signer.sign(claims)
    core.facts.serviceSessionMade()
    let session = ServiceSession(
      id: sessionID, apiSessionId: caller.apiSessionID, identityId: caller.identityID, serviceId: id, type: type,
      token: token,
      servicePolicies: policies, createdAt: now, updatedAt: now)
    do { return try await core.sessions.addIfAbsent(session, now: now) } catch SessionRegistry.Refusal
      .tooManyServiceSessions(let limit)
    {
      throw APIError(
        .rateLimited,
        "The identity \(caller.identityName) has \(limit) sessions for services, as many as it may have; log out where they are not needed"
      )
    } catch SessionRegistry.Refusal.apiSessionEnded {
      throw APIError.unauthorized
    }
  }

  /// Routers an identity may use for a service, connected ones first.
  func routers(identity: String, service: String) -> [EdgeRouterEntity] {
    let routers = core.model { state in
      state.access.commonRouters(identity: identity, service: service).compactMap { state.edgeRouters[$0] }
    }
    let online = core.routers.online
    return Array(
      routers.filter { !$0.disabled }.sorted {
        (online.contains($0.id) ? 0 : 1, $0.name) < (online.contains($1.id) ? 0 : 1, $1.name)
      }.prefix(
        Self.routerLimit))
  }

  func render(_ session: ServiceSession) throws -> JSONObject {
    var object = try Rendering.base(session)
    // Which policies grant it is for administrators.
    object["servicePolicies"] = nil
    // The stored row has the token sealed; memory has it in clear.
    object["token"] = .string(core.sessions.serviceSession(session.id)?.token ?? "")
    object["service"] = Rendering.reference(
      .services, session.serviceId, core.model { $0.services[session.serviceId]?.name })
    object["apiSession"] = Rendering.reference(.apiSessions, session.apiSessionId, nil)
    object["edgeRouters"] = .array(
      try routers(identity: session.identityId, service: session.serviceId).map {
        .object(try Rendering.sessionRouter($0, core.routers[$0.id]))
      })
    return object
  }
}
