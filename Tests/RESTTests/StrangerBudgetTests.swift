import Foundation
import Logging
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import PKI
import REST
import Testing
import Transport

/// What a client without a session can make the API hold, in bytes and time. Without TLS, as behind a proxy: the same
/// handlers stand behind TLS.
@Suite("Strangers at the API", .timeLimit(.minutes(5)))
struct StrangerBudgetTests {
  /// A client that says what it likes, and notes what it hears.
  private final class Raw: ChannelInboundHandler, @unchecked Sendable {
    // Sendable: the text is behind a lock, nothing else changes.
    typealias InboundIn = ByteBuffer
    let text = NIOLockedValueBox("")
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let bytes = unwrapInboundIn(data)
      text.withLockedValue { $0 += String(decoding: bytes.readableBytesView, as: UTF8.self) }
    }
    var status: Int? { text.withLockedValue { $0.split(separator: " ").dropFirst().first.flatMap { Int($0) } } }
  }

  private struct Connection {
    let channel: any Channel
    let raw: Raw
    func say(_ text: String) { channel.writeAndFlush(ByteBuffer(string: text), promise: nil) }
    func status() async throws -> Int? {
      for _ in 0..<1000 {
        if let status = raw.status { return status }
        try await Task.sleep(for: .milliseconds(10))
      }
      return nil
    }
  }

  private func withServer(
    _ limits: APILimits,
    _ body: @Sendable (HTTPAcceptor, TLSListener, @Sendable () async throws -> Connection) async throws -> Void
  )
    async throws
  {
    let acceptor = HTTPAcceptor(TestAPI.server, limits: limits) { "q" }
    let listener = TLSListener(
      host: "127.0.0.1", port: 0, identity: nil, acceptors: [], fallback: acceptor,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let port = try #require(try await listener.start().port)
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await listener.run() }
      try await body(acceptor, listener) {
        let raw = Raw()
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
          .channelInitializer { channel in channel.pipeline.addHandler(raw) }.connect(host: "127.0.0.1", port: port)
          .get()
        return Connection(channel: channel, raw: raw)
      }
      listener.stop()
      tasks.cancelAll()
      do { try await tasks.waitForAll() } catch is CancellationError {}
    }
  }

  @Test(
    "the promise: ten seconds for a head, and for a whole request of somebody without a session; five for a handshake")
  func promise() {
    let limits = APILimits()
    #expect(limits.headTimeout == .seconds(10))
    #expect(limits.strangerRequestTimeout == .seconds(10))
    #expect(limits.strangerIdleTimeout == .seconds(10))
    #expect(StrangerLimits().handshakeTimeout == .seconds(5))
  }

  @Test("silent connections, answered ones that say no more, dribbled heads and dribbled bodies are closed in time")
  func slow() async throws {
    var limits = APILimits()
    limits.headTimeout = .milliseconds(400)
    limits.strangerRequestTimeout = .milliseconds(400)
    limits.strangerIdleTimeout = .milliseconds(400)
    try await withServer(limits) { _, listener, connect in
      let answered = try await connect()
      answered.say("GET /edge/client/v1/version HTTP/1.1\r\nhost: x\r\n\r\n")
      let silent = try await connect()
      let head = try await connect()
      let body = try await connect()
      let pipelined = try await connect()
      body.say("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
      pipelined.say("GET /edge/client/v1/version HTTP/1.1\r\nhost: x\r\n\r\nGET /edge/client/v1/ver")
      let dribble = Task {
        for character in "GET /edge/client/v1/version HTTP/1.1\r\nhost: " + String(repeating: "a", count: 1000) {
          for connection in [head, body] where connection.channel.isActive { connection.say(String(character)) }
          if pipelined.channel.isActive { pipelined.say("a") }
          try await Task.sleep(for: .milliseconds(20))
        }
      }
      for connection in [answered, silent, head, body, pipelined] { try await connection.channel.closeFuture.get() }
      dribble.cancel()
      #expect(pipelined.raw.status == 200 && answered.raw.status == 200)
      for _ in 0..<500 where listener.openConnections > 0 { try await Task.sleep(for: .milliseconds(10)) }
      #expect(listener.openConnections == 0)
    }
  }

  @Test(
    "what is no HTTP is answered by 400 in the envelope of errors, with the request's id, and the connection ends",
    arguments: [
      "CONNECT x:1280 HTTP/1.1\r\nhost: x\r\n\r\n", "GET /edge/client/v1/version HTTP/9.9\r\nhost: x\r\n\r\n",
      "hello\r\n\r\n",
      "GET /edge/client/v1/version HTTP/1.1\r\n\r\n",
      "GET /edge/client/v1/version HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
      "GET /edge/client/v1/version HTTP/1.1\r\nno field\r\n\r\n",
      "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n",
      "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
      "GET /edge/client/v1/version HTTP/1.1\r\nhost: x\r\nx : y\r\n\r\n",
      "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
      "GET /edge/client/v1/version HTTP/1.1\r\nhost: x\r\nx: \(String(repeating: "a", count: 80_000))\r\n\r\n",
    ])
  func noHTTP(_ request: String) async throws {
    try await withServer(APILimits()) { acceptor, _, connect in
      let connection = try await connect()
      connection.say(request)
      #expect(try await connection.status() == 400)
      try await connection.channel.closeFuture.get()
      let text = connection.raw.text.withLockedValue { $0 }
      #expect(
        text.contains(#""code":"COULD_NOT_PARSE_BODY""#) && text.contains(#""requestId":"q""#)
          && text.contains("connection: close"))
      #expect(text.components(separatedBy: "HTTP/1.1 ").count == 2)
      #expect(acceptor.bodiesHeld == (0, 0))
    }
  }

  @Test("an endpoint for sessions answers somebody without one before the body, and holds none of it")
  func judgedByHead() async throws {
    try await withServer(APILimits()) { acceptor, _, connect in
      let connection = try await connect()
      connection.say("GET /edge/client/v1/mine HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
      #expect(try await connection.status() == 401)
      #expect(acceptor.bodiesHeld == (0, 0))
      let unknown = try await connect()
      unknown.say("POST /nothing HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
      #expect(try await unknown.status() == 404)
    }
  }

  @Test("bodies of one source without a session share a budget: what goes beyond is told so, and the rest goes on")
  func bodies() async throws {
    var limits = APILimits()
    limits.strangerBodies = (total: 1 << 20, perSource: 4 * APIServer.strangerBodyLimit)
    try await withServer(limits) { acceptor, _, connect in
      let length = APIServer.strangerBodyLimit
      var connections: [Connection] = []
      for _ in 0..<20 {
        let connection = try await connect()
        connection.say(
          "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: \(length)\r\n\r\n"
            + String(repeating: "a", count: length - 1))
        connections.append(connection)
      }
      for _ in 0..<1000 where connections.count(where: { $0.raw.status == 429 }) < 16 {
        try await Task.sleep(for: .milliseconds(10))
      }
      #expect(connections.count { $0.raw.status == 429 } == 16)
      #expect(acceptor.bodiesHeld == (4 * length, 0))
      for connection in connections where connection.raw.status == nil {
        connection.say("a")
        #expect(try await connection.status() == 200)
      }
      #expect(acceptor.bodiesHeld == (0, 0))
      for connection in connections { connection.channel.close(promise: nil) }
    }
  }

  @Test(
    "a stranger's body is small, one of a caller with a session may have a mebibyte; the budget is given back when a client goes away"
  )
  func sizes() async throws {
    try await withServer(APILimits()) { acceptor, _, connect in
      for (session, length, status) in [
        ("", APIServer.strangerBodyLimit, 200), ("", APIServer.strangerBodyLimit + 1, 413),
        ("zt-session: user\r\n", APIServer.bodyLimit, 200),
        ("zt-session: user\r\n", APIServer.bodyLimit + 1, 413),
      ] {
        let connection = try await connect()
        connection.say(
          "POST /echo HTTP/1.1\r\nhost: x\r\n\(session)content-length: \(length)\r\nexpect: 100-continue\r\n\r\n")
        let first = try await connection.status()
        if status == 200 {
          #expect(first == 100)
          connection.raw.text.withLockedValue { $0 = "" }
          connection.say(String(repeating: "a", count: length))
          #expect(try await connection.status() == 200)
        } else {
          #expect(first == status)
        }
        connection.channel.close(promise: nil)
      }
      let leaving = try await connect()
      leaving.say("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc")
      for _ in 0..<500 where acceptor.bodiesHeld.strangers != 1000 { try await Task.sleep(for: .milliseconds(10)) }
      #expect(acceptor.bodiesHeld.strangers == 1000)
      leaving.channel.close(promise: nil)
      for _ in 0..<500 where acceptor.bodiesHeld.strangers > 0 { try await Task.sleep(for: .milliseconds(10)) }
      #expect(acceptor.bodiesHeld.strangers == 0)
    }
  }

  @Test(
    "answers that nobody reads are held up to a limit, beyond it the next ones are refused; they are forgotten with their client"
  )
  func unreadAnswers() async throws {
    var limits = APILimits()
    limits.answers = (total: 64 << 20, perAsker: 8 << 20)
    try await withServer(limits) { acceptor, _, connect in
      // What the sockets between hold is not counted: each client asks for far more.
      var deaf: [Connection] = []
      for _ in 0..<8 {
        let connection = try await connect()
        try await connection.channel.setOption(.autoRead, value: false).get()
        connection.say(String(repeating: "GET /long HTTP/1.1\r\nhost: x\r\n\r\n", count: 60))
        deaf.append(connection)
      }
      // One who asks and reads finds no room, once the others of its address have theirs.
      var refused = 0
      for _ in 0..<300 where refused == 0 {
        let asking = try await connect()
        asking.say("GET /long HTTP/1.1\r\nhost: x\r\n\r\n")
        if try await asking.status() == 429 { refused += 1 }
        asking.channel.close(promise: nil)
        #expect(acceptor.answersHeld <= 8 << 20)
        if refused == 0 { try await Task.sleep(for: .milliseconds(20)) }
      }
      #expect(refused == 1)
      for connection in deaf { connection.channel.close(promise: nil) }
      for _ in 0..<500 where acceptor.answersHeld > 0 { try await Task.sleep(for: .milliseconds(10)) }
      #expect(acceptor.answersHeld == 0)
    }
  }

  @Test("what is no request is answered with 400 and the end of the connection, behind a good one too")
  func garbage() async throws {
    try await withServer(APILimits()) { _, _, connect in
      for good in ["", "GET /edge/client/v1/version HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let connection = try await connect()
        connection.say(good)
        if !good.isEmpty { #expect(try await connection.status() == 200) }
        connection.say("this is no request\r\n\r\n")
        try await connection.channel.closeFuture.get()
        #expect(connection.raw.text.withLockedValue { $0.contains("HTTP/1.1 400") })
      }
    }
  }

  @Test("requests that come together are answered in turn on one connection, which stays open")
  func pipelining() async throws {
    try await withServer(APILimits()) { _, _, connect in
      let connection = try await connect()
      connection.say(
        (0..<5).map {
          "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: \($0)\r\n\r\n" + String(repeating: "a", count: $0)
        }.joined()
          + "HEAD /edge/client/v1/version HTTP/1.1\r\nhost: x\r\n\r\nGET /edge/client/v1/version HTTP/1.1\r\nhost: x\r\n\r\n"
      )
      for _ in 0..<500 where !connection.raw.text.withLockedValue({ $0.contains("\"base\"") }) {
        try await Task.sleep(for: .milliseconds(10))
      }
      let text = connection.raw.text.withLockedValue { $0 }
      let sizes = text.split(separator: "\"size\":").dropFirst().map { $0.prefix { $0.isNumber } }
      #expect(sizes == ["0", "1", "2", "3", "4"])
      #expect(text.contains("405") && text.contains("\"base\""))
      #expect(connection.channel.isActive)
      connection.channel.close(promise: nil)
    }
  }

  @Test(
    "requests without bodies that come together are all answered, also when the client then ends its side",
    arguments: [false, true])
  func burst(endsItsSide: Bool) async throws {
    try await withServer(APILimits()) { _, _, connect in
      let connection = try await connect()
      connection.say((0..<20).map { _ in "GET /edge/client/v1/version HTTP/1.1\r\nhost: x\r\n\r\n" }.joined())
      if endsItsSide { connection.channel.close(mode: .output, promise: nil) }
      let answers = { connection.raw.text.withLockedValue { $0.components(separatedBy: "HTTP/1.1 200").count - 1 } }
      for _ in 0..<1000 where answers() < 20 { try await Task.sleep(for: .milliseconds(10)) }
      #expect(answers() == 20)
      if endsItsSide { try await connection.channel.closeFuture.get() } else { #expect(connection.channel.isActive) }
      connection.channel.close(promise: nil)
    }
  }

  @Test("of thousands of requests that come together the first is answered, and the connection ends")
  func flood() async throws {
    try await withServer(APILimits()) { _, _, connect in
      let connection = try await connect()
      connection.say(String(repeating: "GET /edge/client/v1/version HTTP/1.1\r\nhost: x\r\n\r\n", count: 20_000))
      #expect(try await connection.status() == 200)
      try await connection.channel.closeFuture.get()
    }
  }

  @Test("a wish for another protocol is not heard, and the connection goes on", arguments: ["h2c", "websocket"])
  func upgrade(_ wanted: String) async throws {
    try await withServer(APILimits()) { _, _, connect in
      let connection = try await connect()
      for count in 2...4 {
        let wish =
          count == 3
          ? "" : "connection: Upgrade, HTTP2-Settings\r\nupgrade: \(wanted)\r\nhttp2-settings: AAEAAEAAAAIAAAAA\r\n"
        connection.say("GET /edge/client/v1/version HTTP/1.1\r\nhost: x\r\n\(wish)\r\n")
        let answers = { connection.raw.text.withLockedValue { $0.components(separatedBy: "HTTP/1.1 200").count } }
        for _ in 0..<1000 where answers() < count { try await Task.sleep(for: .milliseconds(10)) }
        #expect(answers() == count)
      }
      #expect(!connection.raw.text.withLockedValue { $0.lowercased().contains("connection: close") })
      connection.channel.close(promise: nil)
    }
  }

  @Test("a method that nobody has is told which there are, and a target may name the host")
  func methods() async throws {
    try await withServer(APILimits()) { _, _, connect in
      for (request, status) in [
        ("BREW /edge/client/v1/version HTTP/1.1\r\nhost: x\r\n\r\n", 405),
        ("GET http://y/edge/client/v1/version HTTP/1.1\r\nhost: x\r\n\r\n", 200),
      ] {
        let connection = try await connect()
        connection.say(request)
        #expect(try await connection.status() == status)
        connection.channel.close(promise: nil)
      }
    }
  }

  @Test(
    "bodies of unknown length take room as they come: a dozen of them do not keep a thirteenth client of their source out"
  )
  func unknownLength() async throws {
    var limits = APILimits()
    limits.strangerBodies.perSource = 2 * APIServer.strangerBodyLimit
    try await withServer(limits) { acceptor, _, connect in
      var held: [Connection] = []
      for _ in 0..<12 {
        let connection = try await connect()
        connection.say("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        held.append(connection)
      }
      for _ in 0..<500 where acceptor.bodiesHeld.strangers < 12 * 4096 { try await Task.sleep(for: .milliseconds(10)) }
      #expect(acceptor.bodiesHeld.strangers == 12 * 4096)
      for connection in held {
        connection.say("2710\r\n" + String(repeating: "a", count: 10_000) + "\r\n0\r\n\r\n")
        #expect(try await connection.status() == 200)
      }
      #expect(acceptor.bodiesHeld == (0, 0))
      for connection in held { connection.channel.close(promise: nil) }
    }
  }
}
