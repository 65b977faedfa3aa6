import JSON
import Model
import REST
import Store

/// Role attributes: the lists that a role filter selects by, and the attributes in use.
enum Roles {
  /// The entities that `roleFilter` and `roleSemantic` of a request match, nil without a filter
  /// (management-and-model.md 4.3).
  static func filter(_ core: ControllerCore, _ kind: EntityKind, _ request: APIRequest) throws -> Set<String>? {
    let roles = request.queryList("roleFilter")
    guard !roles.isEmpty, let attributes = attributes(core, kind) else { return nil }
    let list = try RoleList(roles, field: "roleFilter")
    let word = request.query("roleSemantic") ?? "AllOf"
    guard let semantic = Semantic(text: word) else {
      throw APIError.field("roleSemantic", "roleSemantic in query should be one of [AllOf AnyOf]", value: .string(word))
    }
    return Set(attributes.filter { list.matches(id: $0.key, attributes: $0.value, semantic: semantic) }.keys)
  }

  /// Attributes by entity, nil for kinds that have none. There may be many: they are looked through outside the model's
  /// lock.
  private static func attributes(_ core: ControllerCore, _ kind: EntityKind) -> [String: [String]]? {
    switch kind {
    case .identities: core.model { $0.identities }.mapValues(\.roleAttributes)
    case .services: core.model { $0.services }.mapValues(\.roleAttributes)
    case .edgeRouters: core.model { $0.edgeRouters }.mapValues(\.roleAttributes)
    default: nil
    }
  }

  /// The distinct attributes of a kind; the filter's only symbol is `id`, the attribute itself.
  static func endpoint(_ core: ControllerCore, _ path: String, _ kind: EntityKind) -> Endpoint {
    Endpoint("GET", path, access: .admin, "Role attributes in use by \(kind.rawValue)") { request, _ in
      let query = try ListQuery(request)
      try query.checkSort(SymbolTable.of(kind).only(["id"]).checkOrder)
      let inUse = Set((attributes(core, kind) ?? [:]).values.joined()).sorted()
      let page = try (query.filter ?? .all).apply(
        to: inUse, symbols: SymbolTable.of(kind).only(["id"]), page: query.page
      ) { attribute, _ in
        .string(attribute)
      }
      return try await .list(page, filterable: ["id"]) { $0.map(JSONValue.string) }
    }
  }
}
