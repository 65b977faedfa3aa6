import Fabric
import Synchronization

/// Hands what routers count to whoever wants to know.
final class UsageHub: Sendable {
  private let listeners = Mutex<[@Sendable ([CircuitTraffic]) -> Void]>([])

  func listen(_ listener: @escaping @Sendable ([CircuitTraffic]) -> Void) { listeners.withLock { $0.append(listener) } }

  func report(_ traffic: [CircuitTraffic]) {
    guard !traffic.isEmpty else { return }
    for listener in listeners.withLock({ $0 }) { listener(traffic) }
  }
}
