import AgentProtocol
import GRPCCore
import NIOCore
import SwiftProtobuf
import SwiftletShare
import WireSchemas

/// What zrok's clients and share services ask of an agent, second generation (zrok.md 5.6).
struct AgentCommands: RegistrableRPCService {
  /// Begins with the series that clients look for.
  static let version = ZrokVersion.spoken + " [swiftlet]"
  /// The longest that a server behind a share is waited for.
  private static let checkLimit = 60_000

  let agent: Agent

  func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
    let agent = agent
    AgentMethods.version.handle(in: &router) { _ in .with { $0.v = Self.version } }
    AgentMethods.status.handle(in: &router) { _ in Self.status(await agent.status) }
    AgentMethods.sharePublic.handle(in: &router) { request in
      var order = AgentOrder.Share(.public)
      order.target = request.target
      order.backendMode = request.backendMode
      order.insecure = request.insecure
      order.closed = request.closed
      order.accessGrants = request.accessGrants
      order.basicAuth = request.basicAuth
      order.names = request.nameSelections.map { .init(namespace: $0.namespaceToken, name: $0.name) }
      order.oauthProvider = request.oauthProvider
      order.oauthEmailDomains = request.oauthEmailDomains
      order.oauthRefreshInterval = request.oauthRefreshInterval
      let status = try await Self.answer { try await agent.keep(.share(order)) }
      return .with {
        $0.token = status.token
        $0.frontendEndpoints = status.places
      }
    }
    AgentMethods.sharePrivate.handle(in: &router) { request in
      var order = AgentOrder.Share(.private)
      order.target = request.target
      order.backendMode = request.backendMode
      order.insecure = request.insecure
      order.closed = request.closed
      order.accessGrants = request.accessGrants
      order.token = request.privateShareToken
      let status = try await Self.answer { try await agent.keep(.share(order)) }
      return .with { $0.token = status.token }
    }
    AgentMethods.releaseShare.handle(in: &router) { request in
      try await Self.answer { try await agent.release("share", request.token) }
      return .init()
    }
    AgentMethods.accessPrivate.handle(in: &router) { request in
      var order = AgentOrder.Access(request.token)
      order.bindAddress = request.bindAddress
      order.autoMode = request.autoMode
      order.autoAddress = request.autoAddress
      order.autoStartPort = Int(request.autoStartPort)
      order.autoEndPort = Int(request.autoEndPort)
      order.responseHeaders = request.responseHeaders
      let status = try await Self.answer { try await agent.keep(.access(order)) }
      return .with { $0.frontendToken = status.accessToken ?? "" }
    }
    AgentMethods.releaseAccess.handle(in: &router) { request in
      try await Self.answer { try await agent.release("access", request.frontendToken) }
      return .init()
    }
    AgentMethods.checkShare.handle(in: &router) { request in
      let timeout = request.timeoutMs == 0 ? 5000 : Int(min(request.timeoutMs, UInt64(Self.checkLimit)))
      let problem = await agent.check(
        request.token, method: request.httpVerb, path: request.endpoint, expecting: Int(request.expectedHTTPResponse),
        timeout: .milliseconds(Int64(timeout)))
      return .with {
        $0.healthy = problem == nil
        $0.error = problem ?? ""
      }
    }
  }

  /// Errors in words, instead of gRPC's "unknown".
  private static func answer<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
    do { return try await body() } catch let error as RPCError { throw error } catch {
      throw RPCError(code: .failedPrecondition, message: "\(error)")
    }
  }

  /// Of zrok's words for a state there is "active" only for what was just reached.
  static func status(_ entries: [Agent.Status]) -> AgentStatusResponse {
    func word(_ entry: Agent.Status) -> String {
      switch entry.phase {
      case .starting: "starting"
      case .active: "active"
      case .failing: "retrying"
      }
    }
    func failure(_ entry: Agent.Status) -> AgentFailure? {
      guard entry.phase == .failing else { return nil }
      return .with {
        $0.id = entry.id
        $0.count = Int32(clamping: max(1, entry.failures))
        $0.lastError = entry.error ?? ""
        if let next = entry.nextRetry { $0.nextRetry = .init(seconds: Int64(next)) }
      }
    }
    return .with { response in
      for entry in entries {
        if entry.kind == "access" {
          response.accesses.append(
            .with {
              $0.frontendToken = entry.accessToken ?? ""
              $0.token = entry.token
              $0.bindAddress = entry.places.first ?? ""
              $0.responseHeaders = entry.responseHeaders ?? []
              $0.status = word(entry)
              if let failure = failure(entry) { $0.failure = failure }
            })
        } else {
          response.shares.append(
            .with {
              $0.token = entry.token
              $0.shareMode = entry.mode ?? ""
              $0.backendMode = entry.backend ?? ""
              $0.frontendEndpoint = entry.mode == ShareOptions.Mode.public.rawValue ? entry.places : []
              $0.backendEndpoint = entry.target ?? ""
              $0.closed = !(entry.isOpen ?? true)
              $0.status = word(entry)
              if let failure = failure(entry) { $0.failure = failure }
            })
        }
      }
    }
  }
}
