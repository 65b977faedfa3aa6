import Synchronization

/// Lets a number of tasks in at a time. Those who wait come in turn by whom they work for, and of one in the order in
/// which they came: who asks a thousand times at once waits for itself, and others for one of its questions.
final class SearchGate: Sendable {
  private struct Waiter {
    let key: String
    let continuation: CheckedContinuation<Bool, Never>
  }

  private struct State {
    var free: Int
    var ticket: UInt64 = 0
    var waiting: [UInt64: Waiter] = [:]
    /// Tickets by key, lowest first; those that gave up are among them until their turn.
    var queues: [String: ArraySlice<UInt64>] = [:]
    /// Keys with a queue, whose turn it is first.
    var turns: ArraySlice<String> = []
    /// Cancelled before they could wait.
    var gone: Set<UInt64> = []

    mutating func enqueue(_ ticket: UInt64, _ waiter: Waiter) {
      waiting[ticket] = waiter
      if queues[waiter.key] == nil { turns.append(waiter.key) }
      queues[waiter.key, default: []].append(ticket)
    }

    /// Takes who is next.
    mutating func next() -> Waiter? {
      while let key = turns.popFirst() {
        while let ticket = queues[key]?.popFirst() {
          guard let waiter = waiting.removeValue(forKey: ticket) else { continue }
          if queues[key]?.isEmpty == false { turns.append(key) } else { queues[key] = nil }
          return waiter
        }
        queues[key] = nil
      }
      return nil
    }
  }

  private let state: Mutex<State>
  private let places: Int

  /// - Parameter places: at least 1.
  init(places: Int) {
    self.places = max(1, places)
    state = Mutex(State(free: max(1, places)))
  }

  /// Those who are in or wait.
  var count: Int { state.withLock { places - $0.free + $0.waiting.count } }

  /// - Parameter key: whom the task works for.
  func pass<R: Sendable>(for key: String, _ body: () async throws -> R) async throws -> R {
    try await enter(key)
    defer { leave() }
    return try await body()
  }

  private func enter(_ key: String) async throws {
    let ticket = state.withLock { state in
      state.ticket += 1
      return state.ticket
    }
    let isIn = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isIn = state.withLock { state -> Bool? in
          if state.gone.remove(ticket) != nil { return false }
          if state.free > 0 {
            state.free -= 1
            return true
          }
          state.enqueue(ticket, Waiter(key: key, continuation: continuation))
          return nil
        }
        if let isIn { continuation.resume(returning: isIn) }
      }
    } onCancel: {
      cancel(ticket)
    }
    // Whoever was cancelled after it came in leaves no trace.
    state.withLock { _ = $0.gone.remove(ticket) }
    guard isIn else { throw CancellationError() }
  }

  private func cancel(_ ticket: UInt64) {
    let waiter = state.withLock { state -> Waiter? in
      guard let waiter = state.waiting.removeValue(forKey: ticket) else {
        state.gone.insert(ticket)
        return nil
      }
      return waiter
    }
    waiter?.continuation.resume(returning: false)
  }

  private func leave() {
    let next = state.withLock { state -> Waiter? in
      let next = state.next()
      if next == nil { state.free += 1 }
      return next
    }
    next?.continuation.resume(returning: true)
  }
}
