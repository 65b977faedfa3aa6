import Foundation
import NIOCore
import Transport

extension ControllerConfiguration {
  /// Reads a YAML file with the reference's keys (management-and-model.md 7.1). Keys of features that Swiftlet does not
  /// have yet are accepted where they change nothing, and are errors where ignoring them would mislead.
  /// - Throws: `ConfigurationError`, with the line of whatever is wrong.
  public static func load(path: String) throws -> ControllerConfiguration {
    try ControllerConfiguration(StrictDocument(path: path))
  }

  init(_ document: StrictDocument) throws {
    let root = document.root
    root.accept(
      "v", "events", "healthChecks", "command", "commandRateLimiter", "routerDataModel", "tls", "connectEvents",
      "trace", "profile")

    if root.contains("cluster") {
      throw root.error("cluster", "several controllers are not available yet; write db: FILE")
    }
    let database = try root.required("db")
    guard let edge = try root.section("edge") else { throw root.missing("edge") }
    guard let api = try edge.section("api") else { throw edge.missing("api") }
    api.accept("activityUpdateInterval", "activityUpdateBatchSize", "disableOidcAutoBinding")
    edge.accept("oidc", "authRateLimiter", "identityStatusConfig", "totp", "externalJwtSigners", "disablePostureChecks")

    self.init(dataDirectory: URL(fileURLWithPath: database).deletingLastPathComponent().path, host: "", port: 0)
    databasePath = database
    guard let advertised = try api.place("address") else { throw api.missing("address") }
    self.advertised = advertised
    trustDomain = try root.string("trustDomain")
    strangerLimits.trustedProxies = try root.trustedProxies()
    if try root.list("additionalTrustDomains")?.isEmpty == false {
      throw root.error("additionalTrustDomains", "only one trust domain is supported; leave it out")
    }
    if let timeout = try api.duration("sessionTimeout") {
      guard timeout >= .minutes(1) else { throw api.error("sessionTimeout", "must be at least 1m") }
      sessionTimeout = Int(timeout.nanoseconds / 1_000_000_000)
    }
    sessionsPerIdentity = try api.int("sessionsPerIdentity", in: 1...1_000_000) ?? sessionsPerIdentity
    serviceSessionsPerIdentity =
      try api.int("serviceSessionsPerIdentity", in: 1...10_000_000) ?? serviceSessionsPerIdentity
    keepsCircuitsOfLostRouters = try edge.bool("keepCircuitsOfLostRouters") ?? keepsCircuitsOfLostRouters
    try readEnrollment(edge, root)
    if let network = try root.section("network") {
      network.accept(
        "minRouterCost", "routerConnectChurnLimit", "cycleSeconds", "pendingLinkTimeoutSeconds", "initialLinkLatency",
        "metricsReportInterval",
        "intervalAgeThreshold", "smart", "routerMessaging")
      routeTimeout = Int64(try network.int("routeTimeoutSeconds", in: 1...600) ?? 10) * 1000
      circuitAttempts = try network.int("createCircuitRetries", in: 1...10) ?? 2
      if let absence = try network.duration("routerAbsence") {
        guard absence >= .minutes(1) else { throw network.error("routerAbsence", "must be at least 1m") }
        routerAbsence = absence.nanoseconds / 1_000_000
      }
    }
    listeners = try Self.listeners(root)
    try document.finish()
  }

  private mutating func readEnrollment(_ edge: StrictSection, _ root: StrictSection) throws {
    func lifetime(_ section: StrictSection, _ key: String) throws -> Int? {
      guard let kind = try section.section(key), let duration = try kind.duration("duration") else { return nil }
      guard duration >= .minutes(5) else { throw kind.error("duration", "must be at least 5m") }
      return Int(duration.nanoseconds / 1_000_000_000)
    }
    var signing: StrictSection?
    if let enrollment = try edge.section("enrollment") {
      identityEnrollmentDuration = try lifetime(enrollment, "edgeIdentity") ?? identityEnrollmentDuration
      routerEnrollmentDuration = try lifetime(enrollment, "edgeRouter") ?? routerEnrollmentDuration
      signing = try enrollment.section("signingCert")
      signing?.accept("ca")
    }
    // An operator supplies all certificates or none: a signing certificate without a server certificate would make two
    // networks of one.
    guard let identity = try root.section("identity") else {
      if let signing {
        throw signing.error("cert", "needs the section identity with server_cert, key and ca; supply both or neither")
      }
      return
    }
    identity.accept("cert", "alt_server_certs")
    guard let signing else {
      throw identity.error("server_cert", "needs edge.enrollment.signingCert with cert and key; supply both or neither")
    }
    let key = try identity.string("server_key") ?? identity.required("key")
    _ = try identity.string("key")
    supplied = SuppliedIdentity(
      serverChain: try identity.required("server_cert"), serverKey: key, authorities: try identity.required("ca"),
      signingChain: try signing.required("cert"), signingKey: try signing.required("key"))
  }

  /// Where to listen: the control listener and the web bind points, each address once.
  private static func listeners(_ root: StrictSection) throws -> [HostPort] {
    var found: [HostPort] = []
    func add(_ address: HostPort) { if !found.contains(address) { found.append(address) } }
    guard let web = try root.sections("web"), !web.isEmpty else { throw root.missing("web") }
    for entry in web {
      entry.accept("name", "options", "identity")
      guard let points = try entry.sections("bindPoints"), !points.isEmpty else { throw entry.missing("bindPoints") }
      for point in points {
        point.accept("newAddress", "address")
        if point.contains("identity") {
          throw point.error("identity", "serving over the overlay is not available; write interface and address")
        }
        guard let address = try point.place("interface") else { throw point.missing("interface") }
        add(address)
      }
      for api in try entry.sections("apis") ?? [] {
        api.accept("options")
        let binding = try api.required("binding")
        guard ["edge-client", "edge-management", "health-checks", "metrics"].contains(binding) else {
          throw api.error(
            "binding", "\(binding) is not available; there are edge-client, edge-management, health-checks and metrics")
        }
      }
    }
    if let control = try root.section("ctrl") {
      control.accept("dialer")
      if let options = try control.section("options") {
        options.accept(
          "advertiseAddress", "newListener", "maxQueuedConnects", "maxOutstandingConnects", "connectTimeoutMs",
          "writeTimeout", "routerHeartbeats",
          "peerHeartbeats")
      }
      let text = try control.required("listener")
      do { add(try PeerAddress(parsing: text).place) } catch { throw control.error("listener", "\(error)") }
    }
    return found
  }
}
