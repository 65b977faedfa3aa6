import Authentication
import Foundation
public import Model
public import Transport

/// What a controller needs to know to start.
public struct ControllerConfiguration: Sendable {
  /// Certificates an operator supplies instead of those made at first start; PEM files.
  public struct SuppliedIdentity: Sendable {
    /// The server certificate, leaf first.
    public var serverChain: String
    /// Its key.
    public var serverKey: String
    /// Whom clients and routers are told to trust.
    public var authorities: String
    /// The authority that certifies identities and routers, leaf first.
    public var signingChain: String
    /// Its key.
    public var signingKey: String
  }

  /// Keys, certificates and lease files; made with mode 0700.
  public var dataDirectory: String
  /// The SQLite file.
  public var databasePath: String
  /// Addresses to listen on; port 0 picks a free one (then `advertised` gets it).
  public var listeners: [HostPort]
  /// What SDKs and routers dial; goes into tokens, certificates and `/version`.
  public var advertised: HostPort
  /// Further names and addresses for the server certificate.
  public var serverNames: [String] = []
  /// SPIFFE trust domain of certificates made at the first start; nil makes one up.
  public var trustDomain: String?
  /// What a listener gives to peers that have proven nothing yet.
  public var strangerLimits = StrangerLimits()
  /// The operator's own certificates; nil makes them at the first start.
  public var supplied: SuppliedIdentity?
  /// Idle life of an API session, seconds.
  public var sessionTimeout = 30 * 60
  /// API sessions that one identity may have at a time; the longest unused one ends for a new one.
  public var sessionsPerIdentity = 1000
  /// Service sessions of all of its API sessions.
  public var serviceSessionsPerIdentity = 20_000
  /// Lets circuits and hosts go on at routers that their identity or service may no longer use, as upstream does.
  public var keepsCircuitsOfLostRouters = false
  /// Life of the enrollment tokens of identities, seconds.
  public var identityEnrollmentDuration = 180 * 60
  /// The same for routers.
  public var routerEnrollmentDuration = 180 * 60
  /// Life of issued certificates, seconds.
  public var certificateLifetime = 365.0 * 24 * 3600
  /// How long routers may take to set up the route of a circuit, milliseconds.
  public var routeTimeout: Int64 = 10_000
  /// How often a circuit is tried, each time with another terminator where there is one.
  public var circuitAttempts = 2
  /// Milliseconds after which the circuits of a router that does not come back count as ended.
  public var routerAbsence: Int64 = 600_000
  /// The clock; tests move it.
  public var clock: @Sendable () -> Timestamp = { .now() }

  /// One listener, and the defaults for everything else.
  /// - Parameters:
  ///   - dataDirectory: for keys, certificates, lease files and the database.
  ///   - host: what it listens on, and what SDKs and routers dial.
  ///   - port: 0 picks a free one.
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
