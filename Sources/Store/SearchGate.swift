import Synchronization

/// Lets a number of tasks in at a time, in the order in which they came.
final class SearchGate: Sendable {
  private struct State {
    var free: Int
    var ticket: UInt64 = 0
    /// Who waits, by ticket, lowest first.
    var order: [UInt64] = []
    var waiting: [UInt64: CheckedContinuation<Bool, Never>] = [:]
    /// Cancelled before they could wait.
    var gone: Set<UInt64> = []
  }

  private let state: Mutex<State>

  /// - Parameter places: at least 1.
  init(places: Int) { state = Mutex(State(free: max(1, places))) }

  func pass<R: Sendable>(_ body: () async throws -> R) async throws -> R {
    try await enter()
    defer { leave() }
    return try await body()
  }

  private func enter() async throws {
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
          state.order.append(ticket)
          state.waiting[ticket] = continuation
          return nil
        }
        if let isIn { continuation.resume(returning: isIn) }
      }
    } onCancel: {
      cancel(ticket)
    }
    guard isIn else { throw CancellationError() }
    // Whoever was cancelled after it came in leaves no trace.
    state.withLock { _ = $0.gone.remove(ticket) }
  }

  private func cancel(_ ticket: UInt64) {
    let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
      guard let waiter = state.waiting.removeValue(forKey: ticket) else {
        state.gone.insert(ticket)
        return nil
      }
      state.order.removeAll { $0 == ticket }
      return waiter
    }
    waiter?.resume(returning: false)
  }

  private func leave() {
    let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
      guard let ticket = state.order.first else {
        state.free += 1
        return nil
      }
      state.order.removeFirst()
      return state.waiting.removeValue(forKey: ticket)
    }
    next?.resume(returning: true)
  }
}
