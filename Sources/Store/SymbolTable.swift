public import Model

/// What the names in a filter mean for one kind of entity (management spec 4.3). Only declared names can be used.
public struct SymbolTable: FilterSymbols {
  public enum Source: Sendable {
    /// A column of the table.
    case id, name, createdAt, updatedAt, isSystem
    /// A member of the document.
    case member([String], FilterType)
    /// An array of strings in the document; `elements` is the kind the strings are ids of, for sub-queries.
    case set([String], elements: EntityKind?)
    /// A member of the entity whose id a member of this document holds.
    case linked([String], EntityKind, [String], FilterType)
    /// The ids of entities of another kind whose member is the id of this one.
    case reverse(EntityKind, [String])
    /// An object of free members: `tags.region`.
    case object([String])
    /// A set known to the running controller only, such as what policies bring together; of ids of `elements`, for
    /// sub-queries.
    case relation(elements: EntityKind?)
    /// A truth value known to the running controller only.
    case live
  }

  public struct Symbol: Sendable {
    public var name: String
    public var source: Source
    /// Whether `meta.filterableFields` names it.
    public var isListed: Bool

    /// One that may be used, though OpenZiti's controllers do not name it.
    var unlisted: Symbol { Symbol(name: name, source: source, isListed: false) }
  }

  public let kind: EntityKind
  public private(set) var symbols: [String: Symbol] = [:]

  public init(kind: EntityKind, _ symbols: [Symbol]) {
    self.kind = kind
    for symbol in symbols { self.symbols[symbol.name] = symbol }
  }

  /// The names of `meta.filterableFields`, sorted.
  public var filterable: [String] { symbols.values.filter(\.isListed).map(\.name).sorted() }

  /// The meaning of a name; free members are found below their object.
  func source(of name: String) throws(FilterError) -> Source {
    if let symbol = symbols[name] { return symbol.source }
    if let dot = name.firstIndex(of: "."), case .object(let path)? = symbols[String(name[..<dot])]?.source {
      let members = name[name.index(after: dot)...].split(separator: ".", omittingEmptySubsequences: false).map(
        String.init)
      return .member(path + members, .any)
    }
    throw .unknownSymbol(name, filterable: filterable)
  }

  public func symbol(_ name: String) throws(FilterError) -> FilterSymbol {
    switch try source(of: name) {
    case .id, .name: return .scalar(.text)
    case .createdAt, .updatedAt: return .scalar(.datetime)
    case .isSystem, .live: return .scalar(.bool)
    case .member(_, let type), .linked(_, _, _, let type): return .scalar(type)
    case .set(_, let elements), .relation(let elements): return .set(members: elements.map { SymbolTable.of($0) })
    case .reverse(let kind, _): return .set(members: SymbolTable.of(kind))
    case .object: throw .wrongUse(symbol: name, reason: "is an object: name one of its members, such as \(name).key")
    }
  }

  /// - Throws: for a name that nothing can be ordered by.
  public func checkOrder(by name: String) throws(FilterError) {
    if case .set = try symbol(name) { throw .wrongUse(symbol: name, reason: "is a set: nothing can be ordered by it") }
  }

  /// A table that knows these names and no others. Sets become plain strings: sub-queries would reach members of other
  /// kinds.
  public func only(_ names: Set<String>) -> SymbolTable {
    SymbolTable(
      kind: kind,
      symbols.values.filter { names.contains($0.name) }.map { symbol in
        let source: Source =
          switch symbol.source {
          case .set(let path, _): .set(path, elements: nil)
          case .relation: .relation(elements: nil)
          default: symbol.source
          }
        return Symbol(name: symbol.name, source: source, isListed: symbol.isListed)
      })
  }

  public static func of(_ kind: EntityKind) -> SymbolTable { tables[kind] ?? SymbolTable(kind: kind, base) }

  private static func text(_ name: String, _ member: String? = nil) -> Symbol {
    Symbol(name: name, source: .member([member ?? name], .text), isListed: true)
  }
  private static func number(_ name: String) -> Symbol {
    Symbol(name: name, source: .member([name], .number), isListed: true)
  }
  private static func bool(_ name: String) -> Symbol {
    Symbol(name: name, source: .member([name], .bool), isListed: true)
  }
  private static func datetime(_ name: String) -> Symbol {
    Symbol(name: name, source: .member([name], .datetime), isListed: true)
  }
  private static func strings(_ name: String, of elements: EntityKind? = nil) -> Symbol {
    Symbol(name: name, source: .set([name], elements: elements), isListed: true)
  }
  private static func nested(_ name: String, at path: String? = nil, _ type: FilterType) -> Symbol {
    Symbol(name: name, source: .member((path ?? name).split(separator: ".").map(String.init), type), isListed: true)
  }
  private static func linked(_ name: String, _ member: String, _ kind: EntityKind, _ path: [String]) -> Symbol {
    Symbol(name: name, source: .linked([member], kind, path, .text), isListed: true)
  }
  private static func reverse(_ name: String, _ kind: EntityKind, _ member: String) -> Symbol {
    Symbol(name: name, source: .reverse(kind, [member]), isListed: false)
  }
  private static func relation(_ name: String, _ elements: EntityKind, isListed: Bool = false) -> Symbol {
    Symbol(name: name, source: .relation(elements: elements), isListed: isListed)
  }
  private static func live(_ name: String) -> Symbol { Symbol(name: name, source: .live, isListed: true) }
  private static let nameColumn = Symbol(name: "name", source: .name, isListed: true)

  private static let base = [
    Symbol(name: "id", source: .id, isListed: true),
    Symbol(name: "createdAt", source: .createdAt, isListed: true),
    Symbol(name: "updatedAt", source: .updatedAt, isListed: true),
    Symbol(name: "isSystem", source: .isSystem, isListed: true),
    Symbol(name: "tags", source: .object(["tags"]), isListed: true),
  ]

  private static let tables: [EntityKind: SymbolTable] = {
    let entries: [EntityKind: [Symbol]] = [
      .identities: [
        nameColumn, strings("roleAttributes"), text("type", "typeId"), text("authPolicyId"), text("externalId"),
        bool("isAdmin"),
        bool("isDefaultAdmin"), reverse("authenticators", .authenticators, "identityId"),
        reverse("enrollments", .enrollments, "identityId"),
        relation("services", .services), relation("edgeRouters", .edgeRouters),
        relation("servicePolicies", .servicePolicies),
        relation("edgeRouterPolicies", .edgeRouterPolicies), relation("dialServices", .services),
        relation("bindServices", .services),
      ],
      .services: [
        nameColumn, text("terminatorStrategy"), strings("roleAttributes"), strings("configs", of: .configs),
        bool("isFabricOnly"),
        relation("terminators", .terminators), relation("servicePolicies", .servicePolicies),
        relation("serviceEdgeRouterPolicies", .serviceEdgeRouterPolicies), relation("identities", .identities),
        relation("edgeRouters", .edgeRouters),
        relation("dialIdentities", .identities), relation("bindIdentities", .identities),
      ],
      .configs: [
        nameColumn, text("type", "configTypeId"), Symbol(name: "data", source: .object(["data"]), isListed: false),
      ],
      .configTypes: [
        nameColumn, text("target"), Symbol(name: "schema", source: .object(["schema"]), isListed: true),
        reverse("configs", .configs, "configTypeId"),
      ],
      .servicePolicies: [
        nameColumn, text("type"), text("semantic"), strings("identityRoles"), strings("serviceRoles"),
        strings("postureCheckRoles"),
        relation("identities", .identities, isListed: true), relation("services", .services, isListed: true),
      ],
      .edgeRouterPolicies: [
        nameColumn, text("semantic"), strings("identityRoles"), strings("edgeRouterRoles"),
        relation("identities", .identities),
        relation("edgeRouters", .edgeRouters),
      ],
      .serviceEdgeRouterPolicies: [
        nameColumn, text("semantic"), strings("serviceRoles"), strings("edgeRouterRoles"),
        relation("services", .services),
        relation("edgeRouters", .edgeRouters),
      ],
      .edgeRouters: [
        nameColumn, text("fingerprint"), number("cost"), bool("noTraversal"), bool("disabled"),
        strings("configs", of: .configs),
        Symbol(name: "ctrlChanListeners", source: .object(["ctrlChanListeners"]), isListed: true),
        strings("roleAttributes"), bool("isVerified"),
        bool("isTunnelerEnabled"), live("connected"), live("online"),
        relation("terminators", .terminators), reverse("enrollments", .enrollments, "edgeRouterId"),
        relation("edgeRouterPolicies", .edgeRouterPolicies),
        relation("serviceEdgeRouterPolicies", .serviceEdgeRouterPolicies), relation("identities", .identities),
        relation("services", .services),
      ],
      .terminators: [
        text("binding"), text("address"), text("instanceId", "identity"), text("hostId"), text("sourceCtrl"),
        text("service", "serviceId"),
        text("router", "routerId"), number("cost").unlisted, text("precedence").unlisted,
        linked("service.name", "serviceId", .services, ["name"]),
        linked("router.name", "routerId", .edgeRouters, ["name"]),
      ],
      .enrollments: [
        text("token"), text("method").unlisted, text("identity", "identityId"), text("edgeRouter", "edgeRouterId"),
        text("transitRouter", "transitRouterId"),
        text("caId"), datetime("expiresAt").unlisted,
        linked("identity.name", "identityId", .identities, ["name"]).unlisted,
      ],
      .authenticators: [
        text("method"), text("certFingerprint", "fingerprint"), text("updbUsername", "username"),
        text("identity", "identityId"), text("certPem"),
        text("publicKeyPrint"), bool("isIssuedByNetwork"), bool("isExtendRequested"), bool("isKeyRollRequested"),
        datetime("extendRequestedAt"),
        bool("lastExtendRolledKeys"), bool("lastAuthResolvedToRoot"),
        linked("identity.name", "identityId", .identities, ["name"]).unlisted,
      ],
      .apiSessions: [
        text("identity", "identityId"), datetime("lastActivityAt"), text("authenticator", "authenticatorId"),
        text("ipAddress"),
        bool("improperClientCertChain"), nested("mfaComplete", at: "isMfaComplete", .bool),
        nested("mfaRequired", at: "isMfaRequired", .bool),
        linked("identity.name", "identityId", .identities, ["name"]).unlisted,
        reverse("sessions", .sessions, "apiSessionId"),
      ],
      .sessions: [
        text("apiSession", "apiSessionId"), text("service", "serviceId"), text("identity", "identityId").unlisted,
        text("type"),
        linked("service.name", "serviceId", .services, ["name"]).unlisted,
        linked("identity.name", "identityId", .identities, ["name"]).unlisted,
        linked("apiSession.identity", "apiSessionId", .apiSessions, ["identityId"]).unlisted,
      ],
      .authPolicies: [
        nameColumn, nested("primary.cert.allowed", .bool), nested("primary.cert.allowExpiredCerts", .bool),
        nested("primary.updb.allowed", .bool),
        nested("primary.updb.minPasswordLength", .number), nested("primary.updb.requireSpecialChar", .bool),
        nested("primary.updb.requireNumberChar", .bool), nested("primary.updb.requireMixedCase", .bool),
        nested("primary.updb.maxAttempts", .number), nested("primary.extJwt.allowed", .bool),
        nested("secondary.requireTotp", .bool),
        nested("secondary.requireExtJwtSigner", .text),
      ],
      .publicKeys: [text("kid"), text("format"), datetime("notAfter"), datetime("publishedUntil"), strings("usages")],
      .revocations: [datetime("expiresAt"), text("type"), datetime("issuedBefore")],
      .apiSessionCertificates: [
        text("apiSession", "apiSessionId"), text("subject"), text("fingerprint"), datetime("validFrom").unlisted,
        datetime("validTo").unlisted,
      ],
    ]
    return Dictionary(uniqueKeysWithValues: entries.map { ($0.key, SymbolTable(kind: $0.key, base + $0.value)) })
  }()
}
