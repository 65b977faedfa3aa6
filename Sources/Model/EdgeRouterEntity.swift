public import JSON

/// An edge router as configured, and what was last known of it (management spec 1.10).
public struct EdgeRouterEntity: DeclaredEntity {
  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  /// Unique over all routers.
  public var name: String
  public var roleAttributes: [String]
  public var cost: Int
  /// The router may only be the first or last hop.
  public var noTraversal: Bool
  /// The control channel of a disabled router is refused.
  public var disabled: Bool
  /// The router owns an identity with its own id.
  public var isTunnelerEnabled: Bool
  public var appData: JSONObject
  /// Config ids of types with target `router`.
  public var configs: [String]
  /// Host names and addresses that its certificates may carry, as the operator allowed them; nil: what it enrolls with,
  /// as long as nobody else bears it. OpenZiti has no such member.
  public var allowedNames: [String]?
  /// Address to groups, for controller-initiated dials.
  public var ctrlChanListeners: [String: [String]]
  /// SHA-1 of the DER of the leaf client certificate, lower-case hex; admits the control channel.
  public var fingerprint: String?
  public var certPem: String?
  /// Set by enrollment.
  public var isVerified: Bool
  /// Pending certificate of an extension, promoted when first used.
  public var unverifiedFingerprint: String?
  public var unverifiedCertPem: String?
  /// Last reported.
  public var hostname: String
  /// Protocol to URL, last reported.
  public var supportedProtocols: [String: String]
  /// Last reported.
  public var versionInfo: RouterVersionInfo?
  /// Last reported.
  public var interfaces: [NetworkInterface]?

  public init(
    id: String, name: String, roleAttributes: [String] = [], cost: Int = 0, noTraversal: Bool = false,
    disabled: Bool = false,
    isTunnelerEnabled: Bool = false, appData: JSONObject = [:], configs: [String] = [],
    allowedNames: [String]? = nil, ctrlChanListeners: [String: [String]] = [:], fingerprint: String? = nil,
    certPem: String? = nil,
    isVerified: Bool = false, unverifiedFingerprint: String? = nil,
    unverifiedCertPem: String? = nil, hostname: String = "", supportedProtocols: [String: String] = [:],
    versionInfo: RouterVersionInfo? = nil,
    interfaces: [NetworkInterface]? = nil, tags: JSONObject = [:], isSystem: Bool = false,
    createdAt: Timestamp = .epoch,
    updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.name = name
    self.roleAttributes = roleAttributes
    self.cost = cost
    self.noTraversal = noTraversal
    self.disabled = disabled
    self.isTunnelerEnabled = isTunnelerEnabled
    self.appData = appData
    self.configs = configs
    self.allowedNames = allowedNames
    self.ctrlChanListeners = ctrlChanListeners
    self.fingerprint = fingerprint
    self.certPem = certPem
    self.isVerified = isVerified
    self.unverifiedFingerprint = unverifiedFingerprint
    self.unverifiedCertPem = unverifiedCertPem
    self.hostname = hostname
    self.supportedProtocols = supportedProtocols
    self.versionInfo = versionInfo
    self.interfaces = interfaces
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public var uniqueName: String? { name }
}

extension EdgeRouterEntity {
  public static let declaration = Kind<EdgeRouterEntity>(
    .edgeRouters, "edge-router", aliases: ["er", "ers"],
    members: [
      .name(\.name), .attributes(\.roleAttributes), .cost("cost", \.cost).filterable(),
      .flag("noTraversal", \.noTraversal, default: false).filterable(),
      .flag("disabled", \.disabled, default: false).filterable(),
      .flag("isTunnelerEnabled", \.isTunnelerEnabled, default: false).filterable(),
      .object("appData", \.appData), .texts("configs", \.configs, of: .configs).filterable(),
      .custom("ctrlChanListeners", .map(.texts), source: .object(["ctrlChanListeners"])) {
        (body: EntityBody, router: inout EdgeRouterEntity) throws(ModelError) in
        try body.setMap("ctrlChanListeners", "lists of strings", &router.ctrlChanListeners) { $0.stringArrayValue }
      }
      .filterable(),
    ],
    filters: [
      .text("fingerprint"), .bool("isVerified"), .live("connected"), .live("online"),
      .relation("terminators", .terminators), .reverse("enrollments", .enrollments, "edgeRouterId"),
      .relation("edgeRouterPolicies", .edgeRouterPolicies),
      .relation("serviceEdgeRouterPolicies", .serviceEdgeRouterPolicies), .relation("identities", .identities),
      .relation("services", .services),
    ],
    indexed: [IndexedMember("fingerprint", isUnique: true), IndexedMember("unverifiedFingerprint")],
    related: ["edge-router-policies", "service-edge-router-policies", "identities", "services"])
}
