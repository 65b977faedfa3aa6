import Logging
import Tunnel

extension Farewell {
  /// As `end(within:)`, and says what it waits for where that takes more than a moment.
  /// - Parameter share: its token.
  func end(within limit: Duration, share: String, _ logger: Logger) async {
    let words = Task {
      try await Task.sleep(for: .seconds(1))
      logger.warning(
        "waits for visitors", metadata: ["share": "\(share)", "open": "\(openConnections)", "limit": "\(limit)"])
    }
    await end(within: limit)
    words.cancel()
    closeRest()
  }
}
