import Controller
import EdgeRouter
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NetworkFixture
import Swiftlet
import SwiftletShare
import Synchronization
import Testing
import Tunnel

@testable import ShareAgent
@testable import ShareService

/// Programs that connect, end halves, reset, pause and vanish, through a proxy and a host, a private share and a public
/// one, while hosts and routers are killed and other threads want the processor. The oracle: what comes back is a
/// beginning of what was sent; where nobody was disturbed it is all of it; every socket closes; and when all is over no
/// connection, circuit or socket is left.
///
/// `SWIFTLET_SEEDS` is how many worlds are played (50), `SWIFTLET_SEED` plays one of them alone.
@Suite("Proxies, hosts and shares among programs that behave anyhow", .serialized, .timeLimit(.minutes(Rounds.minutes)))
struct ChurnTests {
  @Test("everything comes back or is closed, and nothing is left")
  func churn() async throws {
    let before = World.sockets()
    let world = try await World.start()
    let pressure = Pressure(threads: 2)
    for seed in Rounds.seeds {
      var random = Seeded(seed)
      let visits = (0..<Int.random(in: 4...12, using: &random)).map { _ in Visit(paths: world.paths, using: &random) }
      let disturbance = Disturbance.allCases.randomElement(using: &random, weights: Disturbance.weights)
      let delay = Duration.milliseconds(Int.random(in: 0...40, using: &random))
      await withTaskGroup(of: Void.self) { group in
        for (index, visit) in visits.enumerated() {
          group.addTask {
            do {
              let outcome = try await visit.run()
              if let fault = visit.fault(in: outcome, isDisturbed: disturbance != .none) {
                Issue.record("seed \(seed), visit \(index) of \(visit): \(fault)")
              }
            } catch {
              Issue.record("seed \(seed), visit \(index) of \(visit): \(error)")
            }
          }
        }
        if disturbance != .none {
          group.addTask {
            do {
              try await Task.sleep(for: delay)
              try await world.disturb(disturbance)
            } catch {
              Issue.record("seed \(seed), \(disturbance): \(error)")
            }
          }
        }
      }
      do { try await world.settle(after: disturbance) } catch { Issue.record("seed \(seed), \(disturbance): \(error)") }
    }
    pressure.stop()
    try await world.stop()
    try await Network.wait("no socket is left") { World.sockets() <= before }
  }
}

/// Which worlds are played.
private enum Rounds {
  private static func setting(_ name: String) -> UInt64? {
    ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
  }
  static let seeds = setting("SWIFTLET_SEED").map { [$0] } ?? Array(1...(setting("SWIFTLET_SEEDS") ?? 50))
  /// A hang limit.
  static let minutes = max(5, seeds.count / 40)
}

/// Numbers that depend on the seed alone.
private struct Seeded: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

extension Collection where Index == Int, Element == Disturbance {
  fileprivate func randomElement(using random: inout Seeded, weights: [Int]) -> Disturbance {
    var rest = Int.random(in: 0..<weights.reduce(0, +), using: &random)
    for (element, weight) in zip(self, weights) {
      guard rest >= weight else { return element }
      rest -= weight
    }
    return .none
  }
}

/// What happens to a world while it is visited.
private enum Disturbance: CaseIterable {
  case none
  /// The host stops offering, and another one begins.
  case hosting
  /// The host's SDK goes with everything that it carries.
  case host
  case backend
  case router

  static let weights = [17, 3, 3, 2, 1]
}

/// Threads that want the processor for themselves.
private final class Pressure: Sendable {
  private let isOver = Atomic<Bool>(false)

  init(threads: Int) {
    for _ in 0..<threads {
      Thread.detachNewThread { [self] in
        while !isOver.load(ordering: .relaxed) {
          for _ in 0..<200_000 { _ = isOver.load(ordering: .relaxed) }
          // Half of the time: a debug build on two cores must get on.
          usleep(500)
        }
      }
    }
  }

  func stop() { isOver.store(true, ordering: .relaxed) }
}

/// One way through the network.
private struct Path: Sendable {
  let name: String
  let port: Int
  /// The Host of a request; nil carries bytes as they are.
  let host: String?
}

/// What a server does, by the first bytes that it reads: a word, and a number of bytes.
private enum Conduct: UInt8, CaseIterable {
  /// Sends back what it reads, ends after its peer.
  case echo
  /// The same, and does not read for a while after so many bytes.
  case pause
  /// Ends after so many bytes.
  case leave
  /// Resets after so many bytes.
  case reset

  static let headerSize = 5
}

// MARK: One program

/// One connection from its beginning to its end.
private struct Visit: Sendable, CustomStringConvertible {
  enum Step: Sendable {
    case write(Int)
    /// Milliseconds.
    case pause(Int)
    case reading(Bool)
  }

  enum Ending: CaseIterable {
    /// Ends its half and waits for the other.
    case half
    case close
    case reset
  }

  struct Outcome: Sendable {
    var received = ByteBuffer()
    /// The peer ended in order.
    var ended = false
  }

  /// Nothing takes so long but what hangs.
  private static let patience = TimeAmount.seconds(60)

  let path: Path
  private let conduct: Conduct
  private let limit: Int
  private let steps: [Step]
  private let ending: Ending
  private let payload: ByteBuffer

  init(paths: [Path], using random: inout Seeded) {
    path = paths[Int.random(in: 0..<paths.count, using: &random)]
    conduct = [Conduct.echo, .echo, .echo, .pause, .leave, .reset][Int.random(in: 0..<6, using: &random)]
    steps = (0..<Int.random(in: 1...6, using: &random)).map { _ in
      switch Int.random(in: 0..<6, using: &random) {
      case 0: .pause(Int.random(in: 0...8, using: &random))
      case 1: .reading(Bool.random(using: &random))
      case 2: .write(Int.random(in: 1...200_000, using: &random))
      default: .write(Int.random(in: 1...20_000, using: &random))
      }
    }
    ending = [Ending.half, .half, .half, .close, .reset][Int.random(in: 0..<5, using: &random)]
    let size = steps.reduce(0) { if case .write(let count) = $1 { $0 + count } else { $0 } }
    limit = Int.random(in: 0...max(1, size), using: &random)
    payload = OverlayBench.pattern(size, seed: random.next())
  }

  var description: String { "\(path.name), \(conduct) at \(limit), \(steps), \(ending)" }

  func run() async throws -> Outcome {
    let collector = Collector()
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.allowRemoteHalfClosure, value: true)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(collector) }
      }
      .connect(host: "127.0.0.1", port: path.port).get()
    let hang = channel.eventLoop.scheduleTask(in: Self.patience) { collector.giveUp(channel) }
    defer { hang.cancel() }
    var head = ByteBuffer()
    if let host = path.host {
      head.writeString(
        "POST / HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\nContent-Length: \(payload.readableBytes + Conduct.headerSize)\r\n\r\n"
      )
    }
    head.writeInteger(conduct.rawValue)
    head.writeInteger(UInt32(limit))
    var last = channel.eventLoop.makePromise(of: Void.self)
    channel.writeAndFlush(head, promise: last)
    var rest = payload
    for step in steps {
      switch step {
      case .write(let count):
        guard let part = rest.readSlice(length: count) else { continue }
        last = channel.eventLoop.makePromise()
        channel.writeAndFlush(part, promise: last)
      case .pause(let milliseconds): try await Task.sleep(for: .milliseconds(milliseconds))
      case .reading(let isReading): try? await channel.setOption(.autoRead, value: isReading).get()
      }
    }
    switch ending {
    case .half:
      try? await channel.setOption(.autoRead, value: true).get()
      // A request's length tells its end; who then also ends the connection may be taken for one who went away.
      if path.host == nil { last.futureResult.whenComplete { _ in channel.close(mode: .output, promise: nil) } }
    case .close: channel.close(promise: nil)
    case .reset:
      _ = (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
      channel.close(promise: nil)
    }
    try await channel.closeFuture.get()
    return try collector.outcome()
  }

  /// What is wrong with an outcome; nil where nothing is.
  func fault(in outcome: Outcome, isDisturbed: Bool) -> String? {
    let isWhole = ending == .half && !isDisturbed && (conduct == .echo || conduct == .pause)
    var body = outcome.received
    if path.host != nil {
      guard let status = Self.takeHead(&body) else {
        return isWhole ? "no answer, \(outcome.received.readableBytes) bytes" : nil
      }
      guard status == 200 else { return isWhole ? "status \(status)" : nil }
    }
    guard body.readableBytes <= payload.readableBytes,
      body == payload.getSlice(at: payload.readerIndex, length: body.readableBytes)
    else {
      return "\(body.readableBytes) bytes came back that were not sent"
    }
    guard isWhole else { return nil }
    guard body.readableBytes == payload.readableBytes else {
      return "\(body.readableBytes) of \(payload.readableBytes) bytes came back"
    }
    return outcome.ended ? nil : "it was reset in the end"
  }

  /// Takes the head of an answer off. - Returns: its status.
  private static func takeHead(_ bytes: inout ByteBuffer) -> Int? {
    let view = bytes.readableBytesView
    guard let end = view.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
    let status = Int(String(decoding: view.dropFirst(9).prefix(3), as: UTF8.self))
    bytes.moveReaderIndex(to: end.upperBound)
    return status
  }

  /// What comes to a program. Closes when its peer has ended.
  private final class Collector: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    private let state = NIOLockedValueBox<(outcome: Outcome, failed: Bool, hung: Bool)>((Outcome(), false, false))

    struct Hung: Error, CustomStringConvertible {
      let received: Int
      var description: String { "it hangs, with \(received) bytes received" }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let part = unwrapInboundIn(data)
      state.withLockedValue { _ = $0.outcome.received.writeImmutableBuffer(part) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      guard case ChannelEvent.inputClosed = event else { return }
      state.withLockedValue { $0.outcome.ended = true }
      context.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      state.withLockedValue { $0.failed = true }
      context.close(promise: nil)
    }

    /// A socket whose output has ended is closed whole by its peer's end.
    func channelInactive(context: ChannelHandlerContext) {
      state.withLockedValue { if !$0.failed { $0.outcome.ended = true } }
    }

    func giveUp(_ channel: any Channel) {
      state.withLockedValue { $0.hung = true }
      channel.close(promise: nil)
    }

    func outcome() throws -> Outcome {
      try state.withLockedValue { state in
        if state.hung { throw Hung(received: state.outcome.received.readableBytes) }
        return state.outcome
      }
    }
  }
}

// MARK: What is behind

/// The far end: does what its peer asks for.
private final class FarEnd: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let speaksHTTP: Bool
  private var head = ByteBuffer()
  private var conduct: Conduct?
  private var limit = 0
  private var count = 0
  private var expected = Int.max
  private var isOver = false

  init(speaksHTTP: Bool) { self.speaksHTTP = speaksHTTP }

  static func bind(speaksHTTP: Bool, open: NIOLockedValueBox<Int>) async throws -> any Channel {
    try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.backlog, value: 256)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { channel in
        open.withLockedValue { $0 += 1 }
        channel.closeFuture.whenComplete { _ in open.withLockedValue { $0 -= 1 } }
        return channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(FarEnd(speaksHTTP: speaksHTTP))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    guard !isOver else { return }
    if conduct == nil {
      head.writeBuffer(&bytes)
      guard begin(context) else { return }
      bytes = head
    }
    guard bytes.readableBytes > 0 else { return endIfDone(context) }
    let before = count
    switch conduct {
    case .leave? where count + bytes.readableBytes >= limit, .reset? where count + bytes.readableBytes >= limit:
      isOver = true
      if conduct == .reset {
        _ = (context.channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
      }
      let channel = context.channel
      context.writeAndFlush(wrapOutboundOut(bytes.readSlice(length: limit - count) ?? ByteBuffer())).whenComplete { _ in
        channel.close(promise: nil)
      }
      return
    default: break
    }
    count += bytes.readableBytes
    if conduct == .pause, before < limit, count >= limit {
      let channel = context.channel
      try? channel.syncOptions?.setOption(.autoRead, value: false)
      _ = channel.eventLoop.scheduleTask(in: .milliseconds(20)) { channel.setOption(.autoRead, value: true) }
    }
    context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    endIfDone(context)
  }

  /// Reads the head and what it is asked for. - Returns: whether all of it was there.
  private func begin(_ context: ChannelHandlerContext) -> Bool {
    var rest = head
    if speaksHTTP {
      let view = rest.readableBytesView
      guard let end = view.firstRange(of: Array("\r\n\r\n".utf8)) else { return false }
      let lines = String(decoding: view[..<end.lowerBound], as: UTF8.self).lowercased().split(separator: "\r\n")
      let length = lines.lazy.compactMap {
        $0.hasPrefix("content-length:") ? Int($0.dropFirst(15).filter(\.isNumber)) : nil
      }.first
      guard let length else {
        context.close(promise: nil)
        return false
      }
      expected = length - Conduct.headerSize
      rest.moveReaderIndex(to: end.upperBound)
    }
    guard let word: UInt8 = rest.readInteger(), let number: UInt32 = rest.readInteger() else { return false }
    conduct = Conduct(rawValue: word) ?? .echo
    limit = Int(number)
    head = rest
    if speaksHTTP {
      context.write(
        wrapOutboundOut(
          ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: \(expected)\r\nConnection: close\r\n\r\n")),
        promise: nil)
    }
    return true
  }

  private func endIfDone(_ context: ChannelHandlerContext) {
    guard count >= expected, !isOver else { return }
    end(context)
  }

  private func end(_ context: ChannelHandlerContext) {
    isOver = true
    let channel = context.channel
    context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in channel.close(mode: .output, promise: nil)
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard case ChannelEvent.inputClosed = event else { return }
    if isOver || conduct == nil || speaksHTTP { context.close(promise: nil) } else { end(context) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

// MARK: The world

private actor World {
  let bench: ShareBench
  nonisolated let paths: [Path]
  private let sharer: Sharer
  private let servers: [any Channel]
  private let open: NIOLockedValueBox<Int>
  private let client: Overlay
  private let hostIdentity: IdentityFile
  private var host: Overlay
  private var hosting: HostTunnel
  private let share: Share
  private var backend: ShareBackend
  private var web: ShareBackend
  private let running: Task<Void, Never>

  /// How many sockets this process has.
  static func sockets() -> Int {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    return files.count {
      ((try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")) ?? "").hasPrefix("socket:")
    }
  }

  private static func port(_ channel: any Channel) -> Int { channel.localAddress?.port ?? 0 }

  static func start() async throws -> World {
    let bench = try await ShareBench.start()
    let logger = bench.network.logger
    let open = NIOLockedValueBox(0)
    let raw = try await FarEnd.bind(speaksHTTP: false, open: open)
    // Its connections are kept by the relay for the next visitor: those are counted when all is over.
    let http = try await FarEnd.bind(speaksHTTP: true, open: NIOLockedValueBox(0))
    try await bench.network.service("raw")
    let client = try await OverlayBench(network: bench.network).overlay("client")
    let identity = try await IdentityFile.enroll(jwt: try await bench.network.invite("host").jwt)
    let host = try await Overlay(identity: identity, options: .init(logger: logger))
    let hosting = HostTunnel(overlay: host, service: "raw", host: "127.0.0.1", port: port(raw), logger: logger)
    try await hosting.start()
    let proxy = ProxyTunnel(overlay: client, service: "raw", host: "127.0.0.1", port: 0, logger: logger)
    let sharer = try await Sharer.enable(bench, "churn@example.com")
    let share = try await sharer.session.create(ShareOptions(.private, backend: .tcpTunnel, target: "raw"))
    let shareOverlay = try await sharer.session.overlay()
    let backend = try await ShareBackend.start(
      share, mode: .tcpTunnel, target: .server(.http, host: "127.0.0.1", port: port(raw)), overlay: shareOverlay,
      logger: logger)
    let access = PrivateAccess(
      overlay: shareOverlay, access: try await sharer.session.access(share.token), host: "127.0.0.1", port: 0,
      logger: logger)
    let page = try await sharer.session.create(ShareOptions(.public, backend: .proxy, target: "http"))
    let web = try await ShareBackend.start(
      page, mode: .proxy, target: .server(.http, host: "127.0.0.1", port: port(http)), overlay: shareOverlay,
      logger: logger)
    let name = try #require(page.urls.first.flatMap { URL(string: $0) }?.host)
    let paths = [
      Path(name: "tunnel", port: try await proxy.start().port ?? 0, host: nil),
      Path(name: "private share", port: try await access.start().port ?? 0, host: nil),
      Path(name: "public share", port: bench.frontendPort, host: "\(name):\(bench.frontendPort)"),
    ]
    let running = Task {
      await withDiscardingTaskGroup { group in
        group.addTask { try? await proxy.run() }
        group.addTask { try? await access.run() }
      }
    }
    let world = World(
      bench: bench, paths: paths, sharer: sharer, servers: [raw, http], open: open, client: client,
      hostIdentity: identity, host: host,
      hosting: hosting, share: share, backend: backend, web: web, running: running)
    try await world.settle(after: .router)
    return world
  }

  private init(
    bench: ShareBench, paths: [Path], sharer: Sharer, servers: [any Channel], open: NIOLockedValueBox<Int>,
    client: Overlay,
    hostIdentity: IdentityFile, host: Overlay, hosting: HostTunnel, share: Share, backend: ShareBackend,
    web: ShareBackend,
    running: Task<Void, Never>
  ) {
    self.bench = bench
    self.paths = paths
    self.sharer = sharer
    self.servers = servers
    self.open = open
    self.client = client
    self.hostIdentity = hostIdentity
    self.host = host
    self.hosting = hosting
    self.share = share
    self.backend = backend
    self.web = web
    self.running = running
  }

  func disturb(_ disturbance: Disturbance) async throws {
    let logger = bench.network.logger
    switch disturbance {
    case .none: break
    case .hosting, .host:
      if disturbance == .hosting {
        await hosting.stop()
      } else {
        await host.close()
        host = try await Overlay(identity: hostIdentity, options: .init(logger: logger))
      }
      hosting = HostTunnel(
        overlay: host, service: "raw", host: "127.0.0.1", port: Self.port(servers[0]), logger: logger)
      try await hosting.start()
    case .backend:
      await backend.stop()
      backend = try await ShareBackend.start(
        share, mode: .tcpTunnel, target: .server(.http, host: "127.0.0.1", port: Self.port(servers[0])),
        overlay: try await sharer.session.overlay(), logger: logger)
    case .router:
      await bench.network.stopRouter()
      try await bench.network.startRouter()
    }
  }

  /// Waits until nothing is under way any more; after a disturbance also until every path carries again.
  func settle(after disturbance: Disturbance) async throws {
    if disturbance != .none {
      for path in paths {
        try await Network.wait("\(path.name) carries again") {
          // Nothing but a short word and its echo.
          var random = Seeded(0)
          let visit = Visit(probing: path, using: &random)
          return visit.fault(in: try await visit.run(), isDisturbed: false) == nil
        }
      }
    }
    let (open, client, host) = (self.open, self.client, self.host)
    try await Network.wait("the servers have no connection") { open.withLockedValue { $0 } == 0 }
    try await Network.wait("no connection of the overlay is left") {
      let (dialled, hosted) = (await client.openConnections, await host.openConnections)
      return dialled + hosted == 0
    }
  }

  func stop() async throws {
    running.cancel()
    await running.value
    await hosting.stop()
    await backend.stop()
    await web.stop()
    await bench.stopService()
    await host.close()
    await client.close()
    await sharer.session.close()
    let network = bench.network
    try await Network.wait("no circuit is left") {
      let (router, controller) = (await network.router?.circuitCount ?? 0, await network.controller.circuitCount)
      return router + controller == 0
    }
    for server in servers { try await server.close() }
    await network.stop()
  }
}

extension Visit {
  /// A short word and its echo.
  init(probing path: Path, using random: inout Seeded) {
    self.path = path
    conduct = .echo
    limit = 0
    steps = [.write(4)]
    ending = .half
    payload = OverlayBench.pattern(4, seed: random.next())
  }
}
