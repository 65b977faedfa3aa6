import Model
import REST
import Store

/// The API of SDKs (edge-client-api.md). Start here; each subject has its own file of endpoints.
enum ClientAPI {
  static func endpoints(_ desk: SessionDesk) -> [Endpoint] {
    let core = desk.core
    return shared(desk, isAdminAPI: false) + InformationEndpoints.client(core) + EnrollmentEndpoints.all(core) + SessionEndpoints.client(desk)
      + IdentityEndpoints.client(core) + ServiceEndpoints.all(desk)
  }

  /// What the client and the management API have in common.
  static func shared(_ desk: SessionDesk, isAdminAPI: Bool) -> [Endpoint] {
    InformationEndpoints.shared(desk.core) + SessionEndpoints.shared(desk, isAdminAPI: isAdminAPI) + IdentityEndpoints.shared(desk.core)
  }

  /// One page of stored entities, rendered for the caller.
  /// - Parameters:
  ///   - symbols: what filters may name: members of what `render` makes.
  ///   - ids: only these are considered.
  static func page<E: Entity>(
    _ core: ControllerCore, _ type: E.Type, _ request: APIRequest, symbols: SymbolTable, ids: @escaping @Sendable (StoreReader) throws -> Set<String>,
    _ render: @escaping @Sendable (E) throws -> JSONObject
  ) async throws -> APIResponse {
    let query = try ListQuery(request)
    let page = try await core.store.read { reader in
      try reader.query(
        type, filter: query.filter, page: query.page, symbols: symbols, ids: try ids(reader), runtime: RuntimeFacts.symbols(core, E.kind)
      ).map { JSONValue.object(try render($0)) }
    }
    return .list(page, filterable: symbols.filterable)
  }
}
