import FoundationEssentials
public import Logging
public import NIOCore
public import NIOPosix
import SealedStream
import Synchronization
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
      logger: Logger = Logger(label: "swiftlet"), application: Application = Application(), pollInterval: Duration = .seconds(15),
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

    /// With flow control from end to end, for channels: only where the host is known to serve with ``Overlay/serve(_:options:initializer:)``.
    package static func windowed(_ isWindowed: Bool) -> DialOptions { DialOptions(appData: isWindowed ? OverlayWindow.appData : nil) }

    var isWindowed: Bool { appData == OverlayWindow.appData }

    public init(timeout: Duration = .seconds(15), terminator: String? = nil, callerID: String? = nil, appData: [UInt8]? = nil) {
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
    let configs: [String: JSONFragment]

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

  nonisolated let logger: Logger
  package nonisolated let group: any EventLoopGroup
  private let client: ControllerClient
  private let options: Options
  private var login: Task<ControllerClient.Login, any Error>?
  private var known: [String: ControllerClient.Service] = [:]
  private var lastChange: String?
  private var sessions: [SessionKey: ControllerClient.Session] = [:]
  private var channels: [ChannelKey: Task<BoundChannel, any Error>] = [:]
  private var hostings: [ObjectIdentifier: Hosting] = [:]
  private var polling: Task<Void, Never>?
  private var isClosed = false

  /// Logs in.
  ///
  /// - Parameter identity: as `Enrollment` made it or another SDK wrote it.
  /// - Throws: `IdentityFileError` when its parts cannot be used, `OverlayError` when the controller does not answer or does not accept it.
  public init(identity: IdentityFile, options: Options = Options()) async throws {
    client = try ControllerClient(identity: identity)
    logger = options.logger
    group = options.group
    self.options = options
    try await reloadServices()
    let interval = options.pollInterval
    polling = Task { [weak self] in
      while (try? await Task.sleep(for: interval)) != nil { await self?.poll() }
    }
  }

  deinit { polling?.cancel() }

  /// Ends everything: listeners, streams, channels and the session.
  public func close() async {
    guard !isClosed else { return }
    isClosed = true
    polling?.cancel()
    for hosting in hostings.values { await hosting.stop() }
    hostings = [:]
    let open = channels.values
    channels = [:]
    for task in open {
      task.cancel()
      if let bound = try? await task.value { bound.eventLoop.execute { bound.value.close() } }
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
        canDial: service.permissions.contains(Action.dial.rawValue), canHost: service.permissions.contains(Action.bind.rawValue),
        configs: service.config ?? [:])
    }
  }

  /// What the identity may do with a service, as far as is known: the controller was asked within the poll interval, where it could be asked.
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
    let task = Task { try await client.logIn(application: application) }
    login = task
    do { return try await task.value } catch {
      if login == task { login = nil }
      throw error
    }
  }

  /// The session is of no more use: the next request logs in again.
  private func forgetLogin(_ token: String) async {
    guard let login, (try? await login.value)?.token == token, self.login == login else { return }
    self.login = nil
    sessions = [:]
  }

  private func authorized<Value: Sendable>(_ body: @Sendable (String) async throws -> Value) async throws -> Value {
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
    // Asked first: a change between the two questions is seen as new at the next poll.
    lastChange = try await authorized { try await client.lastChange(token: $0) }
    let all = try await authorized { try await client.services(token: $0) }
    known = Dictionary(all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  private func poll() async {
    let client = client
    do {
      if try await authorized({ try await client.lastChange(token: $0) }) != lastChange { try await reloadServices() }
    } catch {
      // Whom the controller does not accept any more may do nothing; where it cannot be asked, what was known holds.
      if case OverlayError.notAuthenticated = error { known = [:] }
      logger.debug("the controller cannot be asked for changes", metadata: ["error": "\(error)"])
    }
  }

  /// The service, when the identity may do that with it; asks the controller before it says no.
  private func service(_ name: String, _ action: Action) async throws -> ControllerClient.Service {
    func find() -> ControllerClient.Service? { known[name].flatMap { $0.permissions.contains(action.rawValue) ? $0 : nil } }
    if let found = find() { return found }
    try await reloadServices()
    if let found = find() { return found }
    throw known[name] == nil ? OverlayError.serviceNotFound(name: name) : .notPermitted(service: name, action: action.rawValue)
  }

  private func session(_ service: ControllerClient.Service, _ action: Action) async throws -> ControllerClient.Session {
    let key = SessionKey(service: service.id, action: action)
    if let known = sessions[key] { return known }
    let client = client
    do {
      let made = try await authorized { try await client.session(token: $0, service: service.id, type: action.rawValue) }
      sessions[key] = made
      return made
    } catch OverlayError.controllerRefused(_, 404, _, _) {
      // The service list is out of date.
      known[service.name] = nil
      throw OverlayError.notPermitted(service: service.name, action: action.rawValue)
    } catch OverlayError.controllerRefused(_, _, "NO_EDGE_ROUTERS_AVAILABLE", _) {
      throw OverlayError.noRouters(service: service.name)
    }
  }

  private func forgetSession(_ service: ControllerClient.Service, _ action: Action) {
    sessions[SessionKey(service: service.id, action: action)] = nil
  }

  // MARK: Channels

  /// The channel to a router on an event loop; one for each loop, so that tunnels need not hop.
  private func channel(_ router: ControllerClient.Session.Router, _ address: PeerAddress, on loop: any EventLoop) async throws -> BoundChannel {
    let key = ChannelKey(address: address.description, loop: ObjectIdentifier(loop))
    if let task = channels[key] {
      if let bound = try? await task.value, try await loop.submit({ bound.value.isOpen }).get() { return bound }
      if channels[key] == task { channels[key] = nil }
      if let newer = channels[key] { return try await newer.value }
    }
    let login = try await current()
    let tls = client.routerTLS
    let name = router.name
    let task = Task {
      let hello = EdgeMessages.Hello(name: login.identity.name ?? login.identity.id, token: login.token, supportsInspect: true)
      return try await HelloDialer.dial(address, tls: tls, alpn: ALPN.edge, hello: hello.message(), group: loop, timeout: Self.routerTimeout) {
        underlay, answer in
        let channel = RouterChannel(underlay: underlay, answer: answer, router: name)
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

  // MARK: Dialling

  /// Connects to a service.
  ///
  /// - Throws: `OverlayError`: `serviceNotFound`, `notPermitted`, `noRouters`, `routersUnreachable`, `dialRefused` with the words of the side that
  ///   refused, `peerDoesNotEncrypt`.
  public func dial(_ service: String, options: DialOptions = DialOptions()) async throws -> OverlayStream {
    let connection = try await connect(service, options: options, on: group.next())
    return try await OverlayStream.make(connection, caller: nil)
  }

  /// The same for programs on event loops: the connection lives on `loop`.
  package func connect(_ service: String, options: DialOptions = DialOptions(), on loop: any EventLoop) async throws -> BoundConnection {
    let details = try await self.service(service, .dial)
    var failure = "no router has an address"
    // The second time with a new session, and a new login if it must be.
    for attempt in 0..<2 {
      if attempt > 0 { forgetSession(details, .dial) }
      for router in try await session(details, .dial).edgeRouters {
        guard let address = router.supportedProtocols?["tls"].flatMap({ try? PeerAddress(parsing: $0) }) else { continue }
        do {
          // A new login has a new session: the token is asked for once the channel stands.
          let channel = try await channel(router, address, on: loop)
          let token = try await session(details, .dial).token
          return try await Self.dial(channel, details, token: token, options: options)
        } catch let error as OverlayError {
          if error.speaksOfSession, attempt == 0 {
            failure = "\(error)"
            break
          }
          guard case .channelLost = error else { throw error }
          failure = "\(error)"
        } catch let error as TransportError {
          failure = "\(error)"
          logger.debug("router cannot be reached", metadata: ["router": "\(router.name)", "error": "\(error)"])
        }
      }
    }
    throw OverlayError.routersUnreachable(service: service, reason: failure)
  }

  private static func dial(
    _ channel: BoundChannel, _ service: ControllerClient.Service, token: String, options: DialOptions
  ) async throws -> BoundConnection {
    let promise = channel.eventLoop.makePromise(of: BoundConnection.self)
    channel.eventLoop.execute {
      channel.value.dial(service: service.name, token: token, encrypted: service.encryptionRequired, options: options) { result in
        switch result {
        case .success(let connection): promise.succeed(NIOLoopBound(connection, eventLoop: channel.eventLoop))
        case .failure(let error): promise.fail(error)
        }
      }
    }
    return try await promise.futureResult.get()
  }

  // MARK: Hosting

  /// Offers a service. Returns when the first router took the offer; from then on the listener registers again by itself wherever it must.
  ///
  /// - Throws: `OverlayError`: `serviceNotFound`, `notPermitted`, `noRouters`, `routersUnreachable`, `bindRefused`.
  public func listen(_ service: String, options: ListenOptions = ListenOptions()) async throws -> OverlayListener {
    let listener = OverlayListener(service: service)
    let hosting = try await host(service, options: options) { listener.offered($0) }
    listener.attach(hosting)
    return listener
  }

  /// The same for programs on event loops.
  /// - Parameter offered: called on an event loop for each dialler.
  package func host(
    _ service: String, options: ListenOptions = ListenOptions(), offered: @escaping @Sendable (IncomingDial) -> Void
  ) async throws -> Hosting {
    _ = try await self.service(service, .bind)
    let (reports, continuation) = AsyncStream<Result<Void, any Error>>.makeStream()
    let loop = group.next()
    let hosting = Hosting { [weak self] in
      await self?.keepHosting(service, options, on: loop, offered) { continuation.yield($0) }
    }
    hostings[ObjectIdentifier(hosting)] = hosting
    for await report in reports {
      do {
        try report.get()
        return hosting
      } catch {
        await stop(hosting)
        throw error
      }
    }
    throw OverlayError.closed
  }

  package func stop(_ hosting: Hosting) async {
    hostings[ObjectIdentifier(hosting)] = nil
    await hosting.stop()
  }

  /// Hosts on as many routers as wanted, until cancelled. Reports the first success, or failure when no router took the offer at the first try.
  private func keepHosting(
    _ service: String, _ options: ListenOptions, on loop: any EventLoop, _ offered: @escaping @Sendable (IncomingDial) -> Void,
    report: @escaping @Sendable (Result<Void, any Error>) -> Void
  ) async {
    let listenerID = (0..<32).map { _ in UInt8.random(in: .min ... .max) }
    var running: [String: Task<Void, Never>] = [:]
    let finished = FinishedRouters()
    var backoff = Backoff(minimum: .milliseconds(250), maximum: .seconds(30))
    var random = SystemRandomNumberGenerator()
    while !Task.isCancelled {
      var pause = TimeAmount.seconds(5)
      do {
        let details = try await self.service(service, .bind)
        let routers = try await session(details, .bind).edgeRouters.filter { $0.supportedProtocols?["tls"] != nil }
        guard !routers.isEmpty else {
          forgetSession(details, .bind)
          throw OverlayError.routersUnreachable(service: service, reason: "no router of it is online")
        }
        for name in finished.take() { running[name] = nil }
        for router in routers where running[router.name] == nil && running.count < options.routers {
          running[router.name] = Task { [weak self] in
            await self?.keepHosting(details, router, listenerID, options, on: loop, offered, report)
            finished.add(router.name)
          }
        }
        backoff.reset()
      } catch {
        report(.failure(error))
        logger.debug("cannot host", metadata: ["service": "\(service)", "error": "\(error)"])
        pause = backoff.next(using: &random)
      }
      try? await Task.sleep(pause)
    }
    for task in running.values { task.cancel() }
    for task in running.values { await task.value }
  }

  /// Hosts on one router, again and again, until cancelled or until the router is none of the service's any more.
  private func keepHosting(
    _ service: ControllerClient.Service, _ router: ControllerClient.Session.Router, _ listenerID: [UInt8], _ options: ListenOptions,
    on loop: any EventLoop, _ offered: @escaping @Sendable (IncomingDial) -> Void, _ report: @escaping @Sendable (Result<Void, any Error>) -> Void
  ) async {
    var backoff = Backoff(minimum: .milliseconds(100), maximum: .seconds(10))
    var random = SystemRandomNumberGenerator()
    while !Task.isCancelled {
      var wasEstablished = false
      do {
        let session = try await session(service, .bind)
        guard let now = session.edgeRouters.first(where: { $0.name == router.name }),
          let address = now.supportedProtocols?["tls"].flatMap({ try? PeerAddress(parsing: $0) })
        else {
          // Offline, or not ours any more; the caller looks again.
          forgetSession(service, .bind)
          return
        }
        let channel = try await channel(now, address, on: loop)
        let token = try await self.session(service, .bind).token
        try await host(channel, service, token: token, listenerID, options, offered) {
          wasEstablished = true
          report(.success(()))
          self.logger.info("hosting", metadata: ["service": "\(service.name)", "router": "\(router.name)"])
        }
      } catch {
        if Task.isCancelled { return }
        report(.failure(error))
        logger.info("hosting ended", metadata: ["service": "\(service.name)", "router": "\(router.name)", "reason": "\(error)"])
        // Its session may be what ended.
        forgetSession(service, .bind)
      }
      if wasEstablished { backoff.reset() }
      try? await Task.sleep(backoff.next(using: &random))
    }
  }

  private enum BindEvent: Sendable {
    case established
    case ended(OverlayError)
  }

  /// Hosts on a channel until that ends.
  private func host(
    _ channel: BoundChannel, _ service: ControllerClient.Service, token: String, _ listenerID: [UInt8], _ options: ListenOptions,
    _ offered: @escaping @Sendable (IncomingDial) -> Void, established: () -> Void
  ) async throws {
    let (events, continuation) = AsyncStream<BindEvent>.makeStream()
    let connID = try await channel.eventLoop.submit {
      let listener = RouterChannel.Listener(
        token: Array(token.utf8), keys: service.encryptionRequired ? .init() : nil, offered: offered,
        established: { continuation.yield(.established) },
        ended: {
          continuation.yield(.ended($0))
          continuation.finish()
        })
      return channel.value.bind(service: service.name, token: token, listenerID: listenerID, options: options, listener: listener) { error in
        guard let error else { return }
        continuation.yield(.ended(error))
        continuation.finish()
      }
    }.get()
    defer { channel.eventLoop.execute { channel.value.unbind(connID) } }
    for await event in events {
      switch event {
      case .established: established()
      case .ended(let error): throw error
      }
    }
    throw CancellationError()
  }
}

/// Names of routers on which hosting ended for good, told by other tasks.
private final class FinishedRouters: Sendable {
  private let names = Mutex<[String]>([])

  func add(_ name: String) { names.withLock { $0.append(name) } }

  func take() -> [String] {
    names.withLock { names in
      defer { names = [] }
      return names
    }
  }
}
