import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NetworkFixture
import ServiceLifecycle
import SwiftletShare
import Testing
import Tunnel
import WebRelay

@testable import ShareAgent
@testable import ShareFrontend
@testable import ShareService

/// How visits end, seen from the server behind a share: visitors who leave, servers who take their time, sharers who
/// stop.
@Suite("Visits and their ends", .timeLimit(.minutes(5)))
struct VisitTests {
  /// A server that takes requests and answers when it is told to. It knows which of its clients have gone.
  private final class Works: Sendable {
    private struct State {
      var asked = 0
      var gone = 0
      var channels: [any Channel] = []
    }

    private final class Handler: ChannelInboundHandler, Sendable {
      typealias InboundIn = ByteBuffer

      private let works: Works

      init(_ works: Works) { self.works = works }

      func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let text = String(buffer: unwrapInboundIn(data))
        works.take(context.channel, text.components(separatedBy: " HTTP/1.1\r\n").count - 1)
      }

      func channelInactive(context: ChannelHandlerContext) { works.leave(context.channel) }
    }

    private let state = NIOLockedValueBox(State())

    var asked: Int { state.withLockedValue { $0.asked } }
    var gone: Int { state.withLockedValue { $0.gone } }

    private func take(_ channel: any Channel, _ requests: Int) {
      state.withLockedValue { state in
        state.asked += requests
        if !state.channels.contains(where: { $0 === channel }) { state.channels.append(channel) }
      }
    }

    /// Who only looked whether anybody listens has asked for nothing.
    private func leave(_ channel: any Channel) {
      state.withLockedValue { state in if state.channels.contains(where: { $0 === channel }) { state.gone += 1 } }
    }

    func listen() async throws -> any Channel {
      try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Handler(self)) }
        }
        .bind(host: "127.0.0.1", port: 0).get()
    }

    /// Says something on all connections.
    func say(_ text: String) async throws {
      for channel in state.withLockedValue({ $0.channels }) where channel.isActive {
        try await channel.writeAndFlush(ByteBuffer(string: text))
      }
    }
  }

  private static let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"

  /// Runs curl on a thread that may wait. - Returns: its status, and what it read.
  private static func curl(_ arguments: String...) async -> (status: Int32, text: String) {
    await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["curl", "--silent"] + arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardInput = FileHandle.nullDevice
        do { try process.run() } catch { return continuation.resume(returning: (-1, "\(error)")) }
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        continuation.resume(returning: (process.terminationStatus, text))
      }
    }
  }

  private struct Scene: Sendable {
    let bench: ShareBench
    let sharer: Sharer
    let works: Works
    let server: any Channel

    static func start(_ configure: (inout ShareConfiguration) -> Void = { _ in }) async throws -> Scene {
      let bench = try await ShareBench.start(configure)
      let works = Works()
      return Scene(
        bench: bench, sharer: try await Sharer.enable(bench, "ann@example.com"), works: works,
        server: try await works.listen())
    }

    var target: BackendTarget { .server(.http, host: "127.0.0.1", port: server.localAddress?.port ?? 0) }

    func stop() async throws {
      try await server.close()
      await sharer.session.close()
      await bench.stop()
    }
  }

  @Test(
    "a visitor who leaves while the server works: it is told, through frontend, overlay and sharer, over HTTP/1.1 and HTTP/2",
    arguments: [false, true])
  func leaving(_ isTLS: Bool) async throws {
    let identity = try isTLS ? ShareBench.certificate() : nil
    let scene = try await Scene.start { $0.frontend.identity = identity }
    let works = scene.works
    var options = ShareOptions(.public, backend: .proxy)
    options.isWindowed = true
    try await scene.sharer.session.withShare(options) { share in
      let backend = try await ShareBackend.start(
        share, mode: .proxy, target: scene.target, overlay: scene.sharer.session.overlay(),
        logger: scene.bench.network.logger)
      let url = try #require(share.urls.first)
      let versions = isTLS ? ["--http1.1", "--http2"] : ["--http1.1"]
      for (round, version) in versions.enumerated() {
        async let visit = Self.curl("--insecure", version, "--max-time", "2", url + "/slow")
        try await Network.wait("the request is there") { works.asked == round + 1 }
        #expect(works.gone == round)
        try await Network.wait("the server is told", seconds: 20) { works.gone == round + 1 }
        #expect(await visit.status == 28)
      }
      await backend.stop()
    }
    try await scene.stop()
  }

  @Test("and through a private access; who has only said its last gets its answer there")
  func leavingPrivately() async throws {
    let scene = try await Scene.start()
    let works = scene.works
    var options = ShareOptions(.private, backend: .proxy)
    options.isWindowed = true
    try await scene.sharer.session.withShare(options) { share in
      let backend = try await ShareBackend.start(
        share, mode: .proxy, target: scene.target, overlay: scene.sharer.session.overlay(),
        logger: scene.bench.network.logger)
      let access = PrivateAccess(
        overlay: try await scene.sharer.session.overlay(), access: try await scene.sharer.session.access(share.token),
        host: "127.0.0.1", port: 0,
        logger: scene.bench.network.logger)
      let port = try await access.start().port ?? 0
      let running = Task { try await access.run() }
      async let visit = Self.curl("--max-time", "2", "http://127.0.0.1:\(port)/slow")
      try await Network.wait("the request is there") { works.asked == 1 }
      try await Network.wait("the server is told", seconds: 20) { works.gone == 1 }
      #expect(await visit.status == 28)
      // A program that has said its last and reads on gets its answer.
      let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .channelOption(.allowRemoteHalfClosure, value: true).connect(host: "127.0.0.1", port: port) { channel in
          channel.eventLoop.makeCompletedFuture {
            try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
          }
        }
      try await client.channel.writeAndFlush(ByteBuffer(string: "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"))
      try await client.channel.close(mode: .output)
      try await Network.wait("the second request is there") { works.asked == 2 }
      try await Task.sleep(for: .seconds(1))
      try await works.say(Self.answer)
      let text = try await client.executeThenClose { inbound, _ in
        var all = ""
        for try await part in inbound { all += String(buffer: part) }
        return all
      }
      #expect(text.contains("HTTP/1.1 200") && text.hasSuffix("done"), "\(text)")

      await backend.stop()
      running.cancel()
      _ = await running.result
    }
    try await scene.stop()
  }

  @Test("a limit for silence is the sharer's or the frontend's: 504 with the reason, and the sharer reads it too")
  func limits() async throws {
    let scene = try await Scene.start { $0.limits.frontend.answerLimit = .seconds(4) }
    let records = NIOLockedValueBox<[RequestRecord]>([])
    for limit in [TimeAmount.seconds(1), nil] {
      var options = BackendOptions()
      options.answerLimit = limit
      options.observer = { record in records.withLockedValue { $0.append(record) } }
      let sealed = options
      try await scene.sharer.session.withShare(ShareOptions(.public, backend: .proxy)) { share in
        let backend = try await ShareBackend.start(
          share, mode: .proxy, target: scene.target, overlay: scene.sharer.session.overlay(), options: sealed,
          logger: scene.bench.network.logger)
        let page = await Self.curl("--max-time", "60", "--include", try #require(share.urls.first))
        #expect(
          page.text.hasPrefix("HTTP/1.1 504") && page.text.contains("said nothing for \(limit == nil ? 4 : 1) s"),
          "\(page.text)")
        await backend.stop()
      }
    }
    let first = records.withLockedValue { $0.first }
    #expect(first?.status == 504 && first?.failure?.contains("said nothing for 1 s") == true)
    try await scene.stop()
  }

  @Test(
    "a share and an access that are shut down let what is under way come to its end, up to a limit; cancelled, they do not"
  )
  func farewells() async throws {
    let scene = try await Scene.start()
    let works = scene.works
    let logger = scene.bench.network.logger
    let session = try ShareSession(
      ShareEnvironment.load(directory: scene.sharer.directory), pollInterval: .milliseconds(200))
    /// - Returns: the service group of a share, its URL, and the task in which it runs.
    func share(grace: Duration) async throws -> (group: ServiceGroup, url: String, running: Task<Void, any Error>) {
      let url = NIOLockedValueBox<String?>(nil)
      let share = RunningShare(
        session: session, options: ShareOptions(.public, backend: .proxy), target: scene.target, grace: grace,
        logger: logger
      ) {
        if case .shared(let share) = $0 { url.withLockedValue { $0 = share.urls.first } }
      }
      let group = ServiceGroup(services: [share], logger: logger)
      let running = Task { try await group.run() }
      try await Network.wait("it is shared") { url.withLockedValue { $0 } != nil }
      return (group, try #require(url.withLockedValue { $0 }), running)
    }
    let patient = try await share(grace: .seconds(60))
    async let visit = Self.curl("--max-time", "60", patient.url + "/slow")
    try await Network.wait("the request is there") { works.asked == 1 }
    await patient.group.triggerGracefulShutdown()
    try await Task.sleep(for: .seconds(1))
    #expect(works.gone == 0)
    try await works.say(Self.answer)
    let seen = await visit
    #expect(seen.status == 0 && seen.text == "done")
    try await patient.running.value
    #expect(
      await Self.curl("--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}", patient.url).text
        == "404")

    let hasty = try await share(grace: .milliseconds(100))
    async let cut = Self.curl(
      "--max-time", "60", "--output", "/dev/null", "--write-out", "%{http_code}", hasty.url + "/slow")
    try await Network.wait("the second request is there") { works.asked == 2 }
    await hasty.group.triggerGracefulShutdown()
    try await hasty.running.value
    #expect(await cut.text != "200")

    let cancelled = try await share(grace: .seconds(600))
    async let other = Self.curl("--fail", "--max-time", "60", cancelled.url + "/slow")
    try await Network.wait("the third request is there") { works.asked == 3 }
    await cancelled.group.triggerGracefulShutdown()
    try await Task.sleep(for: .milliseconds(300))
    cancelled.running.cancel()
    _ = await cancelled.running.result
    #expect(await other.status != 0)

    // The access of a private share.
    try await scene.sharer.session.withShare(ShareOptions(.private, backend: .proxy)) { share in
      let backend = try await ShareBackend.start(
        share, mode: .proxy, target: scene.target, overlay: scene.sharer.session.overlay(), logger: logger)
      let port = NIOLockedValueBox(0)
      let access = RunningAccess(
        session: session, token: share.token, host: "127.0.0.1", port: 0, grace: .seconds(60), logger: logger
      ) {
        if case .ready(_, let address) = $0 { port.withLockedValue { $0 = address.port ?? 0 } }
      }
      let group = ServiceGroup(services: [access], logger: logger)
      let running = Task { try await group.run() }
      try await Network.wait("the access is ready") { port.withLockedValue { $0 } != 0 }
      let url = "http://127.0.0.1:\(port.withLockedValue { $0 })/slow"
      async let visit = Self.curl("--max-time", "60", url)
      try await Network.wait("the fourth request is there") { works.asked == 4 }
      await group.triggerGracefulShutdown()
      try await Network.wait("nobody is let in any more") { await Self.curl("--max-time", "1", url).status == 7 }
      try await works.say(Self.answer)
      let seen = await visit
      #expect(seen.status == 0 && seen.text == "done")
      try await running.value
      await backend.stop()
    }
    await session.close()
    try await scene.stop()
  }

  @Test("a farewell counts what is open, lets nothing in once it has begun, and ends with the last or at its limit")
  func counting() async {
    let farewell = Farewell()
    #expect(farewell.opened() && farewell.opened() && farewell.openConnections == 2)
    let ended = NIOLockedValueBox(false)
    let ending = Task {
      await farewell.end(within: .seconds(600))
      ended.withLockedValue { $0 = true }
    }
    while farewell.opened() {
      farewell.closed()
      await Task.yield()
    }
    farewell.closed()
    #expect(!ended.withLockedValue { $0 } && farewell.openConnections == 1)
    farewell.closed()
    await ending.value
    #expect(!farewell.opened() && farewell.openConnections == 0)
    let limited = Farewell()
    #expect(limited.opened())
    await limited.end(within: .milliseconds(20))
    #expect(limited.openConnections == 1)
    limited.closed()
    await Farewell().end(within: .seconds(600))
  }
}
