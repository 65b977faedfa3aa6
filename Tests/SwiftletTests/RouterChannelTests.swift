import NIOCore
import NIOEmbedded
import SealedStream
import Testing
import Wire

@testable import Swiftlet
@testable import Transport

/// A channel whose router is the test, byte by byte.
private final class ScriptedRouter {
  let pipe = EmbeddedChannel()
  let channel: RouterChannel

  init(bindSuccess: Bool = true) throws {
    try pipe.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    let underlay = try Underlay.install(on: pipe, peer: .anonymous(), limits: .peer, receiver: nil)
    var headers = Headers()
    headers.set(.supportsBindSuccess, bindSuccess)
    channel = RouterChannel(underlay: underlay, answer: .init(headers: headers, peer: .anonymous()), router: "r")
    underlay.receiver = channel
  }

  /// The messages the SDK sent since the last call.
  func sent() throws -> [Message] {
    var all = ByteBuffer()
    while var part = try pipe.readOutbound(as: ByteBuffer.self) { all.writeBuffer(&part) }
    var messages: [Message] = []
    while all.readableBytes > 0 {
      let header = try #require(try all.withUnsafeReadableBytes { try FrameHeader.parse($0, limits: .peer) })
      messages.append(try Message(parsing: all.readBytes(length: header.frameLength) ?? []))
    }
    return messages
  }

  func say(_ messages: Message...) throws {
    var bytes = ByteBuffer()
    for message in messages { bytes.writeBytes(message.encoded()) }
    try pipe.writeInbound(bytes)
  }
}

private final class Recorder: OverlayConnectionDelegate {
  var bytes = ByteBuffer()
  var batches = 0
  var ended = false
  var closedWith: OverlayError??

  func received(_ bytes: ByteBuffer) {
    self.bytes.writeImmutableBuffer(bytes)
    batches += 1
  }
  func receivedEnd() { ended = true }
  func becameWritable() {}
  func closed(_ error: OverlayError?) { closedWith = .some(error) }
}

@Suite("A channel to a router")
struct RouterChannelTests {
  private func dial(_ router: ScriptedRouter, encrypted: Bool = false) throws -> (
    connect: Message, result: () -> Result<OverlayConnection, OverlayError>?
  ) {
    var result: Result<OverlayConnection, OverlayError>?
    router.channel.dial(service: "svc", token: "token", encrypted: encrypted, options: .init()) { result = $0 }
    let connect = try #require(try router.sent().first)
    #expect(connect.contentType == .connect)
    return (connect, { result })
  }

  private func connected(_ router: ScriptedRouter) throws -> (OverlayConnection, UInt32, Recorder) {
    let (connect, result) = try dial(router)
    let connID = try EdgeMessages.Connect(parsing: connect).connID
    try router.say(EdgeMessages.StateConnected(replyFor: connect.sequence, connID: connID).message())
    let connection = try #require(try result()?.get())
    let recorder = Recorder()
    connection.start(recorder)
    return (connection, connID, recorder)
  }

  @Test("a burst of frames is one batch; the end and the close follow in order")
  func plain() throws {
    let router = try ScriptedRouter()
    let (connection, connID, recorder) = try connected(router)
    try router.say(
      EdgeMessages.Data(connID: connID, body: Array("one ".utf8)).message(),
      EdgeMessages.Data(connID: connID, body: Array("two".utf8)).message(),
      EdgeMessages.Data(connID: connID, flags: .fin, body: []).message())
    #expect(recorder.bytes == ByteBuffer(string: "one two"))
    #expect(recorder.batches == 1)
    #expect(recorder.ended)
    connection.write(ByteBuffer(repeating: 7, count: 70_000))
    connection.flush()
    connection.finish()
    connection.write(ByteBuffer(string: "after the end"))
    let data = try router.sent()
    #expect(data.map(\.body.count).reduce(0, +) == 70_000)
    #expect(data.count == 4)
    #expect(EdgeFlags(rawValue: data.last?.headers.uint32(.flags) ?? 0) == .fin)
    try router.say(EdgeMessages.StateClosed(connID: connID, text: "close called").message())
    #expect(recorder.closedWith == .some(nil), "both directions had ended: no error")
  }

  @Test("a close without an end is an error, after the bytes that came before")
  func broken() throws {
    let router = try ScriptedRouter()
    let (_, connID, recorder) = try connected(router)
    try router.say(
      EdgeMessages.Data(connID: connID, body: Array("last".utf8)).message(),
      EdgeMessages.StateClosed(connID: connID, text: "dial access lost").message())
    #expect(recorder.bytes == ByteBuffer(string: "last"))
    guard case .some(.some(.connectionClosed(let text))) = recorder.closedWith else {
      Issue.record("not told")
      return
    }
    #expect(text == "dial access lost")
  }

  @Test("a router that says a thousand times that a listener is known says it once")
  func establishedOnce() throws {
    let router = try ScriptedRouter()
    var (known, ends) = (0, 0)
    let listener = RouterChannel.Listener(
      token: [1], keys: nil, offered: { _ in }, established: { known += 1 }, ended: { _ in ends += 1 })
    let connID = router.channel.bind(service: "svc", token: "t", listenerID: [1], options: .init(), listener: listener)
    { _ in }
    let bind = try #require(try router.sent().first)
    try router.say(EdgeMessages.StateConnected(replyFor: bind.sequence, connID: connID).message())
    for _ in 0..<1000 { try router.say(EdgeMessages.BindSuccess(connID: connID).message()) }
    #expect(known == 1 && ends == 0)
    for _ in 0..<2 { try router.say(EdgeMessages.StateClosed(connID: connID, text: "over").message()) }
    #expect(known == 1 && ends == 1)
  }

  @Test("refusals carry the router's words, its code and its advice")
  func refused() throws {
    let router = try ScriptedRouter()
    let (connect, result) = try dial(router)
    try router.say(
      EdgeMessages.StateClosed.refusal(
        of: connect, text: "Invalid Session", code: .invalidSession, retryHint: .startOver
      ).message())
    guard case .failure(.dialRefused(_, let text, let refusal))? = result() else {
      Issue.record("not refused")
      return
    }
    #expect(text == "Invalid Session" && refusal?.message == text)
    #expect(refusal?.code == 3 && refusal?.retryHint == .startOver && refusal?.failingPostureCheckIDs == [])
  }

  @Test("sealed both ways; a changed byte ends the connection and is told to the router")
  func sealed() throws {
    let router = try ScriptedRouter()
    let (connect, result) = try dial(router, encrypted: true)
    let request = try EdgeMessages.Connect(parsing: connect)
    let host = KeyPair()
    try router.say(
      EdgeMessages.StateConnected(replyFor: connect.sequence, connID: request.connID, publicKey: host.publicKey)
        .message())
    let connection = try #require(try result()?.get())
    let recorder = Recorder()
    connection.start(recorder)
    let keys = try host.serverSessionKeys(dialerPublicKey: try #require(request.options.publicKey))
    let opener = try Opener(key: keys.rx, header: try #require(try router.sent().first).body)
    connection.write(ByteBuffer(string: "secret"))
    connection.flush()
    #expect(try opener.open(try #require(try router.sent().first).body) == Array("secret".utf8))

    let sealer = Sealer(key: keys.tx)
    try router.say(
      EdgeMessages.Data(connID: request.connID, body: sealer.header).message(),
      EdgeMessages.Data(
        connID: request.connID, flags: .multipartMessage, body: sealer.seal([2, 0, 104, 105, 1, 0, 33])
      ).message())
    #expect(recorder.bytes == ByteBuffer(string: "hi!"))
    var changed = sealer.seal(Array("more".utf8))
    changed[changed.count - 1] ^= 1
    try router.say(EdgeMessages.Data(connID: request.connID, body: changed).message())
    guard case .some(.some(.encryptionBroken)) = recorder.closedWith else {
      Issue.record("a changed byte was accepted")
      return
    }
    #expect(try router.sent().map(\.contentType) == [.stateClosed])
  }

  @Test("a host without a key is refused where the service demands encryption")
  func noKey() throws {
    let router = try ScriptedRouter()
    let (connect, result) = try dial(router, encrypted: true)
    try router.say(
      EdgeMessages.StateConnected(replyFor: connect.sequence, connID: try EdgeMessages.Connect(parsing: connect).connID)
        .message())
    guard case .failure(.peerDoesNotEncrypt)? = result() else {
      Issue.record("not refused")
      return
    }
    #expect(try router.sent().map(\.contentType) == [.stateClosed])
  }

  @Test("hosting: offers are accepted once, with the token of the bind; others are refused")
  func hosting() throws {
    let router = try ScriptedRouter()
    var offers: [IncomingDial] = []
    var isEstablished = false
    var ended: OverlayError?
    let listener = RouterChannel.Listener(
      token: Array("t".utf8), keys: nil, offered: { offers.append($0) }, established: { isEstablished = true },
      ended: { ended = $0 })
    var answer: OverlayError??
    let connID = router.channel.bind(service: "s", token: "t", listenerID: [1], options: .init(), listener: listener) {
      answer = .some($0)
    }
    let bind = try #require(try router.sent().first)
    try router.say(
      EdgeMessages.StateConnected(replyFor: bind.sequence, connID: connID, routerProvidesConnIDs: true).message())
    #expect(answer == .some(nil))
    #expect(!isEstablished)
    try router.say(EdgeMessages.BindSuccess(connID: connID).message())
    #expect(isEstablished)

    func offer(_ newConnID: UInt32, token: String = "t") -> Message {
      var message = EdgeMessages.Dial(
        connID: connID, token: Array(token.utf8), newConnID: newConnID, dialerIdentityName: "alice"
      ).message()
      message.sequence = Int32(bitPattern: newConnID & 0xFFFF)
      return message
    }
    try router.say(offer(0x8000_0001, token: "other"))
    #expect(try router.sent().map(\.contentType) == [.dialFailed])
    try router.say(offer(0x8000_0001))
    #expect(offers.first?.caller.identityName == "alice")
    let connection = try #require(offers.first?.accept())
    #expect(offers.first?.accept() == nil)
    #expect(try router.sent().map(\.contentType) == [.dialSuccess])
    let recorder = Recorder()
    connection.start(recorder)
    try router.say(offer(0x8000_0001))
    #expect(try router.sent().map(\.contentType) == [.dialFailed], "an id in use")
    // An offer that nobody answers is refused, not forgotten.
    offers = []
    try router.say(offer(0x8000_0002))
    offers = []
    #expect(try router.sent().map(\.contentType) == [.dialFailed])
    try router.say(EdgeMessages.StateClosed(connID: connID, text: "bind access lost").message())
    #expect(ended != nil)
  }

  @Test("a dialler that has a key gets one of a host that needs none, and what they say is sealed")
  func keyForDialler() throws {
    let router = try ScriptedRouter()
    var offers: [IncomingDial] = []
    let listener = RouterChannel.Listener(
      token: Array("t".utf8), keys: nil, offered: { offers.append($0) }, established: {}, ended: { _ in })
    let connID = router.channel.bind(service: "s", token: "t", listenerID: [1], options: .init(), listener: listener) {
      _ in
    }
    let bind = try #require(try router.sent().first)
    #expect(try EdgeMessages.Bind(parsing: bind).publicKey == nil)
    try router.say(
      EdgeMessages.StateConnected(replyFor: bind.sequence, connID: connID, routerProvidesConnIDs: true).message())
    let dialler = KeyPair()
    try router.say(
      EdgeMessages.Dial(connID: connID, token: Array("t".utf8), newConnID: 0x8000_0001, publicKey: dialler.publicKey)
        .message())
    let connection = try #require(offers.first?.accept())
    let sent = try router.sent()
    try #require(sent.count == 2)
    let key = try #require(try EdgeMessages.DialSuccess(parsing: sent[0]).publicKey)
    let opener = try Opener(key: dialler.clientSessionKeys(hostPublicKey: key).rx, header: sent[1].body)
    connection.write(ByteBuffer(string: "secret"))
    connection.flush()
    #expect(try opener.open(try #require(try router.sent().first).body) == Array("secret".utf8))
  }

  @Test("losing the channel tells everybody")
  func lost() throws {
    let router = try ScriptedRouter()
    let (_, _, recorder) = try connected(router)
    let (_, waiting) = try dial(router)
    router.pipe.pipeline.fireChannelInactive()
    guard case .some(.some(.channelLost)) = recorder.closedWith, case .failure(.channelLost)? = waiting() else {
      Issue.record("not told")
      return
    }
  }

  @Test("probes are answered with what they carried")
  func probe() throws {
    let router = try ScriptedRouter()
    var probe = Message(contentType: .latency, sequence: 9)
    probe.headers.set(.reflected, [1, 2, 3])
    try router.say(probe)
    let answer = try #require(try router.sent().first)
    #expect(answer.replyFor == 9)
    #expect(answer.headers[.reflected] == [1, 2, 3])
  }

  @Test("a reader that pauses gets nothing; the channel stops reading only when a megabyte waits")
  func paused() throws {
    let router = try ScriptedRouter()
    let (connection, connID, recorder) = try connected(router)
    connection.setReading(false)
    let chunk = [UInt8](repeating: 5, count: 100_000)
    for _ in 0..<5 { try router.say(EdgeMessages.Data(connID: connID, body: chunk).message()) }
    #expect(recorder.bytes.readableBytes == 0)
    #expect(!router.channel.isPaused)
    for _ in 0..<8 { try router.say(EdgeMessages.Data(connID: connID, body: chunk).message()) }
    #expect(router.channel.isPaused)
    connection.setReading(true)
    #expect(recorder.bytes.readableBytes == 1_300_000)
    #expect(!router.channel.isPaused)
  }

  @Test("hostile bytes of a router end the channel or are ignored, and never trap")
  func hostile() throws {
    var state: UInt64 = 42
    func random(_ limit: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(truncatingIfNeeded: state >> 33) % max(1, limit)
    }
    let types: [ContentType] = [
      .data, .stateClosed, .stateConnected, .dial, .bindSuccess, .latency, .connInspectRequest, .dialSuccess, .result,
    ]
    for round in 0..<300 {
      let router = try ScriptedRouter()
      let (_, connID, _) = try connected(router)
      for _ in 0..<6 {
        var message = Message(contentType: types[random(types.count)], sequence: Int32(random(100)))
        for id in [HeaderID.connID, .replyFor, .flags, .publicKey, .routerProvidedConnID, .errorCode]
        where random(2) == 0 {
          message.headers.set(
            id, random(3) == 0 ? UInt32(connID).littleEndianBytes : (0..<random(6)).map { _ in UInt8(random(256)) })
        }
        message.body = (0..<random(40)).map { _ in UInt8(random(256)) }
        var bytes = message.encoded()
        if round % 3 == 0, !bytes.isEmpty { bytes[random(bytes.count)] ^= UInt8(1 << random(8)) }
        if round % 5 == 0 { bytes.removeLast(random(bytes.count)) }
        _ = try? router.pipe.writeInbound(ByteBuffer(bytes: bytes))
      }
    }
  }
}

extension UInt32 {
  fileprivate var littleEndianBytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: self >> (8 * $0)) } }
}
