import NIOConcurrencyHelpers
import NIOCore

/// The connections of a listener: a channel each, and a task each once it is known what is spoken on it.
///
/// A task group would own them as well, but it finds a child that ends by looking through all of them, under its lock:
/// with thousands of connections open each one that ends costs what thousands cost, and strangers decide how many end.
/// A table makes that a look-up, and a connection whose protocol is not known yet has no task.
final class ConnectionTasks: Sendable {
  private struct Connection {
    let channel: any Channel
    var task: Task<Void, Never>?
  }

  private struct State {
    var open: [UInt64: Connection] = [:]
    var number: UInt64 = 0
    var isEnding = false
    var whenEmpty: CheckedContinuation<Void, Never>?
  }

  private let state = NIOLockedValueBox(State())

  /// Takes a connection over: it is served by the task that comes of its negotiation, and closed when that is done or
  /// nothing comes of it.
  /// - Parameter refused: told why nothing came of it.
  func add(
    _ channel: any Channel, _ negotiated: EventLoopFuture<ConnectionTask>,
    refused: @escaping @Sendable (any Error) -> Void
  ) {
    let number = state.withLockedValue { state -> UInt64? in
      guard !state.isEnding else { return nil }
      state.number += 1
      state.open[state.number] = Connection(channel: channel)
      return state.number
    }
    guard let number else { return channel.close(promise: nil) }
    negotiated.whenComplete { result in
      switch result {
      case .success(let serve): self.start(number, channel, serve)
      case .failure(let error):
        refused(error)
        channel.close(promise: nil)
        self.forget(number)
      }
    }
  }

  private func start(_ number: UInt64, _ channel: any Channel, _ serve: @escaping ConnectionTask) {
    state.withLockedValue { state in
      let task = Task {
        await serve()
        channel.close(promise: nil)
        self.forget(number)
      }
      state.open[number]?.task = task
      // It has to clean up after itself, so it runs all the same.
      if state.isEnding { task.cancel() }
    }
  }

  private func forget(_ number: UInt64) {
    let waiter = state.withLockedValue { state -> CheckedContinuation<Void, Never>? in
      state.open[number] = nil
      guard state.open.isEmpty else { return nil }
      defer { state.whenEmpty = nil }
      return state.whenEmpty
    }
    waiter?.resume()
  }

  /// Takes no more connections, closes those that are open and cancels their tasks. - Returns: when all have ended.
  func end() async {
    let open = state.withLockedValue { state -> [Connection] in
      state.isEnding = true
      return Array(state.open.values)
    }
    for connection in open {
      connection.channel.close(promise: nil)
      connection.task?.cancel()
    }
    await withCheckedContinuation { continuation in
      let isEmpty = state.withLockedValue { state -> Bool in
        if state.open.isEmpty { return true }
        state.whenEmpty = continuation
        return false
      }
      if isEmpty { continuation.resume() }
    }
  }
}

/// Holds back what was agreed on a connection until it is open: a task that writes before would fail.
final class WhenActive: ChannelInboundHandler {
  typealias InboundIn = NIOAny

  /// Told on the event loop, before the channel is active.
  var agreed: EventLoopFuture<ConnectionTask>?
  let passed: EventLoopPromise<ConnectionTask>

  init(on loop: any EventLoop) { passed = loop.makePromise() }

  func channelActive(context: ChannelHandlerContext) {
    if let agreed { passed.completeWith(agreed) }
    context.fireChannelActive()
  }

  /// Fails what waits for a connection that never opened; where it opened this changes nothing.
  func handlerRemoved(context: ChannelHandlerContext) { passed.fail(ChannelError.ioOnClosedChannel) }
}
