import JSON
import Logging
import Model
import NIOConcurrencyHelpers
import REST
import Testing
import Transport

@Suite("The time limit of a request that changes something", .timeLimit(.minutes(5)))
struct DeadlineTests {
  /// The answer of an operation that has 50 milliseconds.
  private func ask(_ method: String, _ work: @escaping @Sendable () async throws -> Void) async -> Answer {
    let endpoint = Endpoint(method, "/thing", access: .none, timeLimit: .milliseconds(50), "works") { _, _ in
      try await work()
      return .empty
    }
    let api = API(basePaths: [""], endpoints: [endpoint])
    let server = APIServer(
      apis: [], root: api, standing: [], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      authenticate: { _ in nil })
    return Answer(
      await server.respond(to: APIRequest(method: method, path: "/thing", peer: .anonymous(), requestID: "q")))
  }

  @Test("what has begun is finished, and told as done", arguments: ["DELETE", "POST", "PUT", "PATCH"])
  func begun(_ method: String) async {
    let isDone = NIOLockedValueBox(false)
    let answer = await ask(method) {
      try ChangeDeadline.current?.begin()
      // Throws when the request was cancelled.
      try await Task.sleep(for: .milliseconds(400))
      try ChangeDeadline.current?.begin()
      isDone.withLockedValue { $0 = true }
    }
    #expect(answer.status == 200)
    #expect(isDone.withLockedValue { $0 })
  }

  @Test(
    "what still waits for its turn is given up, told so before its turn comes, and changes nothing when it does",
    arguments: ["DELETE", "POST"])
  func waiting(_ method: String) async {
    let (turns, turn) = AsyncStream.makeStream(of: Void.self)
    let (ends, end) = AsyncStream.makeStream(of: Bool.self)
    let answer = await ask(method) {
      // Like a place in a queue: it comes whether or not anybody waits for it.
      await Task { for await _ in turns { return } }.value
      do {
        try ChangeDeadline.current?.begin()
        end.yield(true)
      } catch {
        end.yield(false)
        throw error
      }
    }
    #expect(answer.status == 503)
    #expect(answer.code == "TIMEOUT")
    #expect(answer.json["error"]?["message"]?.stringValue?.contains("has changed nothing") == true)
    turn.yield()
    for await hasChanged in ends {
      #expect(!hasChanged)
      break
    }
  }

  @Test("a failure after the limit is told as itself")
  func failure() async {
    let answer = await ask("PUT") {
      try ChangeDeadline.current?.begin()
      try await Task.sleep(for: .milliseconds(200))
      throw APIError.field("name", "is taken")
    }
    #expect(answer.status == 400)
    #expect(answer.causeField == "name")
  }

  @Test("a question is given up at its limit, and has no deadline of changes")
  func question() async {
    let answer = await ask("GET") {
      #expect(ChangeDeadline.current == nil)
      try await Task.sleep(for: .seconds(60))
    }
    #expect(answer.status == 503)
    #expect(answer.code == "TIMEOUT")
  }
}
