import Controller
import EdgeRouter
import Foundation
import Logging
import NIOCore
import PKI
import ServiceLifecycle
import Swiftlet
import Transport

/// Controller and edge router in one process, with what a newcomer needs to see them work, or with an application on
/// top. What the operator changed or deleted later stays as it is.
struct QuickstartNetwork: Service {
  /// A service that runs with the network.
  typealias Application = @Sendable (ControllerNode) async throws -> any Service

  struct Report: Sendable {
    struct Demo: Sendable {
      /// Identity files.
      var host: String
      var client: String
    }
    var url: String
    var router: String
    /// Of the administrator, at the first start only.
    var password: String?
    var demo: Demo?
  }

  static let service = "demo"
  private static let routerName = "quickstart-router"
  private static let hostName = "demo-host"
  private static let clientName = "demo-client"
  /// How this machine calls itself.
  private static let nearNames = ["localhost", "127.0.0.1", "::1"]

  let directory: String
  let host: String
  let port: Int
  let routerPort: Int
  let logger: Logger
  /// Instead of the demo.
  var application: Application?
  let started: @Sendable (Report) -> Void

  private var place: ListeningHost { ListeningHost(host: host) }

  func run() async throws {
    try PrivateFile.makeDirectory(directory)
    var configuration = ControllerConfiguration(
      dataDirectory: directory + "/controller", host: place.address, port: port)
    configuration.advertised.host = host
    configuration.serverNames = Self.nearNames
    let controller = try await ControllerNode(configuration: configuration, logger: logger)
    try await controller.start()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await controller.run() }
      group.addTask {
        let (router, report) = try await assemble(controller)
        guard let application else {
          started(report)
          return try await router.run()
        }
        let running = try await application(controller)
        started(report)
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { try await router.run() }
          group.addTask { try await running.run() }
          defer { group.cancelAll() }
          try await group.next()
        }
      }
      defer { group.cancelAll() }
      do { try await group.next() } catch is CancellationError {}
    }
  }

  /// Makes what is missing. The administrator comes last, so that a first start that was cut off is continued by the
  /// next one.
  private func assemble(_ controller: ControllerNode) async throws -> (RouterNode, Report) {
    let provisioning = controller.provisioning
    let isNew = try await !provisioning.hasAdministrator()
    if isNew { try await createModel(provisioning) }
    let router = try await router(controller)
    var report = Report(
      url: controller.url, router: HostPort(host: host, port: router.edgeAddress?.port ?? routerPort).description)
    if application == nil, let server = try await identity(Self.hostName, provisioning),
      let client = try await identity(Self.clientName, provisioning)
    {
      report.demo = .init(host: server, client: client)
    }
    if isNew {
      let password = Self.password()
      try await provisioning.setAdminPassword(username: "admin", password: password)
      report.password = password
    }
    return (router, report)
  }

  private func createModel(_ provisioning: Provisioning) async throws {
    if try await provisioning.edgeRouterPolicy(named: "quickstart-all") == nil {
      try await provisioning.createEdgeRouterPolicy(
        name: "quickstart-all", identityRoles: ["#all"], edgeRouterRoles: ["#all"])
    }
    if try await provisioning.serviceEdgeRouterPolicy(named: "quickstart-all") == nil {
      try await provisioning.createServiceEdgeRouterPolicy(
        name: "quickstart-all", serviceRoles: ["#all"], edgeRouterRoles: ["#all"])
    }
    if try await provisioning.edgeRouter(named: Self.routerName) == nil {
      _ = try await provisioning.createEdgeRouter(name: Self.routerName, roleAttributes: ["public"])
    }
    guard application == nil else { return }
    for (name, role) in [(Self.hostName, "demo-hosts"), (Self.clientName, "demo-clients")]
    where try await provisioning.identity(named: name) == nil {
      _ = try await provisioning.createIdentity(name: name, roleAttributes: [role])
    }
    if try await provisioning.service(named: Self.service) == nil {
      try await provisioning.createService(name: Self.service, roleAttributes: ["demo"])
    }
    for (name, type, role) in [
      ("demo-bind", Provisioning.PolicyKind.bind, "#demo-hosts"), ("demo-dial", .dial, "#demo-clients"),
    ]
    where try await provisioning.servicePolicy(named: name) == nil {
      try await provisioning.createServicePolicy(name: name, type: type, identityRoles: [role], serviceRoles: ["#demo"])
    }
  }

  // MARK: Router

  private func router(_ controller: ControllerNode) async throws -> RouterNode {
    let files = directory + "/router"
    try PrivateFile.makeDirectory(files)
    let configuration = RouterConfiguration(
      identity: .init(directory: files), controllers: [PeerAddress(host: place.near, port: controller.advertised.port)],
      listener: .init(host: place.address, port: routerPort, advertised: PeerAddress(host: host, port: routerPort)),
      request: .init(names: Self.nearNames), usageInterval: .seconds(5))
    let provisioning = controller.provisioning
    guard let member = try await provisioning.edgeRouter(named: Self.routerName) else {
      throw CommandFailure(
        "the model in \(directory) has no edge router \(Self.routerName)",
        next: "start on another --directory, or make it again: swiftlet create edge-router")
    }
    // Controller and router share a host, which only the operator of both may say.
    try await provisioning.allow(names: [host], edgeRouter: member.id)
    if member.isEnrolled {
      do {
        return try await RouterNode(configuration: configuration, logger: logger)
      } catch RouterError.nameNotCovered, RouterError.unreadable {
        // Another --host, or lost files: the certificates are of no more use.
      }
    }
    for file in [configuration.identity.certificate, configuration.identity.serverCertificate] {
      try? FileManager.default.removeItem(atPath: file)
    }
    let invitation = try await provisioning.reissueEnrollment(edgeRouter: member.id)
    try await RouterEnrollment.enroll(jwt: invitation.jwt, configuration: configuration)
    return try await RouterNode(configuration: configuration, logger: logger)
  }

  // MARK: Identities

  /// The identity file, enrolled now if it is missing; nil when the operator deleted the identity.
  private func identity(_ name: String, _ provisioning: Provisioning) async throws -> String? {
    guard let member = try await provisioning.identity(named: name) else { return nil }
    let file = "\(directory)/\(name).json"
    if member.isEnrolled, FileManager.default.fileExists(atPath: file) { return file }
    let invitation = try await provisioning.reissueEnrollment(identity: member.id)
    try await IdentityFile.enroll(jwt: invitation.jwt).save(to: file)
    return file
  }

  /// 20 letters and digits without look-alikes: 114 bits.
  static func password() -> String {
    RandomSource.text(20, of: "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789")
  }
}
