import Authentication
import JSON
import Model
import PKI
import REST
import Store
import X509

/// Logging in and what belongs to the API session in use (edge-client-api.md 3, 5.4, 5.10).
enum SessionEndpoints {
  /// In every API. - Parameter isAdminAPI: whether sessions made here are for administration.
  static func shared(_ issuer: SessionIssuer, isAdminAPI: Bool) -> [Endpoint] {
    let core = issuer.core
    return [
      .open(
        "POST", "/authenticate", body: RequestBody(.login, isRequired: false),
        words: [QueryWords("method", ["password", "cert", "ext-jwt"], isRequired: true)],
        "Log in by certificate or password"
      ) { request in
        let session = try await issuer.logIn(request, isAdminAPI: isAdminAPI)
        var response = render(core, session)
        response.headers.append(("zt-session", session.token))
        return response
      },
      Endpoint("POST", "/authenticate/mfa", body: RequestBody(.code), "Answer a second factor") { _, _ in
        throw APIError(.mfaNotEnrolled, "The identity has no second factor")
      },
      Endpoint("GET", "/current-api-session", "Show and prolong the session in use") { _, caller in
        render(core, try issuer.session(of: caller))
      },
      Endpoint("DELETE", "/current-api-session", "Log out") { _, caller in
        try await core.endSessions(apiSessions: [caller.apiSessionID])
        return .empty
      },
    ]
  }

  private static func render(_ core: ControllerCore, _ session: APISession) -> APIResponse {
    .data(.object(Rendering.apiSession(session, core.model { $0.identities[session.identityId] }, now: core.now)))
  }

  static func client(_ issuer: SessionIssuer) -> [Endpoint] {
    let core = issuer.core
    let start = core.now
    let certificates = "/current-api-session/certificates"
    return [
      Endpoint("GET", "/current-api-session/service-updates", "When the services of the caller changed last") {
        _, caller in
        let session = try issuer.session(of: caller)
        let changed = core.model { $0.lastChange[caller.identityID] } ?? max(session.createdAt, start)
        return .data(["lastChangeAt": .string(changed.text)])
      },
      Endpoint(
        "POST", certificates, body: RequestBody(["csr": .required(.text)]), "A certificate for the session in use"
      ) { request, caller in
        let session = try issuer.session(of: caller)
        let body = try request.object()
        let made = try await issuer.certify(session, try body.required("csr", body.string("csr")))
        return .data(
          [
            "id": .string(made.id), "_links": Rendering.links("current-api-session/certificates", made.id),
            "certificate": .string(made.pem),
            "cas": .string(core.pki.bundlePEM),
          ], status: 201)
      },
      Endpoint("GET", certificates, "Certificates of the session in use") { request, caller in
        try await ClientAPI.page(
          core, APISessionCertificate.self, request, caller, symbols: ClientSymbols.certificates,
          ids: {
            Set(try $0.all(APISessionCertificate.self, field: "apiSessionId", equals: caller.apiSessionID).map(\.id))
          }, certificate)
      },
      Endpoint("GET", certificates + "/{id}", "A certificate of the session in use") { request, caller in
        .data(.object(try certificate(try await owned(core, request, caller))))
      },
      Endpoint("DELETE", certificates + "/{id}", "Withdraw a certificate of the session in use") { request, caller in
        try await issuer.withdraw(try await owned(core, request, caller))
        return .empty
      },
    ]
  }

  private static func owned(_ core: ControllerCore, _ request: APIRequest, _ caller: Caller) async throws
    -> APISessionCertificate
  {
    let id = request.parameter("id")
    guard let found = try await core.store.read({ try $0.get(APISessionCertificate.self, id) }),
      found.apiSessionId == caller.apiSessionID
    else {
      throw StoreError.notFound(kind: .apiSessionCertificates, id: id)
    }
    return found
  }

  private static func certificate(_ entity: APISessionCertificate) throws -> JSONObject {
    var object = try Rendering.base(entity)
    object["certificate"] = .string(entity.pem)
    object["pem"] = nil
    object["_links"] = Rendering.links("current-api-session/certificates", entity.id)
    return object
  }
}

extension SessionIssuer {
  /// Certificates a session may have; SDKs renew one after eight of its twelve hours.
  private static let certificateLimit = 10

  /// Issues a certificate that is good for one API session, for identities that have none of their own. The oldest
  /// makes room where there are too many.
  func certify(_ session: APISession, _ text: String) async throws -> APISessionCertificate {
    try core.admitCertificate(session.identityId)
    let request = try EnrollmentAuthority.request(text)
    let known = try await core.store.read {
      try $0.all(APISessionCertificate.self, field: "apiSessionId", equals: session.id)
    }
    for old in known.sorted(by: { $0.createdAt < $1.createdAt }).prefix(max(0, known.count - Self.certificateLimit + 1))
    { try await withdraw(old) }
    let id = EntityID.short()
    let chain = try core.pki.signingAuthority.issueAPISession(
      publicKey: request.publicKey, identityID: session.identityId, apiSessionID: session.id, certificateID: id,
      trustDomain: core.pki.trustDomain,
      now: core.now.date)
    let made = APISessionCertificate(
      id: id, apiSessionId: session.id, subject: "\(chain.leaf.subject)", fingerprint: chain.leaf.sha1Fingerprint,
      validFrom: Timestamp(chain.leaf.notValidBefore), validTo: Timestamp(chain.leaf.notValidAfter), pem: chain.pem)
    _ = try await core.store.write(.system("session"), now: core.now) { try $0.put(made) }
    try await core.changeFingerprints(of: session.id) { $0.append(made.fingerprint) }
    return made
  }

  func withdraw(_ certificate: APISessionCertificate) async throws {
    _ = try await core.store.write(.system("session"), now: core.now) {
      try $0.delete(APISessionCertificate.self, certificate.id)
    }
    try await core.changeFingerprints(of: certificate.apiSessionId) { $0.removeAll { $0 == certificate.fingerprint } }
  }
}

extension ControllerCore {
  /// - Throws: when the identity has had too many certificates made lately.
  nonisolated func admitCertificate(_ identity: String) throws(APIError) {
    guard identityCertificatePace.admits(identity, now: now) else {
      throw APIError(
        .rateLimited,
        "Too many certificates were made for the identity lately; use the one that it has, or try again in a few seconds"
      )
    }
  }

  /// Changes the certificates an API session may be used with; routers know it before this returns.
  nonisolated func changeFingerprints(of session: String, _ change: @Sendable (inout [String]) -> Void) async throws {
    guard try await sessions.changeFingerprints(of: session, now: now, change) else { throw APIError.unauthorized }
    publication.changed(session)
  }
}
