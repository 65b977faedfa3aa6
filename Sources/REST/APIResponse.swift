public import JSON
public import Model

/// An answer: status, headers beyond the standing ones, body.
public struct APIResponse: Sendable {
  public var status: Int
  public var headers: [(name: String, value: String)]
  public var body: [UInt8]
  /// What follows the body, where that is too long to be held whole.
  public var rest: Rest?

  /// Gives the parts that follow, by their number from 0, each when the client has taken the one before; nil is the
  /// end.
  public typealias Rest = @Sendable (_ part: Int) async throws -> [UInt8]?

  public init(status: Int = 200, headers: [(name: String, value: String)], body: [UInt8], rest: Rest? = nil) {
    self.status = status
    self.headers = headers
    self.body = body
    self.rest = rest
  }

  /// Names what a resource can do (RFC 9110, 15.5.6).
  mutating func allow(_ methods: [String]) {
    if !methods.isEmpty { headers.append(("allow", Set(methods).sorted().joined(separator: ", "))) }
  }

  /// JSON, with exactly the content type that Go's enrollment code compares (edge-client-api.md 1.5).
  public static func json(_ value: JSONValue, status: Int = 200) -> APIResponse {
    APIResponse(status: status, headers: jsonHeaders, body: value.serialized())
  }

  private static let jsonHeaders = [(name: "content-type", value: "application/json")]

  public static func data(_ value: JSONValue, meta: JSONObject = [:], status: Int = 200) -> APIResponse {
    json(["data": value, "meta": .object(meta)], status: status)
  }

  public static func list(_ page: Page<JSONValue>, filterable: [String] = []) -> APIResponse {
    data(.array(page.items), meta: listMeta(page, filterable))
  }

  private static func listMeta<Item>(_ page: Page<Item>, _ filterable: [String]) -> JSONObject {
    let pagination: JSONValue = [
      "limit": JSONValue(page.limit), "offset": JSONValue(page.offset), "totalCount": JSONValue(page.totalCount),
    ]
    return ["pagination": pagination, "filterableFields": JSONValue(filterable)]
  }

  /// A list whose entries are rendered some at a time, as the client takes them.
  /// - Parameter render: the entries of a part of the page; those that are gone meanwhile may be left out.
  public static func list<Item: Sendable>(
    _ page: Page<Item>, filterable: [String], render: @escaping @Sendable (ArraySlice<Item>) async throws -> [JSONValue]
  ) async throws -> APIResponse {
    let items = page.items
    guard items.count > PageRequest.maximumLimit else {
      let rendered = try await render(items[...])
      return list(
        Page(items: rendered, totalCount: page.totalCount, limit: page.limit, offset: page.offset),
        filterable: filterable)
    }
    // Not only is most of a long list sent while it is made: the first part tells whether it can be made at all.
    var start = 0
    var first: [JSONValue] = []
    while first.isEmpty, start < items.count {
      first = try await render(items[start..<min(start + PageRequest.maximumLimit, items.count)])
      start += PageRequest.maximumLimit
    }
    let begun = start
    let end = Array("],\"meta\":".utf8) + JSONValue.object(listMeta(page, filterable)).serialized() + Array("}".utf8)
    return APIResponse(headers: jsonHeaders, body: Array("{\"data\":[".utf8) + joined(first)) { part in
      let start = begun + part * PageRequest.maximumLimit
      guard start < items.count else { return start - PageRequest.maximumLimit < items.count || part == 0 ? end : nil }
      let rendered = try await render(items[start..<min(start + PageRequest.maximumLimit, items.count)])
      return rendered.isEmpty ? [] : Array(",".utf8) + joined(rendered)
    }
  }

  private static func joined(_ entries: [JSONValue]) -> [UInt8] {
    Array(entries.map { $0.serialized() }.joined(separator: Array(",".utf8)))
  }

  /// A whole collection, cut by the paging of the request.
  public static func list(_ items: [JSONValue], query: ListQuery, filterable: [String] = []) -> APIResponse {
    let (limit, offset) = query.page.resolved(with: query.filter)
    let slice = Array(items.dropFirst(offset).prefix(limit.count))
    return list(Page(items: slice, totalCount: items.count, limit: limit.count, offset: offset), filterable: filterable)
  }

  public static func created(_ id: String, resource: String) -> APIResponse {
    data(["id": .string(id), "_links": ["self": ["href": .string("./\(resource)/\(id)")]]], status: 201)
  }

  public static let empty = APIResponse.data([:])

  public static func text(_ text: String, contentType: String, headers: [(name: String, value: String)] = [])
    -> APIResponse
  {
    APIResponse(headers: [("content-type", contentType)] + headers, body: Array(text.utf8))
  }
}
