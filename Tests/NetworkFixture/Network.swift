// NetworkFixture: a whole network in the test's process: a controller and an edge router on loopback, with free ports
// and a directory of their own. It tests nothing itself. Start reading at `Network`.

public import Controller
public import EdgeRouter
import Foundation
public import JSON
public import Logging
import Model
import NIOCore
import NIOPosix
import Transport

/// A controller with one edge router that any identity may use for any service.
public actor Network {
  public struct Failure: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
  }

  public nonisolated let directory: String
  public nonisolated let logger: Logger
  private var configuration: ControllerConfiguration
  private var controllerNode: ControllerNode
  private var controllerTask: Task<Void, Never>?
  private var routerNode: RouterNode?
  private var routerTask: Task<Void, Never>?
  private var routerPort = 0
  private let identityLimits: IdentityLimits
  private let host: String
  public private(set) var routerID = ""
  /// Beside the first one, by name.
  private var others: [String: Other] = [:]

  private struct Other {
    let id: String
    var port = 0
    var task: Task<Void, Never>?
  }

  public var controller: ControllerNode { controllerNode }
  public var provisioning: Provisioning { controllerNode.provisioning }
  public var router: RouterNode? { routerNode }

  private init(
    directory: String, host: String, configuration: ControllerConfiguration, controller: ControllerNode,
    identityLimits: IdentityLimits,
    logger: Logger
  ) {
    self.directory = directory
    self.host = host
    self.configuration = configuration
    self.identityLimits = identityLimits
    controllerNode = controller
    self.logger = logger
  }

  /// Starts everything and waits until the router is connected.
  /// - Parameters:
  ///   - host: address that everything listens on and is dialled at.
  ///   - sharesRouters: whether policies let every identity and every service use the router.
  ///   - identityLimits: what one identity may have of the router.
  ///   - configure: changes the controller's configuration before its start.
  public static func start(
    host: String = "127.0.0.1", sharesRouters: Bool = true, identityLimits: IdentityLimits = IdentityLimits(),
    _ configure: (inout ControllerConfiguration) -> Void = { _ in }
  ) async throws -> Network {
    let directory = NSTemporaryDirectory() + "swiftlet-network-" + UUID().uuidString
    var logger = Logger(label: "network")
    logger.logLevel =
      ProcessInfo.processInfo.environment["SWIFTLET_TEST_LOG"].flatMap { Logger.Level(rawValue: $0) } ?? .critical
    var configuration = ControllerConfiguration(dataDirectory: directory + "/controller", host: host, port: 0)
    configuration.serverNames = ["localhost"]
    configure(&configuration)
    let controller = try await ControllerNode(configuration: configuration, logger: logger)
    let network = Network(
      directory: directory, host: host, configuration: configuration, controller: controller,
      identityLimits: identityLimits, logger: logger)
    try await network.begin(sharesRouters: sharesRouters)
    return network
  }

  private func begin(sharesRouters: Bool) async throws {
    let port = try await controllerNode.start().port ?? 0
    // A restart must find its clients on the same port.
    configuration.listeners[0].port = port
    configuration.advertised.port = port
    runController()
    try await provisioning.setAdminPassword(username: "admin", password: "admin-password")
    if sharesRouters {
      try await provisioning.createEdgeRouterPolicy(
        name: "all routers", identityRoles: ["#all"], edgeRouterRoles: ["#all"])
      try await provisioning.createServiceEdgeRouterPolicy(
        name: "all services", serviceRoles: ["#all"], edgeRouterRoles: ["#all"])
    }
    let invitation = try await provisioning.createEdgeRouter(name: "router")
    routerID = invitation.id
    try await RouterEnrollment.enroll(jwt: invitation.jwt, configuration: routerConfiguration())
    try await startRouter()
  }

  private func routerConfiguration() throws -> RouterConfiguration {
    try routerConfiguration("router", port: routerPort)
  }

  private func routerConfiguration(_ name: String, port: Int) throws -> RouterConfiguration {
    let files = directory + "/" + name
    try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: true)
    return RouterConfiguration(
      identity: .init(directory: files), controllers: [PeerAddress(host: host, port: configuration.advertised.port)],
      listener: .init(host: host, port: port, advertised: PeerAddress(host: host, port: port)),
      usageInterval: .seconds(1), identityLimits: identityLimits)
  }

  private func runController() {
    let node = controllerNode
    let logger = logger
    controllerTask = Task { do { try await node.run() } catch { logger.error("controller ended: \(error)") } }
  }

  // MARK: Stopping and starting

  public func stopController() async {
    controllerTask?.cancel()
    await controllerTask?.value
    controllerTask = nil
  }

  public func startController() async throws {
    controllerNode = try await ControllerNode(configuration: configuration, logger: logger)
    try await controllerNode.start()
    runController()
  }

  public func stopRouter() async {
    routerTask?.cancel()
    await routerTask?.value
    routerTask = nil
    routerNode = nil
  }

  public func startRouter() async throws {
    let node = try await RouterNode(configuration: routerConfiguration(), logger: logger)
    routerNode = node
    routerPort = node.edgeAddress?.port ?? 0
    let logger = logger
    routerTask = Task { do { try await node.run() } catch { logger.error("router ended: \(error)") } }
    let id = routerID
    try await Self.wait("the router is connected") { [self] in await controller.connectedRouters.contains(id) }
  }

  /// One more router, enrolled and started. - Returns: its id.
  @discardableResult
  public func addRouter(_ name: String) async throws -> String {
    let invitation = try await provisioning.createEdgeRouter(name: name)
    try await RouterEnrollment.enroll(jwt: invitation.jwt, configuration: routerConfiguration(name, port: 0))
    others[name] = Other(id: invitation.id)
    try await startRouter(name)
    return invitation.id
  }

  public func stopRouter(_ name: String) async {
    let task = others[name]?.task
    others[name]?.task = nil
    task?.cancel()
    await task?.value
  }

  public func startRouter(_ name: String) async throws {
    guard let other = others[name] else { throw Failure("there is no router \(name)") }
    let node = try await RouterNode(configuration: routerConfiguration(name, port: other.port), logger: logger)
    let logger = logger
    others[name]?.port = node.edgeAddress?.port ?? 0
    others[name]?.task = Task { do { try await node.run() } catch { logger.error("router ended: \(error)") } }
    try await Self.wait("the router is connected") { [self] in await controller.connectedRouters.contains(other.id) }
  }

  public func stop() async {
    for name in others.keys { await stopRouter(name) }
    await stopRouter()
    await stopController()
    try? FileManager.default.removeItem(atPath: directory)
  }

  // MARK: Model

  /// An identity with its enrollment token.
  public func invite(_ name: String, roles: [String] = []) async throws -> Provisioning.Invitation {
    try await provisioning.createIdentity(name: name, roleAttributes: roles)
  }

  public struct ServiceIDs: Sendable {
    public let service: String
    public let dialPolicy: String
    public let bindPolicy: String
  }

  /// A service that the given roles may dial and host.
  @discardableResult
  public func service(_ name: String, dial: [String] = ["#all"], bind: [String] = ["#all"], encrypted: Bool = true)
    async throws -> ServiceIDs
  {
    let id = try await provisioning.createService(name: name, encryptionRequired: encrypted)
    return ServiceIDs(
      service: id,
      dialPolicy: try await provisioning.createServicePolicy(
        name: "dial \(name)", type: .dial, identityRoles: dial, serviceRoles: ["@\(id)"]),
      bindPolicy: try await provisioning.createServicePolicy(
        name: "bind \(name)", type: .bind, identityRoles: bind, serviceRoles: ["@\(id)"]))
  }

  // MARK: Management API

  private var token: String?

  /// A call of the management API by the administrator, over the wire. - Returns: `data` of the answer.
  @discardableResult
  public func api(_ method: String, _ path: String, _ body: JSONValue? = nil) async throws -> JSONValue {
    let leaf = try await HTTPSClient.leaf(of: controllerNode.url)
    let client = HTTPSClient(tls: ClientTLS(trust: .leaf(leaf)))
    let base = controllerNode.url + "/edge/management/v1"
    if token == nil {
      let login: JSONValue = ["username": "admin", "password": "admin-password"]
      let answer = try await client.request(
        method: "POST", base + "/authenticate?method=password", headers: [("content-type", "application/json")],
        body: login.serialized())
      token = try JSONValue(parsing: answer.body)["data"]?["token"]?.stringValue
    }
    let answer = try await client.request(
      method: method, base + path, headers: [("content-type", "application/json"), ("zt-session", token ?? "")],
      body: body?.serialized())
    guard (200..<300).contains(answer.status) else {
      throw Failure("\(method) \(path): \(answer.status) \(String(decoding: answer.body, as: UTF8.self))")
    }
    return try JSONValue(parsing: answer.body)["data"] ?? .null
  }

  // MARK: Waiting

  /// Waits until something holds; a minute is a hang.
  public static func wait(_ what: String, seconds: Int = 60, _ condition: @Sendable () async throws -> Bool)
    async throws
  {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while try await !condition() {
      guard ContinuousClock.now < deadline else { throw Failure("waited \(seconds) s in vain: \(what)") }
      try await Task.sleep(for: .milliseconds(20))
    }
  }
}
