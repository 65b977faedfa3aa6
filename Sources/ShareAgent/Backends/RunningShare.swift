public import Logging
import NIOCore
public import ServiceLifecycle
import Swiftlet
public import SwiftletShare
import Transport
public import Tunnel

/// A share while it is served: made, served, and deleted at the end. Where the service took it back because this
/// machine was away (asleep, cut off), it is made again under its names and its token. It ends with an error when
/// somebody deleted it, or this machine's environment. Where it is stopped, what visitors have under way goes on to its
/// end before the share is deleted, as far as a limit allows.
public struct RunningShare: Service {
  public enum Event: Sendable {
    /// It can be visited.
    case shared(Share)
    /// It can be visited again, after the service had taken it back.
    case sharedAgain(Share)
    /// It can be visited, but nothing answers at its target.
    case targetSilent(BackendTarget)
    /// It is about to be deleted.
    case ending
  }

  private enum Ending { case stopped, takenBack }

  /// When the service is asked what became of a share that the overlay knows no more, and how often from then on. It
  /// may not have come to its end with the network when the overlay hears of it.
  private static let (grantedTime, askingInterval) = (Duration.seconds(1), Duration.seconds(15))

  private let session: ShareSession
  private let options: ShareOptions
  private let target: BackendTarget?
  private let backend: BackendOptions
  private let grace: Duration
  private let logger: Logger
  private let told: @Sendable (Event) -> Void
  private let lastWork = LastWork()

  /// - Parameters:
  ///   - target: nil only for modes that need none.
  ///   - grace: how long requests and connections under way may go on when it is stopped.
  ///   - told: called when something has happened; must not wait.
  public init(
    session: ShareSession, options: ShareOptions, target: BackendTarget?, backend: BackendOptions = BackendOptions(),
    grace: Duration = Farewell.defaultLimit, logger: Logger, told: @escaping @Sendable (Event) -> Void
  ) {
    self.session = session
    self.options = options
    self.target = target
    self.backend = backend
    self.grace = grace
    self.logger = logger
    self.told = told
  }

  /// Shares until the service group shuts down, which lets what is under way come to its end, or until cancelled, which
  /// does not.
  ///
  /// - Throws: `ShareError`: `refused` and `unreachable` as the service answers, `shareDeleted`, `shareElsewhere`,
  ///   `environmentGone`; what ``ShareBackend/start`` throws.
  public func run() async throws {
    try await withTaskCancellationHandler {
      try await cancelWhenGracefulShutdown { try await keep() }
    } onCancel: {
      lastWork.hurry()
    }
  }

  private func keep() async throws {
    var wanted = options
    wanted.isWindowed = ShareBackend.isWindowed(options.backend)
    wanted.isLeased = true
    var backoff = Backoff(minimum: .milliseconds(500), maximum: .seconds(15))
    var share = try await make(wanted)
    var isAgain = false
    while true {
      do {
        if try await serve(share, isAgain) == .stopped { break }
        backoff.reset()
      } catch let error as OverlayError where isAgain && !Task.isCancelled {
        // It was away a moment ago: the way to the routers may not be open yet.
        logger.info("a share cannot be served yet", metadata: ["share": "\(share.token)", "reason": "\(error)"])
        try? await session.delete(share)
      } catch {
        told(.ending)
        switch error {
        case ShareError.shareDeleted, ShareError.shareElsewhere, ShareError.environmentGone: throw error
        default: break
        }
        try? await delete(share)
        if Task.isCancelled { return }
        throw error
      }
      wanted.token = share.token
      isAgain = true
      guard let again = try await makeAgain(wanted, &backoff) else { return told(.ending) }
      share = again
    }
    told(.ending)
    try await delete(share)
  }

  // In tasks of their own: a cancelled task asks nobody, and would not hear what was made.

  private func make(_ wanted: ShareOptions) async throws -> Share {
    try await Task { [session] in try await session.create(wanted) }.value
  }

  private func delete(_ share: Share) async throws {
    try await Task { [session] in try await session.delete(share) }.value
  }

  /// - Returns: nil when it was stopped meanwhile.
  private func makeAgain(_ wanted: ShareOptions, _ backoff: inout Backoff) async throws -> Share? {
    while !Task.isCancelled {
      do { return try await make(wanted) } catch let error as ShareError {
        guard error.isPassing else { throw error }
        logger.info("a share cannot be made again yet", metadata: ["share": "\(wanted.token)", "reason": "\(error)"])
      }
      try? await Task.sleep(backoff.next())
    }
    return nil
  }

  private func serve(_ share: Share, _ isAgain: Bool) async throws -> Ending {
    let running = try await ShareBackend.start(
      share, mode: options.backend, target: target, overlay: session.overlay(), options: backend, logger: logger)
    told(isAgain ? .sharedAgain(share) : .shared(share))
    let ending: Result<Ending, any Error>
    do {
      if !isAgain, let target, await target.isSilent() { told(.targetSilent(target)) }
      ending = .success(try await watch(share))
    } catch {
      ending = .failure(error)
    }
    let isStopped = if case .success(.stopped) = ending { true } else { false }
    await lastWork.run { [grace] in await running.stop(within: isStopped ? grace : .zero) }
    return try ending.get()
  }

  /// Returns when it is stopped, or when the service has taken the share back.
  private func watch(_ share: Share) async throws -> Ending {
    let overlay = try await session.overlay()
    for await services in await overlay.serviceChanges() {
      if services.contains(where: { $0.name == share.token && $0.canHost }) { continue }
      if let found = try await ending(of: share, overlay) { return found }
    }
    return .stopped
  }

  /// Asks the service what became of a share that the overlay knows no more.
  /// - Returns: nil when the overlay knows it again.
  private func ending(of share: Share, _ overlay: Overlay) async throws -> Ending? {
    var pause = Self.grantedTime
    while true {
      do { try await Task.sleep(for: pause) } catch { return .stopped }
      if await overlay.rights(share.token).canHost { return nil }
      switch try await session.standing(ofShare: share.token) {
      case .there, .unknown: pause = Self.askingInterval
      case .takenBack: return .takenBack
      case .deleted:
        if Task.isCancelled { return .stopped }
        throw ShareError.shareDeleted(token: share.token)
      case .elsewhere: throw ShareError.shareElsewhere(token: share.token)
      }
    }
  }
}
