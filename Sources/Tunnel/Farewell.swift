public import NIOCore
import Synchronization

/// The end of something that carries connections: what is open may go on to its own end, up to a limit, and nothing new
/// is let in. Whoever lets connections in asks it for each of them; whoever ends the whole waits for it.
public final class Farewell: Sendable {
  private struct State {
    var open = 0
    var isEnding = false
    /// Channels that want to hear of the end.
    var watched: [ObjectIdentifier: any Channel] = [:]
    /// Those who wait until none is open.
    var waiting: [AsyncStream<Void>.Continuation] = []
  }

  /// What programs give to what is open where nobody says otherwise.
  public static let defaultLimit = Duration.seconds(10)

  private let state = Mutex(State())

  public init() {}

  /// Connections that were opened and not closed.
  public var openConnections: Int { state.withLock { $0.open } }

  /// Counts a connection that begins.
  /// - Returns: false once this is ending: the connection is to be refused, and is not counted.
  public func opened() -> Bool {
    state.withLock { state in
      if !state.isEnding { state.open += 1 }
      return !state.isEnding
    }
  }

  /// A connection has ended that was counted.
  public func closed() {
    let waiting = state.withLock { state -> [AsyncStream<Void>.Continuation] in
      state.open -= 1
      guard state.open == 0 else { return [] }
      defer { state.waiting = [] }
      return state.waiting
    }
    for one in waiting { one.finish() }
  }

  /// Counts a channel for as long as it is open. When the end begins it gets a `ChannelShouldQuiesceEvent`, so that a
  /// protocol in which a connection outlives its work (HTTP) can close what is idle.
  /// - Returns: false once this is ending: the channel is to be closed, and is not counted.
  public func watch(_ channel: any Channel) -> Bool {
    let key = ObjectIdentifier(channel)
    let isWelcome = state.withLock { state in
      guard !state.isEnding else { return false }
      state.open += 1
      state.watched[key] = channel
      return true
    }
    guard isWelcome else { return false }
    channel.closeFuture.whenComplete { _ in
      self.state.withLock { $0.watched[key] = nil }
      self.closed()
    }
    return true
  }

  /// Lets nothing in any more, and waits for what is open.
  ///
  /// Returns when none is open, at the limit, or when the task is cancelled. Whatever is open then is the caller's to
  /// close.
  public func end(within limit: Duration) async {
    let (none, continuation) = AsyncStream<Void>.makeStream()
    let (watched, isOver) = state.withLock { state -> ([any Channel], Bool) in
      state.isEnding = true
      guard state.open > 0 else { return ([], true) }
      state.waiting.append(continuation)
      return (Array(state.watched.values), false)
    }
    guard !isOver else { return }
    for channel in watched { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
    await withTaskGroup(of: Void.self) { group in
      group.addTask { for await _ in none {} }
      group.addTask { try? await Task.sleep(for: limit) }
      await group.next()
      group.cancelAll()
    }
  }

  /// Closes the watched channels that are still open.
  public func closeRest() {
    for channel in state.withLock({ Array($0.watched.values) }) { channel.close(promise: nil) }
  }
}
