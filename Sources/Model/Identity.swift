public import JSON

/// A person, device, program or router that may connect (management spec 1.2).
public struct Identity: DeclaredEntity {
  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var name: String
  /// `Router` only for the identity a tunneling edge router owns.
  public var typeId: IdentityType
  /// Full rights on the management API; never a right to dial or bind (management spec 2.2).
  public var isAdmin: Bool
  /// One per network; cannot be deleted.
  public var isDefaultAdmin: Bool
  public var roleAttributes: [String]
  /// Administrative permissions (management spec 4.5).
  public var permissions: [String]
  public var authPolicyId: String
  /// Unique when present; what external JWT claims are matched against.
  public var externalId: String?
  /// Delivered to SDKs and to tunneler templates.
  public var appData: JSONObject
  public var defaultHostingPrecedence: Precedence
  public var defaultHostingCost: Int
  /// By service id.
  public var serviceHostingPrecedences: [String: Precedence]
  /// By service id.
  public var serviceHostingCosts: [String: Int]
  /// By an operator.
  public var disabledAt: Timestamp?
  /// Nil while disabled: until enabled again.
  public var disabledUntil: Timestamp?
  /// After wrong passwords, by the auth policy; a fact of its own, which never changes what an operator disabled.
  public var lockedAt: Timestamp?
  /// Nil while locked out: until enabled again.
  public var lockedUntil: Timestamp?
  /// From the last authentication.
  public var envInfo: EnvInfo?
  /// From the last authentication.
  public var sdkInfo: SDKInfo?
  /// Overrides: service id, config type id, config id.
  public var serviceConfigs: [String: [String: String]]
  /// Reported by the SDK or router.
  public var interfaces: [NetworkInterface]?

  public init(
    id: String, name: String, typeId: IdentityType = .default, isAdmin: Bool = false, isDefaultAdmin: Bool = false,
    roleAttributes: [String] = [], permissions: [String] = [], authPolicyId: String = AuthPolicy.defaultID,
    externalId: String? = nil,
    appData: JSONObject = [:], defaultHostingPrecedence: Precedence = .default, defaultHostingCost: Int = 0,
    serviceHostingPrecedences: [String: Precedence] = [:], serviceHostingCosts: [String: Int] = [:],
    disabledAt: Timestamp? = nil,
    disabledUntil: Timestamp? = nil, lockedAt: Timestamp? = nil, lockedUntil: Timestamp? = nil, envInfo: EnvInfo? = nil,
    sdkInfo: SDKInfo? = nil,
    serviceConfigs: [String: [String: String]] = [:],
    interfaces: [NetworkInterface]? = nil, tags: JSONObject = [:], isSystem: Bool = false,
    createdAt: Timestamp = .epoch,
    updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.name = name
    self.typeId = typeId
    self.isAdmin = isAdmin
    self.isDefaultAdmin = isDefaultAdmin
    self.roleAttributes = roleAttributes
    self.permissions = permissions
    self.authPolicyId = authPolicyId
    self.externalId = externalId
    self.appData = appData
    self.defaultHostingPrecedence = defaultHostingPrecedence
    self.defaultHostingCost = defaultHostingCost
    self.serviceHostingPrecedences = serviceHostingPrecedences
    self.serviceHostingCosts = serviceHostingCosts
    self.disabledAt = disabledAt
    self.disabledUntil = disabledUntil
    self.lockedAt = lockedAt
    self.lockedUntil = lockedUntil
    self.envInfo = envInfo
    self.sdkInfo = sdkInfo
    self.serviceConfigs = serviceConfigs
    self.interfaces = interfaces
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public var uniqueName: String? { name }

  public func validate() throws(ModelError) {
    try validateMembers()
    for cost in serviceHostingCosts.values { try validate(cost: cost, field: "serviceHostingCosts") }
    guard !authPolicyId.isEmpty else {
      throw ModelError(field: "authPolicyId", reason: "authPolicyId must not be empty", value: "")
    }
    if let externalId, externalId.allSatisfy(\.isWhitespace) {
      throw ModelError(field: "externalId", reason: "externalId must not be blank", value: .string(externalId))
    }
  }

  /// Whether the identity is off at `now`: an operator disabled it, or it is locked out.
  public func isDisabled(at now: Timestamp) -> Bool {
    Self.holds(disabledAt, disabledUntil, now) || isLockedOut(at: now)
  }

  public func isLockedOut(at now: Timestamp) -> Bool { Self.holds(lockedAt, lockedUntil, now) }

  private static func holds(_ since: Timestamp?, _ until: Timestamp?, _ now: Timestamp) -> Bool {
    guard since != nil else { return false }
    return until.map { $0 > now } ?? true
  }

  /// Since when and until when the identity is off, whatever the reason, in the two members that clients of upstream
  /// know; as stored when it is on.
  public func disabling(at now: Timestamp) -> (at: Timestamp?, until: Timestamp?) {
    let reasons = [(disabledAt, disabledUntil), (lockedAt, lockedUntil)].filter { Self.holds($0.0, $0.1, now) }
    guard !reasons.isEmpty else { return (disabledAt, disabledUntil) }
    let isEndless = reasons.contains { $0.1 == nil }
    return (reasons.compactMap(\.0).min(), isEndless ? nil : reasons.compactMap(\.1).max())
  }

  /// When the first disabling or lock-out that is for a time ends.
  public var firstEnd: Timestamp? {
    [disabledAt == nil ? nil : disabledUntil, lockedAt == nil ? nil : lockedUntil].compactMap { $0 }.min()
  }

  /// Removes disablings and lock-outs that ended.
  public mutating func forgetWhatIsOver(at now: Timestamp) {
    if !Self.holds(disabledAt, disabledUntil, now) { (disabledAt, disabledUntil) = (nil, nil) }
    if !Self.holds(lockedAt, lockedUntil, now) { (lockedAt, lockedUntil) = (nil, nil) }
  }
}

extension Identity {
  public static let declaration = Kind<Identity>(
    .identities, "identity",
    members: [
      .name(\.name), typeMember,
      .flag("isAdmin", \.isAdmin).filterable(), .attributes(\.roleAttributes), .texts("permissions", \.permissions),
      .custom("authPolicyId", .text, source: .member(["authPolicyId"], .text)) {
        (body: EntityBody, identity: inout Identity) throws(ModelError) in
        try body.set("authPolicyId", &identity.authPolicyId, or: AuthPolicy.defaultID)
        if identity.authPolicyId.allSatisfy(\.isWhitespace) { identity.authPolicyId = AuthPolicy.defaultID }
      }
      .filterable().indexed().meaning(.plain, shownAs: "authPolicy").shown("Auth-Policy"),
      .optionalText("externalId", \.externalId).filterable().indexed(isUnique: true),
      .object("appData", \.appData), .precedence("defaultHostingPrecedence", \.defaultHostingPrecedence),
      .cost("defaultHostingCost", \.defaultHostingCost),
      .custom("serviceHostingPrecedences", .map(.word(Precedence.allCases.map(\.rawValue)))) {
        (body: EntityBody, identity: inout Identity) throws(ModelError) in
        try body.setMap("serviceHostingPrecedences", "strings", &identity.serviceHostingPrecedences) {
          $0.stringValue.map { Precedence(text: $0) }
        }
      },
      .custom("serviceHostingCosts", .map(.number(0...65535))) {
        (body: EntityBody, identity: inout Identity) throws(ModelError) in
        try body.setMap("serviceHostingCosts", "integers", &identity.serviceHostingCosts) { $0.intValue }
      },
    ],
    filters: [
      .bool("isDefaultAdmin"), .reverse("authenticators", .authenticators, "identityId"),
      .reverse("enrollments", .enrollments, "identityId"), .relation("services", .services),
      .relation("edgeRouters", .edgeRouters), .relation("servicePolicies", .servicePolicies),
      .relation("edgeRouterPolicies", .edgeRouterPolicies), .relation("dialServices", .services),
      .relation("bindServices", .services),
    ],
    related: [
      "services", "service-policies", "edge-routers", "edge-router-policies", "authenticators", "enrollments",
    ])

  private static let typeMember = Member<Identity>.custom(
    "type", stored: "typeId", .word(["User", "Device", "Service", "Router", "Default"]), isRequired: true,
    source: .member(["typeId"], .text)
  ) { (body: EntityBody, identity: inout Identity) throws(ModelError) in
    var type = identity.typeId
    try body.setWord("type", &type, words: ["User", "Device", "Service", "Router", "Default"]) {
      IdentityType(text: $0)
    }
    guard type == identity.typeId else {
      throw ModelError(
        field: "type", reason: "the type Router belongs to the identities of edge routers; it cannot be set or changed",
        value: .string(type.rawValue))
    }
  }
  .filterable().shown("Type")
}
