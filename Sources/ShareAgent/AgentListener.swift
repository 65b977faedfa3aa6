import AgentProtocol
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Swiftlet
import SwiftletShare
import Transport
import WebRelay

/// Where a running agent takes orders: zrok's gRPC at `agent.socket` in the environment's directory, for programs of
/// this user, and for the share service over the overlay while the machine is enrolled for it (zrok.md 5.6).
struct AgentListener {
  /// How often the enrollment is looked for.
  private static let interval = TimeAmount.seconds(2)
  /// Bytes a socket's path may have.
  private static let pathLimit = 107
  /// Connections from afar at once; the service makes one for each call.
  private static let connectionLimit = 32

  private let agent: Agent
  private let session: ShareSession
  private let path: String
  /// Made for the socket alone.
  private let ownDirectory: String?
  private let logger: Logger
  /// Held until the agent has taken everything back.
  private let lock: ProcessLock

  /// - Throws: `AgentRefusal` when another agent runs for this environment.
  init(agent: Agent, session: ShareSession, logger: Logger) async throws {
    self.agent = agent
    self.session = session
    self.logger = logger
    do {
      lock = try ProcessLock(session.environment.directory + "/agent.lock", what: "another agent of this environment")
    } catch {
      throw AgentRefusal("\(error)")
    }
    let usual = session.environment.directory + "/agent.socket"
    if usual.utf8.count <= Self.pathLimit {
      path = usual
      ownDirectory = nil
      guard FileManager.default.fileExists(atPath: path) else { return }
      // zrok's agent knows nothing of the lock.
      if let channel = try? await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connect(
        unixDomainSocketPath: path
      ).get() {
        channel.close(promise: nil)
        throw AgentRefusal("another agent runs for this environment: it answers at \(path)")
      }
      // What an agent left behind that was killed.
      unlink(path)
    } else {
      let directory = try PrivateFile.makeTemporaryDirectory(NSTemporaryDirectory() + "agent-")
      path = directory + "/agent.socket"
      ownDirectory = directory
      logger.warning(
        "the path of the agent's socket would be too long; programs of this machine find it elsewhere",
        metadata: ["path": "\(path)"])
    }
  }

  /// Serves until cancelled.
  func run() async {
    await withDiscardingTaskGroup { group in
      group.addTask { await serveSocket() }
      group.addTask { await serveOverlay() }
    }
    unlink(path)
    if let ownDirectory { rmdir(ownDirectory) }
  }

  private func serveSocket() async {
    let transport = HTTP2ServerTransport.Posix(
      address: .unixDomainSocket(path: path), transportSecurity: .plaintext,
      config: .defaults { config in
        config.rpc.maxRequestPayloadSize = AgentMethods.messageLimit
        config.http2.maxConcurrentStreams = 16
        config.connection.maxIdleTime = .seconds(300)
      })
    await withDiscardingTaskGroup { group in
      group.addTask {
        // The directory lets nobody else in already.
        if (try? await transport.listeningAddress) != nil { chmod(path, 0o600) }
      }
      do {
        try await GRPCServer(transport: transport, services: [AgentCommands(agent: agent)]).serve()
      } catch {
        if !Task.isCancelled {
          logger.error("the agent takes no orders", metadata: ["socket": "\(path)", "reason": "\(error)"])
        }
      }
    }
  }

  /// Offers the service of the enrollment for as long as there is one.
  private func serveOverlay() async {
    var serving: (token: String, server: OverlayServer)?
    var complaint = ""
    // Of a service that has forgotten the enrollment nobody asks every moment.
    var backoff = Backoff(minimum: .seconds(2), maximum: .seconds(60))
    let open = NIOLockedValueBox<(turn: Int, channels: [ObjectIdentifier: any Channel])>((0, [:]))
    func end() async {
      await serving?.server.close()
      serving = nil
      // Who was let in under one enrollment gives no orders after it.
      let admitted = open.withLockedValue { open in
        open.turn += 1
        return Array(open.channels.values)
      }
      for channel in admitted { channel.close(promise: nil) }
    }
    while !Task.isCancelled {
      var pause = Self.interval
      do {
        let wanted = try session.environment.agentEnrollment()
        if serving?.token != wanted {
          await end()
          if let wanted {
            let turn = open.withLockedValue { $0.turn }
            let server = try await session.overlay().serve(wanted) { [path] channel, _ in
              channel.eventLoop.makeCompletedFuture {
                let key = ObjectIdentifier(channel)
                try open.withLockedValue { open in
                  guard open.turn == turn, open.channels.count < Self.connectionLimit else {
                    throw AgentRefusal("too many connections, or too late")
                  }
                  open.channels[key] = channel
                }
                channel.closeFuture.whenComplete { _ in open.withLockedValue { $0.channels[key] = nil } }
                try channel.syncOptions?.setOption(.autoRead, value: false)
                try channel.pipeline.syncOperations.addHandler(SocketBridge(path))
              }
            }
            serving = (wanted, server)
            logger.notice(
              "the share service may give orders to this agent",
              metadata: ["endpoint": "\(session.environment.enabled?.endpoint ?? "")"])
          }
        }
        complaint = ""
        backoff.reset()
      } catch {
        pause = backoff.next()
        if !Task.isCancelled, "\(error)" != complaint {
          complaint = "\(error)"
          logger.warning("the share service cannot reach this agent", metadata: ["reason": "\(error)"])
        }
      }
      try? await Task.sleep(pause)
    }
    await end()
  }
}

/// Carries a connection from the overlay to a socket of this machine.
private final class SocketBridge: ChannelInboundHandler, RemovableChannelHandler, Sendable {
  typealias InboundIn = ByteBuffer

  private let path: String

  init(_ path: String) { self.path = path }

  func channelActive(context: ChannelHandlerContext) {
    let channel = context.channel
    context.fireChannelActive()
    ClientBootstrap(group: context.eventLoop)
      .connectTimeout(.seconds(5))
      .channelOption(.autoRead, value: false)
      .connect(unixDomainSocketPath: path)
      .assumeIsolated()
      .whenComplete { result in
        guard case .success(let server) = result else { return channel.close(promise: nil) }
        do {
          guard channel.isActive else { throw ChannelError.ioOnClosedChannel }
          try Glue.join(channel, server)
          for end in [channel, server] { try end.syncOptions?.setOption(.autoRead, value: true) }
        } catch {
          server.close(promise: nil)
          channel.close(promise: nil)
        }
      }
  }
}
