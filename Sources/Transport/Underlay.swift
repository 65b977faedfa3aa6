public import NIOCore
public import Wire

/// One TLS connection that carries channel-v2 frames (edge-data-plane.md 2.1): whole frames in, bytes out.
///
/// Bound to its event loop, no locks. A read burst is delivered as one buffer of whole frames; only the tail of a frame
/// that a read split is copied, at most one frame per read (swift-recipes.md 3, "carry-over").
public final class Underlay: ChannelInboundHandler {
  public typealias InboundIn = ByteBuffer
  public typealias OutboundOut = ByteBuffer

  public let channel: any Channel
  public let peer: PresentedPeer
  /// Sizes the peer may use; strangers get `FrameLimits.stranger`.
  public var limits: FrameLimits
  /// Who gets the frames. Held strongly: the connection owns its protocol, and lets go of it when it closes.
  public var receiver: (any FrameReceiver)?

  private var context: ChannelHandlerContext?
  /// The frame that a read split, as far as it came.
  private var partial = ByteBuffer()
  private var failure: (any Error)?
  private var own = OwnMessages()
  /// Whether bytes that came together are being handled: what is said meanwhile leaves in one write.
  private var isInBurst = false
  private var wantsReading = true
  /// `closeAfterFlush` was called: it closes when what was written has left, and neither reads nor takes anything more.
  private var isLeaving = false
  /// Reading stands still, since the peer does not take the answers to what it asked (`answerWatermark`).
  private var awaitsReader = false

  /// Bytes of unsent answers at which reading from the peer stops, and to which they must fall before it goes on. An
  /// honest peer reads, and never sees it.
  public static let answerWatermark = (low: 16 * 1024, high: 64 * 1024)
  /// Bytes that messages of ours may hold before a peer that does not read them is given up: what one read of requests
  /// can cost in answers (128 KiB at 20 bytes each), and room for what others cause it to be told.
  public var queueLimit = 8 * 1024 * 1024

  public init(channel: any Channel, peer: PresentedPeer, limits: FrameLimits, receiver: (any FrameReceiver)?) {
    self.channel = channel
    self.peer = peer
    self.limits = limits
    self.receiver = receiver
  }

  /// Puts an underlay at the end of the channel's pipeline and tunes the socket for bursts. Call on the event loop.
  public static func install(
    on channel: any Channel, peer: PresentedPeer, limits: FrameLimits, receiver: (any FrameReceiver)?
  ) throws -> Underlay {
    if let options = channel.syncOptions {
      try options.setOption(.allowRemoteHalfClosure, value: false)
      try options.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 128 * 1024))
      // One read a turn of the loop: as fast as many, and fairer between connections (measured, swift-recipes.md 3).
      try options.setOption(.maxMessagesPerRead, value: 1)
      try options.setOption(.writeBufferWaterMark, value: .init(low: 512 * 1024, high: 1024 * 1024))
    }
    try channel.pipeline.syncOperations.addHandler(PeerWatch())
    let underlay = Underlay(channel: channel, peer: peer, limits: limits, receiver: receiver)
    try channel.pipeline.syncOperations.addHandler(underlay)
    return underlay
  }

  public var eventLoop: any EventLoop { channel.eventLoop }
  public var isWritable: Bool { channel.isWritable }
  public var isOpen: Bool { context != nil && channel.isActive }
  public var allocator: ByteBufferAllocator { channel.allocator }

  // MARK: Out

  /// Queues whole frames of payload; `flush` sends them. Back pressure on their sender is the caller's business.
  public func write(_ frames: ByteBuffer) {
    guard !isLeaving else { return }
    if !own.isEmpty { handOver() }
    context?.write(wrapOutboundOut(frames), promise: nil)
  }

  public func flush() {
    if !own.isEmpty, !own.isUnderWay { handOver() }
    context?.flush()
  }

  /// Queues a message of our own, counted against `queueLimit`; `flush` or the end of the read burst sends it.
  /// - Parameter promise: completed when the socket took the message, or failed when it never will.
  public func write(_ message: Message, promise: EventLoopPromise<Void>? = nil) {
    queue(message, isAnswer: false, promise)
  }

  public func writeAndFlush(_ message: Message, promise: EventLoopPromise<Void>? = nil) {
    queue(message, isAnswer: false, promise)
    send()
  }

  /// Sends a message that the peer caused by one of its own. While such answers wait unsent above `answerWatermark`
  /// nothing further is read from that peer: whoever does not listen may not ask.
  public func writeAnswer(_ message: Message) {
    queue(message, isAnswer: true, nil)
    send()
    if own.answers > Self.answerWatermark.high, !awaitsReader {
      awaitsReader = true
      applyReading()
    }
  }

  /// Bytes that messages of ours hold because the peer has not taken them.
  public var queuedBytes: Int { own.cost }

  private func queue(_ message: Message, isAnswer: Bool, _ promise: EventLoopPromise<Void>?) {
    guard context != nil, failure == nil, !isLeaving else {
      promise?.fail(TransportError.closed(reason: "cannot send on it"))
      return
    }
    own.gather(message.encoded(), isAnswer: isAnswer, promise: promise)
    guard own.cost > queueLimit else { return }
    // Whoever speaks here learns of the end when the socket is gone, not in the middle of its sentence.
    failure = TransportError.peerDoesNotRead(queued: own.cost)
    channel.abort()
  }

  private func send() {
    guard !isInBurst, !own.isEmpty, !own.isUnderWay else { return }
    handOver()
    context?.flush()
  }

  private func handOver() {
    guard let context else { return }
    let batch = own.take()
    let written = eventLoop.makePromise(of: Void.self)
    written.futureResult.assumeIsolated().whenComplete { result in
      self.own.left(batch)
      for promise in batch.promises { promise.completeWith(result) }
      if self.awaitsReader, self.own.answers <= Self.answerWatermark.low {
        self.awaitsReader = false
        self.applyReading()
      }
      self.send()
    }
    context.write(wrapOutboundOut(batch.bytes), promise: written)
  }

  /// Stops or resumes reading from the socket: the only back pressure a channel has.
  public func setReading(_ reading: Bool) {
    wantsReading = reading
    applyReading()
  }

  private func applyReading() {
    channel.setOption(.autoRead, value: wantsReading && !awaitsReader).whenFailure { _ in }
  }

  public func close() {
    sendAll()
    context?.close(promise: nil)
  }

  /// How long `closeAfterFlush` waits for what was written before: a peer that does not read must not keep the socket
  /// open.
  private static let leave = TimeAmount.seconds(1)

  /// Closes after everything written so far has left, a second later at the latest. What still comes from the peer is
  /// not heard.
  public func closeAfterFlush() {
    sendAll()
    guard let context, !isLeaving else { return }
    isLeaving = true
    let channel = self.channel
    let deadline = eventLoop.scheduleTask(in: Self.leave) { () -> Void in channel.abort() }
    channel.closeFuture.whenComplete { _ in deadline.cancel() }
    context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in channel.close(promise: nil) }
  }

  private func sendAll() {
    guard !own.isEmpty else { return }
    handOver()
    context?.flush()
  }

  // MARK: In

  public func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  public func handlerRemoved(context: ChannelHandlerContext) { end() }

  public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var incoming = unwrapInboundIn(data)
    guard failure == nil, !isLeaving else { return }
    isInBurst = true
    do {
      try consume(&incoming)
    } catch {
      // What stood before it was understood, and is answered.
      sendAll()
      failure = error
      partial = ByteBuffer()
      end()
      context.close(promise: nil)
    }
  }

  public func channelReadComplete(context: ChannelHandlerContext) {
    isInBurst = false
    receiver?.readBurstEnded(on: self)
    send()
  }
  public func channelWritabilityChanged(context: ChannelHandlerContext) { receiver?.writabilityChanged(on: self) }

  public func channelInactive(context: ChannelHandlerContext) {
    end()
    context.fireChannelInactive()
  }

  public func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if failure == nil { failure = error }
    context.close(promise: nil)
  }

  private func end() {
    context = nil
    for promise in own.take().promises { promise.fail(failure ?? TransportError.closed(reason: "cannot send on it")) }
    let last = receiver
    receiver = nil
    last?.closed(self, error: failure)
  }

  private func consume(_ incoming: inout ByteBuffer) throws(WireError) {
    while partial.readableBytes > 0 {
      if try completePartial(&incoming) { deliver(&partial, replacement: ByteBuffer()) }
      if incoming.readableBytes == 0 { return }
    }
    let whole = try wholeFrames(in: incoming)
    if whole < incoming.readableBytes {
      let tail = incoming.readableBytes - whole
      partial = allocator.buffer(capacity: max(tail, 4096))
      incoming.withUnsafeReadableBytes { bytes in
        _ = partial.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[whole...]))
      }
      incoming.moveWriterIndex(to: incoming.readerIndex + whole)
    }
    if whole > 0 { receiver?.receive(&incoming, from: self) }
  }

  private func deliver(_ frame: inout ByteBuffer, replacement: ByteBuffer) {
    var whole = frame
    frame = replacement
    receiver?.receive(&whole, from: self)
  }

  /// Moves bytes from `incoming` to the split frame. - Returns: true when that frame is whole.
  private func completePartial(_ incoming: inout ByteBuffer) throws(WireError) -> Bool {
    if partial.readableBytes < FrameHeader.size {
      take(FrameHeader.size - partial.readableBytes, from: &incoming)
    }
    guard let header = try header(of: partial, at: 0) else { return false }
    take(header.frameLength - partial.readableBytes, from: &incoming)
    return partial.readableBytes == header.frameLength
  }

  private func take(_ count: Int, from incoming: inout ByteBuffer) {
    let moved = min(count, incoming.readableBytes)
    guard moved > 0, var slice = incoming.readSlice(length: moved) else { return }
    partial.writeBuffer(&slice)
  }

  private func header(of buffer: ByteBuffer, at offset: Int) throws(WireError) -> FrameHeader? {
    let limits = self.limits
    let result: Result<FrameHeader?, WireError> = buffer.withUnsafeReadableBytes { bytes in
      do throws(WireError) {
        return .success(try FrameHeader.parse(UnsafeRawBufferPointer(rebasing: bytes[offset...]), limits: limits))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// The number of bytes at the front of `buffer` that are whole frames.
  private func wholeFrames(in buffer: ByteBuffer) throws(WireError) -> Int {
    let limits = self.limits
    let result: Result<Int, WireError> = buffer.withUnsafeReadableBytes { bytes in
      var end = 0
      do throws(WireError) {
        while let header = try FrameHeader.parse(UnsafeRawBufferPointer(rebasing: bytes[end...]), limits: limits),
          header.frameLength <= bytes.count - end
        {
          end += header.frameLength
        }
        return .success(end)
      } catch {
        // Whole frames before the bad one still count; the error is raised when nothing good stands before it.
        return end > 0 ? .success(end) : .failure(error)
      }
    }
    return try result.get()
  }
}
