import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import NIOPosix
import Testing
import Wire

@testable import Transport

/// Waits for what another thread does; bounded by twenty seconds.
func eventually(_ what: String, _ condition: @Sendable () async throws -> Bool) async throws {
  for _ in 0..<2000 {
    if try await condition() { return }
    try await Task.sleep(for: .milliseconds(10))
  }
  Issue.record("did not happen: \(what)")
}

/// Connections that say nothing, from an address of the loopback network.
private func halfOpen(_ count: Int, from source: String, to address: PeerAddress) async throws -> [any Channel] {
  var channels: [any Channel] = []
  for _ in 0..<count {
    channels.append(
      try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(
        to: SocketAddress(ipAddress: source, port: 0)
      )
      .connect(host: address.host, port: address.port).get())
  }
  return channels
}

private let routerHello = Message(contentType: .hello, body: Array("r1".utf8))

@Suite("Strangers at a listener", .timeLimit(.minutes(5)))
struct StrangerTests {
  @Test(
    "honest peers get in while half-open connections from several addresses press on; what gives way is closed, and nothing stays behind"
  )
  func halfOpenFlood() async throws {
    var limits = StrangerLimits()
    limits.unheard = 64
    limits.handshakeTimeout = .minutes(2)
    try await withListener(limits: limits) { network, address in
      var held: [any Channel] = []
      var honest: [MessageChannel] = []
      for round in 0..<5 {
        for host in 2..<6 { held += try await halfOpen(25, from: "127.0.0.\(host)", to: address) }
        #expect(network.listener.openConnections <= 64 + round)
        let channel = try await MessageChannel.dial(
          address: address, tls: network.client, alpn: ALPN.control, hello: routerHello, group: network.group,
          timeout: .seconds(60))
        honest.append(channel)
        let reply = try await channel.request(Message(contentType: .serverHello), timeout: .seconds(60))
        #expect(reply.body == [1])
      }
      let gone = NIOLockedValueBox(0)
      for channel in held { channel.closeFuture.whenComplete { _ in gone.withLockedValue { $0 += 1 } } }
      let expected = held.count - 64
      try await eventually("those that gave way see the end of their connection") {
        gone.withLockedValue { $0 } >= expected
      }
      for channel in held { channel.close(promise: nil) }
      try await eventually("only the honest are left") {
        network.listener.openConnections == 5 && network.listener.strangers == 0
      }
      #expect(honest.allSatisfy { $0.isOpen })
    }
  }

  @Test("the oldest connection of the greediest source gives way, not the one that waits at another address")
  func greedy() async throws {
    var limits = StrangerLimits()
    limits.unheard = 10
    limits.handshakeTimeout = .minutes(2)
    // Several loops would admit what comes together in any order.
    let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    defer { loop.shutdownGracefully { _ in } }
    try await withListener(limits: limits, loops: loop) { network, address in
      let patient = try await halfOpen(1, from: "127.0.0.9", to: address)
      try await eventually("one is open") { network.listener.openConnections == 1 }
      let greedy = try await halfOpen(30, from: "127.0.0.2", to: address)
      try await eventually("the oldest of the greedy are closed") { greedy.prefix(21).allSatisfy { !$0.isActive } }
      #expect(greedy.suffix(9).allSatisfy { $0.isActive })
      #expect(patient[0].isActive)
      #expect(network.listener.openConnections == 10)
      for channel in greedy + patient { channel.close(promise: nil) }
    }
  }

  @Test("a source has a share, one behind a trusted proxy has none")
  func perSource() async throws {
    for (proxies, open) in [([], 4), (["127.0.0.2"], 12)] {
      var limits = StrangerLimits()
      limits.perSource = 4
      limits.trustedProxies = proxies
      limits.handshakeTimeout = .minutes(2)
      try await withListener(limits: limits) { network, address in
        let channels = try await halfOpen(12, from: "127.0.0.2", to: address)
        try await eventually("its share is open") {
          network.listener.openConnections == open && channels.count { $0.isActive } == open
        }
        for channel in channels { channel.close(promise: nil) }
      }
    }
  }

  @Test(
    "when all connections are taken by peers that proved themselves, a newcomer is closed at once, and there is room again when one leaves"
  )
  func full() async throws {
    var limits = StrangerLimits()
    limits.connections = 2
    try await withListener(limits: limits) { network, address in
      let dial = {
        try await MessageChannel.dial(
          address: address, tls: network.client, alpn: ALPN.control, hello: routerHello, group: network.group,
          timeout: .seconds(20))
      }
      let first = try await dial()
      let second = try await dial()
      let newcomer = try await halfOpen(1, from: "127.0.0.2", to: address)
      try await newcomer[0].closeFuture.get()
      #expect(network.listener.openConnections == 2)
      first.close()
      try await eventually("one has left") { network.listener.openConnections == 1 }
      let third = try await dial()
      #expect(second.isOpen && third.isOpen)
    }
  }

  @Test("a handshake that does not come, comes byte by byte or never ends is cut off in time and bytes")
  func slowHandshake() async throws {
    var limits = StrangerLimits()
    limits.handshakeTimeout = .milliseconds(500)
    try await withListener(limits: limits) { network, address in
      let silent = try await halfOpen(1, from: "127.0.0.2", to: address)[0]
      let dribbling = try await halfOpen(1, from: "127.0.0.3", to: address)[0]
      // The head of a TLS record of 16 KiB, and what might be its body.
      let dribble = Task {
        for byte in [0x16, 3, 1, 0x40, 0] + [UInt8](repeating: 0, count: 1000) {
          guard dribbling.isActive else { return }
          dribbling.writeAndFlush(ByteBuffer(bytes: [byte]), promise: nil)
          try await Task.sleep(for: .milliseconds(20))
        }
      }
      try await silent.closeFuture.get()
      try await dribbling.closeFuture.get()
      dribble.cancel()
      try await eventually("none is counted any more") { network.listener.openConnections == 0 }
    }
    limits.handshakeTimeout = .minutes(2)
    try await withListener(limits: limits) { network, address in
      let endless = try await halfOpen(1, from: "127.0.0.2", to: address)[0]
      // Records of a handshake message of 16 MiB, of which the budget is the first part.
      var record = ByteBuffer(bytes: [0x16, 3, 1, 0x10, 0, 1, 0xff, 0xff, 0xff])
      record.writeRepeatingByte(0, count: 0x1000 - 4)
      for _ in 0..<64 { endless.writeAndFlush(record, promise: nil) }
      try await endless.closeFuture.get()
    }
  }

  @Test("a hello that comes byte by byte is cut off, and its connection is forgotten")
  func slowHello() async throws {
    try await withListener(helloTimeout: .milliseconds(500)) { network, address in
      let channel = try await network.client.connect(
        host: address.host, port: address.port, alpn: [ALPN.control], group: network.group, timeout: .seconds(20)
      ) { channel, _ in channel }
      let bytes = routerHello.encoded()
      let dribble = Task {
        for byte in bytes + [UInt8](repeating: 0, count: 1000) {
          guard channel.isActive else { return }
          channel.writeAndFlush(ByteBuffer(bytes: [byte]), promise: nil)
          try await Task.sleep(for: .milliseconds(100))
        }
      }
      try await channel.closeFuture.get()
      dribble.cancel()
      try await eventually("it is not counted any more") { network.listener.openConnections == 0 }
    }
  }

  @Test("a listener without TLS holds the same limits")
  func plain() async throws {
    var limits = StrangerLimits()
    limits.unheard = 8
    let acceptor = HelloAcceptor(timeout: .minutes(2)) { _ in .close }
    // Several loops would admit what comes together in any order.
    let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    defer { loop.shutdownGracefully { _ in } }
    let listener = TLSListener(
      host: "127.0.0.1", port: 0, identity: nil, acceptors: [], fallback: acceptor, group: loop, limits: limits,
      logger: Logger(label: "test"))
    let address = PeerAddress(host: "127.0.0.1", port: try #require(try await listener.start().port))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await listener.run() }
      let channels = try await halfOpen(40, from: "127.0.0.2", to: address)
      try await eventually("the oldest gave way") {
        channels.count { $0.isActive } == 8 && listener.openConnections == 8
      }
      #expect(channels.suffix(8).allSatisfy { $0.isActive })
      for channel in channels { channel.close(promise: nil) }
      listener.stop()
      tasks.cancelAll()
      do { try await tasks.waitForAll() } catch is CancellationError {}
    }
  }

  @Test("arrivals and departures rank as a scanned list would")
  func ranking() {
    struct Member {
      let id: UInt64
      let source: String
    }
    var ranking = SourceRanking<UInt64>()
    var model: [Member] = []
    var random = SystemRandomNumberGenerator()
    for step in 0..<2_000 {
      if model.count > 60 || (!model.isEmpty && Int.random(in: 0..<3, using: &random) == 0) {
        ranking.remove(model.remove(at: Int.random(in: 0..<model.count, using: &random)).id)
      } else {
        let member = Member(id: UInt64(step), source: "s\(Int.random(in: 0..<7, using: &random))")
        ranking.add(member.id, source: member.source)
        model.append(member)
      }
      let counts = Dictionary(grouping: model, by: \.source).mapValues(\.count)
      let largest = counts.values.max() ?? 0
      guard ranking.count == model.count, ranking.largestCount == largest else {
        Issue.record("step \(step): \(model)")
        return
      }
      if let chosen = ranking.oldestOfLargest, let source = model.first(where: { $0.id == chosen })?.source {
        guard counts[source] == largest, model.first(where: { $0.source == source })?.id == chosen else {
          Issue.record("step \(step): \(chosen) of \(model)")
          return
        }
      } else {
        #expect(model.isEmpty)
      }
    }
    for step in 0..<100_000 as Range<UInt64> {
      ranking.add(1_000_000 + step, source: "f\(step % 1000)")
      if step >= 5_000 { ranking.remove(1_000_000 + step - 5_000) }
    }
    #expect(ranking.count == model.count + 5_000)
  }

  @Test("an identity that opens more connections than it may have loses its oldest; others' stay")
  func perIdentity() throws {
    var limits = StrangerLimits()
    limits.perIdentity = 2
    let admission = StrangerAdmission(limits)
    let channels = (0..<4).map { _ in EmbeddedChannel() }
    for (channel, identity) in zip(channels, ["other", "greedy", "greedy", "greedy"]) {
      try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
      let stranger = try #require(admission.admit(channel))
      // A second request on a connection counts once.
      for _ in 0..<2 { stranger.proven(as: identity) }
    }
    for channel in channels { channel.embeddedEventLoop.run() }
    #expect(channels.map(\.isActive) == [true, false, true, true])
    #expect(admission.openConnections == 3 && admission.strangers == 0)
  }

  /// One that has proven who it is, and rests where it may.
  private func rested(_ admission: StrangerAdmission, _ identity: String) throws -> (EmbeddedChannel, Stranger) {
    let channel = EmbeddedChannel()
    try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    let stranger = try #require(admission.admit(channel))
    #expect(!stranger.rests())
    stranger.proven(as: identity)
    #expect(stranger.rests())
    return (channel, stranger)
  }

  @Test("where too many rest, the one that has rested the longest gives way; who works does not")
  func resting() throws {
    var limits = StrangerLimits()
    limits.resting = 2
    let admission = StrangerAdmission(limits)
    let first = try rested(admission, "a")
    let second = try rested(admission, "b")
    // Asked and answered: the second one has rested longer now.
    first.1.works()
    #expect(first.1.rests())
    let third = try rested(admission, "c")
    third.1.works()
    let fourth = try rested(admission, "d")
    let channels = [first, second, third, fourth].map { $0.0 }
    for channel in channels { channel.embeddedEventLoop.run() }
    #expect(channels.map(\.isActive) == [true, false, true, true])
    #expect(admission.openConnections == 3)
  }

  @Test("connections that rest leave room for others")
  func restingLeavesRoom() throws {
    var limits = StrangerLimits()
    limits.connections = 1
    let admission = StrangerAdmission(limits)
    let first = try rested(admission, "a")
    let second = try rested(admission, "b")
    second.1.works()
    let third = EmbeddedChannel()
    try third.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    #expect(admission.admit(third) == nil)
    #expect(second.1.rests())
    #expect(admission.admit(third) != nil)
    #expect(first.0.isActive && second.0.isActive && admission.openConnections == 3)
  }
}
