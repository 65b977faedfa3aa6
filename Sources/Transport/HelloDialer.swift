public import NIOCore
public import Wire

/// Opens channel-v2 connections: TLS, hello, answer.
public enum HelloDialer {
  /// What a dialled channel is, on its event loop.
  public struct Answer: Sendable {
    /// Headers of the hello result: the peer's id, version and capabilities.
    public let headers: Headers
    public let peer: PresentedPeer
  }

  /// Connects to `address`, sends the hello and waits for the result.
  ///
  /// - Parameters:
  ///   - alpn: nil offers none (as Go SDKs do towards edge routers).
  ///   - hello: its sequence is sent as it is; -1 is customary.
  ///   - timeout: for connect, handshake and answer, each.
  ///   - establish: runs on the event loop once the peer accepted; it sets the underlay's receiver.
  /// - Throws: `TransportError`, with `.helloRefused` carrying the peer's text and headers.
  public static func dial<Output: Sendable>(
    _ address: PeerAddress, tls: ClientTLS, alpn: String?, hello: Message, group: any EventLoopGroup,
    timeout: TimeAmount,
    establish: @escaping @Sendable (Underlay, Answer) throws -> Output
  ) async throws -> Output {
    let waiting = try await tls.connect(
      host: address.host, port: address.port, alpn: alpn.map { [$0] } ?? [], group: group, timeout: timeout
    ) { channel, peer in
      let waiter = ResultWaiter(channel: channel, sequence: hello.sequence, timeout: timeout)
      // Not a stranger any more in one direction: the server proved its identity in the handshake.
      let underlay = try Underlay.install(on: channel, peer: peer, limits: .peer, receiver: waiter)
      underlay.writeAndFlush(hello)
      return (NIOLoopBound(underlay, eventLoop: channel.eventLoop), waiter.result, peer)
    }
    let (bound, result, peer) = waiting
    let message = try await result.get()
    guard message.headers.bool(.resultSuccess) == true else {
      bound.eventLoop.execute { bound.value.close() }
      throw TransportError.helloRefused(
        address: address.description, reason: String(decoding: message.body, as: UTF8.self), headers: message.headers)
    }
    return try await bound.eventLoop.submit {
      let underlay = bound.value
      guard underlay.isOpen else {
        throw TransportError.closed(reason: "\(address) closed the connection after its hello result")
      }
      let early = (underlay.receiver as? ResultWaiter)?.early ?? []
      let output = try establish(underlay, Answer(headers: message.headers, peer: peer))
      for var burst in early { underlay.receiver?.receive(&burst, from: underlay) }
      if !early.isEmpty { underlay.receiver?.readBurstEnded(on: underlay) }
      underlay.setReading(true)
      return output
    }.get()
  }
}

/// Waits for the answer to a hello; frames that come right behind it are held for the channel.
private final class ResultWaiter: FrameReceiver {
  private let promise: EventLoopPromise<Message>
  private let sequence: Int32
  private var deadline: Scheduled<Void>?
  private var isDone = false
  private(set) var early: [ByteBuffer] = []

  var result: EventLoopFuture<Message> { promise.futureResult }

  init(channel: any Channel, sequence: Int32, timeout: TimeAmount) {
    promise = channel.eventLoop.makePromise()
    self.sequence = sequence
    let promise = self.promise
    deadline = channel.eventLoop.scheduleTask(in: timeout) {
      promise.fail(TransportError.timedOut(what: "the answer to the hello"))
      channel.close(promise: nil)
    }
  }

  func receive(_ frames: inout ByteBuffer, from underlay: Underlay) {
    if isDone { return early.append(frames) }
    isDone = true
    deadline?.cancel()
    underlay.setReading(false)
    do {
      guard let header = try frames.withUnsafeReadableBytes({ try FrameHeader.parse($0, limits: .peer) }),
        let first = frames.readSlice(length: header.frameLength)
      else { throw TransportError.protocolViolation("short frame") }
      let message = try first.withUnsafeReadableBytes { try Message.parse($0, limits: .peer) }
      guard message.contentType == .result, message.replyFor == sequence else {
        throw TransportError.protocolViolation("the first message is not the answer to the hello")
      }
      if frames.readableBytes > 0 { early.append(frames) }
      promise.succeed(message)
    } catch {
      promise.fail(error)
      underlay.close()
    }
  }

  func readBurstEnded(on underlay: Underlay) {}
  func writabilityChanged(on underlay: Underlay) {}

  func closed(_ underlay: Underlay, error: (any Error)?) {
    deadline?.cancel()
    promise.fail(
      error ?? TransportError.closed(reason: "the peer closed the connection instead of answering the hello"))
  }
}
