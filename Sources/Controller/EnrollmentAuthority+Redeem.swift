import Authentication
import JSON
import Logging
import Model
import PKI
import REST
import Store
import Transport
import X509

/// Redeems invitations: a token once, for exactly one proof (edge-client-api.md 2.4, fabric-planes.md 1).
extension EnrollmentAuthority {
  struct RouterCertificates: Sendable {
    let client: CertificateChain
    let server: CertificateChain
  }

  /// The enrollment a stranger holds the token of.
  func pending(token: String, method: EnrollmentMethod, from source: String) async throws -> Enrollment {
    let found =
      token.isEmpty ? nil : try await core.store.read { try $0.first(Enrollment.self, field: "token", equals: token) }
    guard let found else {
      try core.attempts.unknownToken(from: source, now: core.now)
      throw Self.unknownToken
    }
    guard found.method == method else {
      throw APIError(
        .invalidEnrollMethod, "The enrollment is of method \(found.method.rawValue), not \(method.rawValue)")
    }
    guard found.expiresAt > core.now else {
      throw APIError(
        .enrollmentExpired, "The enrollment expired at \(found.expiresAt.text); ask an administrator for a new token")
    }
    return found
  }

  static let unknownToken = APIError(
    .invalidEnrollmentToken, "The enrollment token is unknown or was used; ask an administrator for a new one")

  /// Method `ott`: a certificate for the key of a signing request.
  func redeemIdentity(_ enrollment: Enrollment, csr text: String) async throws -> CertificateChain {
    guard let identity = enrollment.identityId else { throw Self.unknownToken }
    let request = try Self.request(text)
    let chain = try certify(identity: identity, request)
    let authenticator = Authenticator(
      id: EntityID.short(), method: .cert, identityId: identity, fingerprint: chain.leaf.sha1Fingerprint,
      certPem: chain.pem, isIssuedByNetwork: true)
    try await consume(enrollment) { transaction in
      _ = try transaction.require(Identity.self, identity)
      try transaction.put(authenticator)
    }
    core.logger.info(
      "identity enrolled", metadata: ["identity": "\(identity)", "fingerprint": "\(chain.leaf.sha1Fingerprint)"])
    return chain
  }

  /// Method `updb`: a password. - Returns: the user name.
  func redeemPassword(_ enrollment: Enrollment, username: String?, password: String) async throws -> String {
    guard let identity = enrollment.identityId, let invited = enrollment.username else { throw Self.unknownToken }
    if let username, username != invited {
      throw APIError.field("username", "the invitation is for the user name \(invited)", value: .string(username))
    }
    let rules = core.model { state in
      state.identities[identity].flatMap { state.authPolicies[$0.authPolicyId] }?.primary.updb
        ?? PrimaryAuthPolicy.Password()
    }
    try PasswordPolicy.check(password, rules)
    let authenticator = Authenticator(
      id: EntityID.short(), method: .updb, identityId: identity, username: invited,
      password: try await core.passwords.hash(password))
    try await consume(enrollment) { transaction in
      _ = try transaction.require(Identity.self, identity)
      guard
        try !transaction.all(Authenticator.self, field: "identityId", equals: identity).contains(where: {
          $0.method == .updb
        })
      else {
        throw OperationError.authenticatorExists(method: "updb")
      }
      try transaction.put(authenticator)
    }
    return invited
  }

  /// Method `erott`: the two certificates of a router.
  func redeemRouter(_ enrollment: Enrollment, client: String, server: String) async throws -> RouterCertificates {
    guard let router = enrollment.edgeRouterId else { throw Self.unknownToken }
    let issued = try certify(router: router, client: client, server: server, at: .enrollment)
    try await consume(enrollment) { transaction in
      var entity = try transaction.require(EdgeRouterEntity.self, router)
      entity.fingerprint = issued.client.leaf.sha1Fingerprint
      entity.certPem = issued.client.pem
      entity.isVerified = true
      try transaction.put(entity)
    }
    core.logger.info(
      "edge router enrolled", metadata: ["router": "\(router)", "fingerprint": "\(issued.client.leaf.sha1Fingerprint)"])
    return issued
  }

  /// Stores what an enrollment gives and removes it, in one transaction: of two that redeem one token at once, one is
  /// refused.
  private func consume(_ enrollment: Enrollment, _ body: @escaping @Sendable (StoreTransaction) throws -> Void)
    async throws
  {
    try await core.write(.system("enrollment")) { transaction in
      guard let now = try transaction.get(Enrollment.self, enrollment.id), now.token == enrollment.token else {
        throw Self.unknownToken
      }
      try transaction.delete(Enrollment.self, enrollment.id)
      try body(transaction)
    }
    core.facts.enrolled()
  }

  // MARK: Certificates

  func certify(identity: String, _ request: CSR) throws -> CertificateChain {
    try core.pki.signingAuthority.issueIdentity(
      publicKey: request.publicKey, subject: request.subject, identityID: identity, trustDomain: core.pki.trustDomain,
      now: core.now.date,
      lifetime: core.configuration.certificateLifetime)
  }

  /// The certificates of a router, by enrollment and by both ways of renewing them: always its own id, and names that
  /// it may have.
  func certify(router id: String, client: String, server: String, at occasion: RouterNames.Occasion) throws
    -> RouterCertificates
  {
    let (client, server) = (try Self.request(client), try Self.request(server))
    guard let router = core.model({ $0.edgeRouters[id] }) else { throw APIError.unauthorized }
    let authority = core.pki.signingAuthority
    let (now, lifetime) = (core.now.date, core.configuration.certificateLifetime)
    do {
      let rules = RouterNames(core: core, router: id)
      // Go copies one list into both requests; each gets what of its own list the router may have.
      let (clientNames, serverNames) = (
        try rules.granted(client.hostNames, to: router, at: occasion),
        try rules.granted(server.hostNames, to: router, at: occasion)
      )
      if serverNames.count < server.hostNames.count {
        core.logger.warning(
          "a router asked for names that it was not allowed",
          metadata: [
            "router": "\(router.name)", "asked": "\(server.hostNames.prefix(16))",
            "granted": "\(serverNames.prefix(16))",
          ])
      }
      return RouterCertificates(
        client: try authority.issueRouterClient(client, routerID: id, names: clientNames, now: now, lifetime: lifetime),
        server: try authority.issueRouterServer(
          server, routerID: id, names: serverNames, trustDomain: core.pki.isNamed ? core.pki.trustDomain : nil,
          now: now, lifetime: lifetime))
    } catch let error as PKIError {
      throw APIError(.couldNotProcessCSR, "The signing request could not be processed", cause: .text("\(error)"))
    } catch let refusal as RouterNames.Refusal {
      core.logger.warning(
        "a router was refused a certificate", metadata: ["router": "\(router.name)", "reason": "\(refusal.text)"])
      throw APIError(.couldNotProcessCSR, "The signing request could not be processed", cause: .text(refusal.text))
    }
  }

  /// A signing request whose sender holds the key.
  static func request(_ text: String) throws -> CSR {
    guard !text.allSatisfy(\.isWhitespace) else {
      throw APIError(.missingCSR, "The request holds no certificate signing request")
    }
    do { return try CSR(pem: text) } catch {
      throw APIError(.couldNotProcessCSR, "The signing request could not be processed", cause: .text("\(error)"))
    }
  }

  /// New certificates for a router that shows the ones it enrolled with (edge-client-api.md 2.7).
  func extendRouter(_ peer: PresentedPeer, client: String, server: String) async throws -> RouterCertificates {
    // A certificate that begins later is one that a clock of ours, running ahead, wrote: it is known by its
    // fingerprint.
    guard
      let proven = await peer.verified(
        by: core.pki.anchors, now: core.now.date, purpose: .clientAuth, ignoreLeafStart: true),
      let router = core.model({ $0.edgeRouters.values.first { $0.fingerprint == proven.fingerprint && $0.isVerified } })
    else { throw APIError.unauthorized }
    guard core.routerCertificatePace.admits(router.id) else {
      throw APIError(.rateLimited, "The router \(router.name) renews its certificates too often; try again in a minute")
    }
    let issued = try certify(router: router.id, client: client, server: server, at: .renewal)
    try await core.write(ChangeContext(authorID: router.id, authorName: router.name, source: "router")) { transaction in
      var entity = try transaction.require(EdgeRouterEntity.self, router.id)
      guard entity.fingerprint == proven.fingerprint else { throw APIError.unauthorized }
      entity.fingerprint = issued.client.leaf.sha1Fingerprint
      entity.certPem = issued.client.pem
      try transaction.put(entity)
    }
    return issued
  }
}
