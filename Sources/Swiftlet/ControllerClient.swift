import JSON
import NIOCore
import Transport
import Wire

/// The client API of a controller as this SDK uses it (edge-client-api.md 3, 5). Tries the identity's controllers in
/// turn.
struct ControllerClient: Sendable {
  struct Login: Decodable, Sendable {
    struct Reference: Decodable, Sendable {
      var id: String
      var name: String?
    }
    struct AuthQuery: Decodable, Sendable { var typeId: String? }
    var id: String
    var token: String
    var identity: Reference
    var authQueries: [AuthQuery]?
  }

  /// What an identity says of hosting (edge-client-api.md 5.2).
  struct Hosting: Decodable, Sendable {
    var defaultHostingCost: Int?
    var defaultHostingPrecedence: String?
    /// By service id.
    var serviceHostingCosts: [String: Int]?
    /// By service id.
    var serviceHostingPrecedences: [String: String]?
  }

  /// A capability of our controllers: they apply what an identity says of hosting to its terminators, also when it
  /// changes.
  static let hostingCapability = "SWIFTLET_HOSTING"

  struct Service: Decodable, Sendable {
    var id: String
    var name: String
    var encryptionRequired: Bool
    var permissions: [String]
    var config: JSONObject?

    /// Whether what a dial or a bind rests on is the same.
    func isSame(as other: Service) -> Bool { id == other.id && encryptionRequired == other.encryptionRequired }

    /// Whether a host has nothing to do where the service became this one.
    func isOffered(like other: Service?) -> Bool {
      other.map { isSame(as: $0) && permissions == $0.permissions } ?? false
    }
  }

  struct Session: Decodable, Sendable {
    struct Router: Decodable, Sendable {
      var name: String
      /// None while the router is away from its controller.
      var supportedProtocols: [String: String]?
      var tls: PeerAddress? { supportedProtocols?["tls"].flatMap { try? PeerAddress(parsing: $0) } }
    }
    var id: String
    var token: String
    var edgeRouters: [Router]
  }

  private struct ServiceUpdates: Decodable { var lastChangeAt: String }
  private struct Version: Decodable { var capabilities: [String]? }
  private struct Nothing: Decodable {}

  private static let pageSize = 500
  static let path = "/edge/client/v1"

  /// Towards controllers. A program asks every 15 s whether something changed: over one connection, for a controller
  /// with 100,000 of them could hardly shake hands with each every time.
  let rest: RESTClient
  let routerTLS: ClientTLS
  let requests = RequestCount()

  init(identity: IdentityFile) throws {
    rest = RESTClient(bases: identity.controllers.map(Self.base), tls: try identity.controllerTLS())
    routerTLS = try identity.clientTLS()
  }

  /// The base of the client API at an address that may come without a scheme, and without a path.
  static func base(_ address: String) -> String {
    // What is no address is refused when it is asked.
    guard let url = ServerURL(address, impliesTLS: true) else { return address }
    return url.shortOrigin + (url.path.isEmpty ? path : url.path)
  }

  static func refusal(_ operation: String, _ refusal: RESTRefusal) -> OverlayError {
    .controllerRefused(
      operation: operation, status: refusal.status, code: refusal.code ?? "UNKNOWN", message: refusal.sentence)
  }

  // MARK: Requests

  private func send<Value: Decodable & Sendable>(
    _ method: String, _ path: String, _ operation: String, token: String? = nil, body: JSONObject? = nil,
    as type: Value.Type
  ) async throws -> RESTEnvelope<Value> {
    requests.add()
    do throws(RESTError) {
      return try await rest.envelope(
        method, path, token: token, body: body.map { JSONValue.object($0).serialized() }, of: type)
    } catch {
      switch error.problem {
      case .unreachable(let reason): throw OverlayError.controllerUnreachable(reason: reason)
      case .refused(let refusal): throw Self.refusal(operation, refusal)
      case .unreadable(let reason): throw OverlayError.badAnswer(operation: operation, reason: reason)
      }
    }
  }

  func logIn(application: Overlay.Application) async throws -> Login {
    let body: JSONObject = [
      "sdkInfo": .object([
        "type": .string("swiftlet"), "version": .string(VersionInfo.current.revision), "appID": .string(application.id),
        "appVersion": .string(application.version),
      ]),
      "envInfo": .object(["os": .string(VersionInfo.current.os), "arch": .string(VersionInfo.current.arch)]),
      "configTypes": .array([.string("all")]),
    ]
    let login: Login
    do {
      login = try await send("POST", "/authenticate?method=cert", "log in", body: body, as: Login.self).data
    } catch OverlayError.controllerRefused(_, 401, _, let message) {
      throw OverlayError.notAuthenticated(reason: message)
    }
    if let query = login.authQueries?.first {
      throw OverlayError.notAuthenticated(
        reason: "it asks for a further factor (\(query.typeId ?? "unknown")), which this SDK does not offer")
    }
    return login
  }

  func logOut(token: String) async throws {
    _ = try await send("DELETE", "/current-api-session", "log out", token: token, as: Nothing.self)
  }

  /// When the caller's services changed last; an opaque text. Asking prolongs the session.
  func lastChange(token: String) async throws -> String {
    try await send(
      "GET", "/current-api-session/service-updates", "ask for changes", token: token, as: ServiceUpdates.self
    ).data.lastChangeAt
  }

  func services(token: String) async throws -> [Service] {
    var all: [Service] = []
    while true {
      let page = try await send(
        "GET", "/services?limit=\(Self.pageSize)&offset=\(all.count)&configTypes=all", "list services", token: token,
        as: [Service].self)
      all += page.data
      if page.data.isEmpty || all.count >= page.meta?.pagination?.totalCount ?? 0 { return all }
    }
  }

  /// What the caller's identity says of hosting; nil where the controller sees to it.
  func hosting(token: String) async throws -> Hosting? {
    let version = try await send("GET", "/version", "ask for the version", as: Version.self).data
    guard version.capabilities?.contains(Self.hostingCapability) != true else { return nil }
    return try await send("GET", "/current-identity", "read the identity", token: token, as: Hosting.self).data
  }

  /// A session as it is now, with the routers that it may be used at.
  func session(token: String, id: String) async throws -> Session {
    try await send("GET", "/sessions/\(id)", "look at a session", token: token, as: Session.self).data
  }

  /// A session for a service; the one that exists, if one does.
  /// - Parameter type: `Dial` or `Bind`.
  func session(token: String, service: String, type: String) async throws -> Session {
    try await send(
      "POST", "/sessions", "make a \(type) session", token: token,
      body: ["serviceId": .string(service), "type": .string(type)], as: Session.self
    ).data
  }
}
