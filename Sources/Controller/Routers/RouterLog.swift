import Logging
import Synchronization

/// What one router makes the controller write: so many lines a minute, then how many were left out. A log that a peer
/// can fill hides what matters and ends on a full disk.
final class RouterLog: Sendable {
  /// Lines a minute; a busy honest router has a few refused dials in one.
  static let limit = 100

  private struct State {
    var began = ContinuousClock.now
    var lines = 0
  }

  private let logger: Logger
  private let router: String
  private let state = Mutex(State())

  init(_ logger: Logger, router: String) {
    self.logger = logger
    self.router = router
  }

  func write(_ level: Logger.Level, _ message: Logger.Message, _ metadata: Logger.Metadata) {
    let (isWritten, leftOut) = state.withLock { state -> (Bool, Int) in
      var leftOut = 0
      if ContinuousClock.now - state.began > .seconds(60) {
        leftOut = max(0, state.lines - Self.limit)
        state = State()
      }
      state.lines += 1
      return (state.lines <= Self.limit, leftOut)
    }
    if leftOut > 0 {
      logger.warning("lines about a router were left out", metadata: ["router": "\(router)", "count": "\(leftOut)"])
    }
    if isWritten { logger.log(level: level, message, metadata: metadata.merging(["router": "\(router)"]) { $1 }) }
  }
}
