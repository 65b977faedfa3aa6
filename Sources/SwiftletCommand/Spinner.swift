/// Shows that something is under way: nothing for the first second, then a line on stderr that moves, only on a
/// terminal.
enum Spinner {
  private static let frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]

  static func during<Value: Sendable>(_ activity: String, _ body: @Sendable () async throws -> Value) async throws
    -> Value
  {
    guard Terminal.error.isInteractive else { return try await body() }
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        do {
          try await Task.sleep(for: .seconds(1))
        } catch {
          return
        }
        var turn = 0
        while !Task.isCancelled {
          Terminal.error.write("\r\(Terminal.error.styled(frames[turn % frames.count], .cyan)) \(activity)\u{1B}[K")
          turn += 1
          try? await Task.sleep(for: .milliseconds(100))
        }
        Terminal.error.write("\r\u{1B}[K")
      }
      do {
        let value = try await body()
        group.cancelAll()
        try await group.waitForAll()
        return value
      } catch {
        group.cancelAll()
        try? await group.waitForAll()
        throw error
      }
    }
  }
}
