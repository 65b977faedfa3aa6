// SwiftletShare: the SDK for sharing: makes shares and accesses at a share service (ours or zrok's), hosts and dials
// them over the overlay. It runs no service and no proxy. Start reading at `ShareSession`, then `ShareEnvironment`.

import Foundation
public import JSON
public import Logging
public import Swiftlet

/// What is shared and how (zrok.md 1.3).
public struct ShareOptions: Sendable {
  /// Whether anybody with the URL may visit, or only machines that are enabled and have an access.
  public enum Mode: String, Sendable, Codable { case `public`, `private` }

  /// What runs behind the share; a public one speaks HTTP.
  public enum Backend: String, Sendable, Codable, CaseIterable {
    case proxy, web, tcpTunnel, udpTunnel, socks, drive, caddy
  }

  /// Where a public share is found; a name that the account has not reserved comes and goes with its share.
  public struct Name: Sendable, Equatable {
    /// Empty is the default namespace.
    public var namespace: String
    /// Empty takes the share's token.
    public var name: String

    /// - Parameters:
    ///   - namespace: where the name is; empty is the default one.
    ///   - name: the first label of the host name; empty takes the share's token.
    public init(namespace: String = "", name: String = "") {
      self.namespace = namespace
      self.name = name
    }
  }

  /// Who may visit a public share, by an account at a provider that the share service knows (zrok.md 4.5).
  public struct Login: Sendable, Equatable {
    /// As the share service calls it.
    public var provider: String
    /// Addresses that may pass, `*@example.com`; everyone who signs in without any.
    public var emailPatterns: [String]
    /// After which a visitor signs in again, as Go writes durations (`30m`, `12h`); empty takes the service's own.
    public var refreshInterval: String

    /// - Parameters:
    ///   - provider: as the share service calls it.
    ///   - emailPatterns: addresses that may pass, `*@example.com`; none lets everyone pass who signs in.
    ///   - refreshInterval: after which a visitor signs in again, as Go writes durations; empty takes the service's.
    public init(provider: String, emailPatterns: [String] = [], refreshInterval: String = "") {
      self.provider = provider
      self.emailPatterns = emailPatterns
      self.refreshInterval = refreshInterval
    }
  }

  /// Who may reach it.
  public var mode: Mode
  /// What runs behind it.
  public var backend: Backend
  /// What people see as its target, such as a URL or a directory; nobody contacts it.
  public var target = ""
  /// Where a public share is found; empty gives it a name of the service's choice.
  public var names: [Name] = []
  /// The wanted token; empty takes what the service gives. zrok's own service gives public shares another.
  public var token = ""
  /// User names and passwords; with them a public frontend asks for one.
  public var basicUsers: [(username: String, password: String)] = []
  /// With it a public frontend asks visitors to sign in with an account they have elsewhere.
  public var login: Login?
  /// Whether every account may access a private share.
  public var isOpen = false
  /// E-mail addresses of accounts that may access a closed one.
  public var grants: [String] = []
  /// The program that hosts it knows flow control from end to end, so a visitor who does not read holds up nobody else.
  package var isWindowed = false
  /// It lives only as long as it is served, and whoever serves it makes it again where the service has taken it back.
  package var isLeased = false

  /// - Parameters:
  ///   - mode: who may reach it.
  ///   - backend: what runs behind it.
  ///   - target: what people see as its target.
  public init(_ mode: Mode, backend: Backend = .tcpTunnel, target: String = "") {
    self.mode = mode
    self.backend = backend
    self.target = target
  }

  /// A user name and password in the form in which people write them.
  /// - Parameter pair: `user:password`.
  /// - Returns: nil where there is no colon, or nothing in front of it.
  public static func basicUser(_ pair: String) -> (username: String, password: String)? {
    guard let colon = pair.firstIndex(of: ":"), colon > pair.startIndex else { return nil }
    return (String(pair[..<colon]), String(pair[pair.index(after: colon)...]))
  }
}

/// A share that exists.
public struct Share: Sendable, Equatable {
  /// Names the share, and the service it is on the overlay.
  public let token: String
  /// Where a public share is reached, as the service words it: a URL, or a host name without a scheme.
  public let endpoints: [String]
  /// The same as URLs.
  public let urls: [String]
  /// What the service wants the sharer to know; they are logged too.
  public var warnings: [String] = []
}

/// The right to dial a share, while it exists.
public struct ShareAccess: Sendable, Equatable {
  /// Names the access at the share service.
  public let token: String
  /// The share that it gives access to.
  public let shareToken: String
  /// What runs behind the share; nil where the service did not tell.
  public let backend: ShareOptions.Backend?
  /// Whether its host knows flow control from end to end.
  package var isWindowed = false

  /// An access that was made elsewhere.
  /// - Parameters:
  ///   - token: of the access.
  ///   - shareToken: of the share.
  ///   - backend: nil where that is not known.
  public init(token: String, shareToken: String, backend: ShareOptions.Backend?) {
    self.token = token
    self.shareToken = shareToken
    self.backend = backend
  }
}

/// This machine at a share service: makes and deletes shares and accesses, hosts and dials them.
///
/// ```swift
/// let session = try await ShareSession(.load())
/// try await session.withShare(ShareOptions(.private)) { share in
///   print("others reach it with the token", share.token)
///   for try await stream in try await session.listen(share) { ... }
/// }
/// ```
public actor ShareSession {
  /// What this machine is at the share service.
  public nonisolated let environment: ShareEnvironment
  nonisolated let client: ShareClient
  nonisolated let identity: String
  private nonisolated let logger: Logger
  private nonisolated let pollInterval: Duration
  private var overlayTask: Task<Overlay, any Error>?

  /// Connects to nothing yet.
  /// - Parameters:
  ///   - environment: of a machine that is enabled.
  ///   - roots: PEM file of the authorities that the share service's certificate comes from; nil takes the system's.
  ///   - logger: where warnings of the service go, and what the overlay logs.
  /// - Throws: `ShareError.notEnabled`.
  public init(_ environment: ShareEnvironment, roots: String? = nil, logger: Logger = Logger(label: "share")) throws {
    try self.init(environment, roots: roots, logger: logger, pollInterval: Overlay.Options().pollInterval)
  }

  /// The same with another poll interval of the overlay.
  /// - Parameter pollInterval: how soon it is known that a share or an access ended.
  package init(
    _ environment: ShareEnvironment, roots: String? = nil, logger: Logger = Logger(label: "share"),
    pollInterval: Duration
  ) throws {
    guard let enabled = environment.enabled else { throw ShareError.notEnabled }
    self.environment = environment
    self.logger = logger
    self.pollInterval = pollInterval
    identity = enabled.identity
    client = try ShareClient(endpoint: enabled.endpoint, token: enabled.token, roots: roots)
  }

  /// Makes this machine an environment of an account.
  /// - Parameters:
  ///   - environment: of this machine; it is enabled afterwards, in memory and on disk.
  ///   - token: the account's.
  ///   - endpoint: URL of the share service; nil takes what the environment knows.
  ///   - description: what people see; `user@host` is usual.
  ///   - host: the machine's name or address, which people see too.
  ///   - roots: PEM file of the authorities that the share service's certificate comes from; nil takes the system's.
  /// - Throws: `ShareError`, `alreadyEnabled` among them.
  public static func enable(
    _ environment: inout ShareEnvironment, token: String, endpoint: String? = nil, description: String, host: String,
    roots: String? = nil
  ) async throws {
    if let enabled = environment.enabled { throw ShareError.alreadyEnabled(endpoint: enabled.endpoint) }
    guard let endpoint = endpoint ?? environment.endpoint?.url else { throw ShareError.noEndpoint }
    let client = try await ShareClient.finding(endpoint, token: token, roots: roots)
    let operation = "enable this machine"
    let made = try await client.call(
      operation, "POST", "/enable", ["description": .string(description), "host": .string(host)])
    try environment.enable(
      .init(token: token, identity: try client.text(made, "identity", operation), endpoint: client.endpoint),
      identity: try client.text(made, "cfg", operation))
  }

  /// Deletes the environment with everything it shares, there and here. What the service knows no more is forgotten
  /// here.
  /// - Parameters:
  ///   - environment: of this machine; it is not enabled afterwards.
  ///   - force: forgets it here even when the service does not agree.
  ///   - roots: PEM file of the authorities that the share service's certificate comes from; nil takes the system's.
  /// - Returns: whether the service deleted it now.
  /// - Throws: `ShareError`, `notEnabled` among them.
  @discardableResult
  public static func disable(_ environment: inout ShareEnvironment, force: Bool = false, roots: String? = nil)
    async throws -> Bool
  {
    guard environment.enabled != nil else { throw ShareError.notEnabled }
    var wasKnown = false
    do { wasKnown = try await ShareSession(environment, roots: roots).leave() } catch  where force {}
    environment.disable()
    return wasKnown
  }

  /// - Returns: false where the service knew this machine no more.
  private func leave() async throws -> Bool {
    do {
      try await client.call("disable this machine", "POST", "/disable", ["identity": .string(identity)])
      return true
    } catch let error as ShareError {
      guard case .refused(_, let status, _) = error, status == 401 || status == 404 else { throw error }
      let isForgotten = await isForgotten()
      await close()
      guard isForgotten else { throw error }
      return false
    }
  }

  // MARK: Shares

  /// Makes a share. It stays until it is deleted, whether anything serves it or not.
  /// - Throws: `ShareError`; `refused` with 409 where a name or token is taken.
  public func create(_ options: ShareOptions) async throws -> Share {
    let operation = "make the share"
    var body: JSONObject = [
      "envZId": .string(identity), "shareMode": .string(options.mode.rawValue),
      "backendMode": .string(options.backend.rawValue),
      "target": .string(options.target),
      "authScheme": .string(options.login != nil ? "oauth" : options.basicUsers.isEmpty ? "none" : "basic"),
      "permissionMode": .string(options.isOpen ? "open" : "closed"), "accessGrants": JSONValue(options.grants),
      "basicAuthUsers": .array(
        options.basicUsers.map { ["username": .string($0.username), "password": .string($0.password)] }),
      "nameSelections": .array(
        options.names.map { ["namespaceToken": .string($0.namespace), "name": .string($0.name), "ephemeral": true] }),
    ]
    if let login = options.login {
      body["oauthProvider"] = .string(login.provider)
      body["oauthEmailDomains"] = JSONValue(login.emailPatterns)
      body["oauthRefreshInterval"] = .string(login.refreshInterval)
    }
    if options.isWindowed { body["windowed"] = true }
    if options.isLeased { body["leased"] = true }
    if !options.token.isEmpty { body["privateShareToken"] = .string(options.token) }
    let order = JSONValue.object(body)
    let made = try await unlessForgotten { try await client.call(operation, "POST", "/share", order) }
    let endpoints = made["frontendProxyEndpoints"]?.stringArrayValue ?? []
    let warnings = made["warnings"]?.stringArrayValue ?? []
    for warning in warnings { logger.warning("\(warning)") }
    return Share(
      token: try client.text(made, "shareToken", operation), endpoints: endpoints,
      // zrok's own service names no scheme.
      urls: made["urls"]?.stringArrayValue ?? endpoints.map { $0.contains("://") ? $0 : "https://" + $0 },
      warnings: warnings)
  }

  /// Deletes a share; who is connected to it is cut off.
  /// - Throws: `ShareError`; `refused` with 404 where there is no such share.
  public func delete(_ share: Share) async throws { try await deleteShare(share.token) }

  /// The same for a share of which only the token is known.
  public func deleteShare(_ token: String) async throws {
    _ = try await unlessForgotten {
      try await client.call(
        "delete the share \(token)", "DELETE", "/unshare", ["envZId": .string(identity), "shareToken": .string(token)])
    }
  }

  /// Shares something for as long as `body` runs; whatever ends it, the share is deleted.
  /// - Throws: what `body` throws, else `ShareError`.
  public func withShare<Value: Sendable>(_ options: ShareOptions, _ body: @Sendable (Share) async throws -> Value)
    async throws -> Value
  {
    let share = try await create(options)
    let result: Result<Value, any Error>
    do { result = .success(try await body(share)) } catch { result = .failure(error) }
    // In a task of its own: this one may be cancelled, and a cancelled task asks nobody.
    let deletion = await Task { try await self.delete(share) }.result
    let value = try result.get()
    try deletion.get()
    return value
  }

  /// Hosts a share: the sequence of those who dial it.
  /// - Throws: what ``Overlay/listen(_:options:)`` throws.
  public func listen(_ share: Share, options: Overlay.ListenOptions = .init()) async throws -> OverlayListener {
    try await overlay().listen(share.token, options: options)
  }

  // MARK: Accesses

  /// Makes an access, which lets this machine dial a share. It stays until it is deleted, or its share ends.
  /// - Parameters:
  ///   - shareToken: of the share.
  ///   - bindAddress: where a program listens for it, for people to see; nobody contacts it.
  ///   - description: for people to see.
  /// - Throws: `ShareError`; `refused` with 404 where there is no such share, or the account may not access it.
  public func access(_ shareToken: String, bindAddress: String = "", description: String = "") async throws
    -> ShareAccess
  {
    let operation = "access the share \(shareToken)"
    let order: JSONValue = [
      "envZId": .string(identity), "shareToken": .string(shareToken), "bindAddress": .string(bindAddress),
      "description": .string(description),
    ]
    let made = try await unlessForgotten { try await client.call(operation, "POST", "/access", order) }
    var access = ShareAccess(
      token: try client.text(made, "frontendToken", operation), shareToken: shareToken,
      backend: made["backendMode"]?.stringValue.flatMap { ShareOptions.Backend(rawValue: $0) })
    access.isWindowed = made["windowed"]?.boolValue ?? false
    return access
  }

  /// Records where an access listens, for people to see.
  /// - Throws: `ShareError`.
  public func update(_ access: ShareAccess, bindAddress: String) async throws {
    try await client.call(
      "record the access", "PATCH", "/access",
      ["frontendToken": .string(access.token), "bindAddress": .string(bindAddress), "description": ""])
  }

  /// Deletes an access; what is connected through it is cut off.
  /// - Throws: `ShareError`.
  public func delete(_ access: ShareAccess) async throws {
    _ = try await unlessForgotten {
      try await client.call(
        "delete the access", "DELETE", "/unaccess",
        ["frontendToken": .string(access.token), "envZId": .string(identity), "shareToken": .string(access.shareToken)])
    }
  }

  /// Has access to a share for as long as `body` runs; whatever ends it, the access is deleted.
  /// - Throws: what `body` throws, else `ShareError`.
  public func withAccess<Value: Sendable>(_ shareToken: String, _ body: @Sendable (ShareAccess) async throws -> Value)
    async throws -> Value
  {
    let access = try await self.access(shareToken)
    let result: Result<Value, any Error>
    do { result = .success(try await body(access)) } catch { result = .failure(error) }
    let deletion = await Task { try await self.delete(access) }.result
    let value = try result.get()
    try deletion.get()
    return value
  }

  /// Connects to a share that this machine has access to.
  /// - Throws: what ``Overlay/dial(_:options:)`` throws.
  public func dial(_ shareToken: String, options: Overlay.DialOptions = .init()) async throws -> OverlayStream {
    try await overlay().dial(shareToken, options: options)
  }

  /// The overlay, as this machine's identity; signed in at the first use.
  /// - Throws: `IdentityFileError` where the environment's identity cannot be used, `OverlayError`.
  public func overlay() async throws -> Overlay {
    if let overlayTask { return try await overlayTask.value }
    let (environment, logger, pollInterval) = (environment, logger, pollInterval)
    let task = Task {
      try await Overlay(identity: environment.identity(), options: .init(logger: logger, pollInterval: pollInterval))
    }
    overlayTask = task
    do { return try await task.value } catch {
      overlayTask = nil
      throw error
    }
  }

  /// Ends what runs over the overlay. Shares and accesses stay until they are deleted.
  public func close() async {
    if let overlay = try? await overlayTask?.value { await overlay.close() }
    overlayTask = nil
  }

  // MARK: Names and overview

  /// Reserves a name for the account: it stays when a share ends that bears it.
  /// - Throws: `ShareError`; `refused` with 409 where somebody has it.
  public func createName(_ name: ShareOptions.Name) async throws {
    try await client.call("reserve the name \(name.name)", "POST", "/share/name", Self.body(name))
  }

  /// Gives a reserved name back.
  /// - Throws: `ShareError`.
  public func deleteName(_ name: ShareOptions.Name) async throws {
    try await client.call("release the name \(name.name)", "DELETE", "/share/name", Self.body(name))
  }

  private static func body(_ name: ShareOptions.Name) -> JSONValue {
    name.namespace.isEmpty
      ? ["name": .string(name.name)] : ["namespaceToken": .string(name.namespace), "name": .string(name.name)]
  }

  /// Everything the account has, as the API tells it (zrok.md 2.7).
  public func overview() async throws -> JSONValue { try await client.call("show what there is", "GET", "/overview") }
}
