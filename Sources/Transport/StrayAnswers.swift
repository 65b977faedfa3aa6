public import NIOCore

/// Decides which Data frames for unknown connections are answered with StateClosed. One answer an id is enough for an
/// SDK to forget it; a flood of ids gets some answers a second and no more. Fixed in size.
public struct StrayAnswers: Sendable {
  /// Answers at once, and a second: an honest SDK has as many as it had connections that ended in one round trip.
  private static let burst = 64
  private static let perSecond = 64
  /// How long an id that was answered is not answered again.
  private static let pause = TimeAmount.seconds(1)
  private static let slots = 256

  private var recent: [(connID: UInt32, at: NIODeadline)?] = []
  private var tokens = Double(burst)
  private var refilled = NIODeadline.uptimeNanoseconds(0)

  public init() {}

  public mutating func allows(_ connID: UInt32, now: NIODeadline) -> Bool {
    if recent.isEmpty { recent = Array(repeating: nil, count: Self.slots) }
    let slot = Int(connID % UInt32(Self.slots))
    if let last = recent[slot], last.connID == connID, now - last.at < Self.pause { return false }
    let elapsed = Double((now - refilled).nanoseconds) / 1e9
    tokens = min(Double(Self.burst), tokens + elapsed * Double(Self.perSecond))
    refilled = now
    guard tokens >= 1 else { return false }
    tokens -= 1
    recent[slot] = (connID, now)
    return true
  }
}
