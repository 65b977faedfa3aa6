import NIOConcurrencyHelpers

/// What a service still does when it is shut down: it runs in a task of its own, for the service's own is cancelled by
/// then, and is cut short once somebody cancels the service itself.
final class LastWork: Sendable {
  private let state = NIOLockedValueBox<(isHasty: Bool, task: Task<Void, Never>?)>((isHasty: false, task: nil))

  /// Runs something to its end.
  func run(_ body: @escaping @Sendable () async -> Void) async {
    let task = Task { await body() }
    let isHasty = state.withLockedValue { state in
      state.task = task
      return state.isHasty
    }
    if isHasty { task.cancel() }
    await task.value
  }

  /// Cancels what runs, and whatever is run from now on.
  func hurry() {
    let task = state.withLockedValue { state in
      state.isHasty = true
      return state.task
    }
    task?.cancel()
  }
}
