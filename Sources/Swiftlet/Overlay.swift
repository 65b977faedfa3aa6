// Swiftlet: the SDK for Swift programs: enrolls an identity, dials services and hosts them, as async streams or as NIO
// channels. It decides no access (the network does), opens no local port (`Tunnel` does) and runs no part of a network.
// Start reading at `Overlay`, then `OverlayStream` and `OverlayChannel`; `Swiftlet.docc/FiveMinutes.md` is the
// tutorial.

import FoundationEssentials
import JSON
public import Logging
public import NIOCore
public import NIOPosix
import Transport
import Wire

/// An identity on the overlay: it logs in, keeps its session, knows its services, and dials and hosts them.
///
/// ```swift
/// let overlay = try await Overlay(identity: .load(from: "alice.json"))
/// let stream = try await overlay.dial("echo")
/// try await stream.write(ByteBuffer(string: "hello"))
/// try await stream.finish()
/// while let bytes = try await stream.read() { print(String(buffer: bytes)) }
/// ```
public actor Overlay {
  /// What an operator sees of the program behind an identity.
  public struct Application: Sendable {
    /// The program's name, as an operator finds it at the identity; empty tells nothing.
    public var id: String
    /// Its version, in whatever form it has one.
    public var version: String

    /// - Parameters:
    ///   - id: the program's name.
    ///   - version: its version.
    public init(id: String = "", version: String = "") {
      self.id = id
      self.version = version
    }
  }

  /// How an overlay works; the defaults suit most programs.
  public struct Options: Sendable {
    /// Where the SDK logs: what it hosts and what it lost at `info`, what it tries again at `debug`.
    public var logger: Logger
    /// What an operator sees of this program.
    public var application: Application
    /// How often the controller is asked for changes; asking also keeps the session alive.
    public var pollInterval: Duration
    /// The event loops that carry the bytes.
    public var group: any EventLoopGroup

    /// - Parameters:
    ///   - logger: where the SDK logs.
    ///   - application: what an operator sees of this program.
    ///   - pollInterval: how often the controller is asked for changes, at least; a few seconds to a minute.
    ///   - group: the event loops that carry the bytes; the process's own by default.
    public init(
      logger: Logger = Logger(label: "swiftlet"), application: Application = Application(),
      pollInterval: Duration = .seconds(15),
      group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
      self.logger = logger
      self.application = application
      self.pollInterval = pollInterval
      self.group = group
    }
  }

  /// How a service is dialled.
  public struct DialOptions: Sendable {
    /// How long the router and the host may take for their answer.
    public var timeout: Duration
    /// One of several hosts of a service, by the name it hosts under.
    public var terminator: String?
    /// What the host is told of the caller, beside the identity that the network proves.
    public var callerID: String?
    /// Handed to the host with the dial, at most 64 KiB.
    public var appData: [UInt8]?

    /// With flow control from end to end, for channels: only where the host is known to serve with
    /// ``Overlay/serve(_:options:initializer:)``.
    package static func windowed(_ isWindowed: Bool) -> DialOptions {
      DialOptions(appData: isWindowed ? OverlayWindow.appData : nil)
    }

    var isWindowed: Bool { appData == OverlayWindow.appData }

    /// - Parameters:
    ///   - timeout: for the answer of the router and the host.
    ///   - terminator: one of several hosts of a service, by the name it hosts under; nil for any.
    ///   - callerID: what the host is told of the caller, beside the identity that the network proves.
    ///   - appData: handed to the host with the dial, at most 64 KiB.
    public init(
      timeout: Duration = .seconds(15), terminator: String? = nil, callerID: String? = nil, appData: [UInt8]? = nil
    ) {
      self.timeout = timeout
      self.terminator = terminator
      self.callerID = callerID
      self.appData = appData
    }
  }

  /// How a service is hosted.
  public struct ListenOptions: Sendable {
    /// The name to host under, when diallers choose among hosts.
    public var terminator: String?
    /// Hosts with lower cost are preferred; nil: as the identity says.
    public var cost: UInt16?
    /// nil: as the identity says, which an operator may change while the service is hosted.
    public var precedence: HostingPrecedence?
    /// Edge routers to host on at the same time.
    public var routers: Int

    /// - Parameters:
    ///   - terminator: the name to host under; nil for hosts that are all alike.
    ///   - cost: 0 to 65535; nil as the identity says.
    ///   - precedence: nil as the identity says.
    ///   - routers: at least 1.
    public init(
      terminator: String? = nil, cost: UInt16? = nil, precedence: HostingPrecedence? = nil, routers: Int = 3
    ) {
      self.terminator = terminator
      self.cost = cost
      self.precedence = precedence
      self.routers = max(1, routers)
    }
  }

  /// A service the identity may use.
  public struct ServiceInfo: Sendable, Equatable {
    /// Its id in the network, which a service of the same name that is made later does not have.
    public let id: String
    /// What programs call it by.
    public let name: String
    /// Whether only the two ends can read what goes between them.
    public let encryptionRequired: Bool
    /// Whether a policy lets the identity dial it.
    public let canDial: Bool
    /// Whether a policy lets the identity host it.
    public let canHost: Bool
    let configs: JSONObject

    /// What a config of the service says; nil where it has none of that type.
    ///
    /// - Parameters:
    ///   - type: name of the config type, such as `host.v1`.
    ///   - as: what its JSON is decoded to.
    /// - Throws: `DecodingError` when it has another shape.
    public func config<Value: Decodable>(_ type: String, as: Value.Type) throws -> Value? {
      try configs[type].map { try JSONDecoder().decode(Value.self, from: JSONEncoder().encode($0)) }
    }
  }

  enum Action: String {
    case dial = "Dial"
    case bind = "Bind"
  }

  typealias BoundChannel = NIOLoopBound<RouterChannel>
  package typealias BoundConnection = NIOLoopBound<OverlayConnection>

  /// How often the routers of what is hosted are looked at, one service at a time.
  private static let hostingInterval = Duration.seconds(5)

  nonisolated let logger: Logger
  package nonisolated let group: any EventLoopGroup
  let client: ControllerClient
  let options: Options

  // Sessions (`Overlay+Sessions`).
  var login: Task<ControllerClient.Login, any Error>?
  var sessions: [SessionKey: ControllerClient.Session] = [:]
  /// Sessions that are being asked for.
  var sessionTasks: [SessionKey: Task<ControllerClient.Session, any Error>] = [:]
  /// Of what the controller itself refused.
  var refusals = Pace(burst: 10, interval: .seconds(1))

  // Services (`Overlay+Services`).
  /// What the identity may use, by name, as the controller said it last.
  var known: [String: ControllerClient.Service] = [:] { didSet { tellOfChanges(since: oldValue) } }
  /// Those who hear of changes (`serviceChanges`).
  var watchers: [UInt64: AsyncStream<[ServiceInfo]>.Continuation] = [:]
  var lastWatcher: UInt64 = 0
  var lastChange: String?
  /// Numbers of the last reading of the services, and of the one that `known` is from.
  var readings = (started: 0, done: 0)
  /// When a service was seen to be another one than before under its name, or to be encrypted otherwise.
  var changes: [String: ContinuousClock.Instant] = [:]
  /// Looks at the services that something refused gives cause to: a program that dials what it may not again and again
  /// does not keep the controller busy.
  let refreshes = SharedWork(Pace(burst: 10, interval: .seconds(1)))

  // Channels and dialling (`Overlay+Channels`, `Overlay+Dialling`).
  var channels: [ChannelKey: Task<BoundChannel, any Error>] = [:]
  /// When the controller was asked last about a service that nobody hosts.
  var unhostedAt: ContinuousClock.Instant?

  // Hosting (`Overlay+Hosting`).
  var hostings: [UInt64: Hosting] = [:]
  var hosted: [UInt64: HostedService] = [:]
  var lastHosting: UInt64 = 0
  var isCallingHosts = false
  /// Looks that binds give cause to which a router refused: one that refuses all of them does not turn its hosts
  /// against the controller.
  var refusedLooks = Pace(burst: 200, interval: .milliseconds(50), longest: .seconds(30))
  /// What the identity says of hosting, and when it was asked; of no interest where the controller sees to it.
  var hostingFacts: (facts: ControllerClient.Hosting?, at: ContinuousClock.Instant)?

  private var polling: Task<Void, Never>?
  private var polledAt = ContinuousClock.now
  private(set) var isClosed = false

  /// Logs in.
  ///
  /// - Parameters:
  ///   - identity: as ``IdentityFile/enroll(jwt:algorithm:)`` made it or another SDK wrote it.
  ///   - options: how the overlay works.
  /// - Throws: `IdentityFileError` when its parts cannot be used, `OverlayError` when the controller does not answer or
  ///   does not accept it.
  public init(identity: IdentityFile, options: Options = Options()) async throws {
    client = try ControllerClient(identity: identity)
    logger = options.logger
    group = options.group
    self.options = options
    try await reloadServices()
    let interval = min(options.pollInterval, Self.hostingInterval)
    polling = Task { [weak self] in
      while (try? await Task.sleep(for: interval)) != nil { await self?.tick() }
    }
  }

  deinit { polling?.cancel() }

  /// Ends everything: listeners, streams, channels and the session.
  public func close() async {
    guard !isClosed else { return }
    isClosed = true
    polling?.cancel()
    for watcher in watchers.values { watcher.finish() }
    let stopping = hostings.values
    hostings = [:]
    for hosting in stopping { await hosting.stop() }
    let open = channels.values
    channels = [:]
    for task in open {
      task.cancel()
      // What connections wrote before their end is still on its way.
      if let bound = try? await task.value { try? await bound.eventLoop.flatSubmit { bound.value.leave() }.get() }
    }
    if let token = try? await login?.value.token { try? await client.logOut(token: token) }
    client.rest.close()
  }

  private func tick() async {
    callNextHost()
    guard ContinuousClock.now - polledAt >= options.pollInterval else { return }
    polledAt = .now
    do { try await askForChanges() } catch {
      // Whom the controller does not accept any more may do nothing; where it cannot be asked, what was known holds.
      if case OverlayError.notAuthenticated = error { replaceServices([:]) }
      logger.debug("the controller cannot be asked for changes", metadata: ["error": "\(error)"])
    }
  }
}
