import ArgumentParser
import NIOCore
import Transport

/// A duration as upstream writes it, or in days: `30s`, `5m`, `1h30m`, `250ms`, `2d`.
struct DurationArgument: ExpressibleByArgument, Sendable {
  let milliseconds: Int

  /// Nothing, or a millisecond at least: what is less would read as nothing, which means for ever to a controller.
  init?(argument: String) {
    guard let amount = GoDuration.parse(argument, withDays: true), amount == .zero || amount >= .milliseconds(1) else {
      return nil
    }
    milliseconds = Int(amount.nanoseconds / 1_000_000)
  }

  /// Bare seconds, at most a day of them, or a duration as Go writes it.
  static func orSeconds(_ text: String) -> TimeAmount? {
    Int64(text).flatMap { (0...86_400).contains($0) ? TimeAmount.seconds($0) : nil } ?? GoDuration.parse(text)
  }
}

/// How long servers may say nothing, as people write it.
enum ResponseTimeout {
  static func parse(_ text: String) throws -> TimeAmount {
    guard let amount = DurationArgument.orSeconds(text), amount >= .seconds(1) else {
      throw ValidationError("'\(text)' is no duration from a second on; write 30s or 2m")
    }
    return amount
  }
}
