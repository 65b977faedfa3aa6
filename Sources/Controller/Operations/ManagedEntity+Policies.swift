import JSON
import Model
import Store

extension EntityBody {
  func readSemantic(_ target: inout Semantic) throws(ModelError) {
    try setWord("semantic", &target, words: ["AllOf", "AnyOf"]) { Semantic(text: $0) }
  }
}

extension ServicePolicy: ManagedEntity {
  static func blank() -> ServicePolicy { ServicePolicy(id: EntityID.uuidBase62(), name: "", type: .dial) }

  mutating func read(_ body: EntityBody) throws {
    try body.set("name", &name)
    try body.setWord("type", &type, words: ["Dial", "Bind"]) { PolicyType(rawValue: $0) }
    try body.readSemantic(&semantic)
    try body.setSorted("identityRoles", &identityRoles)
    try body.setSorted("serviceRoles", &serviceRoles)
    try body.setSorted("postureCheckRoles", &postureCheckRoles)
    try body.set("tags", &tags)
  }

  func checkReferences(_ old: ServicePolicy?, _ transaction: StoreTransaction) throws {
    try transaction.check(roles: identityRoles, of: .identities, field: "identityRoles")
    try transaction.check(roles: serviceRoles, of: .services, field: "serviceRoles")
    // This network has no posture checks: a policy that asked for one would never grant.
    let checks = try RoleList(postureCheckRoles, field: "postureCheckRoles").ids
    guard checks.isEmpty else {
      throw ModelError(
        field: "postureCheckRoles", reason: "no posture-checks found with the given ids",
        value: .string("[\(checks.sorted().joined(separator: " "))]"))
    }
  }
}

extension EdgeRouterPolicy: ManagedEntity {
  static func blank() -> EdgeRouterPolicy { EdgeRouterPolicy(id: EntityID.uuidBase62(), name: "") }

  mutating func read(_ body: EntityBody) throws {
    try body.set("name", &name)
    try body.readSemantic(&semantic)
    try body.setSorted("identityRoles", &identityRoles)
    try body.setSorted("edgeRouterRoles", &edgeRouterRoles)
    try body.set("tags", &tags)
  }

  func checkReferences(_ old: EdgeRouterPolicy?, _ transaction: StoreTransaction) throws {
    try transaction.check(roles: identityRoles, of: .identities, field: "identityRoles")
    try transaction.check(roles: edgeRouterRoles, of: .edgeRouters, field: "edgeRouterRoles")
  }
}

extension ServiceEdgeRouterPolicy: ManagedEntity {
  static func blank() -> ServiceEdgeRouterPolicy { ServiceEdgeRouterPolicy(id: EntityID.uuidBase62(), name: "") }

  mutating func read(_ body: EntityBody) throws {
    try body.set("name", &name)
    try body.readSemantic(&semantic)
    try body.setSorted("serviceRoles", &serviceRoles)
    try body.setSorted("edgeRouterRoles", &edgeRouterRoles)
    try body.set("tags", &tags)
  }

  func checkReferences(_ old: ServiceEdgeRouterPolicy?, _ transaction: StoreTransaction) throws {
    try transaction.check(roles: serviceRoles, of: .services, field: "serviceRoles")
    try transaction.check(roles: edgeRouterRoles, of: .edgeRouters, field: "edgeRouterRoles")
  }
}

extension AuthPolicy: ManagedEntity {
  static func blank() -> AuthPolicy { AuthPolicy(id: EntityID.uuidBase62(), name: "") }

  mutating func read(_ body: EntityBody) throws {
    try body.set("name", &name)
    if let primary = try body.nested("primary", required: true) {
      if let cert = try primary.nested("cert", required: true) {
        try cert.set("allowed", &self.primary.cert.allowed)
        try cert.set("allowExpiredCerts", &self.primary.cert.allowExpiredCerts)
      }
      if let external = try primary.nested("extJwt", required: true) {
        try external.set("allowed", &self.primary.extJwt.allowed)
        try external.set("allowedSigners", &self.primary.extJwt.allowedSigners)
      }
      if let password = try primary.nested("updb", required: true) { try read(password: password) }
    }
    if let secondary = try body.nested("secondary", required: true) {
      try secondary.set("requireTotp", &self.secondary.requireTotp)
      try secondary.setOptional("requireExtJwtSigner", &self.secondary.requireExtJwtSigner)
    }
    try body.set("tags", &tags)
  }

  private mutating func read(password body: EntityBody) throws {
    var rules = primary.updb
    try body.set("allowed", &rules.allowed)
    try body.set("minPasswordLength", &rules.minPasswordLength)
    try body.set("requireSpecialChar", &rules.requireSpecialChar)
    try body.set("requireNumberChar", &rules.requireNumberChar)
    try body.set("requireMixedCase", &rules.requireMixedCase)
    try body.set("maxAttempts", &rules.maxAttempts)
    try body.set("lockoutDurationMinutes", &rules.lockoutDurationMinutes, or: 0)
    primary.updb = PrimaryAuthPolicy.Password(
      allowed: rules.allowed, minPasswordLength: rules.minPasswordLength, requireSpecialChar: rules.requireSpecialChar,
      requireNumberChar: rules.requireNumberChar, requireMixedCase: rules.requireMixedCase,
      maxAttempts: rules.maxAttempts,
      lockoutDurationMinutes: rules.lockoutDurationMinutes)
  }

  func checkReferences(_ old: AuthPolicy?, _ transaction: StoreTransaction) throws {
    // There are no external JWT signers here that a policy could name.
    if let signer = secondary.requireExtJwtSigner ?? primary.extJwt.allowedSigners.first {
      throw ModelError(
        code: .notFound, field: "requireExtJwtSigner", reason: "external-jwt-signers with id \(signer) not found",
        value: .string(signer))
    }
  }

  func willDelete(_ transaction: StoreTransaction) throws {
    if let user = try transaction.first(Identity.self, field: "authPolicyId", equals: id) {
      throw OperationError.referenced(kind: .authPolicies, id: id, by: "identity \(user.name)")
    }
  }
}
