public import Model

/// An answer: status, headers beyond the standing ones, body.
public struct APIResponse: Sendable {
  public var status: Int
  public var headers: [(name: String, value: String)]
  public var body: [UInt8]

  public init(status: Int = 200, headers: [(name: String, value: String)], body: [UInt8]) {
    self.status = status
    self.headers = headers
    self.body = body
  }

  /// JSON, with exactly the content type that Go's enrollment code compares (edge-client-api.md 1.5).
  public static func json(_ value: JSONValue, status: Int = 200) -> APIResponse {
    APIResponse(status: status, headers: [("content-type", "application/json")], body: value.serialized())
  }

  public static func data(_ value: JSONValue, meta: JSONObject = [:], status: Int = 200) -> APIResponse {
    json(["data": value, "meta": .object(meta)], status: status)
  }

  public static func list(_ page: Page<JSONValue>, filterable: [String] = []) -> APIResponse {
    let pagination: JSONValue = ["limit": JSONValue(page.limit), "offset": JSONValue(page.offset), "totalCount": JSONValue(page.totalCount)]
    return data(.array(page.items), meta: ["pagination": pagination, "filterableFields": JSONValue(filterable)])
  }

  /// A whole collection, cut by the paging of the request.
  public static func list(_ items: [JSONValue], query: ListQuery, filterable: [String] = []) -> APIResponse {
    let (limit, offset) = query.page.resolved(with: query.filter)
    let slice = Array(items.dropFirst(offset).prefix(limit.count))
    return list(Page(items: slice, totalCount: items.count, limit: limit.echoed, offset: offset), filterable: filterable)
  }

  public static func created(_ id: String, resource: String) -> APIResponse {
    data(["id": .string(id), "_links": ["self": ["href": .string("./\(resource)/\(id)")]]], status: 201)
  }

  public static let empty = APIResponse.data([:])

  public static func text(_ text: String, contentType: String, headers: [(name: String, value: String)] = []) -> APIResponse {
    APIResponse(headers: [("content-type", contentType)] + headers, body: Array(text.utf8))
  }
}
