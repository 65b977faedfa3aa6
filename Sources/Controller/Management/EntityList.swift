import JSON
import Model
import REST
import Store

/// Answers list requests from the store.
struct EntityList<E: Entity>: Sendable {
  let core: ControllerCore
  let caller: Caller
  let query: ListQuery
  /// What filters may name.
  let symbols: SymbolTable

  private enum Found: Sendable {
    case entries(Page<JSONValue>)
    /// Of a list that is too long to be held whole.
    case ids(Page<String>)
  }

  /// One page. All entries there are, when they are wanted, are rendered as the client takes them: those that are
  /// deleted meanwhile are left out.
  /// - Parameter ids: only these are considered, nil for all.
  func answer(
    ids: @escaping @Sendable (StoreReader) throws -> Set<String>?,
    render: @escaping @Sendable (E, StoreReader) throws -> JSONObject
  ) async throws -> APIResponse {
    let (core, query, symbols) = (core, query, symbols)
    try query.checkSort(symbols.checkOrder)
    let runtime = RuntimeFacts(core: core)
    let find: @Sendable (StoreReader) throws -> Found = { reader in
      let considered = try ids(reader)
      guard query.page.resolved(with: query.filter).limit.isUnlimited else {
        let page = try reader.query(
          E.self, filter: query.filter, page: query.page, symbols: symbols, ids: considered, runtime: runtime)
        return .entries(try page.map { .object(try render($0, reader)) })
      }
      let page = try reader.identifiers(
        filter: query.filter, page: query.page, symbols: symbols, ids: considered, runtime: runtime)
      guard page.items.count <= PageRequest.maximumLimit else { return .ids(page) }
      return .entries(try page.map { .object(try render(try reader.require(E.self, $0), reader)) })
    }
    let isIndexed = symbols.isIndexed(query.filter, sort: query.page.sort)
    switch try await isIndexed ? core.store.read(find) : core.store.search(for: caller.identityID, find) {
    case .entries(let page): return .list(page, filterable: symbols.filterable)
    case .ids(let page):
      return try await .list(page, core, caller, filterable: symbols.filterable) { ids in
        try await core.store.read { reader -> [JSONValue] in
          try ids.compactMap { try reader.get(E.self, $0) }.map { JSONValue.object(try render($0, reader)) }
        }
      }
    }
  }
}
