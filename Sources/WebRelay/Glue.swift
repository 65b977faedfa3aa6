public import NIOCore

/// Joins two byte channels of one event loop: what one reads the other writes, in read bursts, with half closes, and
/// nobody reads faster than the other writes.
public final class Glue: ChannelDuplexHandler, RemovableChannelHandler {
  public typealias InboundIn = ByteBuffer
  public typealias OutboundIn = ByteBuffer
  public typealias OutboundOut = ByteBuffer

  /// How long nothing of what was written may leave, when the other side is gone.
  private static let lingering = TimeAmount.minutes(2)

  private var partner: Glue?
  private var context: ChannelHandlerContext?
  private var heldRead = false
  /// The other side's direction ended, and with it ours.
  private var isFinished = false

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
      partner?.isFinished = true
      // After what is still to be written: a socket whose input has ended is closed whole, and what waits is dropped.
      other.writeAndFlush(NIOAny(ByteBuffer())).assumeIsolated().whenComplete { _ in
        channel.close(mode: .output, promise: nil)
      }
    }
    if case ChannelEvent.outputClosed = event, !isFinished, let other = partner?.context {
      // Nobody is there any more; what is still read of it goes to the other side for as long as that takes it.
      Patience(other.channel).wait(Self.lingering)
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
    // After what was written before: a slow reader gets all of it.
    let channel = context.channel
    let limit = Patience(channel)
    limit.wait(Self.lingering)
    context.writeAndFlush(NIOAny(ByteBuffer())).assumeIsolated().whenComplete { _ in
      limit.end()
      channel.close(promise: nil)
    }
  }

  /// Closes a channel of which nothing leaves any more.
  private final class Patience {
    private let channel: any Channel
    private var timer: Scheduled<Void>?

    init(_ channel: any Channel) { self.channel = channel }

    private var waiting: Int { (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }

    func wait(_ time: TimeAmount) {
      let before = waiting
      timer = channel.eventLoop.assumeIsolated().scheduleTask(in: time) { () -> Void in
        if self.waiting < before { self.wait(time) } else { self.channel.close(promise: nil) }
      }
    }

    func end() { timer?.cancel() }
  }
}
