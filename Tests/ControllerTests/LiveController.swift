import Foundation
import JSON
import Logging
import Model
import NIOConcurrencyHelpers
import PKI
import REST
import Testing
import X509

@testable import Controller
@testable import Transport

/// A controller that serves on loopback, and clients for it over real TLS.
struct LiveController: Sendable {
  struct Answer: Sendable {
    let status: Int
    let headers: [(name: String, value: String)]
    let text: String
    var json: JSONValue { (try? JSONValue(parsing: Array(text.utf8))) ?? .null }
    var data: JSONValue { json["data"] ?? .null }
    var code: String? { json["error"]?["code"]?.stringValue }
    func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name }?.value }
  }

  /// A key with the certificates it shows.
  struct Credential: Sendable {
    let key: PrivateKey
    let chain: CertificateChain
  }

  let node: ControllerNode
  let directory: String
  /// Seconds the controller's clock is ahead.
  let ahead: NIOLockedValueBox<Int64>
  /// Who logged in, by token: later requests show the same certificate, as those of SDKs do.
  private let owners = NIOLockedValueBox<[String: Credential]>([:])
  private let serving: Task<Void, Never>

  var core: ControllerCore { node.provisioning.core }

  /// - Parameter directory: of a controller that was stopped and kept its files; nil makes a new one.
  static func start(directory kept: String? = nil, _ configure: (inout ControllerConfiguration) -> Void = { _ in })
    async throws -> LiveController
  {
    let directory = kept ?? NSTemporaryDirectory() + "swiftlet-client-api-" + UUID().uuidString
    let ahead = NIOLockedValueBox<Int64>(0)
    var configuration = ControllerConfiguration(dataDirectory: directory, host: "127.0.0.1", port: 0)
    configuration.clock = { Timestamp.now().adding(seconds: ahead.withLockedValue { $0 }) }
    configure(&configuration)
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let node = try await ControllerNode(configuration: configuration, logger: logger)
    try await node.start()
    try await node.provisioning.setAdminPassword(username: "admin", password: "admin-password")
    return LiveController(node: node, directory: directory, ahead: ahead, serving: Task { try? await node.run() })
  }

  /// Stops serving and leaves the directory.
  func end() async {
    serving.cancel()
    await serving.value
  }

  /// - Parameter keepsFiles: for another start in `directory`.
  func stop(keepsFiles: Bool = false) async {
    await end()
    if keepsFiles { return }
    try? FileManager.default.removeItem(atPath: directory)
  }

  /// - Parameters:
  ///   - credential: shown in the handshake; by default the one that the token's session was made with.
  ///   - bare: shows none instead.
  func send(
    _ method: String, _ path: String, _ body: JSONValue? = nil, raw: String? = nil, type: String? = "application/json",
    token: String? = nil,
    as credential: Credential? = nil, bare: Bool = false
  ) async throws -> Answer {
    let credential = credential ?? (bare ? nil : token.flatMap { token in owners.withLockedValue { $0[token] } })
    let trust = ServerTrust.leaf(try await HTTPSClient.leaf(of: node.url))
    let client = HTTPSClient(tls: ClientTLS(chain: credential?.chain, key: credential?.key, trust: trust))
    var headers: [(String, String)] = []
    if let type { headers.append(("content-type", type)) }
    if let token { headers.append(("zt-session", token)) }
    let answer = try await client.request(
      method: method, node.url + path, headers: headers.map { (name: $0.0, value: $0.1) },
      body: raw.map { Array($0.utf8) } ?? body?.serialized())
    let result = Answer(
      status: answer.status, headers: answer.headers, text: String(decoding: answer.body, as: UTF8.self))
    if let credential, let made = result.header("zt-session") { owners.withLockedValue { $0[made] = credential } }
    return result
  }

  /// The same without a connection, for tests that ask much.
  func ask(
    _ method: String, _ path: String, query: [(name: String, value: String)] = [], _ body: JSONValue? = nil,
    token: String? = nil,
    as credential: Credential? = nil
  ) async -> Answer {
    let credential = credential ?? token.flatMap { token in owners.withLockedValue { $0[token] } }
    let peer = PresentedPeer(
      leaf: credential?.chain.leaf, intermediates: credential?.chain.intermediates ?? [], isResumed: false,
      remoteAddress: "127.0.0.1:1",
      localAddress: "127.0.0.1:2")
    let response = await ControllerNode.server(node.core).respond(
      to: APIRequest(
        method: method, path: path, query: query,
        headers: [("content-type", "application/json")] + (token.map { [("zt-session", $0)] } ?? []),
        body: body?.serialized() ?? [], peer: peer, requestID: "test"))
    return Answer(
      status: response.status, headers: response.headers, text: String(decoding: response.body, as: UTF8.self))
  }

  /// The one-time token inside a signed one.
  static func oneTime(_ jwt: String) throws -> String {
    try TokenParts(jwt).unverifiedClaims(as: EnrollmentClaims.self).jti
  }

  func enroll(_ jwt: String, key: PrivateKey) async throws -> Answer {
    try await send(
      "POST", "/edge/client/v1/enroll?method=ott&token=\(Self.oneTime(jwt))",
      raw: try CSR.create(key: key, commonName: "x"), type: "text/plain")
  }

  func enrolled(_ name: String, roles: [String] = [], isAdmin: Bool = false) async throws -> Credential {
    let invitation = try await node.provisioning.createIdentity(name: name, roleAttributes: roles, isAdmin: isAdmin)
    let key = try PrivateKey.generate(.p256)
    let answer = try await enroll(invitation.jwt, key: key)
    let pem = try #require(answer.data["cert"]?.stringValue, "\(answer.text)")
    return Credential(key: key, chain: try CertificateChain(pem: pem))
  }

  func logIn(_ credential: Credential) async throws -> Answer {
    try await send("POST", "/authenticate?method=cert", [:], as: credential)
  }

  func token(_ credential: Credential) async throws -> String {
    let answer = try await logIn(credential)
    return try #require(answer.data["token"]?.stringValue, "\(answer.text)")
  }

  func adminToken() async throws -> String {
    let answer = try await send(
      "POST", "/edge/management/v1/authenticate?method=password", ["username": "admin", "password": "admin-password"])
    return try #require(answer.data["token"]?.stringValue, "\(answer.text)")
  }
}
