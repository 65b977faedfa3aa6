import AgentProtocol
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import NIOConcurrencyHelpers
import NIOCore
import SwiftProtobuf
import Swiftlet
import Synchronization

/// Calls agents over the overlay: gRPC on a connection to the service that the agent hosts, one connection for the
/// calls of one request (zrok.md 2.5). What an agent answers is somebody's machine's word: it is bounded in bytes and
/// time, and believed by nobody but its owner.
final class AgentCaller: Sendable {
  /// For one call; an agent that is to share something talks to this service and to the network meanwhile.
  static let patience = Duration.seconds(20)
  static let longPatience = Duration.seconds(60)
  /// Requests under way to one agent, of one account, and of all.
  private static let limit = 4
  private static let accountLimit = 16
  private static let totalLimit = 256

  private let logger: Logger
  private let underWay = Mutex<[String: Int]>([:])
  private let identity = NIOLockedValueBox<IdentityFile?>(nil)
  private let overlayTask = NIOLockedValueBox<Task<Overlay, any Error>?>(nil)

  init(logger: Logger) { self.logger = logger }

  func use(_ identity: IdentityFile) { self.identity.withLockedValue { $0 = identity } }

  func close() async {
    let task = overlayTask.withLockedValue { task in
      defer { task = nil }
      return task
    }
    if let overlay = try? await task?.value { await overlay.close() }
  }

  private func overlay() async throws -> Overlay {
    guard let identity = identity.withLockedValue({ $0 }) else {
      throw ShareRefusal(500, "this service has no identity to reach agents with")
    }
    let logger = logger
    let task = overlayTask.withLockedValue { task in
      if let task { return task }
      let made = Task { try await Overlay(identity: identity, options: .init(logger: logger)) }
      task = made
      return made
    }
    do { return try await task.value } catch {
      overlayTask.withLockedValue { if $0 == task { $0 = nil } }
      throw error
    }
  }

  /// An agent that is reached.
  struct Agent {
    fileprivate let client: GRPCClient<HTTP2ClientTransport.WrappedChannel>

    /// - Throws: `ShareRefusal` with 502, and the agent's own reason where it gave one.
    func call<Request: Message, Response: Message>(
      _ method: AgentMethod<Request, Response>, _ request: Request, patience: Duration = AgentCaller.patience
    ) async throws -> Response {
      do { return try await method.call(client, request, timeout: patience) } catch let error as RPCError {
        switch error.code {
        case .deadlineExceeded:
          throw ShareRefusal(502, "the agent did not answer within \(patience.components.seconds) s")
        case .unavailable, .unimplemented:
          throw ShareRefusal(502, "the agent does not answer: \(error.message.prefix(500))")
        default: throw ShareRefusal(502, "the agent: \(error.message.prefix(1000))")
        }
      }
    }
  }

  /// Connects to the agent that hosts the service of an enrollment, for as long as `body` runs.
  /// - Parameter account: whose agent it is.
  /// - Throws: `ShareRefusal`: 502 when the agent cannot be reached, 429 when too many ask at once.
  func reach<Value: Sendable>(_ token: String, account: String, _ body: (Agent) async throws -> Value) async throws
    -> Value
  {
    let counters = [
      ("agent " + token, Self.limit), ("account " + account, Self.accountLimit), ("all", Self.totalLimit),
    ]
    let isFree = underWay.withLock { underWay in
      guard counters.allSatisfy({ underWay[$0, default: 0] < $1 }) else { return false }
      for (counter, _) in counters { underWay[counter, default: 0] += 1 }
      return true
    }
    guard isFree else {
      throw ShareRefusal(429, "too many calls of agents are under way; try again when they have ended")
    }
    defer {
      underWay.withLock { underWay in
        for (counter, _) in counters {
          let left = underWay[counter, default: 1] - 1
          underWay[counter] = left > 0 ? left : nil
        }
      }
    }
    let overlay = try await overlay()
    let opened = NIOLockedValueBox<(any Channel)?>(nil)
    let transport: HTTP2ClientTransport.WrappedChannel
    do {
      // Servers other than ours answer nobody who does not say whom he means.
      transport = try await .wrapping(config: .defaults { $0.http2.authority = token }) { configure in
        let made = NIOLockedValueBox<HTTP2ClientTransport.WrappedChannel.ConfiguredChannel?>(nil)
        let channel = try await overlay.channel(to: token, on: overlay.group.next()) { channel in
          configure(channel).map { configured in made.withLockedValue { $0 = configured } }
        }.get()
        opened.withLockedValue { $0 = channel }
        guard let configured = made.withLockedValue({ $0 }) else { throw ChannelError.ioOnClosedChannel }
        return configured
      }
    } catch {
      opened.withLockedValue { $0 }?.close(promise: nil)
      logger.info("an agent does not answer", metadata: ["enrollment": "\(token)", "reason": "\(error)"])
      throw ShareRefusal(502, "the agent is not there: \(error)")
    }
    let client = GRPCClient(transport: transport)
    let running = Task { try await client.runConnections() }
    let result: Result<Value, any Error>
    do { result = .success(try await body(Agent(client: client))) } catch { result = .failure(error) }
    // Whatever the peer thinks of it.
    running.cancel()
    opened.withLockedValue { $0 }?.close(promise: nil)
    _ = await running.result
    return try result.get()
  }
}
