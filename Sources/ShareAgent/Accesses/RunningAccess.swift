public import Logging
import NIOConcurrencyHelpers
public import NIOCore
public import ServiceLifecycle
import Swiftlet
public import SwiftletShare
import Transport
public import Tunnel
public import WebRelay

/// A private share at a local port for as long as this runs. Where the share ends, the port stays, and leads to it
/// again as soon as a share of that token comes back. It ends with an error when this machine's environment was deleted
/// at the share service. Where it is stopped, the port closes at once, and what is under way goes on to its end before
/// the access is deleted, as far as a limit allows.
public struct RunningAccess: Service {
  public enum Event: Sendable {
    /// The port leads to the share.
    case ready(ShareAccess, SocketAddress)
    /// The share has ended, or is paused; its token is waited for. The reason is the service's, and may be empty.
    case lost(reason: String)
    /// It is there again.
    case back
    /// The access is about to be deleted.
    case ending
  }

  /// From when the overlay hears that the share may not be dialled until that is believed.
  private static let grantedTime = TimeAmount.seconds(1)

  private let session: ShareSession
  private let token: String
  private let host: String
  private let port: Int
  private let responseHeaders: [ResponseHeader]
  private let observer: RequestObserver?
  private let grace: Duration
  private let logger: Logger
  private let told: @Sendable (Event) -> Void
  private let lastWork = LastWork()

  /// - Parameters:
  ///   - port: 0 picks a free one; `ready` tells which.
  ///   - responseHeaders: set on answers of shares that speak HTTP.
  ///   - observer: told of each request, of shares that speak HTTP.
  ///   - grace: how long requests and connections under way may go on when it is stopped.
  ///   - told: called when something has happened; must not wait.
  public init(
    session: ShareSession, token: String, host: String, port: Int, responseHeaders: [ResponseHeader] = [],
    observer: RequestObserver? = nil,
    grace: Duration = Farewell.defaultLimit, logger: Logger, told: @escaping @Sendable (Event) -> Void
  ) {
    self.session = session
    self.token = token
    self.host = host
    self.port = port
    self.responseHeaders = responseHeaders
    self.observer = observer
    self.grace = grace
    self.logger = logger
    self.told = told
  }

  /// Carries connections until the service group shuts down, which lets what is under way come to its end, or until
  /// cancelled, which does not.
  ///
  /// - Throws: `ShareError`: `refused` and `unreachable` as the service answers, `environmentGone`; an error of the
  ///   port.
  public func run() async throws {
    try await withTaskCancellationHandler {
      try await cancelWhenGracefulShutdown { try await keep() }
    } onCancel: {
      lastWork.hurry()
    }
  }

  private func keep() async throws {
    var access = try await gain()
    var port = port
    var isFirst = true
    while true {
      let held = NIOLockedValueBox(access)
      let next: Result<ShareAccess?, any Error>
      do {
        let local = PrivateAccess(
          overlay: try await session.overlay(), access: access, host: host, port: port,
          responseHeaders: responseHeaders, observer: observer,
          logger: logger)
        let address = try await local.start()
        // What comes in its place listens there too.
        port = address.port ?? port
        try await session.update(access, bindAddress: address.text)
        told(isFirst ? .ready(access, address) : .back)
        isFirst = false
        let fresh = try await carry(local, held, address.text)
        if fresh == nil { await lastWork.run { [grace] in await local.end(within: grace) } }
        next = .success(fresh)
      } catch {
        next = .failure(error)
      }
      if case .success(let fresh?) = next {
        access = fresh
        continue
      }
      told(.ending)
      if case .failure(let error) = next, case ShareError.environmentGone = error { throw error }
      let last = held.withLockedValue { $0 }
      let deletion = await Task { [session] in try await session.delete(last) }.result
      if !Task.isCancelled { _ = try next.get() }
      // With a share that has ended its accesses have gone.
      do { try deletion.get() } catch ShareError.refused(_, status: 404, _) {}
      return
    }
  }

  /// In a task of its own: a cancelled one would not hear what was made.
  private func gain() async throws -> ShareAccess {
    try await Task { [session, token] in try await session.access(token) }.value
  }

  /// Carries connections until stopped.
  /// - Returns: an access that has to be carried in another way; nil when it was stopped.
  private func carry(_ local: PrivateAccess, _ held: NIOLockedValueBox<ShareAccess>, _ address: String) async throws
    -> ShareAccess?
  {
    try await withThrowingTaskGroup(of: ShareAccess?.self) { group in
      group.addTask {
        try await local.run()
        return nil
      }
      group.addTask { try await watch(held, address) }
      defer { group.cancelAll() }
      return try await group.next() ?? nil
    }
  }

  /// Gains the access anew whenever it is lost, until cancelled.
  /// - Returns: an access to a share of another kind than the one before.
  private func watch(_ held: NIOLockedValueBox<ShareAccess>, _ address: String) async throws -> ShareAccess? {
    var isLost = false
    var backoff = Backoff(minimum: .seconds(1), maximum: .seconds(15))
    while true {
      do {
        if isLost { try await Task.sleep(backoff.next()) } else { try await lapse() }
      } catch { return nil }
      guard let isThere = try await mayDial() else { continue }
      if !isThere {
        do {
          let fresh = try await gain()
          let old = held.withLockedValue { held in
            defer { held = fresh }
            return held
          }
          // It is of no use any more, and usually went with the share.
          try? await session.delete(old)
          if fresh.backend != old.backend || fresh.isWindowed != old.isWindowed { return fresh }
          try? await session.update(fresh, bindAddress: address)
        } catch {
          if case ShareError.environmentGone = error { throw error }
          logger.info("a share cannot be accessed again yet", metadata: ["share": "\(token)", "reason": "\(error)"])
          if !isLost, case ShareError.refused(_, _, let reason) = error {
            isLost = true
            told(.lost(reason: reason))
          }
          continue
        }
        // So that the overlay knows of it before it is asked again.
        guard try await mayDial() == true else { continue }
      }
      guard isLost else { continue }
      isLost = false
      backoff.reset()
      told(.back)
    }
  }

  /// Returns a moment after the overlay has heard that it may not dial the share; throws only when cancelled.
  private func lapse() async throws {
    if let overlay = try? await session.overlay() {
      for await services in await overlay.serviceChanges()
      where !services.contains(where: { $0.name == token && $0.canDial }) {
        break
      }
    }
    try await Task.sleep(Self.grantedTime)
  }

  /// - Returns: nil where that cannot be told.
  private func mayDial() async throws -> Bool? {
    do {
      let overlay = try await session.overlay()
      if await overlay.rights(token).canDial { return true }
      // The network is asked before it is believed.
      return try await overlay.services().contains { $0.name == token && $0.canDial }
    } catch OverlayError.notAuthenticated {
      if await session.isForgotten() { throw ShareError.environmentGone(endpoint: session.endpoint) }
      return nil
    } catch {
      return nil
    }
  }
}
