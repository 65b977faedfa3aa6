import Access
import Authentication
import JSON
import Model
import PKI
import REST
import Store
import Transport
import X509

/// The caller's own identity, routers and authenticators (edge-client-api.md 2.9, 2.10, 5.2, 5.3).
enum IdentityEndpoints {
  /// In every API.
  static func shared(_ core: ControllerCore) -> [Endpoint] {
    [
      Endpoint("GET", "/current-identity", "Show the caller") { _, caller in
        .data(
          .object(
            try await core.store.read { reader in
              var object = try reader.require(Identity.self, caller.identityID).detail(
                DetailView(core: core, reader: reader, caller: caller))
              object["_links"] = ["self": ["href": "./current-identity"], "mfa": ["href": "./current-identity/mfa"]]
              // Tokens of outstanding invitations are the administrator's to hand out.
              object["enrollment"] = [:]
              return object
            }))
      }
    ] + authenticators(core)
  }

  static func client(_ core: ControllerCore) -> [Endpoint] {
    [
      Endpoint("GET", "/current-identity/edge-routers", "Edge routers the caller may use") { request, caller in
        let ids = core.model { state in
          (caller.isAdmin ? Set(state.edgeRouters.keys) : state.access.routers(identity: caller.identityID))
            .filter { state.edgeRouters[$0]?.isVerified == true }
        }
        return try await ClientAPI.page(
          core, EdgeRouterEntity.self, request, caller, symbols: ClientSymbols.edgeRouters, ids: { _ in ids }
        ) {
          router in
          [
            "id": .string(router.id), "createdAt": .string(router.createdAt.text),
            "updatedAt": .string(router.updatedAt.text),
            "tags": .object(router.tags), "_links": Rendering.links("edge-routers", router.id),
          ].merging(try Rendering.routerCommon(router, core.routers[router.id])) { $1 }
        }
      }
    ]
  }

  private static func authenticators(_ core: ControllerCore) -> [Endpoint] {
    let base = "/current-identity/authenticators"
    return [
      Endpoint("GET", base, "Authenticators of the caller") { request, caller in
        try await ClientAPI.page(
          core, Authenticator.self, request, caller, symbols: ClientSymbols.authenticators,
          ids: { Set(try $0.all(Authenticator.self, field: "identityId", equals: caller.identityID).map(\.id)) }
        ) { try own($0, core) }
      },
      Endpoint("GET", base + "/{id}", "An authenticator of the caller") { request, caller in
        .data(.object(try own(try await owned(core, request, caller), core)))
      },
      Endpoint(
        "POST", base + "/{id}/extend", body: RequestBody(["clientCertCsr": .required(.text)]),
        "Ask for a new certificate"
      ) {
        request, caller in
        let body = try request.object()
        let chain = try await CertificateExtension(core: core).request(
          request.parameter("id"), caller, request.peer,
          csr: try body.required("clientCertCsr", body.string("clientCertCsr")))
        return .data(["clientCert": .string(chain.pem), "ca": .string(core.pki.bundlePEM)])
      },
      Endpoint(
        "POST", base + "/{id}/extend-verify", body: RequestBody(["clientCert": .required(.text)]),
        "Take a new certificate into use"
      ) {
        request, caller in
        let body = try request.object()
        try await CertificateExtension(core: core).activate(
          request.parameter("id"), caller, pem: try body.required("clientCert", body.string("clientCert")))
        return .empty
      },
    ]
      + [("PUT", false, BodyShape.ownAuthenticator), ("PATCH", true, BodyShape.ownAuthenticatorPatch)].map {
        method, partial, shape in
        Endpoint(method, base + "/{id}", body: RequestBody(shape), "Change user name or password") { request, caller in
          let own = try await owned(core, request, caller)
          let body = try request.object()
          guard own.method == .updb else {
            throw OperationError.authenticatorCannotChange(reason: "it is a certificate; extend it instead")
          }
          let current = try body.required("currentPassword", body.string("currentPassword"))
          // A session is no right to guess the password: wrong ones count here as they do at a login.
          let (username, address) = (own.username ?? own.id, request.peer.remoteHost)
          try core.attempts.begin(username, from: address, now: core.now)
          guard try await core.passwords.verify(current, against: own.password, from: address) else {
            throw APIError.unauthorized
          }
          core.attempts.proved(username, from: address, now: core.now)
          try await Operations(core, request, caller).updateAuthenticator(own.id, body, partial: partial)
          return .empty
        }
      }
  }

  /// An authenticator as its owner reaches it.
  @Sendable private static func own(_ authenticator: Authenticator, _ core: ControllerCore) throws -> JSONObject {
    var object = try authenticator.detail(core)
    object["_links"] = Rendering.links("current-identity/authenticators", authenticator.id)
    return object
  }

  private static func owned(_ core: ControllerCore, _ request: APIRequest, _ caller: Caller) async throws
    -> Authenticator
  {
    try await core.authenticator(request.parameter("id"), of: caller)
  }
}

extension ControllerCore {
  /// - Throws: `StoreError.notFound`, for somebody else's authenticator too.
  nonisolated fileprivate func authenticator(_ id: String, of caller: Caller) async throws -> Authenticator {
    guard let found = try await store.read({ try $0.get(Authenticator.self, id) }),
      found.identityId == caller.identityID
    else {
      throw StoreError.notFound(kind: .authenticators, id: id)
    }
    return found
  }
}

/// Rolls the certificate of an identity: the new one is pending until its holder shows that it arrived; until then the
/// old one is good.
struct CertificateExtension: Sendable {
  let core: ControllerCore

  func request(_ id: String, _ caller: Caller, _ peer: PresentedPeer, csr text: String) async throws -> CertificateChain
  {
    let authenticator = try await extendable(id, caller)
    guard let shown = peer.fingerprint, shown == authenticator.fingerprint else { throw APIError.unauthorized }
    try core.admitCertificate(caller.identityID)
    let chain = try EnrollmentAuthority(core: core).certify(
      identity: caller.identityID, EnrollmentAuthority.request(text))
    try await core.write(context(caller)) { transaction in
      var stored = try transaction.require(Authenticator.self, id)
      stored.unverifiedFingerprint = chain.leaf.sha1Fingerprint
      stored.unverifiedCertPem = chain.pem
      try transaction.put(stored)
    }
    // SDKs may take the new certificate into use before they show that it arrived.
    try await core.changeFingerprints(of: caller.apiSessionID) { known in
      known.removeAll { $0 == authenticator.unverifiedFingerprint }
      known.append(chain.leaf.sha1Fingerprint)
    }
    return chain
  }

  /// - Parameter pem: only its first certificate counts; SDKs send the whole chain.
  func activate(_ id: String, _ caller: Caller, pem: String) async throws {
    let old = try await extendable(id, caller)
    guard let leaf = try? Certificate.list(pem: pem).first else {
      throw APIError(.invalidClientCertificate, "clientCert holds no certificate in PEM")
    }
    let fingerprint = leaf.sha1Fingerprint
    try await core.write(context(caller)) { transaction in
      var stored = try transaction.require(Authenticator.self, id)
      guard stored.unverifiedFingerprint == fingerprint else {
        throw APIError(
          .invalidClientCertificate, "The certificate is not the one that was issued last for authenticator \(id)")
      }
      stored.fingerprint = fingerprint
      stored.certPem = stored.unverifiedCertPem
      stored.unverifiedFingerprint = nil
      stored.unverifiedCertPem = nil
      stored.isExtendRequested = false
      stored.isKeyRollRequested = false
      try transaction.put(stored)
    }
    // Sessions made with the old certificate go on with the new one.
    for id in core.sessions.apiSessions(authenticator: id) {
      guard let known = core.sessions.apiSession(id)?.certificateFingerprints, known.contains(old.fingerprint ?? ""),
        !known.contains(fingerprint)
      else {
        continue
      }
      try await core.changeFingerprints(of: id) { $0.append(fingerprint) }
    }
  }

  private func extendable(_ id: String, _ caller: Caller) async throws -> Authenticator {
    let found = try await core.authenticator(id, of: caller)
    guard found.method == .cert, found.isIssuedByNetwork else {
      throw OperationError.authenticatorCannotChange(
        reason: "only certificates that this network issued can be extended")
    }
    return found
  }

  private func context(_ caller: Caller) -> ChangeContext {
    ChangeContext(authorID: caller.identityID, authorName: caller.identityName, source: "rest.client")
  }
}
