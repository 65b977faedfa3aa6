public import NIOCore

/// Joins two byte channels of one event loop: what one reads the other writes, in read bursts, with half closes, and nobody reads faster than the other writes.
public final class Glue: ChannelDuplexHandler, RemovableChannelHandler {
  public typealias InboundIn = ByteBuffer
  public typealias OutboundIn = ByteBuffer
  public typealias OutboundOut = ByteBuffer

  /// How long what was written may take to leave, when the other side is gone.
  private static let lingering = TimeAmount.seconds(30)

  private var partner: Glue?
  private var context: ChannelHandlerContext?
  private var heldRead = false

  /// Puts a handler at the end of each pipeline. On the event loop of both.
  public static func join(_ one: any Channel, _ other: any Channel) throws {
    let (left, right) = (Glue(), Glue())
    left.partner = right
    right.partner = left
    for (channel, glue) in [(one, left), (other, right)] {
      try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
      try channel.pipeline.syncOperations.addHandler(glue)
    }
    // One of them may have ended before the other was there.
    if !one.isActive { left.end() }
    if !other.isActive { right.end() }
  }

  public func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  public func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    partner = nil
  }

  public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard let other = partner?.context else { return }
    other.write(NIOAny(unwrapInboundIn(data)), promise: nil)
  }

  public func channelReadComplete(context: ChannelHandlerContext) {
    partner?.context?.flush()
    context.fireChannelReadComplete()
  }

  public func read(context: ChannelHandlerContext) {
    if partner?.context?.channel.isWritable ?? true { context.read() } else { heldRead = true }
  }

  public func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable, let partner, partner.heldRead {
      partner.heldRead = false
      partner.context?.read()
    }
    context.fireChannelWritabilityChanged()
  }

  public func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event, let other = partner?.context {
      let channel = other.channel
      // After what is still to be written: a socket whose input has ended is closed whole, and what waits is dropped.
      other.writeAndFlush(NIOAny(ByteBuffer())).assumeIsolated().whenComplete { _ in channel.close(mode: .output, promise: nil) }
    }
    context.fireUserInboundEventTriggered(event)
  }

  public func channelInactive(context: ChannelHandlerContext) {
    end()
    context.fireChannelInactive()
  }

  public func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func end() {
    let other = partner
    partner = nil
    guard let context = other?.context else { return }
    other?.partner = nil
    // After what was written before, for as long as a reader may take.
    let channel = context.channel
    let limit = context.eventLoop.assumeIsolated().scheduleTask(in: Self.lingering) { channel.close(promise: nil) }
    context.writeAndFlush(NIOAny(ByteBuffer())).assumeIsolated().whenComplete { _ in
      limit.cancel()
      channel.close(promise: nil)
    }
  }
}
