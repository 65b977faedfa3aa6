import Controller
import JSON
import Model
import NIOConcurrencyHelpers
import NIOCore
public import PKI
import Swiftlet
import Transport

/// Calls of a controller's management API, ours or upstream's.
protocol NetworkGateway: Sendable {
  /// - Parameter path: below the management base, beginning with `/`.
  /// - Returns: status, and the envelope; `null` where the body is empty.
  func call(_ method: String, _ path: String, _ body: JSONValue?) async throws -> (status: Int, envelope: JSONValue)

  /// Redeems a one-time token of an identity just made.
  func enroll(_ jwt: String) async throws -> IdentityFile
}

/// A controller elsewhere, and who the share service is to it.
public struct RemoteController: Sendable {
  /// Base of the management API: `https://ctrl.example.com:1280/edge/management/v1`.
  public var url: String
  /// The only authorities its certificate may come from.
  public var roots: TrustAnchors
  public var username: String
  public var password: String

  public init(url: String, roots: TrustAnchors, username: String, password: String) {
    self.url = url
    self.roots = roots
    self.username = username
    self.password = password
  }
}

/// The management API over HTTPS, with a session that is renewed when it ends.
final class ManagementGateway: NetworkGateway {
  private let controller: RemoteController
  private let rest: RESTClient
  private let session = NIOLockedValueBox<String?>(nil)

  init(_ controller: RemoteController) {
    self.controller = controller
    rest = RESTClient(
      bases: [controller.url], tls: ClientTLS(trust: .anchors(controller.roots, as: .controller(of: nil))),
      timeout: .seconds(15))
  }

  func call(_ method: String, _ path: String, _ body: JSONValue?) async throws -> (status: Int, envelope: JSONValue) {
    let token: String
    if let known = session.withLockedValue({ $0 }) { token = known } else { token = try await logIn() }
    let answer = try await request(method, path, body, token)
    guard answer.status == 401 else { return answer }
    return try await request(method, path, body, try await logIn())
  }

  func enroll(_ jwt: String) async throws -> IdentityFile { try await IdentityFile.enroll(jwt: jwt) }

  private func logIn() async throws -> String {
    let answer = try await request(
      "POST", "/authenticate?method=password",
      ["username": .string(controller.username), "password": .string(controller.password)], nil)
    guard let token = answer.envelope["data"]?["token"]?.stringValue else {
      throw ShareRefusal(
        503, "the controller does not accept the share service's user \(controller.username) (status \(answer.status))")
    }
    session.withLockedValue { $0 = token }
    return token
  }

  private func request(_ method: String, _ path: String, _ body: JSONValue?, _ token: String?) async throws -> (
    status: Int, envelope: JSONValue
  ) {
    let answer: HTTPAnswer
    do throws(RESTError) {
      answer = try await rest.send(method, path, token: token, body: body?.serialized())
    } catch {
      guard case .unreachable(let reason) = error.problem else { throw error }
      throw ShareRefusal(503, "the controller at \(controller.url) does not answer: \(reason)")
    }
    return (answer.status, answer.document ?? .null)
  }
}

extension NetworkGateway {
  /// The data of a good answer.
  /// - Throws: `ShareRefusal` with the controller's reason; 409 where something is there already.
  func data(_ method: String, _ path: String, _ body: JSONValue? = nil, doing: String) async throws -> JSONValue {
    let (status, envelope) = try await call(method, path, body)
    guard (200..<300).contains(status) else { throw Self.refusal(status, envelope, doing) }
    return envelope["data"] ?? .null
  }

  static func refusal(_ status: Int, _ envelope: JSONValue, _ doing: String) -> ShareRefusal {
    let refusal = RESTRefusal(status: status, envelope)
    let cause = refusal.cause?.reason ?? refusal.cause?.message ?? refusal.message ?? "no reason given"
    let isTaken = (status == 400 || status == 409) && (cause.contains("duplicate") || cause.contains("already"))
    return ShareRefusal(
      isTaken ? 409 : status == 401 || status == 403 ? 503 : 500,
      "the controller refused to \(doing): \(cause) (status \(status))")
  }

  /// All entities of a collection that a filter selects.
  func list(_ collection: String, filter: String) async throws -> [JSONValue] {
    var found: [JSONValue] = []
    while true {
      let page = try await page(collection, filter: filter, limit: 100, offset: found.count)
      found += page
      if page.count < 100 { return found }
    }
  }

  /// Some of them.
  func page(_ collection: String, filter: String, limit: Int, offset: Int = 0) async throws -> [JSONValue] {
    let path = "/\(collection)?limit=\(limit)&offset=\(offset)&filter=\(filter.pathSegment)"
    return try await data("GET", path, doing: "list \(collection)").arrayValue ?? []
  }

  /// Deletes an entity; one that is not there was deleted before.
  func delete(_ collection: String, _ id: String) async throws {
    let (status, envelope) = try await call("DELETE", "/\(collection)/\(id)", nil)
    guard (200..<300).contains(status) || status == 404 else {
      throw Self.refusal(status, envelope, "delete \(collection)/\(id)")
    }
  }
}
