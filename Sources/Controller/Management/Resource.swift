import JSON
import Model
import REST
import Store

/// A kind of entity as a REST resource: the endpoints of a collection, made from the declarations of the kind.
struct Resource<E: DetailedEntity>: Sendable {
  let core: ControllerCore
  private var path: String { "/\(E.kind.rawValue)" }

  // MARK: Reading

  /// List and detail.
  func reading() -> [Endpoint] {
    [
      Endpoint("GET", path, access: .admin, "List \(E.kind.rawValue)") { request, caller in
        try await list(request, caller)
      },
      Endpoint("GET", path + "/{id}", access: .admin, "Show one of \(E.kind.rawValue)") { request, caller in
        let id = request.parameter("id")
        let core = core
        let configTypes = Set(request.queryList("configTypes"))
        return .data(
          .object(
            try await core.store.read { reader in
              try reader.require(E.self, id).detail(
                DetailView(core: core, reader: reader, caller: caller, configTypes: configTypes))
            }))
      },
    ]
  }

  /// One page of what matches the request.
  /// - Parameters:
  ///   - ids: only these are considered.
  ///   - configTypes: whose data services show; nil takes those the request names.
  ///   - symbols: what filters may name; all there is, for administrators.
  func list(
    _ request: APIRequest, _ caller: Caller, ids: Set<String>? = nil, configTypes types: Set<String>? = nil,
    symbols: SymbolTable = SymbolTable(of: E.self)
  ) async throws -> APIResponse {
    let query = try ListQuery(request)
    let core = core
    let configTypes = types ?? Set(request.queryList("configTypes"))
    var considered = ids
    if let matching = try Roles.filter(core, E.kind, request) {
      considered = considered?.intersection(matching) ?? matching
    }
    let wanted = considered
    return try await EntityList<E>(core: core, caller: caller, query: query, symbols: symbols).answer(
      ids: { _ in wanted },
      render: { entity, reader in
        try entity.detail(DetailView(core: core, reader: reader, caller: caller, configTypes: configTypes))
      })
  }

  /// A collection below one entity: `/services/{id}/identities`. The ids are those that policies bring together, unless
  /// `ids` says otherwise.
  /// - Parameter byPolicyType: whether the query may ask for those of one type of policy.
  func relation<Other: DetailedEntity>(
    _ name: String, _ other: Other.Type, byPolicyType: Bool = false,
    ids: (@Sendable (APIRequest, StoreReader) throws -> Set<String>)? = nil
  ) -> Endpoint {
    let symbol = other.kind.memberName
    return Endpoint(
      "GET", "\(path)/{id}/\(name)", access: .admin,
      words: byPolicyType ? [QueryWords("policyType", ["dial", "bind"])] : [],
      "List \(name) of one of \(E.kind.rawValue)"
    ) { request, caller in
      let id = request.parameter("id")
      let core = core
      let members = try await core.store.read { reader -> Set<String> in
        guard try reader.exists(E.kind, id) else { throw StoreError.notFound(kind: E.kind, id: id) }
        if let ids { return try ids(request, reader) }
        let word = byPolicyType ? request.query("policyType") ?? "" : ""
        let wanted = word.isEmpty ? symbol : word + symbol.prefix(1).uppercased() + symbol.dropFirst()
        return RuntimeFacts(core: core).related(E.kind, id, wanted)
      }
      return try await Resource<Other>(core: core).list(request, caller, ids: members)
    }
  }

  /// A collection of entities whose indexed member names this one.
  func owned<Other: DetailedEntity>(_ name: String, _ other: Other.Type, by field: String) -> Endpoint {
    relation(name, other) { request, reader in
      Set(try reader.all(Other.self, field: field, equals: request.parameter("id")).map(\.id))
    }
  }

  // MARK: Writing

  func creating(_ shape: BodyShape, _ body: @escaping @Sendable (Operations, JSONObject) async throws -> String)
    -> Endpoint
  {
    Endpoint("POST", path, access: .admin, body: RequestBody(shape), "Create one of \(E.kind.rawValue)") {
      request, caller in
      .created(try await body(Operations(core, request, caller), try request.object()), resource: E.kind.rawValue)
    }
  }

  /// - Parameter shape: of a replacement; a patch has the same members, none of them required.
  func updating(
    _ shape: BodyShape,
    _ body: @escaping @Sendable (Operations, String, JSONObject, _ partial: Bool) async throws -> Void
  ) -> [Endpoint] {
    [("PUT", false, shape), ("PATCH", true, shape.patch)].map { method, partial, shape in
      Endpoint(
        method, path + "/{id}", access: .admin, body: RequestBody(shape),
        "\(partial ? "Change" : "Replace") one of \(E.kind.rawValue)"
      ) { request, caller in
        try await body(Operations(core, request, caller), request.parameter("id"), try request.object(), partial)
        return .empty
      }
    }
  }

  func deleting(_ body: @escaping @Sendable (Operations, String) async throws -> Void) -> Endpoint {
    Endpoint("DELETE", path + "/{id}", access: .admin, "Delete one of \(E.kind.rawValue)") { request, caller in
      try await body(Operations(core, request, caller), request.parameter("id"))
      return .empty
    }
  }

  /// An operation on one entity beyond the usual verbs.
  func action(
    _ name: String, method: String = "POST", body: RequestBody = .none, _ summary: String,
    _ act: @escaping @Sendable (Operations, String, APIRequest) async throws -> APIResponse
  ) -> Endpoint {
    Endpoint(method, "\(path)/{id}/\(name)", access: .admin, body: body, summary) { request, caller in
      try await act(Operations(core, request, caller), request.parameter("id"), request)
    }
  }
}

extension Resource where E: ManagedEntity {
  /// All the usual verbs.
  func managing() -> [Endpoint] {
    reading() + [
      creating(E.declaration.creationShape) { operations, body in try await operations.create(E.self, body).id }
    ] + changing()
  }

  /// Update and delete.
  func changing() -> [Endpoint] {
    updating(E.declaration.shape) { operations, id, body, partial in
      try await operations.update(E.self, id, body, partial: partial)
    } + [deleting { operations, id in try await operations.delete(E.self, id) }]
  }
}

extension Operations {
  /// In the name of who calls.
  init(_ core: ControllerCore, _ request: APIRequest, _ caller: Caller) {
    self.init(
      core: core,
      context: ChangeContext(
        authorID: caller.identityID, authorName: caller.identityName, source: "rest.management",
        requestID: request.requestID,
        apiSessionID: caller.apiSessionID))
  }
}

extension EntityKind {
  /// The name of a set of these as a filter symbol: `edge-router-policies` is `edgeRouterPolicies`.
  var memberName: String {
    let words = rawValue.split(separator: "-")
    return words.dropFirst().reduce(String(words.first ?? "")) { $0 + $1.prefix(1).uppercased() + $1.dropFirst() }
  }
}
