import Fabric
import Synchronization

/// Hands what routers count to whoever wants to know.
final class UsageFeed: Sendable {
  private let listeners = Mutex<[@Sendable ([UsageRecord]) -> Void]>([])

  func listen(_ listener: @escaping @Sendable ([UsageRecord]) -> Void) { listeners.withLock { $0.append(listener) } }

  func report(_ charged: [UsageRecord]) {
    guard !charged.isEmpty else { return }
    for listener in listeners.withLock({ $0 }) { listener(charged) }
  }
}
