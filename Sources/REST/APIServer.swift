public import Logging
import Model
import NIOCore
import Transport

/// Routes requests to endpoints and turns whatever happens into an answer.
public struct APIServer: Sendable {
  /// Bytes of body accepted from callers with a session (management-and-model.md 4.1).
  public static let bodyLimit = 1024 * 1024
  /// And from others: what logs in, enrolls or registers is a few KiB, certificate requests among it.
  public static let strangerBodyLimit = 64 * 1024
  /// Time a request may take, where its endpoint does not say otherwise.
  static let requestTimeout = Duration.seconds(10)

  public typealias Authenticate = @Sendable (APIRequest) async throws -> Caller?
  /// Turns an error of lower floors into an API error; nil is an unexpected one.
  public typealias Translate = @Sendable (any Error) -> APIError?

  private let apis: [API]
  /// Serves paths that no API claims (edge-client-api.md 1.2: C SDKs rely on it).
  private let root: API
  private let authenticate: Authenticate
  private let translate: Translate
  private let standing: [(name: String, value: String)]
  private let logger: Logger

  /// - Parameters:
  ///   - root: answers under the bare root.
  ///   - standing: headers of every answer.
  public init(
    apis: [API], root: API, standing: [(name: String, value: String)], logger: Logger,
    authenticate: @escaping Authenticate,
    translate: @escaping Translate = { _ in nil }
  ) {
    self.apis = apis
    self.root = root
    self.standing = standing
    self.logger = logger
    self.authenticate = authenticate
    self.translate = translate
  }

  /// A request whose endpoint is found and whose caller is known and allowed to use it; its body may still be on its
  /// way.
  public struct Admitted: Sendable {
    let endpoint: Endpoint
    let dialect: APIDialect?
    let request: APIRequest
    /// nil: a stranger, at an endpoint that is open.
    public let caller: Caller?

    /// Bytes of body that are read.
    public var bodyLimit: Int { caller == nil ? APIServer.strangerBodyLimit : APIServer.bodyLimit }
  }

  public enum Admission: Sendable {
    case admitted(Admitted)
    /// Answered without its body.
    case refused(APIResponse)
  }

  /// The whole answer, however long.
  public func respond(to request: APIRequest) async -> APIResponse {
    switch await admit(request) {
    case .admitted(let admitted):
      var response = await respond(to: admitted, body: request.body)
      guard let rest = response.rest else { return response }
      response.rest = nil
      var number = 0
      while case .bytes(let bytes) = await part(number, of: rest, request.requestID) {
        response.body += bytes
        number += 1
      }
      return response
    case .refused(let response): return response
    }
  }

  enum Part: Sendable {
    case bytes([UInt8])
    case end
    /// Cannot be made: the list ends where it does not look like an end.
    case failed
  }

  /// A part of an answer that is too long to be held whole.
  func part(_ number: Int, of rest: @escaping APIResponse.Rest, _ requestID: String) async -> Part {
    do {
      return try await withTimeout(Self.requestTimeout) { try await rest(number).map(Part.bytes) ?? .end }
    } catch {
      logger.error(
        "an answer breaks off", metadata: ["request": "\(requestID)", "part": "\(number)", "error": "\(error)"])
      return .failed
    }
  }

  /// Judges a request by its head.
  /// - Parameter request: its body is not looked at.
  public func admit(_ request: APIRequest) async -> Admission {
    let (api, rest) = route(request.path)
    guard request.method != "OPTIONS" else {
      var answer = APIResponse(headers: [], body: [])
      if case .wrongMethod(let allowed) = api.api.find(method: request.method, segments: Self.segments(rest)) {
        answer.allow(allowed)
      }
      return .refused(finished(answer, request))
    }
    do {
      return .admitted(try await admit(request, api, rest))
    } catch {
      return .refused(refusal(error, request, api.api.dialect))
    }
  }

  private func refusal(_ error: any Error, _ request: APIRequest, _ dialect: APIDialect?) -> APIResponse {
    var response = dialect?.answer(error, request) ?? answer(to: error, request: request)
    if let error = error as? APIError { response.allow(error.allowedMethods) }
    return finished(response, request)
  }

  /// - Parameter isLate: the body took its time, in which the caller may have lost its rights: it is judged once more.
  public func respond(to admitted: Admitted, body: [UInt8], isLate: Bool = false) async -> APIResponse {
    var request = admitted.request
    request.body = body
    do {
      if admitted.dialect == nil { try request.read(as: admitted.endpoint.body) }
      let work: @Sendable () async throws -> APIResponse = { [request] in
        let caller = isLate ? try await judge(request, admitted.endpoint, admitted.dialect) : admitted.caller
        var response = try await admitted.endpoint.handler(request, caller ?? .nobody)
        if let caller { response.headers += caller.sessionHeaders }
        // A slow client may take its time over the parts, in which the caller may lose its rights: each is judged.
        if let rest = response.rest {
          response.rest = { part in
            _ = try await judge(request, admitted.endpoint, admitted.dialect)
            return try await rest(part)
          }
        }
        return response
      }
      let limit = admitted.endpoint.timeLimit ?? Self.requestTimeout
      let response = try await admitted.endpoint.isSafe ? withTimeout(limit, work) : withDeadline(limit, work)
      return finished(response, request)
    } catch {
      return refusal(error, request, admitted.dialect)
    }
  }

  private func judge(_ request: APIRequest, _ endpoint: Endpoint, _ dialect: APIDialect?) async throws -> Caller? {
    let caller = try await (dialect?.authenticate ?? authenticate)(request)
    switch endpoint.access {
    case .none: break
    case .session: guard caller != nil else { throw APIError.unauthorized }
    case .admin: guard caller?.isAdmin == true else { throw APIError.unauthorized }
    }
    return caller
  }

  /// Adds what every answer carries.
  func finished(_ response: APIResponse, _ request: APIRequest) -> APIResponse {
    var response = response
    response.headers += standing
    response.headers += Self.crossOrigin(request)
    return response
  }

  func answer(to error: any Error, request: APIRequest) -> APIResponse {
    let known: APIError
    switch error {
    case let error as APIError: known = error
    case let error as ModelError: known = APIError(error)
    case let error as FilterError: known = .filter(error)
    case is CancellationError: known = APIError(.timeout, "The request took too long and was given up")
    default:
      if let translated = translate(error) {
        known = translated
      } else {
        logger.error(
          "request failed",
          metadata: [
            "method": "\(request.method)", "path": "\(request.path)", "request": "\(request.requestID)",
            "error": "\(error)",
          ])
        known = APIError(
          .unhandled, "An unhandled error occurred; the controller's log names it by request id \(request.requestID)")
      }
    }
    var response = APIResponse.json(known.body(requestID: request.requestID), status: known.code.status)
    if known.code.status == 401 {
      let reason = request.header("zt-session") == nil ? "missing" : "invalid"
      response.headers.append(("www-authenticate", "zt-session realm=\"zt-session\" error=\"\(reason)\""))
    }
    return response
  }

  private func admit(_ request: APIRequest, _ api: (api: API, base: String), _ rest: Substring) async throws -> Admitted
  {
    let dialect = api.api.dialect
    if dialect == nil, let accept = request.header("accept"), !Self.acceptable(accept) {
      throw APIError(.notAcceptable, "none of the media types in Accept can be produced: \(accept.prefix(200))")
    }
    var request = request
    request.basePath = api.base
    switch api.api.find(method: request.method, segments: Self.segments(rest)) {
    case .unknown:
      throw APIError.notFound(
        "The resource requested was not found: path \(api.base.isEmpty ? "/edge/client/v1" + request.path : request.path) was not found"
      )
    case .wrongMethod(let allowed):
      throw APIError(
        .methodNotAllowed,
        "The resource does not support \(request.method); it supports \(allowed.sorted().joined(separator: ", "))",
        allowedMethods: allowed)
    case .found(let endpoint, let parameters):
      request.parameters = parameters
      let caller = try await withTimeout(Self.requestTimeout) { [request] in try await judge(request, endpoint, dialect)
      }
      if dialect == nil { for parameter in endpoint.words { try parameter.check(request) } }
      return Admitted(endpoint: endpoint, dialect: dialect, request: request, caller: caller)
    }
  }

  private func route(_ path: String) -> (api: (api: API, base: String), rest: Substring) {
    var best: (api: API, base: String)?
    for api in apis {
      for base in api.basePaths where path == base || path.hasPrefix(base + "/") {
        if base.count > (best?.base.count ?? -1) { best = (api, base) }
      }
    }
    if let best { return (best, path.dropFirst(best.base.count)) }
    return ((root, ""), path[...])
  }

  /// `Accept` may come several times and with parameters; refused only when it excludes everything we make.
  private static func acceptable(_ accept: String) -> Bool {
    let types = accept.split(separator: ",").map { $0.split(separator: ";").first.map { $0.trimming(" ") } ?? "" }
    return types.isEmpty
      || types.contains {
        ["", "*/*", "application/*", "application/json", "application/pkcs7-mime", "text/plain", "text/*", "text/html"]
          .contains($0)
      }
  }

  private static func segments(_ path: Substring) -> [String] { path.split(separator: "/").map { percentDecoded($0) } }

  static func percentDecoded(_ text: some StringProtocol) -> String {
    PercentText.decoded(Array(text.utf8)[...]).map { String(decoding: $0, as: UTF8.self) } ?? String(text)
  }

  /// Query parameters, percent-decoded, `+` as space; at most 256 are kept.
  static func query(_ text: Substring) -> [(name: String, value: String)] {
    text.split(separator: "&").prefix(256).map { pair in
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let value = parts.count > 1 ? String(parts[1].map { $0 == "+" ? " " : $0 }) : ""
      return (percentDecoded(parts[0]), percentDecoded(value))
    }
  }

  private static func crossOrigin(_ request: APIRequest) -> [(name: String, value: String)] {
    guard let origin = request.header("origin"), origin.count < 512 else { return [] }
    return [
      ("access-control-allow-origin", origin), ("access-control-allow-credentials", "true"),
      ("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
      ("access-control-allow-headers", "content-type, accept, authorization, zt-session"), ("vary", "origin"),
    ]
  }

  /// Runs what may change something. At the limit it ends, if it has changed nothing yet; from its first change on it
  /// is waited for, however long that takes, so that nothing that was done is told as given up.
  private func withDeadline<Output: Sendable>(_ limit: Duration, _ body: @escaping @Sendable () async throws -> Output)
    async throws -> Output
  {
    let deadline = ChangeDeadline()
    // Tasks of their own: what waits for its turn to write cannot be hurried, and is not waited for once it may not
    // change anything any more.
    let work = Task { try await ChangeDeadline.$current.withValue(deadline) { try await body() } }
    let (results, first) = AsyncStream.makeStream(of: Result<Output, any Error>.self)
    Task { first.yield(await work.result) }
    let late = APIError(
      .timeout, "The request waited longer than \(limit) and was given up: it has changed nothing. Try again")
    let clock = Task {
      try await Task.sleep(for: limit)
      guard deadline.pass() else { return }
      work.cancel()
      first.yield(.failure(late))
    }
    defer { clock.cancel() }
    do {
      for await result in results { return try result.get() }
      // The server stops: it waits for what has begun.
      if deadline.pass() { work.cancel() }
      return try await work.value
    } catch is ChangeDeadline.Passed {
      throw late
    }
  }

  /// Runs what changes nothing.
  private func withTimeout<Output: Sendable>(_ limit: Duration, _ body: @escaping @Sendable () async throws -> Output)
    async throws -> Output
  {
    try await withThrowingTaskGroup(of: Output.self) { group in
      group.addTask { try await body() }
      group.addTask {
        try await Task.sleep(for: limit)
        throw APIError(.timeout, "The request took longer than \(limit) and was given up")
      }
      defer { group.cancelAll() }
      guard let first = try await group.next() else { throw CancellationError() }
      return first
    }
  }
}

extension Caller {
  /// Stands in for strangers at endpoints that are open to them.
  static let nobody = Caller(identityID: "", identityName: "", isAdmin: false, apiSessionID: "")
}
