import AgentProtocol
import Foundation
import JSON
import Model
import REST
import SwiftProtobuf
import SwiftletShare
import WireSchemas

/// Orders to agents (zrok.md 2.5). An agent may be of either generation, whatever generation of the API asks: it says
/// which it is, and is spoken to in its own words.
extension ShareAPI {
  private static let listLimit = 256
  /// Above what `AgentCaller` gives its calls.
  private static let timeLimit = Duration.seconds(60)
  private static let longTimeLimit = Duration.seconds(120)

  var agentCalls: [Endpoint] {
    let core = core
    // Whatever was enrolled once can be taken back.
    let unenroll = Endpoint("POST", "/agent/unenroll", "End that") { request, caller in
      try await core.unenrollAgent(caller.identityID, environment: try Self.environment(try request.object()))
      return ShareForm.empty()
    }
    guard core.configuration.remotesAgents else {
      return ["enroll", "ping", "status", "share", "unshare", "access", "unaccess", "share/http-healthcheck"].map {
        call in
        Endpoint("POST", "/agent/" + call, "Not offered by this service") { _, _ in
          throw ShareRefusal(
            501,
            "this service gives no orders to agents; its operator can allow it: swiftlet share serve --agent-remoting")
        }
      } + [unenroll]
    }
    let isV1 = generation == .v1
    return [
      Endpoint("POST", "/agent/enroll", "Let the service give orders to an environment's agent") { request, caller in
        let token = try await core.enrollAgent(
          caller.identityID, environment: try Self.environment(try request.object()))
        return ShareForm.json(["token": .string(token)])
      },
      unenroll,
      Endpoint("POST", "/agent/ping", timeLimit: Self.timeLimit, "The version of an agent") { request, caller in
        let version = try await core.reachAgent(
          caller.identityID, environment: try Self.environment(try request.object())
        ) {
          try await $0.call(AgentMethods.version, .init()).v
        }
        return ShareForm.json(["version": .string(version)])
      },
      Endpoint("POST", "/agent/status", timeLimit: Self.timeLimit, "What an agent keeps") { request, caller in
        let answer = try await core.reachAgent(
          caller.identityID, environment: try Self.environment(try request.object())
        ) { agent in
          if try await agent.isFirstGeneration() {
            return Self.status(try await agent.call(AgentMethods.statusV1, .init()))
          }
          return Self.status(try await agent.call(AgentMethods.status, .init()), isV1: isV1)
        }
        return ShareForm.json(answer)
      },
      Endpoint("POST", "/agent/share", timeLimit: Self.longTimeLimit, "Have an agent share something") {
        request, caller in
        let body = try request.object()
        let order = try AgentShareOrder(body, isV1: isV1)
        let made = try await core.reachAgent(caller.identityID, environment: try Self.environment(body)) {
          try await order.give($0)
        }
        return ShareForm.json(["token": .string(made.token), "frontendEndpoints": JSONValue(made.endpoints)])
      },
      Endpoint("POST", "/agent/unshare", timeLimit: Self.longTimeLimit, "Have an agent end a share") {
        request, caller in
        let body = try request.object()
        let token = try body.required("token", try body.string("token"))
        try await core.reachAgent(caller.identityID, environment: try Self.environment(body)) { agent in
          _ = try await agent.call(
            AgentMethods.releaseShare, .with { $0.token = token }, patience: AgentCaller.longPatience)
        }
        return ShareForm.empty()
      },
      Endpoint("POST", "/agent/access", timeLimit: Self.longTimeLimit, "Have an agent bring a private share to a port")
      { request, caller in
        let body = try request.object()
        let order = try AgentAccessPrivateRequest(body)
        let token = try await core.reachAgent(caller.identityID, environment: try Self.environment(body)) {
          try await $0.call(AgentMethods.accessPrivate, order, patience: AgentCaller.longPatience).frontendToken
        }
        return ShareForm.json(["frontendToken": .string(token)])
      },
      Endpoint("POST", "/agent/unaccess", timeLimit: Self.longTimeLimit, "Have an agent end an access") {
        request, caller in
        let body = try request.object()
        let token = try body.required("frontendToken", try body.string("frontendToken"))
        try await core.reachAgent(caller.identityID, environment: try Self.environment(body)) { agent in
          _ = try await agent.call(
            AgentMethods.releaseAccess, .with { $0.frontendToken = token }, patience: AgentCaller.longPatience)
        }
        return ShareForm.empty()
      },
      Endpoint(
        "POST", "/agent/share/http-healthcheck", timeLimit: Self.longTimeLimit,
        "Have an agent ask the server behind a share"
      ) {
        request, caller in
        let body = try request.object()
        let check = try AgentShareHttpHealthcheckRequest(body)
        let patience = AgentCaller.patience + .milliseconds(Int64(check.timeoutMs))
        let answer = try await core.reachAgent(caller.identityID, environment: try Self.environment(body)) {
          try await $0.call(AgentMethods.checkShare, check, patience: patience)
        }
        return ShareForm.json(["healthy": .bool(answer.healthy), "error": .string(answer.error)])
      },
    ]
  }

  private static func environment(_ body: JSONObject) throws -> String {
    try body.required("envZId", try body.string("envZId"))
  }

  static func list(_ body: JSONObject, _ name: String) throws -> [String] {
    let values = try body.strings(name) ?? []
    guard values.count <= listLimit else { throw APIError.field(name, "\(name) in body: at most \(listLimit) entries") }
    return values
  }

  /// - Returns: a number of the body, 0 where it has none.
  static func number(_ body: JSONObject, _ name: String, _ range: ClosedRange<Int>) throws -> Int {
    guard let value = body[name], value != .null else { return 0 }
    // go-swagger's numbers may come as 200.0.
    let number = value.intValue ?? value.doubleValue.flatMap { Int(exactly: $0) }
    guard let number, range.contains(number) else {
      throw APIError.field(name, "\(name) in body must be a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  // MARK: Status

  private static func failure(_ failure: AgentFailure) -> JSONValue {
    var object: JSONObject = [
      "id": .string(failure.id), "count": JSONValue(Int(failure.count)), "lastError": .string(failure.lastError),
    ]
    if failure.hasNextRetry {
      object["nextRetry"] = .string(failure.nextRetry.date.formatted(Date.ISO8601FormatStyle()))
    }
    return .object(object)
  }

  private static func status(_ status: AgentStatusResponse, isV1: Bool) -> JSONValue {
    let shares = status.shares.map { share -> JSONValue in
      var object: JSONObject = [
        "token": .string(share.token), "shareMode": .string(share.shareMode), "backendMode": .string(share.backendMode),
        "frontendEndpoints": JSONValue(share.frontendEndpoint), "backendEndpoint": .string(share.backendEndpoint),
        "open": .bool(!share.closed),
        "status": .string(share.status),
      ]
      if isV1 { object["reserved"] = false } else if share.hasFailure { object["failure"] = failure(share.failure) }
      return .object(object)
    }
    let accesses = status.accesses.map { access -> JSONValue in
      var object = self.access(access)
      if !isV1 {
        object["status"] = .string(access.status)
        if access.hasFailure { object["failure"] = failure(access.failure) }
      }
      return .object(object)
    }
    return ["shares": .array(shares), "accesses": .array(accesses)]
  }

  private static func status(_ status: AgentStatusResponseV1) -> JSONValue {
    let shares = status.shares.map { share -> JSONValue in
      [
        "token": .string(share.token), "shareMode": .string(share.shareMode), "backendMode": .string(share.backendMode),
        "reserved": .bool(share.reserved), "frontendEndpoints": JSONValue(share.frontendEndpoint),
        "backendEndpoint": .string(share.backendEndpoint),
        "open": .bool(!share.closed), "status": .string(share.status),
      ]
    }
    return ["shares": .array(shares), "accesses": .array(status.accesses.map { .object(access($0)) })]
  }

  private static func access(_ access: AgentAccessDetail) -> JSONObject {
    [
      "frontendToken": .string(access.frontendToken), "token": .string(access.token),
      "bindAddress": .string(access.bindAddress),
      "responseHeaders": JSONValue(access.responseHeaders),
    ]
  }
}

extension AgentAccessPrivateRequest {
  fileprivate init(_ body: JSONObject) throws {
    self.init()
    token = try body.required("token", try body.string("token"))
    bindAddress = try body.string("bindAddress") ?? ""
    autoMode = try body.bool("autoMode") ?? false
    autoAddress = try body.string("autoAddress") ?? ""
    autoStartPort = UInt32(try ShareAPI.number(body, "autoStartPort", 0...65535))
    autoEndPort = UInt32(try ShareAPI.number(body, "autoEndPort", 0...65535))
    responseHeaders = try ShareAPI.list(body, "responseHeaders")
  }
}

extension AgentShareHttpHealthcheckRequest {
  fileprivate init(_ body: JSONObject) throws {
    self.init()
    token = try body.required("shareToken", try body.string("shareToken"))
    httpVerb = try body.string("httpVerb") ?? ""
    endpoint = try body.string("endpoint") ?? ""
    expectedHTTPResponse = UInt32(try ShareAPI.number(body, "expectedHttpResponse", 0...999))
    timeoutMs = UInt64(try ShareAPI.number(body, "timeoutMs", 0...60_000))
  }
}

/// What an agent is to share, in the words of either generation of the API.
private struct AgentShareOrder: Sendable {
  private let isV1: Bool
  private let mode: String
  private var request = AgentSharePublicRequest()
  /// Of a private share; of a reserved one, which only the first generation knows.
  private var token = ""
  private var frontends: [String] = []

  init(_ body: JSONObject, isV1: Bool) throws {
    self.isV1 = isV1
    mode = try body.required("shareMode", try body.string("shareMode"))
    guard mode == "public" || mode == "private" || (isV1 && mode == "reserved") else {
      throw APIError.field("shareMode", "shareMode in body: '\(mode.prefix(64))' is not one of its words")
    }
    request.target = try body.string("target") ?? ""
    request.basicAuth = try ShareAPI.list(body, "basicAuth")
    request.backendMode = try body.string("backendMode") ?? ""
    if request.backendMode.isEmpty, !request.target.isEmpty, mode != "reserved" {
      let serving = ShareOptions.Backend.afar(request.target)
      (request.backendMode, request.target) = (serving.mode.rawValue, serving.target)
    }
    request.insecure = try body.bool("insecure") ?? false
    request.closed = !(try body.bool("open") ?? false)
    request.accessGrants = try ShareAPI.list(body, "accessGrants")
    request.oauthProvider = try body.string("oauthProvider") ?? ""
    request.oauthEmailDomains = try ShareAPI.list(body, isV1 ? "oauthEmailAddressPatterns" : "oauthEmailDomains")
    request.oauthRefreshInterval = try body.string(isV1 ? "oauthCheckInterval" : "oauthRefreshInterval") ?? ""
    if isV1 {
      token = try body.string("token") ?? ""
      frontends = try ShareAPI.list(body, "frontendSelection")
    } else {
      token = try body.string("privateShareToken") ?? ""
      request.nameSelections = try ShareAPI.names(body).map { name in
        .with {
          $0.namespaceToken = name.namespace
          $0.name = name.name
        }
      }
    }
  }

  func give(_ agent: AgentCaller.Agent) async throws -> (token: String, endpoints: [String]) {
    let patience = AgentCaller.longPatience
    if try await agent.isFirstGeneration() { return try await giveV1(agent, patience) }
    switch mode {
    case "public":
      let made = try await agent.call(AgentMethods.sharePublic, request, patience: patience)
      return (made.token, made.frontendEndpoints)
    case "private":
      let made = try await agent.call(
        AgentMethods.sharePrivate,
        .with {
          $0.target = request.target
          $0.privateShareToken = isV1 ? "" : token
          $0.backendMode = request.backendMode
          $0.insecure = request.insecure
          $0.closed = request.closed
          $0.accessGrants = request.accessGrants
        }, patience: patience)
      return (made.token, [])
    default:
      throw ShareRefusal(502, "this agent is of the second generation, which knows names instead of reserved shares")
    }
  }

  private func giveV1(_ agent: AgentCaller.Agent, _ patience: Duration) async throws -> (
    token: String, endpoints: [String]
  ) {
    guard request.nameSelections.isEmpty, isV1 || token.isEmpty else {
      throw ShareRefusal(
        502, "this agent is of the first generation, which knows neither names nor private tokens; update it")
    }
    switch mode {
    case "public":
      let made = try await agent.call(
        AgentMethods.sharePublicV1,
        .with {
          $0.target = request.target
          $0.basicAuth = request.basicAuth
          $0.frontendSelection = frontends
          $0.backendMode = request.backendMode
          $0.insecure = request.insecure
          $0.oauthProvider = request.oauthProvider
          $0.oauthEmailAddressPatterns = request.oauthEmailDomains
          $0.oauthCheckInterval = request.oauthRefreshInterval
          $0.closed = request.closed
          $0.accessGrants = request.accessGrants
        }, patience: patience)
      return (made.token, made.frontendEndpoints)
    case "private":
      let made = try await agent.call(
        AgentMethods.sharePrivateV1,
        .with {
          $0.target = request.target
          $0.backendMode = request.backendMode
          $0.insecure = request.insecure
          $0.closed = request.closed
          $0.accessGrants = request.accessGrants
        }, patience: patience)
      return (made.token, [])
    default:
      let made = try await agent.call(
        AgentMethods.shareReservedV1,
        .with {
          $0.token = token
          $0.overrideEndpoint = request.target
          $0.insecure = request.insecure
        }, patience: patience)
      return (made.token, made.frontendEndpoints)
    }
  }
}
