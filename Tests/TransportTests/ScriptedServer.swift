import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@testable import Transport

/// An HTTP server that does with each request what a script says, and counts. Without TLS: what is looked at is when
/// connections are made and how they end.
final class ScriptedServer: Sendable {
  enum Act: Sendable {
    /// Bytes of an answer.
    case answer(String)
    /// Bytes, and the end of the connection behind them.
    case end(String)
    case silence
  }

  /// Told the number of the request, from 0, and its head.
  struct Script: Sendable {
    let act: @Sendable (Int, String) -> Act
    init(_ act: @escaping @Sendable (Int, String) -> Act) { self.act = act }
  }

  private struct Counts {
    var connections = 0
    var open = 0
    var requests: [String] = []
  }

  private let script: Script
  private let counts = NIOLockedValueBox(Counts())

  private init(_ script: Script) { self.script = script }

  var connections: Int { counts.withLockedValue { $0.connections } }
  var open: Int { counts.withLockedValue { $0.open } }
  /// Heads of the requests that came.
  var requests: [String] { counts.withLockedValue { $0.requests } }

  /// An answer of that status whose body is a text.
  static func answer(_ status: Int = 200, _ body: String = "good", headers: String = "") -> Act {
    .answer("HTTP/1.1 \(status) Status\r\ncontent-length: \(body.utf8.count)\r\n\(headers)\r\n\(body)")
  }

  /// Runs `body` beside a server; its base is `http://127.0.0.1:port`.
  static func run(
    _ script: Script, _ body: (_ server: ScriptedServer, _ base: String) async throws -> Void
  ) async throws {
    let server = ScriptedServer(script)
    let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Handler(server)) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let port = try #require(listener.localAddress?.port)
    let result: Result<Void, any Error>
    do { result = .success(try await body(server, "http://127.0.0.1:\(port)")) } catch { result = .failure(error) }
    try await listener.close()
    try result.get()
  }

  private func connected(_ change: Int) {
    counts.withLockedValue { counts in
      counts.open += change
      if change > 0 { counts.connections += 1 }
    }
  }

  private func asked(_ head: String) -> Act {
    let number = counts.withLockedValue { counts -> Int in
      counts.requests.append(head)
      return counts.requests.count - 1
    }
    return script.act(number, head)
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let server: ScriptedServer
    private var text = ""

    init(_ server: ScriptedServer) { self.server = server }

    func channelActive(context: ChannelHandlerContext) {
      server.connected(1)
      context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
      server.connected(-1)
      context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      text += String(buffer: unwrapInboundIn(data))
      while let blank = text.firstRange(of: "\r\n\r\n") {
        let head = String(text[..<blank.lowerBound])
        let length = head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }.flatMap {
          Int($0.drop { $0 != ":" }.dropFirst().drop { $0 == " " })
        }
        let rest = text[blank.upperBound...]
        guard rest.utf8.count >= length ?? 0 else { return }
        text = String(rest.dropFirst(length ?? 0))
        switch server.asked(head) {
        case .answer(let answer): context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: answer)), promise: nil)
        case .end(let answer):
          let channel = context.channel
          context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: answer))).whenComplete { _ in
            channel.close(promise: nil)
          }
        case .silence: break
        }
      }
    }
  }
}
