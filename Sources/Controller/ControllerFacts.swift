import Synchronization

/// What the controller counts, for `/metrics`.
final class ControllerFacts: Sendable {
  private let circuits = Atomic<Int>(0)
  private let circuitFailures = Atomic<Int>(0)
  private let terminators = Atomic<Int>(0)
  private let ended = Atomic<Int>(0)

  func routerOnline(_ router: String, _ isOnline: Bool) {}
  func circuitCreated() { circuits.add(1, ordering: .relaxed) }
  func circuitFailed() { circuitFailures.add(1, ordering: .relaxed) }
  func terminatorMade() { terminators.add(1, ordering: .relaxed) }
  func apiSessionMade() {}
  func apiSessionEnded(_ identity: String) { ended.add(1, ordering: .relaxed) }
}
