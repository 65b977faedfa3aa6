import FoundationEssentials
import JSON
public import Logging
public import NIOCore
public import NIOPosix
import Transport
public import Wire

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
    public var id: String
    public var version: String

    public init(id: String = "", version: String = "") {
      self.id = id
      self.version = version
    }
  }

  public struct Options: Sendable {
    public var logger: Logger
    public var application: Application
    /// How often the controller is asked for changes; asking also keeps the session alive.
    public var pollInterval: Duration
    /// The event loops that carry the bytes.
    public var group: any EventLoopGroup

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

  public struct DialOptions: Sendable {
    /// For the answer of the router and the host.
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

    public init(
      timeout: Duration = .seconds(15), terminator: String? = nil, callerID: String? = nil, appData: [UInt8]? = nil
    ) {
      self.timeout = timeout
      self.terminator = terminator
      self.callerID = callerID
      self.appData = appData
    }
  }

  public struct ListenOptions: Sendable {
    /// The name to host under, when diallers choose among hosts.
    public var terminator: String?
    /// Hosts with lower cost are preferred.
    public var cost: UInt16?
    public var precedence: Precedence?
    /// Edge routers to host on at the same time.
    public var routers: Int

    public init(terminator: String? = nil, cost: UInt16? = nil, precedence: Precedence? = nil, routers: Int = 3) {
      self.terminator = terminator
      self.cost = cost
      self.precedence = precedence
      self.routers = max(1, routers)
    }
  }

  /// A service the identity may use.
  public struct ServiceInfo: Sendable, Equatable {
    public let id: String
    public let name: String
    public let encryptionRequired: Bool
    public let canDial: Bool
    public let canHost: Bool
    let configs: JSONObject

    /// What a config of the service says; nil where it has none of that type.
    ///
    /// - Parameter type: name of the config type, such as `host.v1`.
    /// - Throws: `DecodingError` when it has another shape.
    public func config<Value: Decodable>(_ type: String, as: Value.Type) throws -> Value? {
      try configs[type].map { try JSONDecoder().decode(Value.self, from: JSONEncoder().encode($0)) }
    }
  }

  enum Action: String {
    case dial = "Dial"
    case bind = "Bind"
  }

  private struct SessionKey: Hashable {
    let service: String
    let action: Action
  }

  private struct ChannelKey: Hashable {
    let address: String
    let loop: ObjectIdentifier
  }

  typealias BoundChannel = NIOLoopBound<RouterChannel>
  package typealias BoundConnection = NIOLoopBound<OverlayConnection>

  private static let routerTimeout = TimeAmount.seconds(8)
  /// How often the routers of what is hosted are looked at, one service at a time.
  private static let hostingInterval = Duration.seconds(5)
  /// Hosts of a service that was changed take so long, at most, until they have bound anew.
  private static let settlingTime = Duration.seconds(3)

  nonisolated let logger: Logger
  package nonisolated let group: any EventLoopGroup
  let client: ControllerClient
  private let options: Options
  private var login: Task<ControllerClient.Login, any Error>?
  private(set) var known: [String: ControllerClient.Service] = [:]
  private var lastChange: String?
  /// Numbers of the last reading of the services, and of the one that `known` is from.
  private var readings = (started: 0, done: 0)
  /// When a service was seen to be another one than before under its name, or to be encrypted otherwise.
  private var changes: [String: ContinuousClock.Instant] = [:]
  private var sessions: [SessionKey: ControllerClient.Session] = [:]
  /// Sessions that are being asked for.
  private var sessionTasks: [SessionKey: Task<ControllerClient.Session, any Error>] = [:]
  /// Looks at the services that something refused gives cause to: a program that dials what it may not again and again
  /// does not keep the controller busy.
  private let refreshes = SharedWork(Pace(burst: 10, interval: .seconds(1)))
  /// Of what the controller itself refused.
  private var refusals = Pace(burst: 10, interval: .seconds(1))
  private var channels: [ChannelKey: Task<BoundChannel, any Error>] = [:]
  var hostings: [UInt64: Hosting] = [:]
  var hosted: [UInt64: HostedService] = [:]
  var lastHosting: UInt64 = 0
  var isCallingHosts = false
  /// Looks that binds give cause to which a router refused: one that refuses all of them does not turn its hosts
  /// against the controller.
  var refusedLooks = Pace(burst: 200, interval: .milliseconds(50), longest: .seconds(30))
  /// What the identity says of hosting, and when it was asked; of no interest where the controller sees to it.
  var hostingFacts: (facts: ControllerClient.Hosting?, at: ContinuousClock.Instant)?
  private var unhostedAt: ContinuousClock.Instant?
  private var polling: Task<Void, Never>?
  private var polledAt = ContinuousClock.now
  private(set) var isClosed = false

  /// Logs in.
  ///
  /// - Parameter identity: as `Enrollment` made it or another SDK wrote it.
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
  }

  // MARK: Session and services

  /// The services the identity may use now, by name.
  public func services() async throws -> [ServiceInfo] {
    try await reloadServices()
    return known.values.sorted { $0.name < $1.name }.map { service in
      ServiceInfo(
        id: service.id, name: service.name, encryptionRequired: service.encryptionRequired,
        canDial: service.permissions.contains(Action.dial.rawValue),
        canHost: service.permissions.contains(Action.bind.rawValue),
        configs: service.config ?? [:])
    }
  }

  /// What the identity may do with a service, as far as is known: the controller was asked within the poll interval,
  /// where it could be asked.
  package func rights(_ service: String) -> (canDial: Bool, canHost: Bool) {
    let permissions = known[service]?.permissions ?? []
    return (permissions.contains(Action.dial.rawValue), permissions.contains(Action.bind.rawValue))
  }

  /// The name the network knows the identity by.
  public var identityName: String { get async throws { try await current().identity.name ?? "" } }

  private func current() async throws -> ControllerClient.Login {
    guard !isClosed else { throw OverlayError.closed }
    if let login { return try await login.value }
    let client = client
    let application = options.application
    let task = Task {
      do { return try await client.logIn(application: application) } catch {
        await slowDown()
        throw error
      }
    }
    login = task
    do { return try await task.value } catch {
      if login == task { login = nil }
      throw error
    }
  }

  /// Whoever was refused is told at a pace, and asks again at no other.
  private func slowDown() async { try? await Task.sleep(until: refusals.take(.now), clock: .continuous) }

  /// The session is of no more use: the next request logs in again.
  private func forgetLogin(_ token: String) async {
    guard let login, (try? await login.value)?.token == token, self.login == login else { return }
    self.login = nil
    sessions = [:]
    hostingFacts = nil
  }

  func authorized<Value: Sendable>(_ body: @Sendable (String) async throws -> Value) async throws -> Value {
    let token = try await current().token
    do {
      return try await body(token)
    } catch OverlayError.controllerRefused(_, 401, _, _) {
      await forgetLogin(token)
      return try await body(try await current().token)
    }
  }

  private func reloadServices() async throws {
    let client = client
    readings.started += 1
    let number = readings.started
    // Asked first: a change between the two questions is seen as new at the next poll.
    let change = try await authorized { try await client.lastChange(token: $0) }
    let all = try await authorized { try await client.services(token: $0) }
    // What was read later is newer.
    guard number > readings.done else { return }
    readings.done = number
    lastChange = change
    replaceServices(Dictionary(all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first }))
  }

  private func replaceServices(_ new: [String: ControllerClient.Service]) {
    let (old, now) = (known, ContinuousClock.now)
    known = new
    let ids = Set(new.values.map(\.id))
    sessions = sessions.filter { ids.contains($0.key.service) }
    changes = changes.filter { now - $0.value < Self.settlingTime }
    for (name, service) in new where old[name].map({ !$0.isSame(as: service) }) ?? false { changes[name] = now }
    for hosting in hosted.values where old[hosting.name]?.isOffered(like: new[hosting.name]) != true {
      hosting.calls.yield()
    }
  }

  /// Asks whether the services changed, and reads them again if so. Those who ask at the same time ask once.
  func refreshServices() async throws { try await refreshes.run { try await self.askForChanges() } }

  private func askForChanges() async throws {
    let client = client
    if try await authorized({ try await client.lastChange(token: $0) }) != lastChange { try await reloadServices() }
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

  /// The service, when the identity may do that with it; asks the controller before it says no.
  func service(_ name: String, _ action: Action) async throws -> ControllerClient.Service {
    func find() -> ControllerClient.Service? {
      known[name].flatMap { $0.permissions.contains(action.rawValue) ? $0 : nil }
    }
    if let found = find() { return found }
    try await refreshServices()
    if let found = find() { return found }
    throw known[name] == nil
      ? OverlayError.serviceNotFound(name: name) : .notPermitted(service: name, action: action.rawValue)
  }

  /// - Parameter isFresh: asks for the routers that the session may be used at now.
  func session(_ service: ControllerClient.Service, _ action: Action, isFresh: Bool = false) async throws
    -> ControllerClient.Session
  {
    let key = SessionKey(service: service.id, action: action)
    let client = client
    if let known = sessions[key] {
      guard isFresh else { return known }
      do {
        let now = try await authorized { try await client.session(token: $0, id: known.id) }
        sessions[key] = now
        return now
      } catch OverlayError.controllerRefused(_, 404, _, _) {
        if sessions[key]?.id == known.id { sessions[key] = nil }
      }
    }
    if let task = sessionTasks[key] { return try await task.joined() }
    let task = Task { try await makeSession(service, action, key) }
    sessionTasks[key] = task
    return try await task.joined()
  }

  private func makeSession(_ service: ControllerClient.Service, _ action: Action, _ key: SessionKey) async throws
    -> ControllerClient.Session
  {
    let client = client
    defer { sessionTasks[key] = nil }
    do {
      let made = try await authorized {
        try await client.session(token: $0, service: service.id, type: action.rawValue)
      }
      sessions[key] = made
      return made
    } catch {
      // Hosts have a pace of their own.
      if action == .dial { await slowDown() }
      switch error {
      case OverlayError.controllerRefused(_, 404, _, _):
        // The service list is out of date.
        if known[service.name]?.id == service.id { known[service.name] = nil }
        lastChange = nil
        throw OverlayError.notPermitted(service: service.name, action: action.rawValue)
      case OverlayError.controllerRefused(_, _, "NO_EDGE_ROUTERS_AVAILABLE", _):
        throw OverlayError.noRouters(service: service.name)
      default: throw error
      }
    }
  }

  func forgetSession(_ service: ControllerClient.Service, _ action: Action) {
    sessions[SessionKey(service: service.id, action: action)] = nil
  }

  // MARK: Channels

  /// The channel to a router on an event loop; one for each loop, so that tunnels need not hop.
  func channel(_ router: String, _ address: PeerAddress, on loop: any EventLoop) async throws -> BoundChannel {
    let key = ChannelKey(address: address.description, loop: ObjectIdentifier(loop))
    if let task = channels[key] {
      if let bound = try? await task.value, try await loop.submit({ bound.value.isOpen }).get() { return bound }
      if channels[key] == task { channels[key] = nil }
      if let newer = channels[key] { return try await newer.value }
    }
    let login = try await current()
    let tls = client.routerTLS
    let task = Task {
      let hello = EdgeMessages.Hello(
        name: login.identity.name ?? login.identity.id, token: login.token, supportsInspect: true)
      return try await HelloDialer.dial(
        address, tls: tls, alpn: ALPN.edge, hello: hello.message(), group: loop, timeout: Self.routerTimeout
      ) {
        underlay, answer in
        let channel = RouterChannel(underlay: underlay, answer: answer, router: router)
        underlay.receiver = channel
        return NIOLoopBound(channel, eventLoop: underlay.eventLoop)
      }
    }
    channels[key] = task
    do { return try await task.value } catch {
      if channels[key] == task { channels[key] = nil }
      if case TransportError.helloRefused = error { await forgetLogin(login.token) }
      throw error
    }
  }

  /// How many requests the controller has had.
  package nonisolated var controllerRequests: Int { client.requests.now }

  /// How many connections through this SDK have not ended, dialled and hosted ones.
  package var openConnections: Int {
    get async {
      var count = 0
      for task in channels.values {
        guard let bound = try? await task.value else { continue }
        count += (try? await bound.eventLoop.submit { bound.value.connectionCount }.get()) ?? 0
      }
      return count
    }
  }

  // MARK: Dialling

  /// Connects to a service.
  ///
  /// - Throws: `OverlayError`: `serviceNotFound`, `notPermitted`, `noRouters`, `routersUnreachable`, `dialRefused` with
  ///   the words of the side that refused, `peerDoesNotEncrypt`.
  public func dial(_ service: String, options: DialOptions = DialOptions()) async throws -> OverlayStream {
    let connection = try await connect(service, options: options, on: group.next())
    return try await OverlayStream.make(connection, caller: nil)
  }

  /// The same for programs on event loops: the connection lives on `loop`.
  package func connect(_ service: String, options: DialOptions = DialOptions(), on loop: any EventLoop) async throws
    -> BoundConnection
  {
    var details = try await self.service(service, .dial)
    var isFirst = true
    var backoff = Backoff(minimum: .milliseconds(50), maximum: .milliseconds(500))
    var random = SystemRandomNumberGenerator()
    while true {
      do { return try await connect(details, options: options, on: loop) } catch let error as OverlayError {
        if isFirst, error.speaksOfSession || error.speaksOfService || error.saysUnhosted && mayAskForUnhosted() {
          // What is kept of the service may be out of date: it is looked up again, by its name.
          isFirst = false
          if error.speaksOfSession { forgetSession(details, .dial) }
          guard (try? await refreshServices()) != nil else { throw error }
          let now = try await self.service(service, .dial)
          let isOther = !now.isSame(as: details)
          details = now
          if isOther || error.speaksOfSession { continue }
        }
        // Its hosts are about to bind anew.
        guard error.isRefusal, let change = changes[service], ContinuousClock.now - change < Self.settlingTime else {
          throw error
        }
        details = known[service] ?? details
        try await Task.sleep(backoff.next(using: &random))
      }
    }
  }

  /// Services that nobody hosts are dialled again and again: for them the controller is asked once a second, at most.
  private func mayAskForUnhosted() -> Bool {
    guard unhostedAt.map({ ContinuousClock.now - $0 > .seconds(1) }) ?? true else { return false }
    unhostedAt = .now
    return true
  }

  /// Tries one router after the other.
  private func connect(_ service: ControllerClient.Service, options: DialOptions, on loop: any EventLoop) async throws
    -> BoundConnection
  {
    var failure = "no router has an address"
    for router in try await session(service, .dial).edgeRouters {
      guard let address = router.tls else { continue }
      do {
        // A new login has a new session: the token is asked for once the channel stands.
        let channel = try await channel(router.name, address, on: loop)
        let token = try await session(service, .dial).token
        return try await Self.dial(channel, service, token: token, options: options)
      } catch let error as OverlayError {
        guard case .channelLost = error else { throw error }
        failure = "\(error)"
      } catch let error as TransportError {
        failure = "\(error)"
        logger.debug("router cannot be reached", metadata: ["router": "\(router.name)", "error": "\(error)"])
      }
    }
    throw OverlayError.routersUnreachable(service: service.name, reason: failure)
  }

  private static func dial(
    _ channel: BoundChannel, _ service: ControllerClient.Service, token: String, options: DialOptions
  ) async throws -> BoundConnection {
    let promise = channel.eventLoop.makePromise(of: BoundConnection.self)
    channel.eventLoop.execute {
      channel.value.dial(service: service.name, token: token, encrypted: service.encryptionRequired, options: options) {
        result in
        switch result {
        case .success(let connection): promise.succeed(NIOLoopBound(connection, eventLoop: channel.eventLoop))
        case .failure(let error): promise.fail(error)
        }
      }
    }
    return try await promise.futureResult.get()
  }

  // MARK: Hosting

  /// Offers a service. Returns when the first router took the offer; from then on the listener registers again by
  /// itself wherever it must.
  ///
  /// - Throws: `OverlayError`: `serviceNotFound`, `notPermitted`, `noRouters`, `routersUnreachable`, `bindRefused`.
  public func listen(_ service: String, options: ListenOptions = ListenOptions()) async throws -> OverlayListener {
    let listener = OverlayListener(service: service)
    let hosting = try await host(service, options: options) { listener.offered($0) }
    listener.attach(hosting)
    return listener
  }
}
