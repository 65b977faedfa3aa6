import NIOCore

/// Cuts off clients that send a request's head slowly, or keep a connection without using it. Sits before the decoder and sees bytes only.
final class HeadDeadline: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let limits: HTTPLimits
  private var context: ChannelHandlerContext?
  private var timer: Scheduled<Void>?
  private var awaitsHead = true
  private var hasBytes = false
  /// Counts answers: what the end of an earlier one would start is out of date.
  private var turn = 0

  init(_ limits: HTTPLimits) { self.limits = limits }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    start(limits.headTimeout)
  }

  func handlerRemoved(context: ChannelHandlerContext) { stop() }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if awaitsHead, !hasBytes {
      hasBytes = true
      start(limits.headTimeout)
    }
    context.fireChannelRead(data)
  }

  func headArrived() {
    awaitsHead = false
    timer?.cancel()
    timer = nil
  }

  /// - Parameter written: the end of the answer before. Until that has left, its client is slow, not idle.
  func awaitHead(after written: EventLoopFuture<Void>) {
    awaitsHead = true
    hasBytes = false
    turn += 1
    start(limits.stallTimeout)
    let turn = turn
    written.assumeIsolated().whenComplete { [weak self] _ in
      guard let self, self.turn == turn, self.awaitsHead, !self.hasBytes else { return }
      self.start(self.limits.idleTimeout)
    }
  }

  func stop() {
    timer?.cancel()
    timer = nil
    awaitsHead = false
    context = nil
  }

  private func start(_ time: TimeAmount) {
    timer?.cancel()
    timer = context?.eventLoop.assumeIsolated().scheduleTask(in: time) { [weak self] in self?.context?.close(promise: nil) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    stop()
    context.fireChannelInactive()
  }
}
