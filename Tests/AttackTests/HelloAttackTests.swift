import Controller
import Foundation
import NetworkFixture
import PKI
import Swiftlet
import Testing
import Transport
import Wire

/// A4 of field.md D.4: hellos that claim another's router, channel or group, or that two readers would read
/// differently.
@Suite("Hellos that lie", .timeLimit(.minutes(5)))
struct HelloAttackTests {
  /// A hello as bytes, so that it may say what no typed message says.
  private struct Hello {
    var type = ContentType.hello.rawValue
    var headers: [(id: Int32, value: [UInt8])] = []
    var body: [UInt8] = []
    /// Overrides of the two lengths of the frame.
    var headersLength: UInt32?
    var bodyLength: UInt32?

    init(_ message: Frame) {
      headers = message.headers.all.map { ($0.id.rawValue, $0.value) }
      body = message.body
    }

    mutating func set(_ id: HeaderID, _ value: [UInt8]) {
      headers.removeAll { $0.id == id.rawValue }
      add(id, value)
    }

    mutating func add(_ id: HeaderID, _ value: [UInt8]) { headers.append((id.rawValue, value)) }

    func encoded() -> [UInt8] {
      func le<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
      }
      let section = headers.flatMap { le($0.id) + le(UInt32($0.value.count)) + $0.value }
      return le(FrameHeader.magic) + le(type) + le(Int32(-1)) + le(headersLength ?? UInt32(section.count))
        + le(bodyLength ?? UInt32(body.count))
        + section
        + body
    }
  }

  private typealias Change = @Sendable (inout Hello) -> Void

  /// Lies that fit every listener.
  private static let malformed: [(String, Change)] = [
    ("header section of 4 GiB", { $0.headersLength = .max }),
    ("body of 4 GiB", { $0.bodyLength = .max }),
    ("header section of 2 GiB", { $0.headersLength = 1 << 31 }),
    ("header section cut in a record", { $0.headersLength = 5 }),
    ("body of 65 KiB", { $0.body = [UInt8](repeating: 65, count: 65 * 1024) }),
    ("a header of 65 KiB", { $0.add(.callerID, [UInt8](repeating: 65, count: 65 * 1024)) }),
    ("a thousand headers", { hello in for id in 5000..<6000 { hello.headers.append((Int32(id), [])) } }),
    ("another content type", { $0.type = ContentType.data.rawValue }),
    ("content type of a reply", { $0.type = ContentType.result.rawValue }),
  ]

  @Test("no hello of a router makes it another router, whatever channel, group or kind it claims")
  func control() async throws {
    let scene = try await Scene.start()
    let victim = await scene.network.routerID
    let (own, credential) = try await scene.enrolledRouter("attacker")
    // Enrolled and not connected: nothing but the proof keeps the attacker from taking its place.
    let absent = try await scene.enrolledRouter("absent").id
    func answer(_ id: String, as who: Credential, _ change: Change = { _ in }) async throws -> Frame? {
      var hello = Hello(
        ControlMessages.RouterHello(
          routerID: id, version: .current, capabilities: CapabilityMask([RouterCapability.multiChannel])
        ).message())
      change(&hello)
      return try await Scene.firstAnswer(to: hello.encoded(), at: scene.controller, alpn: ALPN.control, as: who)
    }
    func isAccepted(_ id: String, as who: Credential, _ change: Change = { _ in }) async throws -> Bool {
      // Or it would be refused for being there already.
      try await Network.wait("the controller noticed that the attacker left") {
        await !scene.network.controller.connectedRouters.contains(own)
      }
      return try await answer(id, as: who, change)?.headers.bool(.resultSuccess) ?? false
    }
    // Nothing is wrong with its own.
    #expect(try await isAccepted(own, as: credential))

    let ids: [(String, [UInt8])] = [
      ("the victim's id", Array(victim.utf8)), ("an absent router's id", Array(absent.utf8)), ("none", []),
      ("unknown", Array("nobody".utf8)),
      ("the victim's with NUL", Array((victim + "\0").utf8)),
      ("both", Array((own + "\0" + victim).utf8)), ("not UTF-8", [0xff, 0xfe]),
      ("60 KB", [UInt8](repeating: 120, count: 60_000)),
    ]
    for (name, body) in ids { #expect(try await !isAccepted(own, as: credential) { $0.body = body }, "id: \(name)") }
    for (name, change) in Self.malformed { #expect(try await !isAccepted(own, as: credential, change), "\(name)") }

    // A kind of underlay, a channel or a group never spares the proof (advisory cc5m).
    let claims: [(String, Change)] = [
      ("type of a mesh", { $0.set(.underlayType, Array("mesh".utf8)) }),
      ("type of a link", { $0.set(.underlayType, Array("link".utf8)) }),
      ("type without a name", { $0.set(.underlayType, []) }),
      (
        "a later connection of a group, with a guessed secret",
        {
          $0.set(.isFirstGroupConnection, [0])
          $0.set(.channelID, Array("guessed".utf8))
          $0.set(.groupSecret, [UInt8](repeating: 1, count: 16))
        }
      ),
      (
        "a later connection of a group, without a secret",
        {
          $0.set(.isFirstGroupConnection, [0])
          $0.set(.channelID, Array("guessed".utf8))
        }
      ),
      ("the victim's id in the header", { $0.set(.id, Array(victim.utf8)) }),
    ]
    for (name, change) in claims {
      for stranger in [scene.stranger.credential, credential] {
        for other in [victim, absent] {
          #expect(try await !isAccepted(other, as: stranger, change), "\(name), as another router")
        }
      }
      // As itself it may claim what it likes, and is no more than itself.
      _ = try await answer(own, as: credential, change)
      #expect(await scene.network.controller.connectedRouters.contains(victim), "\(name) ended the victim's channel")
    }

    // The same header twice: whoever reads the first and whoever reads the last would see two hellos.
    let version = Array(VersionInfo.current.text.utf8)
    #expect(try await !isAccepted(own, as: credential) { $0.add(.helloVersion, version) }, "a header twice")
    let channels: Change = {
      $0.add(.channelID, [1])
      $0.add(.channelID, [2])
    }
    #expect(try await !isAccepted(own, as: credential, channels), "two channels")
    #expect(await scene.network.controller.connectedRouters.contains(victim))
    await scene.stop()
  }

  @Test("no hello of an SDK opens a channel of another, whatever token, channel or group it claims")
  func edge() async throws {
    let scene = try await Scene.start()
    let victim = try #require(try await scene.logIn(scene.victim.credential)).token
    let own = try #require(try await scene.logIn(scene.stranger.credential)).token
    try await Network.wait("the router knows both sessions") {
      let (first, second) = (
        try await scene.opensEdge(scene.victim.credential, token: victim),
        try await scene.opensEdge(scene.stranger.credential, token: own)
      )
      return first && second
    }
    func answer(_ change: Change) async throws -> Frame? {
      var hello = Hello(EdgeMessages.Hello(name: "attacker", token: own).message())
      change(&hello)
      return try await Scene.firstAnswer(
        to: hello.encoded(), at: scene.router, alpn: ALPN.edge, as: scene.stranger.credential)
    }
    func isAccepted(_ change: Change) async throws -> Bool {
      try await answer(change)?.headers.bool(.resultSuccess) ?? false
    }
    #expect(try await isAccepted { _ in })

    let lies: [(String, Change)] = [
      ("the victim's token", { $0.set(.sessionToken, Array(victim.utf8)) }),
      ("no token", { hello in hello.headers.removeAll { $0.id == HeaderID.sessionToken.rawValue } }),
      ("an empty token", { $0.set(.sessionToken, []) }),
      ("two tokens, the victim's last", { $0.add(.sessionToken, Array(victim.utf8)) }),
      (
        "two tokens, the victim's first",
        {
          $0.set(.sessionToken, Array(victim.utf8))
          $0.add(.sessionToken, Array(own.utf8))
        }
      ),
      ("the own token and NUL", { $0.set(.sessionToken, Array((own + "\0").utf8)) }),
      ("the own token and the victim's", { $0.set(.sessionToken, Array((own + "\0" + victim).utf8)) }),
      ("a token of 60 KB", { $0.set(.sessionToken, [UInt8](repeating: 120, count: 60_000)) }),
      ("a token that is not UTF-8", { $0.set(.sessionToken, [0xff, 0xfe]) }),
    ]
    for (name, change) in lies + Self.malformed { #expect(try await !isAccepted(change), "\(name)") }

    // Channels and groups that are another's: the answer may be yes or no, but what it opens is the attacker's own
    // (#3072).
    let identity = scene.victim.identity
    let overlay = try await Overlay(identity: identity, options: .init(logger: scene.network.logger))
    try await scene.network.service("echo")
    let host = try await OverlayBench(network: scene.network).overlay("host")
    let serving = try await OverlayBench(network: scene.network).echo(host, "echo")
    let stream = try await OverlayBench.dial(overlay, "echo")
    let claims: [(String, Change)] = [
      ("the channel id of another", { $0.set(.channelID, Array("1".utf8)) }),
      (
        "a later connection of another's group, without its secret",
        {
          $0.set(.isGrouped, [1])
          $0.set(.isFirstGroupConnection, [0])
          $0.set(.channelID, Array("1".utf8))
        }
      ),
      (
        "a later connection of another's group, with a guessed secret",
        {
          $0.set(.isGrouped, [1])
          $0.set(.channelID, Array("1".utf8))
          $0.set(.groupSecret, [UInt8](repeating: 0, count: 16))
        }
      ),
    ]
    for (name, change) in claims {
      let answered = try await answer(change)
      #expect(answered?.headers.bool(.isGrouped) != true, "\(name): joined a group")
    }
    try await OverlayBench.roundTrip(stream, 100_000)
    serving.cancel()
    await overlay.close()
    await host.close()
    await scene.stop()
  }
}
