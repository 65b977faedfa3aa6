import Synchronization

/// Payload bytes of one circuit at this router, counted by the event loops that move them.
public final class CircuitUsage: Sendable {
  private let fromClient = Atomic<UInt64>(0)
  private let fromHost = Atomic<UInt64>(0)

  public init() {}

  public func add(_ bytes: Int, fromClient isFromClient: Bool) {
    if isFromClient {
      fromClient.wrappingAdd(UInt64(bytes), ordering: .relaxed)
    } else {
      fromHost.wrappingAdd(UInt64(bytes), ordering: .relaxed)
    }
  }

  /// What was counted since the last time.
  func take() -> (fromClient: UInt64, fromHost: UInt64) {
    (fromClient.exchange(0, ordering: .relaxed), fromHost.exchange(0, ordering: .relaxed))
  }
}

/// Usage of a circuit in an interval, with both of its ends at this router.
public struct UsageSample: Sendable, Equatable {
  public let circuit: String
  public let serviceID: String
  public let clientID: String
  public let hostID: String
  public let fromClient: UInt64
  public let fromHost: UInt64
}
