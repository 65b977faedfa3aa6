import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing
import Transport
import Wire

/// An SDK that sends whatever bytes it likes, and reads when it likes.
struct RawSDK: Sendable {
  struct Inbox {
    var messages: [WireMessage] = []
    /// Payload by connection id, as long as nobody takes it as messages.
    var bytes: [UInt32: Int] = [:]
    var isClosed = false
  }

  let channel: any Channel
  private let underlay: NIOLoopBound<Underlay>
  private let inbox: NIOLockedValueBox<Inbox>
  private let sequence = NIOLockedValueBox(Int32(0))

  /// - Parameter counts: payload is counted, not kept.
  init(_ router: TestRouter, _ identity: String, counts: Bool = false) async throws {
    let inbox = NIOLockedValueBox(Inbox())
    underlay = try await HelloDialer.dial(
      router.address, tls: identity == "alice" ? router.alice : router.bob, alpn: ALPN.edge,
      hello: EdgeMessages.Hello(name: "raw", token: "token-\(identity)").message(),
      group: MultiThreadedEventLoopGroup.singleton,
      timeout: .seconds(20)
    ) { underlay, _ in
      underlay.receiver = Receiver(inbox: inbox, counts: counts)
      return NIOLoopBound(underlay, eventLoop: underlay.eventLoop)
    }
    self.inbox = inbox
    channel = try await underlay.eventLoop.submit { [underlay] in underlay.value.channel }.get()
  }

  private final class Receiver: FrameReceiver {
    let inbox: NIOLockedValueBox<Inbox>
    let counts: Bool

    init(inbox: NIOLockedValueBox<Inbox>, counts: Bool) {
      self.inbox = inbox
      self.counts = counts
    }

    func receive(_ frames: inout ByteBuffer, from underlay: Underlay) {
      while frames.readableBytes > 0 {
        guard let header = try? frames.withUnsafeReadableBytes({ try FrameHeader.parse($0, limits: .peer) }),
          let frame = frames.readBytes(length: header.frameLength),
          let message = try? WireMessage(parsing: frame, limits: .peer)
        else {
          Issue.record("the router sent something unreadable")
          return underlay.close()
        }
        inbox.withLockedValue { inbox in
          if counts, message.contentType == .data, let id = message.headers.uint32(.connID), !message.body.isEmpty {
            inbox.bytes[id, default: 0] += message.body.count
          } else {
            inbox.messages.append(message)
          }
        }
      }
    }

    func readBurstEnded(on underlay: Underlay) {}
    func writabilityChanged(on underlay: Underlay) {}
    func closed(_ underlay: Underlay, error: (any Error)?) { inbox.withLockedValue { $0.isClosed = true } }
  }

  var isClosed: Bool { inbox.withLockedValue { $0.isClosed } }
  func received(_ connID: UInt32) -> Int { inbox.withLockedValue { $0.bytes[connID] ?? 0 } }
  func count(_ type: ContentType) -> Int { inbox.withLockedValue { $0.messages.count { $0.contentType == type } } }

  func setReading(_ reading: Bool) { underlay.eventLoop.execute { underlay.value.setReading(reading) } }

  func send(_ bytes: [UInt8]) {
    underlay.eventLoop.execute {
      underlay.value.write(ByteBuffer(bytes: bytes))
      underlay.value.flush()
    }
  }

  /// - Returns: the sequence it was sent with.
  @discardableResult
  func post(_ message: WireMessage) -> Int32 {
    var message = message
    message.sequence = sequence.withLockedValue {
      $0 += 1
      return $0
    }
    send(message.encoded())
    return message.sequence
  }

  func data(_ body: [UInt8], connID: UInt32) { post(EdgeMessages.Data(connID: connID, body: body).message()) }

  /// Takes the first message that has a quality; waits for it.
  func take(_ what: String, _ has: @escaping @Sendable (WireMessage) -> Bool) async throws -> WireMessage {
    for _ in 0..<4000 {
      let found = inbox.withLockedValue { inbox -> WireMessage? in
        inbox.messages.firstIndex(where: has).map { inbox.messages.remove(at: $0) }
      }
      if let found { return found }
      try #require(!isClosed, "closed before \(what)")
      try await Task.sleep(for: .milliseconds(5))
    }
    throw Missing(what: what)
  }

  struct Missing: Error { let what: String }

  func take(_ type: ContentType) async throws -> WireMessage {
    try await take("a message of type \(type.rawValue)") { $0.contentType == type }
  }

  func answer(to sequence: Int32) async throws -> WireMessage {
    try await take("the answer to \(sequence)") { $0.replyFor == sequence }
  }

  /// A frame with header records as they are, twice or not.
  static func frame(_ type: ContentType, _ records: [(HeaderID, [UInt8])], body: [UInt8] = []) -> [UInt8] {
    func le(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
    let headers = records.flatMap { le(UInt32(bitPattern: $0.0.rawValue)) + le(UInt32($0.1.count)) + $0.1 }
    return [FrameHeader.magic, UInt32(bitPattern: type.rawValue), 1, UInt32(headers.count), UInt32(body.count)].flatMap(
      le) + headers + body
  }

  static func le(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
}

extension TestRouter {
  /// Bob offers the service on a channel of his own.
  func host(counts: Bool = false) async throws -> RawSDK {
    let bob = try await RawSDK(self, "bob", counts: counts)
    let token = try await network.sessionToken("bob", "Bind")
    let bound = try await bob.answer(
      to: bob.post(EdgeMessages.Bind(connID: 1, token: Array(token.utf8), supportsBindSuccess: true).message()))
    try #require(bound.contentType == .stateConnected)
    _ = try await bob.take(.bindSuccess)
    return bob
  }

  /// Opens a circuit from a connection of alice's. - Returns: the host's connection id.
  func circuit(_ alice: RawSDK, _ bob: RawSDK, connID: UInt32 = 1) async throws -> UInt32 {
    let token = try await network.sessionToken("alice", "Dial")
    let sequence = alice.post(EdgeMessages.Connect(connID: connID, token: token).message())
    let dial = try await bob.take(.dial)
    let far = try #require(try EdgeMessages.Dial(parsing: dial).newConnID)
    bob.post(EdgeMessages.DialSuccess(replyFor: dial.sequence, connID: 1, newConnID: far).message())
    try #require(try await alice.answer(to: sequence).contentType == .stateConnected)
    return far
  }
}
