import JSON
import Model
import REST
import Transport

extension APIResponse {
  /// A list that may be long. What it names is held until the client has taken all of it, so nobody has many at a time.
  ///
  /// - Parameter render: the entries of a part of the page; those that are gone meanwhile may be left out.
  /// - Throws: `rateLimited` when the caller has too many under way; what `render` throws.
  static func list<Item: Sendable>(
    _ page: Page<Item>, _ core: ControllerCore, _ caller: Caller, filterable: [String],
    render: @escaping @Sendable (ArraySlice<Item>) async throws -> [JSONValue]
  ) async throws -> APIResponse {
    guard page.items.count > PageRequest.maximumLimit else {
      return try await .list(page, filterable: filterable, render: render)
    }
    guard let place = core.longLists.take(for: caller.identityID) else {
      throw APIError(
        .rateLimited,
        "\(core.longLists.limitOfOne) long lists of the identity are under way, or \(core.longLists.limit) of all; read them first, or ask for pages"
      )
    }
    return try await .list(page, filterable: filterable) { items in
      defer { withExtendedLifetime(place) {} }
      return try await render(items)
    }
  }
}
