import JSON
import Model
import REST
import Store

/// The API of SDKs (edge-client-api.md). Start here; each subject has its own file of endpoints.
enum ClientAPI {
  static func endpoints(_ issuer: SessionIssuer) -> [Endpoint] {
    let core = issuer.core
    return shared(issuer, isAdminAPI: false) + InformationEndpoints.client(core) + EnrollmentEndpoints.all(core)
      + SessionEndpoints.client(issuer)
      + IdentityEndpoints.client(core) + ServiceEndpoints.all(issuer)
  }

  /// What the client and the management API have in common.
  static func shared(_ issuer: SessionIssuer, isAdminAPI: Bool) -> [Endpoint] {
    InformationEndpoints.shared(issuer.core) + SessionEndpoints.shared(issuer, isAdminAPI: isAdminAPI)
      + IdentityEndpoints.shared(issuer.core)
  }

  /// One page of stored entities, rendered for the caller.
  /// - Parameters:
  ///   - symbols: what filters may name: members of what `render` makes.
  ///   - ids: only these are considered.
  static func page<E: Entity>(
    _ core: ControllerCore, _ type: E.Type, _ request: APIRequest, _ caller: Caller, symbols: SymbolTable,
    ids: @escaping @Sendable (StoreReader) throws -> Set<String>,
    _ render: @escaping @Sendable (E) throws -> JSONObject
  ) async throws -> APIResponse {
    try await EntityList<E>(core: core, caller: caller, query: try ListQuery(request), symbols: symbols)
      .answer(ids: { try ids($0) }, render: { entity, _ in try render(entity) })
  }
}
