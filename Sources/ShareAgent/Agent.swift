// ShareAgent: what runs on the machine of whoever shares or visits: the agent that keeps shares and accesses up, what
// serves a share (`ShareBackend`, `RunningShare`), and private shares at local ports (`RunningAccess`). It calls a
// share service through the share SDK and knows nothing of how one works. Start reading at `Agent`, or at
// `RunningShare` for one share alone.

import Foundation
public import Logging
import NIOCore
public import ServiceLifecycle
import Swiftlet
public import SwiftletShare
import Transport
import Tunnel

/// Keeps shares and accesses up: makes them again after restarts of anything, and says "active" only of what has just
/// been reached through the real data path.
///
/// It leaves no share behind when it stops, and takes no name away: names in its file are reserved for the account and
/// stay so. Beside its file it keeps what it is asked for while it runs: at a socket of this machine, and by the share
/// service once the machine was enrolled for that (zrok.md 2.5, 5.6).
public actor Agent: Service {
  /// Between two proofs, and before the second chance of one that failed.
  private static let interval = Duration.seconds(20)
  private static let secondChance = Duration.seconds(2)
  private static let patience = Duration.seconds(90)
  /// So many orders are kept at once.
  private static let orderLimit = 256

  private enum Work: Sendable {
    case share(@Sendable () throws -> AgentConfiguration.ShareEntry)
    case access(@Sendable () throws -> AgentConfiguration.AccessEntry)
  }

  private struct Item {
    var status: Status
    /// nil for what stands in the file.
    let order: AgentOrder?
    /// Names and tokens that nothing else can have meanwhile.
    let claims: Set<String>
    /// Whoever ordered it was told that it is kept; only such orders are written down.
    var isAcknowledged = false
    /// Nobody hears of it any more; its keeper takes it back.
    var isEnding = false
    /// Tells why the share service still has it, if it does.
    var keeper: Task<(any Error)?, Never>?
    /// Whoever waits for the first proof.
    var waiting: CheckedContinuation<Void, any Error>?
    /// Why the share service still has what was to end.
    var leftover: (any Error)?
  }

  private let session: ShareSession
  private let configuration: AgentConfiguration
  private let logger: Logger
  private let statusPath: String
  private let registry: AgentRegistry
  private var items: [String: Item] = [:]
  private var sequence: [String] = []
  /// Written down before, and in the way of the file today.
  private var leftOut: [AgentOrder] = []
  private var isEnding = false
  /// Tells `run` that the share service knows this machine no more.
  private let forgotten = AsyncStream<ShareError>.makeStream()

  public init(session: ShareSession, configuration: AgentConfiguration, logger: Logger) {
    self.session = session
    self.configuration = configuration
    self.logger = logger
    statusPath = Self.statusPath(session.environment)
    registry = AgentRegistry(session.environment)
  }

  public var status: [Status] { live.map(\.status) }

  private var live: [Item] { sequence.compactMap { items[$0] }.filter { !$0.isEnding } }

  /// Runs until cancelled or until the service group shuts down.
  /// - Throws: `ShareError.badFile` when what it was asked before cannot be read, `ShareError.environmentGone` when the
  ///   share service knows this machine no more, `AgentRefusal` when another agent runs for this environment.
  public func run() async throws {
    let listener = try await AgentListener(agent: self, session: session, logger: logger)
    let orders = try registry.load()
    for entry in configuration.shares {
      begin(
        .share { entry }, Status(entry),
        claims: AgentOrder.claims(entry.options.mode, entry.options.names, entry.options.token))
    }
    for entry in configuration.accesses { begin(.access { entry }, Status(entry)) }
    for order in orders {
      do {
        let status = try admit(order)
        begin(Self.work(order), status, order, claims: order.claims)
        items[status.id]?.isAcknowledged = true
      } catch {
        leftOut.append(order)
        logger.warning(
          "an order of before is in the way of the file, which wins",
          metadata: ["order": "\(order.label)", "reason": "\(error)"])
      }
    }
    report()
    let forgotten = forgotten.stream
    let failure = await cancelWhenGracefulShutdown {
      await withTaskGroup(of: ShareError?.self) { group in
        group.addTask {
          await listener.run()
          return nil
        }
        group.addTask { await forgotten.first { _ in true } }
        defer { group.cancelAll() }
        return await group.next() ?? nil
      }
    }
    isEnding = true
    for id in sequence { items[id]?.keeper?.cancel() }
    for id in sequence { _ = await items[id]?.keeper?.value }
    try? FileManager.default.removeItem(atPath: statusPath)
    await session.close()
    // The next agent may begin.
    withExtendedLifetime(listener) {}
    if let failure { throw failure }
  }

  // MARK: Orders

  /// Keeps one more thing. Returns when it was reached through the real data path; it is written down then, if it is to
  /// last.
  /// - Throws: why it is not kept; nothing of it is left. Cancelling takes it back.
  func keep(_ order: AgentOrder) async throws -> Status {
    guard !isEnding else { throw AgentRefusal("the agent is stopping") }
    guard items.values.count(where: { $0.order != nil }) < Self.orderLimit else {
      throw AgentRefusal("the agent keeps \(Self.orderLimit) orders and takes no more; release one first")
    }
    let status = try admit(order)
    let id = status.id
    logger.notice("order", metadata: ["kind": "\(status.kind)", "entry": "\(status.label)"])
    begin(Self.work(order), status, order, claims: order.claims)
    do {
      try await withTaskCancellationHandler {
        try await withCheckedThrowingContinuation { items[id]?.waiting = $0 }
      } onCancel: {
        Task { await self.settle(id, .failure(CancellationError())) }
      }
      // Whoever ordered it and went away would not know of it.
      try Task.checkCancellation()
      items[id]?.isAcknowledged = true
      if order.isLasting { try save() }
    } catch {
      await drop(id)
      throw error
    }
    guard let item = items[id], !item.isEnding else { throw AgentRefusal("it was released in the meantime") }
    return item.status
  }

  /// Ends what was ordered. Names stay reserved for the account.
  /// - Parameters:
  ///   - kind: `share` or `access`.
  ///   - token: of the share or the access, or the id of one that fails.
  func release(_ kind: String, _ token: String) async throws {
    let found = live.first { item in
      item.status.kind == kind && !token.isEmpty
        && (item.status.id == token || (kind == "share" ? item.status.token : item.status.accessToken) == token)
    }
    guard let found else {
      throw AgentRefusal("the agent has no \(kind) with the token or failure id '\(token.prefix(64))'")
    }
    guard found.order != nil else {
      throw AgentRefusal("the \(kind) \(found.status.label) stands in the agent's file; take it out there")
    }
    // First: what is still written down would come back.
    if found.isAcknowledged { try save(without: found.status.id) }
    logger.notice("released", metadata: ["kind": "\(kind)", "entry": "\(found.status.label)"])
    if let leftover = await drop(found.status.id) {
      throw AgentRefusal(
        "the \(kind) is kept no more, but the share service could not be told to delete it: \(leftover)")
    }
  }

  /// Asks the server behind a proxy share.
  /// - Returns: nil when it answers as expected, otherwise what is wrong.
  func check(_ token: String, method: String, path: String, expecting status: Int, timeout: TimeAmount) async -> String?
  {
    guard let item = live.first(where: { $0.status.kind == "share" && !token.isEmpty && $0.status.token == token })
    else {
      return "share '\(token.prefix(64))' not found in agent"
    }
    guard item.status.backend == ShareOptions.Backend.proxy.rawValue, let target = item.status.target else {
      return "cannot perform http healthcheck on '\(item.status.backend ?? "")' share '\(token)'"
    }
    return await HealthCheck(target: target, method: method, path: path, expected: status, timeout: timeout).run()
  }

  private func save(without id: String? = nil) throws {
    try registry.save(leftOut + live.filter { $0.isAcknowledged && $0.status.id != id }.compactMap(\.order))
  }

  /// - Returns: the state to begin with.
  private func admit(_ order: AgentOrder) throws -> Status {
    let claims = order.claims
    if let other = items.values.first(where: { !$0.claims.isDisjoint(with: claims) }) {
      throw AgentRefusal(
        other.isEnding
          ? "the share \(other.status.label) is just ending; try again in a moment"
          : "the agent keeps a share \(other.status.label) already")
    }
    return Status(order)
  }

  private static func work(_ order: AgentOrder) -> Work {
    switch order {
    case .share(let share): .share { try share.entry() }
    case .access(let access): .access { try access.entry() }
    }
  }

  // MARK: State

  private func begin(_ work: Work, _ status: Status, _ order: AgentOrder? = nil, claims: Set<String> = []) {
    let id = status.id
    sequence.append(id)
    items[id] = Item(status: status, order: order, claims: claims)
    items[id]?.keeper = Task {
      await self.keep(id, work)
      return self.items[id]?.leftover
    }
  }

  /// - Returns: why the share service still has it, if it does.
  @discardableResult
  private func drop(_ id: String) async -> (any Error)? {
    guard let item = items[id] else { return nil }
    items[id]?.isEnding = true
    settle(id, .failure(AgentRefusal("it was released in the meantime")))
    item.keeper?.cancel()
    let leftover = await item.keeper?.value ?? nil
    items[id] = nil
    sequence.removeAll { $0 == id }
    report()
    return leftover
  }

  private func settle(_ id: String, _ result: Result<Void, any Error>) {
    items[id]?.waiting?.resume(with: result)
    items[id]?.waiting = nil
  }

  private func change(_ id: String, _ body: (inout Status) -> Void) {
    guard let before = items[id]?.status, items[id]?.isEnding == false else { return }
    var status = before
    body(&status)
    items[id]?.status = status
    if status.phase != before.phase {
      logger.notice(
        "\(status.kind) is \(status.phase.rawValue)",
        metadata: ["entry": "\(status.label)", "reason": "\(status.error ?? "")"])
    }
    report()
  }

  private func report() {
    guard !isEnding, let data = try? JSONEncoder().encode(Report(pid: getpid(), entries: status)) else { return }
    // Others of this machine have no business with it, and the next agent tells its own.
    try? PrivateFile.writeTransient(Array(data), to: statusPath)
  }

  // MARK: Keeping

  /// Serves an entry again and again, until cancelled; what was ordered and never reached ends with its first failure.
  private func keep(_ id: String, _ work: Work) async {
    // Somebody may stand before a share that was gone: it is soon tried again.
    var backoff = Backoff(minimum: .milliseconds(500), maximum: .seconds(8))
    while !Task.isCancelled {
      do {
        switch work {
        case .share(let resolve): try await serve(id, try resolve()) { backoff.reset() }
        case .access(let resolve): try await serve(id, try resolve()) { backoff.reset() }
        }
      } catch {
        if Task.isCancelled { break }
        if case ShareError.environmentGone(let endpoint) = error {
          forgotten.continuation.yield(.environmentGone(endpoint: endpoint))
        }
        if items[id]?.waiting != nil { return settle(id, .failure(error)) }
        let pause = backoff.next()
        change(id) {
          $0.phase = .failing
          $0.error = "\(error)"
          $0.failures += 1
          $0.nextRetry = Int(Date().timeIntervalSince1970) + Int(pause.nanoseconds / 1_000_000_000)
        }
        try? await Task.sleep(pause)
      }
    }
    settle(id, .failure(AgentRefusal("the agent is stopping")))
  }

  /// Makes the share and serves it until it cannot be reached any more.
  private func serve(_ id: String, _ entry: AgentConfiguration.ShareEntry, proven: () -> Void) async throws {
    for name in entry.options.names where !name.name.isEmpty {
      // It may be ours already; whether it is, the share will tell.
      try? await session.createName(name)
    }
    var options = entry.options
    options.isWindowed = ShareBackend.isWindowed(options.backend)
    options.isLeased = true
    let share = try await session.create(options)
    do {
      let overlay = try await session.overlay()
      let backend = try await ShareBackend.start(
        share, mode: entry.options.backend, target: entry.target, overlay: overlay, options: entry.backend,
        logger: logger)
      change(id) {
        $0.token = share.token
        $0.backend = entry.options.backend.rawValue
        $0.target = entry.options.target
        $0.places = entry.options.mode == .public ? share.urls : ["swiftlet access private \(share.token)"]
      }
      if let target = entry.target, await target.isSilent() {
        logger.warning(
          "nothing listens at the target of a share", metadata: ["entry": "\(entry.label)", "target": "\(target)"])
      }
      // To dial one's own share one needs an access like anybody else; it goes with the share.
      _ = try await session.access(share.token, description: "agent")
      do {
        try await prove(share.token, id, overlay, proven)
      } catch {
        await backend.stop()
        throw error
      }
      await backend.stop()
    } catch {
      await takeBack(id) { try await $0.delete(share) }
      throw error
    }
    await takeBack(id) { try await $0.delete(share) }
  }

  /// Has the share service forget something, in a task of its own, as this one may be cancelled. Tried twice; what is
  /// left then is known to whoever waits for the end.
  private func takeBack(_ id: String, _ delete: @escaping @Sendable (ShareSession) async throws -> Void) async {
    let session = session
    let result = await Task {
      // With its environment everything has gone.
      do { try await delete(session) } catch ShareError.refused(_, status: 404, _) { return } catch ShareError
        .environmentGone
      { return } catch {
        try? await Task.sleep(for: .milliseconds(500))
        // The answer to the first may have been lost.
        do { try await delete(session) } catch ShareError.refused(_, status: 404, _) {}
      }
    }.result
    if case .failure(let error) = result {
      items[id]?.leftover = error
      logger.warning(
        "the share service still has what is kept no more",
        metadata: ["entry": "\(items[id]?.status.label ?? "")", "reason": "\(error)"])
    } else {
      items[id]?.leftover = nil
    }
  }

  private func serve(_ id: String, _ entry: AgentConfiguration.AccessEntry, proven: () -> Void) async throws {
    let access = try await session.access(entry.token, description: "agent")
    let result: Result<Void, any Error>
    do {
      let overlay = try await session.overlay()
      let (local, address) = try await bind(entry, access, overlay)
      // From here on the port closes with this task.
      let running = Task { try await local.run() }
      do {
        try await session.update(access, bindAddress: address.text)
        change(id) {
          $0.accessToken = access.token
          $0.places = [address.text]
        }
        try await prove(entry.token, id, overlay, proven)
        result = .success(())
      } catch {
        result = .failure(error)
      }
      running.cancel()
      _ = await running.result
    } catch {
      result = .failure(error)
    }
    await takeBack(id) { try await $0.delete(access) }
    try result.get()
  }

  private func bind(
    _ entry: AgentConfiguration.AccessEntry, _ access: ShareAccess, _ overlay: Overlay
  ) async throws -> (PrivateAccess, SocketAddress) {
    for port in entry.ports {
      let local = PrivateAccess(
        overlay: overlay, access: access, host: entry.host, port: port, responseHeaders: entry.responseHeaders,
        logger: logger)
      do { return (local, try await local.start()) } catch let error as IOError
        where [EADDRINUSE, EACCES].contains(error.errnoCode)
      {
        if entry.ports.count == 1 { throw error }
      }
    }
    throw AgentRefusal("no port from \(entry.ports.lowerBound) to \(entry.ports.upperBound) is free at \(entry.host)")
  }

  /// Sends nonces until two in a row are refused, or none has come back for as long as `patience`. Returns when
  /// cancelled.
  private func prove(_ token: String, _ id: String, _ overlay: Overlay, _ proven: () -> Void) async throws {
    var failingSince: ContinuousClock.Instant?
    while !Task.isCancelled {
      do {
        try await PathProof.run(token, overlay: overlay)
        failingSince = nil
        proven()
        change(id) {
          $0.phase = .active
          $0.lastProof = Int(Date().timeIntervalSince1970)
          $0.error = nil
          $0.failures = 0
          $0.nextRetry = nil
        }
        settle(id, .success(()))
        try? await Task.sleep(for: Self.interval)
      } catch {
        if Task.isCancelled { return }
        if let since = failingSince {
          // A path that is only slow, behind somebody who does not read, would not be faster after a new start, which
          // cuts everybody off.
          let isSlow = if case OverlayError.timedOut = error { true } else { error is ProofFailure }
          guard isSlow, items[id]?.waiting == nil, ContinuousClock.now - since < Self.patience else { throw error }
        }
        failingSince = failingSince ?? .now
        change(id) {
          $0.phase = .failing
          $0.error = "\(error)"
        }
        try? await Task.sleep(for: Self.secondChance)
      }
    }
  }
}
