import NIOCore
import Swiftlet

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Joins a local TCP connection and a connection of the overlay that live on one event loop: bytes move in read bursts,
/// each end's half close becomes the other's, and nobody reads faster than the other end writes.
final class Splice: ChannelInboundHandler, OverlayConnectionDelegate {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// nil until the overlay's side is there.
  private var connection: OverlayConnection?
  /// It came before the local channel was active: a dial can be quicker than the thread that accepts.
  private var waiting: OverlayConnection?
  private var context: ChannelHandlerContext?
  /// What came before it: a channel that does not read still reads to the end when its peer ends.
  private var early: [ByteBuffer] = []
  /// How long the program may read nothing of the last bytes when the overlay's side is gone; nil: as long as it likes.
  private let patience: TimeAmount?
  private var localEnded = false
  private var overlayEnded = false

  private init(patience: TimeAmount?) { self.patience = patience }

  /// Makes a local channel ready to be joined: half closes are passed on, bursts are large. Call before it reads
  /// anything.
  static func install(on channel: any Channel, patience: TimeAmount? = nil) throws -> Splice {
    if let options = channel.syncOptions {
      try options.setOption(.allowRemoteHalfClosure, value: true)
      try options.setOption(.autoRead, value: false)
      try options.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 128 * 1024))
      try options.setOption(.maxMessagesPerRead, value: 1)
      try options.setOption(.writeBufferWaterMark, value: .init(low: 512 * 1024, high: 1024 * 1024))
    }
    let splice = Splice(patience: patience)
    try channel.pipeline.syncOperations.addHandler(splice)
    return splice
  }

  /// Lets bytes flow. On the event loop of both.
  func join(_ connection: OverlayConnection) {
    guard let context else { return connection.close() }
    guard context.channel.isActive else {
      waiting = connection
      return
    }
    self.connection = connection
    let early = self.early
    self.early = []
    for bytes in early { connection.write(bytes) }
    connection.flush()
    if localEnded { connection.finish() }
    connection.start(self)
    read(true)
  }

  /// The overlay's side will not come.
  func abandon() { context?.close(promise: nil) }

  // MARK: Local

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    waiting?.close()
    waiting = nil
  }

  func channelActive(context: ChannelHandlerContext) {
    if let connection = waiting {
      waiting = nil
      join(connection)
    }
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = unwrapInboundIn(data)
    if let connection { connection.write(bytes) } else { early.append(bytes) }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    guard let connection else { return }
    connection.flush()
    if !connection.isWritable { read(false) }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) { connection?.setReading(context.channel.isWritable) }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event {
      localEnded = true
      connection?.finish()
      endIfDone()
    }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    connection?.close()
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func read(_ reading: Bool) { try? context?.channel.syncOptions?.setOption(.autoRead, value: reading) }

  private func endIfDone() {
    guard localEnded, overlayEnded else { return }
    connection?.close()
  }

  // MARK: OverlayConnectionDelegate

  func received(_ bytes: ByteBuffer) {
    guard let context else { return }
    context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    if !context.channel.isWritable { connection?.setReading(false) }
  }

  func receivedEnd() {
    overlayEnded = true
    if let context {
      let channel = context.channel
      // After what is still to be written: a socket whose input has ended is closed whole, and what waits is dropped.
      context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in
        channel.close(mode: .output, promise: nil)
      }
    }
    endIfDone()
  }

  func becameWritable() { read(true) }

  func closed(_ error: OverlayError?) {
    guard let context else { return }
    // Bytes on their way to the program still arrive; a broken connection must not look like an orderly end to it.
    let channel = context.channel
    if error != nil { _ = (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)) }
    if let patience { Self.end(channel, unlessItReadsWithin: patience) }
    context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in channel.close(promise: nil) }
    // A program that writes on and reads nothing until somebody read that would never end.
    read(true)
  }

  private static func end(_ channel: any Channel, unlessItReadsWithin patience: TimeAmount) {
    let held = waiting(channel)
    let check = channel.eventLoop.scheduleTask(in: patience) { () -> Void in
      if waiting(channel) < held { return end(channel, unlessItReadsWithin: patience) }
      _ = (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
      channel.close(promise: nil)
    }
    channel.closeFuture.whenComplete { _ in check.cancel() }
  }

  private static func waiting(_ channel: any Channel) -> Int {
    (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
  }
}
