public import NIOCore
import PKI

/// Exponential back-off with full jitter on the upper half, so that peers which lost the same router do not come back
/// together.
public struct Backoff: Sendable {
  private let minimum: Int64
  private let maximum: Int64
  private var current: Int64

  /// - Parameters:
  ///   - minimum: the first delay.
  ///   - maximum: the delay never grows beyond this.
  public init(minimum: TimeAmount, maximum: TimeAmount) {
    self.minimum = minimum.nanoseconds
    self.maximum = maximum.nanoseconds
    self.current = minimum.nanoseconds
  }

  /// The next delay; doubles up to the maximum.
  public mutating func next() -> TimeAmount {
    var random = RandomSource()
    return next(using: &random)
  }

  /// The same under test.
  public mutating func next(using random: inout some RandomNumberGenerator) -> TimeAmount {
    let ceiling = current
    current = min(maximum, current * 2)
    return .nanoseconds(Int64.random(in: (ceiling / 2)...ceiling, using: &random))
  }

  public mutating func reset() { current = minimum }
}

extension Task where Success == Never, Failure == Never {
  /// Sleeps for the amount; throws only when cancelled.
  public static func sleep(_ amount: TimeAmount) async throws {
    try await Task.sleep(nanoseconds: UInt64(max(0, amount.nanoseconds)))
  }
}
