public import NIOCore
public import Wire

/// A hello that waits for a verdict.
public struct HelloRequest: Sendable {
  public let hello: Message
  public let peer: PresentedPeer
  public let alpn: String?
}

/// What becomes of a connection after its hello (edge-data-plane.md 2.6).
public enum HelloVerdict: Sendable {
  /// Answer Result success with these headers (ReplyFor, ResultSuccess are added), then let `establish` take the
  /// underlay, on its event loop, and return the rest of the connection's life.
  case accept(headers: Headers, establish: @Sendable (Underlay) -> ConnectionTask)
  /// Answer Result failure with the text and headers, then close.
  case reject(text: String, headers: Headers)
  /// Close without a word.
  case close
}

/// Accepts channel-v2 connections: waits for the hello within a budget of bytes and time, asks for a verdict, answers.
/// Until the verdict the peer counts among those who have said nothing: where too many wait, the oldest gives way.
public struct HelloAcceptor: ConnectionAcceptor {
  private let timeout: TimeAmount
  private let judge: @Sendable (HelloRequest) async -> HelloVerdict

  /// - Parameters:
  ///   - timeout: from the end of the TLS handshake to the hello.
  ///   - judge: decides; may wait, for example for a session that is still on its way. Nothing further is read
  ///     meanwhile. Cancelled when the connection closes.
  public init(timeout: TimeAmount = .seconds(5), judge: @escaping @Sendable (HelloRequest) async -> HelloVerdict) {
    self.timeout = timeout
    self.judge = judge
  }

  public func accept(_ channel: any Channel, peer: PresentedPeer, alpn: String?, stranger: Stranger) -> EventLoopFuture<
    ConnectionTask
  > {
    channel.eventLoop.makeCompletedFuture {
      let waiter = HelloWaiter(channel: channel, timeout: self.timeout)
      let underlay = try Underlay.install(on: channel, peer: peer, limits: .stranger, receiver: waiter)
      let bound = NIOLoopBound(underlay, eventLoop: channel.eventLoop)
      let hello = waiter.hello
      let judge = self.judge
      return {
        guard let message = try? await hello.get() else { return }
        let judging = Task { await judge(HelloRequest(hello: message, peer: peer, alpn: alpn)) }
        channel.closeFuture.whenComplete { _ in judging.cancel() }
        let verdict = await withTaskCancellationHandler {
          await judging.value
        } onCancel: {
          judging.cancel()
        }
        if case .accept = verdict { stranger.proven() }
        let task =
          (try? await channel.eventLoop.submit { () -> ConnectionTask? in
            Self.carryOut(verdict, for: message, on: bound.value)
          }.get()) ?? nil
        await task?()
        try? await channel.closeFuture.get()
      }
    }
  }

  private static func carryOut(_ verdict: HelloVerdict, for hello: Message, on underlay: Underlay) -> ConnectionTask? {
    guard underlay.isOpen else { return nil }
    switch verdict {
    case .accept(let headers, let establish):
      underlay.writeAndFlush(answer(to: hello, success: true, text: "", headers: headers))
      underlay.limits = .peer
      let task = establish(underlay)
      underlay.setReading(true)
      return task
    case .reject(let text, let headers):
      underlay.write(answer(to: hello, success: false, text: text, headers: headers))
      underlay.closeAfterFlush()
      return nil
    case .close:
      underlay.close()
      return nil
    }
  }

  private static func answer(to hello: Message, success: Bool, text: String, headers: Headers) -> Message {
    var answer = Message(contentType: .result, headers: headers, body: Array(text.utf8))
    // The hello and its answer stand outside the sequence of the channel.
    answer.sequence = -1
    answer.replyFor = hello.sequence
    answer.headers.set(.resultSuccess, success)
    return answer
  }
}

/// Waits for the first frame of a connection.
private final class HelloWaiter: FrameReceiver {
  private let promise: EventLoopPromise<Message>
  private var deadline: Scheduled<Void>?
  private var isDone = false

  var hello: EventLoopFuture<Message> { promise.futureResult }

  init(channel: any Channel, timeout: TimeAmount) {
    promise = channel.eventLoop.makePromise()
    deadline = channel.eventLoop.scheduleTask(in: timeout) { channel.abort() }
  }

  func receive(_ frames: inout ByteBuffer, from underlay: Underlay) {
    guard !isDone else { return underlay.close() }
    isDone = true
    deadline?.cancel()
    underlay.setReading(false)
    let parsed = frames.withUnsafeReadableBytes { bytes in Result { try Message.parse(bytes, limits: .stranger) } }
    guard case .success(let message) = parsed, message.contentType == .hello else {
      promise.fail(TransportError.protocolViolation("the first message is not a hello"))
      return underlay.close()
    }
    promise.succeed(message)
  }

  func readBurstEnded(on underlay: Underlay) {}
  func writabilityChanged(on underlay: Underlay) {}

  func closed(_ underlay: Underlay, error: (any Error)?) {
    deadline?.cancel()
    guard !isDone else { return }
    isDone = true
    if case .badMagic? = error as? WireError {
      // Told to peers of another version of the channel (edge-data-plane.md 2.8): versions 1 and 2 are spoken here.
      var answer = ByteBuffer()
      answer.writeBytes([3, 6, 9, 0x0a, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])
      underlay.channel.writeAndFlush(answer, promise: nil)
    }
    promise.fail(error ?? TransportError.closed(reason: "no hello"))
  }
}
