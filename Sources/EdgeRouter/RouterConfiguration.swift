import Foundation
public import NIOCore
public import Transport

/// What a router needs to know to start. The YAML keys are OpenZiti's (management-and-model.md 7.2).
public struct RouterConfiguration: Sendable {
  /// Paths of PEM files; written by enrollment, mode 0600.
  public struct IdentityFiles: Sendable, Equatable {
    public var certificate: String
    public var serverCertificate: String
    public var key: String
    public var authorities: String

    public init(certificate: String, serverCertificate: String, key: String, authorities: String) {
      self.certificate = certificate
      self.serverCertificate = serverCertificate
      self.key = key
      self.authorities = authorities
    }

    /// The usual names in a directory.
    public init(directory: String) {
      self.init(
        certificate: directory + "/router.cert.pem", serverCertificate: directory + "/router.server.pem",
        key: directory + "/router.key.pem",
        authorities: directory + "/router.ca.pem")
    }
  }

  public struct EdgeListener: Sendable, Equatable {
    /// Address to bind; of IPv6 without brackets.
    public var host: String
    /// 0 picks a free port.
    public var port: Int
    /// What SDKs are told to dial; port 0 stands for the port that was bound.
    public var advertised: PeerAddress

    public init(host: String, port: Int, advertised: PeerAddress) {
      self.host = host
      self.port = port
      self.advertised = advertised
    }
  }

  /// What enrollment asks to be certified.
  public struct CertificateRequest: Sendable, Equatable {
    public var organization: String?
    /// DNS names and IP addresses of the server certificate.
    public var names: [String]
    public var uris: [String]

    public init(organization: String? = nil, names: [String] = [], uris: [String] = []) {
      self.organization = organization
      self.names = names
      self.uris = uris
    }
  }

  public var identity: IdentityFiles
  /// Control addresses, tried in turn.
  public var controllers: [PeerAddress]
  public var listener: EdgeListener
  public var request: CertificateRequest
  /// Where enrollment notes the controllers when the configuration names none; nil keeps no such file.
  public var endpointsFile: String?
  /// How often the controller hears which API sessions are in use here.
  public var sessionHeartbeat: TimeAmount
  /// How often the controller hears the usage of circuits.
  public var usageInterval: TimeAmount
  public var strangerLimits: StrangerLimits
  /// Bytes of one circuit that wait for a reader before the channel they come from is not read.
  public var circuitQueue: Int
  /// How long others on that channel wait for the reader before its circuit is cut.
  public var circuitGrace: TimeAmount
  public var identityLimits: IdentityLimits

  /// Enough for a reader on a fast line to be late for a tenth of a second.
  public static let defaultCircuitQueue = 1024 * 1024
  public static let defaultCircuitGrace = TimeAmount.seconds(30)
  /// From one read of a socket up to what an identity may have waiting.
  private static let circuitQueues = 128 * 1024...16 * 1024 * 1024

  public init(
    identity: IdentityFiles, controllers: [PeerAddress], listener: EdgeListener,
    request: CertificateRequest = CertificateRequest(),
    endpointsFile: String? = nil, sessionHeartbeat: TimeAmount = .seconds(60), usageInterval: TimeAmount = .seconds(60),
    strangerLimits: StrangerLimits = StrangerLimits(), circuitQueue: Int = defaultCircuitQueue,
    circuitGrace: TimeAmount = defaultCircuitGrace,
    identityLimits: IdentityLimits = IdentityLimits()
  ) {
    self.identity = identity
    self.controllers = controllers
    self.listener = listener
    self.request = request
    self.endpointsFile = endpointsFile
    self.sessionHeartbeat = sessionHeartbeat
    self.usageInterval = usageInterval
    self.strangerLimits = strangerLimits
    self.circuitQueue = circuitQueue
    self.circuitGrace = circuitGrace
    self.identityLimits = identityLimits
    // The certificate must name what SDKs dial.
    if !self.request.names.contains(listener.advertised.host) { self.request.names.append(listener.advertised.host) }
  }

  /// Reads a YAML file.
  /// - Throws: `ConfigurationError`, with the line of whatever is wrong.
  public static func load(path: String) throws -> RouterConfiguration {
    let directory = URL(fileURLWithPath: path).deletingLastPathComponent().path
    return try RouterConfiguration(StrictDocument(path: path), defaultEndpointsFile: directory + "/endpoints.yml")
  }

  init(_ document: StrictDocument, defaultEndpointsFile: String?) throws {
    let root = document.root
    root.accept(
      "v", "forwarder", "healthChecks", "connectEvents", "interfaceDiscovery", "trace", "profile", "dialers",
      "enableDebugOps", "tls")
    guard let files = try root.section("identity") else { throw root.missing("identity") }
    let identity = IdentityFiles(
      certificate: try files.required("cert"), serverCertificate: try files.required("server_cert"),
      key: try files.required("key"),
      authorities: try files.required("ca"))

    let (named, endpointsFile) = try Self.controllers(root, defaultEndpointsFile)
    let (listener, circuitQueue, circuitGrace) = try Self.listener(root)
    if let link = try root.section("link") {
      link.accept("dialers", "heartbeats", "payloadSenderQueueSize", "ackSenderQueueSize")
      if let listeners = try link.sections("listeners"), !listeners.isEmpty {
        throw link.error("listeners", "links between routers are not available; leave it out")
      }
    }
    let edge = try root.section("edge")
    edge?.accept(
      "db", "dbSaveIntervalSeconds", "sessionValidateChunkSize", "sessionValidateMinInterval",
      "sessionValidateMaxInterval")
    let heartbeat = try edge?.int("heartbeatIntervalSeconds", in: 10...3600) ?? 60
    let metrics = try root.section("metrics")
    metrics?.accept("messageQueueSize", "intervalAgeThreshold", "enableDataDelayMetric")
    let usageInterval = try metrics?.duration("reportInterval") ?? .seconds(60)
    if usageInterval < .seconds(1), let metrics { throw metrics.error("reportInterval", "at least 1s") }
    let request = try Self.request(try edge?.section("csr") ?? root.section("csr"))
    var strangerLimits = StrangerLimits()
    strangerLimits.trustedProxies = try root.trustedProxies()
    try document.finish()
    self.init(
      identity: identity, controllers: try Self.noted(named, endpointsFile), listener: listener, request: request,
      endpointsFile: endpointsFile,
      sessionHeartbeat: .seconds(Int64(heartbeat)), usageInterval: usageInterval, strangerLimits: strangerLimits,
      circuitQueue: circuitQueue,
      circuitGrace: circuitGrace)
  }

  private static func controllers(_ root: StrictSection, _ defaultFile: String?) throws -> ([PeerAddress], String?) {
    guard let ctrl = try root.section("ctrl") else { return ([], defaultFile) }
    ctrl.accept("defaultRequestTimeout", "startupTimeout", "options", "heartbeats", "rateLimiter")
    var found: [PeerAddress] = []
    for key in ["endpoint", "endpoints"] {
      for text in try ctrl.list(key) ?? [] {
        do { found.append(try PeerAddress(parsing: text)) } catch { throw ctrl.error(key, "\(error)") }
      }
    }
    return (found, try ctrl.string("endpointsFile") ?? defaultFile)
  }

  /// The configuration's controllers, else those that enrollment noted.
  private static func noted(_ controllers: [PeerAddress], _ file: String?) throws -> [PeerAddress] {
    guard controllers.isEmpty, let file, FileManager.default.fileExists(atPath: file) else { return controllers }
    let document = try StrictDocument(path: file)
    document.root.accept("controllers")
    return try (document.root.list("endpoints") ?? []).map { text in
      do { return try PeerAddress(parsing: text) } catch { throw document.root.error("endpoints", "\(error)") }
    }
  }

  private static func listener(_ root: StrictSection) throws -> (
    EdgeListener, circuitQueue: Int, circuitGrace: TimeAmount
  ) {
    guard let all = try root.sections("listeners"), let first = all.first else { throw root.missing("listeners") }
    guard all.count == 1 else {
      throw root.error("listeners", "exactly one listener with binding edge is expected, found \(all.count)")
    }
    guard try first.required("binding") == "edge" else {
      throw first.error("binding", "only the binding edge is available")
    }
    let text = try first.required("address")
    let address: PeerAddress
    do { address = try PeerAddress(parsing: text) } catch { throw first.error("address", "\(error)") }
    guard let options = try first.section("options") else { throw first.missing("options") }
    options.accept(
      "connectTimeoutMs", "getSessionTimeout", "lookupApiSessionTimeout", "lookupSessionTimeout", "outQueueSize",
      "maxQueuedConnects")
    guard let advertised = try options.place("advertise") else { throw options.missing("advertise") }
    let queue = try options.int("circuitQueue", in: circuitQueues) ?? defaultCircuitQueue
    let grace = try options.duration("circuitGrace") ?? defaultCircuitGrace
    guard grace >= .seconds(1) else { throw options.error("circuitGrace", "at least 1s") }
    return (EdgeListener(host: address.host, port: address.port, advertised: PeerAddress(advertised)), queue, grace)
  }

  private static func request(_ csr: StrictSection?) throws -> CertificateRequest {
    guard let csr else { return CertificateRequest() }
    csr.accept("country", "province", "locality", "organizationalUnit")
    let organization = try csr.string("organization")
    let sans = try csr.section("sans")
    sans?.accept("email")
    let names = try ((sans?.list("dns") ?? []) + (sans?.list("ip") ?? [])).map { HostPort.host($0) ?? $0 }
    return CertificateRequest(organization: organization, names: names, uris: try sans?.list("uri") ?? [])
  }
}
