import Controller
import Foundation
import JSON
import Logging
import Model
import NIOCore
import NetworkFixture
import PKI
import REST
import SwiftletShare
import Testing
import Transport

@testable import ShareFrontend
@testable import ShareService

/// A share service on a network in this process, asked as its clients ask it.
struct ShareBench: Sendable {
  static let adminSecret = "administrators-only"

  let network: Network
  let service: ShareServer
  let server: APIServer
  let core: ShareCore
  let apiPort: Int
  let frontendPort: Int
  private let running: Task<Void, Never>

  static func start(_ configure: (inout ShareConfiguration) -> Void = { _ in }) async throws -> ShareBench {
    try await start(on: Network.start(), configure)
  }

  /// A certificate for the zone, of an authority that nobody knows.
  static func certificate() throws -> ServerIdentity {
    let (now, key) = (Date(), try PrivateKey.generate(.p256))
    let authority = try CertificateAuthority.createRoot(name: "root", trustDomain: "test", algorithm: .p256, now: now)
    return try ServerIdentity(
      chain: authority.issueServer(publicKey: key.publicKey, names: ["*.share.localhost"], uris: [], now: now), key: key
    )
  }

  /// A share service as in a process of its own: it knows the network by the management API only.
  static func startRemote(_ configure: (inout ShareConfiguration) -> Void = { _ in }) async throws -> ShareBench {
    let network = try await Network.start()
    return try await start(on: network, remote: try await remoteController(network), configure)
  }

  static func remoteController(_ network: Network) async throws -> RemoteController {
    let url = await network.controller.url
    let leaf = try await HTTPSClient.leaf(of: url)
    let bundle = try await HTTPSClient(tls: ClientTLS(trust: .leaf(leaf))).request(url + "/.well-known/est/cacerts")
    return RemoteController(
      url: url + "/edge/management/v1", roots: TrustAnchors(try PKCS7.parse(base64: bundle.body)), username: "admin",
      password: "admin-password")
  }

  /// - Parameter remote: nil shares the process with the controller.
  static func start(
    on network: Network, remote: RemoteController? = nil, _ configure: (inout ShareConfiguration) -> Void = { _ in }
  ) async throws -> ShareBench {
    var configuration = ShareConfiguration(
      directory: network.directory + "/share", api: .init(host: "127.0.0.1", port: 0),
      frontend: .init(host: "127.0.0.1", port: 0),
      zone: "share.localhost")
    configuration.adminSecrets = [adminSecret]
    configure(&configuration)
    let logger = network.logger
    let service =
      if let remote {
        try await ShareServer.remote(remote, configuration: configuration, logger: logger)
      } else {
        try ShareServer(network: await network.provisioning, configuration: configuration, logger: logger)
      }
    let addresses = try await service.start()
    let running = Task { do { try await service.run() } catch { logger.error("share service ended: \(error)") } }
    return ShareBench(
      network: network, service: service, server: ShareServer.server(service.core), core: service.core,
      apiPort: addresses.api.port ?? 0,
      frontendPort: addresses.frontend?.port ?? 0, running: running)
  }

  var endpoint: String { "http://127.0.0.1:\(apiPort)" }

  func stopService() async {
    running.cancel()
    await running.value
  }

  func stop() async {
    await stopService()
    await network.stop()
  }

  struct Answer: Sendable {
    let status: Int
    let headers: [(name: String, value: String)]
    let body: JSONValue
  }

  /// One call of the API, without the wire.
  func call(_ method: String, _ path: String, _ token: String? = nil, _ body: JSONValue? = nil, text: String? = nil)
    async -> Answer
  {
    let parts = path.split(separator: "?", maxSplits: 1)
    let query =
      parts.count > 1
      ? parts[1].split(separator: "&").map { $0.split(separator: "=", maxSplits: 1).map(String.init) } : []
    let response = await server.respond(
      to: APIRequest(
        method: method, path: String(parts[0]), query: query.map { ($0[0], $0.count > 1 ? $0[1] : "") },
        headers: [("content-type", "application/zrok.v1+json")] + (token.map { [("x-token", $0)] } ?? []),
        body: text.map { Array($0.utf8) } ?? body?.serialized() ?? [], peer: .anonymous(), requestID: "test"))
    return Answer(
      status: response.status, headers: response.headers,
      body: response.body.isEmpty ? .null : (try? JSONValue(parsing: response.body)) ?? "unparsable")
  }

  /// An account. - Returns: its token.
  func account(_ email: String) async throws -> String {
    let made = await call(
      "POST", "/api/v2/account", Self.adminSecret, ["email": .string(email), "password": "Secret-123"])
    #expect(made.status == 201)
    return try #require(made.body["accountToken"]?.stringValue)
  }

  /// An environment. - Returns: its id and the identity file.
  func enable(_ token: String) async throws -> (id: String, cfg: String) {
    let made = await call("POST", "/api/v2/enable", token, ["description": "test", "host": "here"])
    #expect(made.status == 201)
    return (try #require(made.body["identity"]?.stringValue), try #require(made.body["cfg"]?.stringValue))
  }

  /// A private share. - Returns: its token.
  func privateShare(_ token: String, _ environment: String, _ more: JSONObject = [:]) async throws -> String {
    let body: JSONObject = [
      "envZId": .string(environment), "shareMode": "private", "backendMode": "tcpTunnel", "authScheme": "none",
      "target": "x",
    ]
    let made = await call("POST", "/api/v2/share", token, .object(body.merging(more) { $1 }))
    #expect(made.status == 201)
    return try #require(made.body["shareToken"]?.stringValue)
  }

  /// A public share. - Returns: its token and endpoints.
  func publicShare(_ token: String, _ environment: String, _ more: JSONObject = [:]) async throws -> (
    token: String, endpoints: [String]
  ) {
    let body: JSONObject = [
      "envZId": .string(environment), "shareMode": "public", "backendMode": "proxy", "authScheme": "none",
      "target": "x",
    ]
    let made = await call("POST", "/api/v2/share", token, .object(body.merging(more) { $1 }))
    #expect(made.status == 201)
    return (
      try #require(made.body["shareToken"]?.stringValue),
      try #require(made.body["frontendProxyEndpoints"]?.stringArrayValue)
    )
  }
}

/// A sharer's machine: enabled, with a directory for its files.
struct Sharer {
  let session: ShareSession
  let directory: String

  static func enable(_ bench: ShareBench, _ email: String, description: String = "test", host: String = "here")
    async throws -> Sharer
  {
    let directory = bench.network.directory + "/home-" + email
    var environment = try ShareEnvironment.load(directory: directory)
    try await ShareSession.enable(
      &environment, token: try await bench.account(email), endpoint: bench.endpoint, description: description,
      host: host)
    let files = try FileManager.default.attributesOfItem(atPath: environment.identityPath)
    #expect(files[.posixPermissions] as? Int == 0o600)
    return Sharer(session: try ShareSession(ShareEnvironment.load(directory: directory)), directory: directory)
  }
}
