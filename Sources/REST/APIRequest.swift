public import JSON
public import Model
public import Transport

/// One request, its body whole and within the limit.
public struct APIRequest: Sendable {
  public let method: String
  /// Path without query, percent-decoded per segment when matched.
  public let path: String
  public let query: [(name: String, value: String)]
  public let headers: [(name: String, value: String)]
  public internal(set) var body: [UInt8]
  public let peer: PresentedPeer
  public let requestID: String
  public internal(set) var parameters: [String: String] = [:]
  /// The base path under which the endpoint was found.
  public internal(set) var basePath = ""
  /// The body, where its endpoint declares one and it was read already.
  var json: JSONValue?

  public init(
    method: String, path: String, query: [(name: String, value: String)] = [],
    headers: [(name: String, value: String)] = [], body: [UInt8] = [],
    peer: PresentedPeer, requestID: String
  ) {
    self.method = method
    self.path = path
    self.query = query
    self.headers = headers
    self.body = body
    self.peer = peer
    self.requestID = requestID
  }

  /// The first header of that name, compared without case.
  public func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name.lowercased() }?.value }
  public func query(_ name: String) -> String? { query.first { $0.name == name }?.value }
  /// All values of a parameter; each may be a comma list, and `name[]` is the same name.
  public func queryList(_ name: String) -> [String] {
    query.filter { $0.name == name || $0.name == name + "[]" }.flatMap {
      $0.value.split(separator: ",").map(String.init)
    }
  }

  /// A path parameter that the endpoint's pattern declares.
  public func parameter(_ name: String) -> String { parameters[name] ?? "" }

  /// The media type of the body, without parameters; empty when the header is absent.
  public var mediaType: String {
    (header("content-type") ?? "").split(separator: ";").first.map { $0.trimming(" ").lowercased() } ?? ""
  }

  /// The body as a JSON object; an absent body is an empty object.
  public func object() throws(APIError) -> JSONObject {
    if body.isEmpty { return [:] }
    let value = try parsed()
    guard let object = value.objectValue else { throw .field("body", "must be an object, is \(value.typeName)") }
    return object
  }

  /// The body as JSON.
  public func parsed() throws(APIError) -> JSONValue {
    if let json { return json }
    do { return try JSONValue(parsing: body) } catch {
      throw APIError(.couldNotParseBody, "The body of the request could not be parsed", cause: .text("\(error)"))
    }
  }
}

extension Substring {
  func trimming(_ character: Character) -> String {
    String(drop { $0 == character }.reversed().drop { $0 == character }.reversed())
  }
}

/// Typed reading of a body's members: the wrong type is the caller's error and names the field.
extension JSONObject {
  private func value<T>(_ name: String, _ expected: String, _ read: (JSONValue) -> T?) throws(APIError) -> T? {
    guard let value = self[name], !value.isNull else { return nil }
    guard let typed = read(value) else {
      throw .field(name, "\(name) in body must be of type \(expected): \"\(value.typeName)\"", value: value)
    }
    return typed
  }

  public func string(_ name: String) throws(APIError) -> String? { try value(name, "string", \.stringValue) }
  public func bool(_ name: String) throws(APIError) -> Bool? { try value(name, "boolean", \.boolValue) }
  public func int(_ name: String) throws(APIError) -> Int? { try value(name, "integer", \.intValue) }
  public func strings(_ name: String) throws(APIError) -> [String]? {
    try value(name, "array of strings", \.stringArrayValue)
  }
  public func object(_ name: String) throws(APIError) -> JSONObject? { try value(name, "object", \.objectValue) }

  public func required<T>(_ name: String, _ value: T?) throws(APIError) -> T {
    guard let value else { throw .field(name, "\(name) in body is required") }
    return value
  }
}

/// Paging, filter and sort of a list request (edge-client-api.md 1.8).
public struct ListQuery: Sendable {
  public var filter: FilterQuery?
  public var page: PageRequest

  public init(_ request: APIRequest) throws(APIError) {
    page = PageRequest()
    for (name, path) in [("limit", \PageRequest.limit), ("offset", \PageRequest.offset)] {
      guard let text = request.query(name), !text.isEmpty else { continue }
      guard let number = Int(text) else {
        throw .field(name, "\(name) in query must be of type int64", value: .string(text))
      }
      page[keyPath: path] = number
    }
    if let offset = page.offset, offset < 0 || offset > PageRequest.maximumOffset {
      throw APIError(
        .invalidPagination, "The pagination properties provided are invalid",
        cause: .field(
          name: "offset", reason: "must be between 0 and \(PageRequest.maximumOffset)", value: JSONValue(offset)))
    }
    do throws(FilterError) {
      if let text = request.query("filter"), !text.isEmpty { filter = try FilterQuery(parsing: text) }
    } catch {
      throw .filter(error)
    }
    // An order in the filter wins; the one beside it is then not even looked at.
    guard let text = request.query("sort"), !text.isEmpty, filter?.sort.isEmpty ?? true else { return }
    do throws(FilterError) { try take(sort: FilterQuery(parsing: "true sort by \(text)")) } catch { throw .sort(error) }
  }

  /// An order may bring a page with it, as it does in a filter: `id desc skip 1`.
  private mutating func take(sort: FilterQuery) {
    page.sort = sort.sort
    if let skip = sort.skip { page.offset = skip }
    switch sort.limit {
    case .count(let count)?: page.limit = count
    case FilterLimit.none?: page.limit = -1
    case nil: break
    }
  }

  /// Judges the names of the order beside the filter: refused by another code than those in the filter.
  /// - Parameter judge: throws for a name that nothing can be ordered by.
  public func checkSort(_ judge: (String) throws(FilterError) -> Void) throws(APIError) {
    do throws(FilterError) { for field in page.sort { try judge(field.name) } } catch { throw .sort(error) }
  }
}
