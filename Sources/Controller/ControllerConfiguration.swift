import Foundation
public import Model
public import Transport

/// What a controller needs to know to start.
public struct ControllerConfiguration: Sendable {
  /// Certificates an operator supplies instead of those made at first start; PEM files.
  public struct SuppliedIdentity: Sendable {
    public var serverChain: String
    public var serverKey: String
    public var authorities: String
    public var signingChain: String
    public var signingKey: String
  }

  /// Keys, certificates and lease files; made with mode 0700.
  public var dataDirectory: String
  public var databasePath: String
  /// Addresses to listen on; port 0 picks a free one (then `advertised` gets it).
  public var listeners: [HostPort]
  /// What SDKs and routers dial; goes into tokens, certificates and `/version`.
  public var advertised: HostPort
  /// Further names and addresses for the server certificate.
  public var serverNames: [String] = []
  public var trustDomain: String?
  /// What a listener gives to peers that have proven nothing yet.
  public var strangerLimits = StrangerLimits()
  public var supplied: SuppliedIdentity?
  /// Idle life of an API session, seconds.
  public var sessionTimeout = 30 * 60
  /// What one identity may have of sessions; see `SessionRegistry.Limits`.
  public var sessionsPerIdentity = 1000
  public var serviceSessionsPerIdentity = 20_000
  /// Lets circuits and hosts go on at routers that their identity or service may no longer use, as upstream does.
  public var keepsCircuitsOfLostRouters = false
  /// Life of enrollment tokens, seconds.
  public var identityEnrollmentDuration = 180 * 60
  public var routerEnrollmentDuration = 180 * 60
  /// Life of issued certificates, seconds.
  public var certificateLifetime = 365.0 * 24 * 3600
  /// Milliseconds for the routes of a circuit.
  public var routeTimeout: Int64 = 10_000
  public var circuitAttempts = 2
  /// Milliseconds after which the circuits of a router that does not come back count as ended.
  public var routerAbsence: Int64 = 600_000
  /// The clock; tests move it.
  public var clock: @Sendable () -> Timestamp = { .now() }

  public init(dataDirectory: String, host: String, port: Int) {
    self.dataDirectory = dataDirectory
    databasePath = dataDirectory + "/controller.db"
    listeners = [HostPort(host: host, port: port)]
    advertised = HostPort(host: host, port: port)
  }
}

extension ControllerConfiguration {
  var sessionLimits: SessionRegistry.Limits {
    .init(apiSessions: sessionsPerIdentity, serviceSessions: serviceSessionsPerIdentity)
  }
}

extension Timestamp {
  var date: Date { Date(timeIntervalSince1970: Double(millisecondsSinceEpoch) / 1000) }
  init(_ date: Date) { self.init(millisecondsSinceEpoch: Int64((date.timeIntervalSince1970 * 1000).rounded())) }
}
