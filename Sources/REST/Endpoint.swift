// REST: what all HTTP APIs of a controller share: endpoints as declared data, envelopes, errors, paging, limits, and
// their service over HTTP/1.1 and HTTP/2 on Transport's listener. It knows no entity and decides no access. Start
// reading at `Endpoint` and `APIServer`.

import JSON
import Model

/// Who is asking.
public struct Caller: Sendable {
  public let identityID: String
  public let identityName: String
  public let isAdmin: Bool
  public let apiSessionID: String
  /// Sent with every answer while a session is in use (edge-client-api.md 1.4).
  public let sessionHeaders: [(name: String, value: String)]

  public init(
    identityID: String, identityName: String, isAdmin: Bool, apiSessionID: String,
    sessionHeaders: [(name: String, value: String)] = []
  ) {
    self.identityID = identityID
    self.identityName = identityName
    self.isAdmin = isAdmin
    self.apiSessionID = apiSessionID
    self.sessionHeaders = sessionHeaders
  }
}

/// What a caller must have proven.
public enum AccessRequirement: Sendable {
  case none
  /// An API session.
  case session
  /// An API session of an administrator.
  case admin
}

/// One operation of an API, as data.
public struct Endpoint: Sendable {
  public typealias Handler = @Sendable (APIRequest, Caller) async throws -> APIResponse

  public let method: String
  /// Segments; `{name}` matches any one segment.
  public let path: String
  public let access: AccessRequirement
  public let summary: String
  /// Time a request may take; nil is the server's own limit.
  public let timeLimit: Duration?
  /// What comes with a request; an API of another dialect reads its bodies itself.
  public let body: RequestBody
  /// Parameters of the query that know a few words only.
  public let words: [QueryWords]
  let segments: [String]
  let handler: Handler

  /// Whether it changes nothing, whatever it is asked.
  var isSafe: Bool { ["GET", "HEAD", "OPTIONS"].contains(method) }

  public init(
    _ method: String, _ path: String, access: AccessRequirement = .session, timeLimit: Duration? = nil,
    body: RequestBody = .none,
    words: [QueryWords] = [], _ summary: String, handler: @escaping Handler
  ) {
    self.timeLimit = timeLimit
    self.body = body
    self.words = words
    self.method = method
    self.path = path
    self.access = access
    self.summary = summary
    self.segments = path.split(separator: "/").map(String.init)
    self.handler = handler
  }

  /// An operation open to strangers.
  public static func open(
    _ method: String, _ path: String, body: RequestBody = .none, words: [QueryWords] = [], _ summary: String,
    handler: @escaping @Sendable (APIRequest) async throws -> APIResponse
  ) -> Endpoint {
    Endpoint(method, path, access: .none, body: body, words: words, summary) { request, _ in try await handler(request)
    }
  }

  func match(_ path: [String]) -> [String: String]? {
    guard path.count == segments.count else { return nil }
    var parameters: [String: String] = [:]
    for (pattern, segment) in zip(segments, path) {
      if pattern.hasPrefix("{") {
        parameters[String(pattern.dropFirst().dropLast())] = segment
      } else if pattern != segment {
        return nil
      }
    }
    return parameters
  }
}

/// A parameter of the query whose value is one of a few words.
public struct QueryWords: Sendable {
  let name: String
  let words: [String]
  let isRequired: Bool

  public init(_ name: String, _ words: [String], isRequired: Bool = false) {
    self.name = name
    self.words = words
    self.isRequired = isRequired
  }

  func check(_ request: APIRequest) throws(APIError) {
    guard let word = request.query(name) else {
      if isRequired { throw .field(name, "\(name) in query is required") }
      return
    }
    guard words.contains(word) || word.isEmpty && !isRequired else {
      throw .field(
        name, "\(name) in query should be one of [\(words.joined(separator: " "))]",
        value: .string(String(word.prefix(100))))
    }
  }
}

/// How an API that is not one of OpenZiti's knows its callers and words its errors.
public struct APIDialect: Sendable {
  let authenticate: APIServer.Authenticate
  let answer: @Sendable (any Error, APIRequest) -> APIResponse?

  /// - Parameter answer: nil leaves the error to the server's own form.
  public init(
    authenticate: @escaping APIServer.Authenticate, answer: @escaping @Sendable (any Error, APIRequest) -> APIResponse?
  ) {
    self.authenticate = authenticate
    self.answer = answer
  }
}

/// A set of endpoints under one or several base paths.
public struct API: Sendable {
  public let basePaths: [String]
  public let endpoints: [Endpoint]
  let dialect: APIDialect?
  private let index: [Int: [String: [Endpoint]]]

  /// - Parameter dialect: nil for OpenZiti's own.
  public init(basePaths: [String], endpoints: [Endpoint], dialect: APIDialect? = nil) {
    self.basePaths = basePaths
    self.dialect = dialect
    self.endpoints = endpoints
    var index: [Int: [String: [Endpoint]]] = [:]
    for endpoint in endpoints {
      index[endpoint.segments.count, default: [:]][endpoint.segments.first ?? "", default: []].append(endpoint)
    }
    self.index = index
  }

  enum Lookup {
    case found(Endpoint, parameters: [String: String])
    case wrongMethod(allowed: [String])
    case unknown
  }

  func find(method: String, segments: [String]) -> Lookup {
    var allowed: [String] = []
    for endpoint in index[segments.count]?[segments.first ?? ""] ?? [] {
      guard let parameters = endpoint.match(segments) else { continue }
      if endpoint.method == method { return .found(endpoint, parameters: parameters) }
      allowed.append(endpoint.method)
    }
    return allowed.isEmpty ? .unknown : .wrongMethod(allowed: allowed)
  }

  /// The OpenAPI paths object of the declarations.
  public var openAPIPaths: [String: [String: String]] {
    endpoints.reduce(into: [:]) { $0[$1.path, default: [:]][$1.method.lowercased()] = $1.summary }
  }
}
