import Authentication
import JSON
import Model
import Store

/// Invitations and the proofs that come of them.
extension Operations {
  private var enrollments: EnrollmentAuthority { EnrollmentAuthority(core: core) }

  /// An identity, with the enrollment its document asks for (management-and-model.md 1.2).
  func createIdentity(_ members: JSONObject) async throws -> Identity {
    var wanted: JSONObject = [:]
    try EntityBody(members: members, mode: .create).set("enrollment", &wanted)
    var draft = Identity.blank()
    try draft.read(EntityBody(members: members, mode: .create))
    let body = EntityBody(members: wanted, mode: .create)
    var ott = false
    var authority: String?
    var username: String?
    try body.set("ott", &ott, or: false)
    try body.setOptional("ottca", &authority)
    try body.setOptional("updb", &username)
    var enrollment: Enrollment?
    if ott {
      enrollment = try await enrollments.invite(.identity(draft.id), method: .ott)
    } else if let authority {
      throw ModelError(
        code: .notFound, field: "enrollment.ottca", reason: "cas with id \(authority) not found",
        value: .string(authority))
    } else if let username {
      enrollment = try await enrollments.invite(.identity(draft.id), method: .updb, username: username)
    }
    let made = draft
    let invitation = enrollment
    return try await core.write(context) { transaction in
      if let invitation { try Self.checkUsername(invitation.username, transaction) }
      let stored = try transaction.insert(made)
      if let invitation { try transaction.put(invitation) }
      return stored
    }
  }

  /// An edge router, with its enrollment.
  func createEdgeRouter(_ members: JSONObject) async throws -> (router: EdgeRouterEntity, enrollment: Enrollment) {
    var draft = EdgeRouterEntity.blank()
    try draft.read(EntityBody(members: members, mode: .create))
    let made = draft
    let invitation = try await enrollments.invite(.edgeRouter(made.id), method: .erott)
    return try await core.write(context) { transaction in
      let stored = try transaction.insert(made)
      return (stored, try transaction.put(invitation))
    }
  }

  /// Takes the router's certificate away and invites it anew; its control channel ends.
  @discardableResult
  func reenrollEdgeRouter(_ id: String) async throws -> Enrollment {
    guard core.model({ $0.edgeRouters[id] }) != nil else { throw StoreError.notFound(kind: .edgeRouters, id: id) }
    let invitation = try await enrollments.invite(.edgeRouter(id), method: .erott)
    let context = context
    return try await core.revoking(.edgeRouters, id) {
      try await core.write(context) { transaction in
        var router = try transaction.require(EdgeRouterEntity.self, id)
        router.fingerprint = nil
        router.certPem = nil
        router.unverifiedFingerprint = nil
        router.unverifiedCertPem = nil
        router.isVerified = false
        try transaction.put(router)
        for old in try transaction.all(Enrollment.self, field: "edgeRouterId", equals: id) {
          try transaction.delete(Enrollment.self, old.id)
        }
        return try transaction.put(invitation)
      }
    }
  }

  func createEnrollment(_ members: JSONObject) async throws -> Enrollment {
    let body = EntityBody(members: members, mode: .create)
    var identity = ""
    var method = EnrollmentMethod.ott
    var expiresAt = core.now
    var username: String?
    var authority: String?
    var tags: JSONObject = [:]
    try body.setWord("method", &method, words: ["ott", "ottca", "updb"]) { text in
      EnrollmentMethod(rawValue: text).flatMap { [.ott, .ottca, .updb].contains($0) ? $0 : nil }
    }
    try body.set("identityId", &identity)
    try body.setTime("expiresAt", &expiresAt)
    try body.setOptional("username", &username)
    try body.setOptional("caId", &authority)
    try body.set("tags", &tags)
    try checkFuture(expiresAt)
    guard method != .ottca else {
      throw ModelError(
        code: .notFound, field: "caId", reason: "cas with id \(authority ?? "") not found", value: JSONValue(authority))
    }
    return try await invite(
      identity: identity, method: method, username: method == .updb ? username : nil, expiresAt: expiresAt, tags: tags)
  }

  private func invite(
    identity: String, method: EnrollmentMethod, username: String?, expiresAt: Timestamp?, tags: JSONObject
  ) async throws
    -> Enrollment
  {
    var enrollment = try await enrollments.invite(
      .identity(identity), method: method, username: username, expiresAt: expiresAt)
    enrollment.tags = tags
    let invitation = enrollment
    return try await core.write(context) { transaction in
      try transaction.check(.identities, identity, field: "identityId")
      guard try transaction.require(Identity.self, identity).typeId != .router else {
        throw ModelError(
          field: "identityId", reason: "the identity of an edge router enrolls with its router",
          value: .string(identity))
      }
      guard
        try !transaction.all(Enrollment.self, field: "identityId", equals: identity).contains(where: {
          $0.method == method
        })
      else {
        throw OperationError.enrollmentExists(method: method.rawValue)
      }
      try Self.checkUsername(username, transaction)
      return try transaction.put(invitation)
    }
  }

  private static func checkUsername(_ username: String?, _ transaction: StoreTransaction) throws {
    guard let username else { return }
    guard try transaction.first(Authenticator.self, field: "username", equals: username) == nil else {
      throw StoreError.duplicateValue(kind: .authenticators, field: "username", value: username)
    }
  }

  private func checkFuture(_ expiresAt: Timestamp) throws {
    guard expiresAt > core.now else {
      throw ModelError(field: "expiresAt", reason: "expiresAt must be in the future", value: .string(expiresAt.text))
    }
  }

  func refreshEnrollment(_ id: String, _ members: JSONObject) async throws {
    var expiresAt = core.now
    try EntityBody(members: members, mode: .create).setTime("expiresAt", &expiresAt)
    try checkFuture(expiresAt)
    let old = try await core.store.read { try $0.require(Enrollment.self, id) }
    let renewed = try await enrollments.renewed(old, expiresAt: expiresAt)
    try await core.write(context) { transaction in
      _ = try transaction.require(Enrollment.self, id)
      try transaction.put(renewed)
    }
  }

  func deleteEnrollment(_ id: String) async throws {
    try await core.write(context) { transaction in
      guard try transaction.delete(Enrollment.self, id) else { throw StoreError.notFound(kind: .enrollments, id: id) }
    }
  }

  // MARK: Authenticators

  func createAuthenticator(_ members: JSONObject) async throws -> Authenticator {
    let body = EntityBody(members: members, mode: .create)
    var identity = ""
    var method = AuthenticatorMethod.updb
    var username = ""
    var password = ""
    var tags: JSONObject = [:]
    try body.setWord("method", &method, words: ["updb", "cert"]) { AuthenticatorMethod(rawValue: $0) }
    try body.set("identityId", &identity)
    try body.set("tags", &tags)
    guard method == .updb else {
      throw ModelError(
        field: "method", reason: "certificates come with enrollment; create an ott enrollment instead",
        value: .string(method.rawValue))
    }
    try body.set("username", &username)
    try body.set("password", &password)
    return try await setPassword(identity: identity, username: username, password: password, tags: tags)
  }

  /// A new password authenticator.
  func setPassword(identity: String, username: String, password: String, tags: JSONObject = [:]) async throws
    -> Authenticator
  {
    try Self.check(username: username)
    try PasswordPolicy.check(password, rules(of: identity))
    let made = Authenticator(
      id: EntityID.short(), method: .updb, identityId: identity, username: username,
      password: try await core.passwords.hash(password), tags: tags)
    return try await core.write(context) { transaction in
      guard let owner = try transaction.get(Identity.self, identity) else {
        throw ModelError(
          code: .notFound, field: "identityId", reason: "identities with id \(identity) not found",
          value: .string(identity))
      }
      guard owner.typeId != .router else {
        throw ModelError(
          field: "identityId", reason: "the identity of an edge router has no authenticators", value: .string(identity))
      }
      guard
        try !transaction.all(Authenticator.self, field: "identityId", equals: identity).contains(where: {
          $0.method == .updb
        })
      else {
        throw OperationError.authenticatorExists(method: "updb")
      }
      return try transaction.put(made)
    }
  }

  func updateAuthenticator(_ id: String, _ members: JSONObject, partial: Bool) async throws {
    let old = try await core.store.read { try $0.require(Authenticator.self, id) }
    let body = EntityBody(members: members, mode: partial ? .patch : .replace)
    var tags = old.tags
    var username = old.username ?? ""
    var password = ""
    try body.set("tags", &tags)
    if old.method == .updb || members["username"] != nil || members["password"] != nil {
      guard old.method == .updb else {
        throw OperationError.authenticatorCannotChange(
          reason: "only user name and password can be changed, not a certificate")
      }
      try body.set("username", &username)
      try body.set("password", &password)
      try Self.check(username: username)
    }
    var fresh: PasswordHash?
    if !password.isEmpty || !partial, old.method == .updb {
      try PasswordPolicy.check(password, rules(of: old.identityId))
      fresh = try await core.passwords.hash(password)
    }
    let now = core.now
    let new = (tags, username, fresh)
    try await core.write(context) { transaction in
      var authenticator = try transaction.require(Authenticator.self, id)
      authenticator.tags = new.0
      if authenticator.method == .updb {
        authenticator.username = new.1
        if let hash = new.2 {
          authenticator.password = hash
          authenticator.passwordChangedAt = now
        }
      }
      try transaction.put(authenticator)
    }
  }

  func deleteAuthenticator(_ id: String) async throws {
    let context = context
    try await core.revoking(.authenticators, id) {
      try await core.write(context) { transaction in
        guard try transaction.delete(Authenticator.self, id) else {
          throw StoreError.notFound(kind: .authenticators, id: id)
        }
      }
    }
  }

  /// Turns an authenticator back into an invitation.
  func reenrollAuthenticator(_ id: String, _ members: JSONObject) async throws -> Enrollment {
    var expiresAt = core.now
    try EntityBody(members: members, mode: .create).setTime("expiresAt", &expiresAt)
    try checkFuture(expiresAt)
    let old = try await core.store.read { try $0.require(Authenticator.self, id) }
    let method: EnrollmentMethod = old.method == .updb ? .updb : .ott
    let invitation = try await enrollments.invite(
      .identity(old.identityId), method: method, username: old.username, expiresAt: expiresAt)
    let context = context
    return try await core.revoking(.authenticators, id) {
      try await core.write(context) { transaction in
        guard try transaction.delete(Authenticator.self, id) else {
          throw StoreError.notFound(kind: .authenticators, id: id)
        }
        for other in try transaction.all(Enrollment.self, field: "identityId", equals: old.identityId)
        where other.method == method {
          try transaction.delete(Enrollment.self, other.id)
        }
        return try transaction.put(invitation)
      }
    }
  }

  private func rules(of identity: String) -> PrimaryAuthPolicy.Password {
    core.model { state in state.identities[identity].flatMap { state.authPolicies[$0.authPolicyId] }?.primary.updb }
      ?? PrimaryAuthPolicy.Password()
  }

  static func check(username: String) throws(ModelError) {
    guard PasswordPolicy.usernameLengths.contains(username.count), !username.allSatisfy(\.isWhitespace) else {
      throw ModelError(field: "username", reason: "username must have 4 to 100 characters", value: .string(username))
    }
  }
}
