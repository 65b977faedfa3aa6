public import JSON

/// Which proofs an identity may use (management spec 1.16).
public struct AuthPolicy: DeclaredEntity {
  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var name: String
  public var primary: PrimaryAuthPolicy
  public var secondary: SecondaryAuthPolicy

  public init(
    id: String, name: String, primary: PrimaryAuthPolicy = PrimaryAuthPolicy(),
    secondary: SecondaryAuthPolicy = SecondaryAuthPolicy(),
    tags: JSONObject = [:], isSystem: Bool = false, createdAt: Timestamp = .epoch, updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.name = name
    self.primary = primary
    self.secondary = secondary
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public var uniqueName: String? { name }

  /// Id of the built-in policy that identities without another one use.
  public static let defaultID = "default"
}

extension AuthPolicy {
  public static let declaration = Kind<AuthPolicy>(
    .authPolicies, "auth-policy", members: [.name(\.name), primaryMember, secondaryMember],
    filters: [
      .bool("primary.cert.allowed"), .bool("primary.cert.allowExpiredCerts"), .bool("primary.updb.allowed"),
      .member("primary.updb.minPasswordLength", .number), .bool("primary.updb.requireSpecialChar"),
      .bool("primary.updb.requireNumberChar"), .bool("primary.updb.requireMixedCase"),
      .member("primary.updb.maxAttempts", .number), .bool("primary.extJwt.allowed"), .bool("secondary.requireTotp"),
      .text("secondary.requireExtJwtSigner"),
    ])

  private static let primaryMember = Member<AuthPolicy>.custom(
    "primary",
    [
      "cert": .required(["allowed": .required(.boolean), "allowExpiredCerts": .required(.boolean)]),
      "extJwt": .required(["allowed": .required(.boolean), "allowedSigners": .required(.texts)]),
      "updb": .required([
        "allowed": .required(.boolean), "lockoutDurationMinutes": .required(.integer),
        "maxAttempts": .required(.integer), "minPasswordLength": .required(.integer),
        "requireMixedCase": .required(.boolean), "requireNumberChar": .required(.boolean),
        "requireSpecialChar": .required(.boolean),
      ]),
    ], isRequired: true
  ) { (body: EntityBody, policy: inout AuthPolicy) throws(ModelError) in
    guard let primary = try body.nested("primary", required: true) else { return }
    if let cert = try primary.nested("cert", required: true) {
      try cert.set("allowed", &policy.primary.cert.allowed)
      try cert.set("allowExpiredCerts", &policy.primary.cert.allowExpiredCerts)
    }
    if let external = try primary.nested("extJwt", required: true) {
      try external.set("allowed", &policy.primary.extJwt.allowed)
      try external.set("allowedSigners", &policy.primary.extJwt.allowedSigners)
    }
    if let password = try primary.nested("updb", required: true) { try policy.primary.updb.read(password) }
  }

  private static let secondaryMember = Member<AuthPolicy>.custom(
    "secondary", ["requireExtJwtSigner": .text, "requireTotp": .required(.boolean)], isRequired: true
  ) { (body: EntityBody, policy: inout AuthPolicy) throws(ModelError) in
    guard let secondary = try body.nested("secondary", required: true) else { return }
    try secondary.set("requireTotp", &policy.secondary.requireTotp)
    try secondary.setOptional("requireExtJwtSigner", &policy.secondary.requireExtJwtSigner)
  }
}

extension PrimaryAuthPolicy.Password {
  fileprivate mutating func read(_ body: EntityBody) throws(ModelError) {
    var rules = self
    try body.set("allowed", &rules.allowed)
    try body.set("minPasswordLength", &rules.minPasswordLength)
    try body.set("requireSpecialChar", &rules.requireSpecialChar)
    try body.set("requireNumberChar", &rules.requireNumberChar)
    try body.set("requireMixedCase", &rules.requireMixedCase)
    try body.set("maxAttempts", &rules.maxAttempts)
    try body.set("lockoutDurationMinutes", &rules.lockoutDurationMinutes, or: 0)
    self = PrimaryAuthPolicy.Password(
      allowed: rules.allowed, minPasswordLength: rules.minPasswordLength, requireSpecialChar: rules.requireSpecialChar,
      requireNumberChar: rules.requireNumberChar, requireMixedCase: rules.requireMixedCase,
      maxAttempts: rules.maxAttempts, lockoutDurationMinutes: rules.lockoutDurationMinutes)
  }
}
