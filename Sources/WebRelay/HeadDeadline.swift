package import NIOCore
import Transport

/// Cuts off clients that send a request's head slowly, or keep a connection without using it. Sits before the decoder
/// and sees bytes only.
package final class HeadDeadline: ChannelInboundHandler, RemovableChannelHandler {
  package typealias InboundIn = ByteBuffer
  package typealias InboundOut = ByteBuffer

  private let limits: HTTPLimits
  private let idleTimeout: @Sendable () -> TimeAmount
  private let heard: @Sendable () -> Void
  private var wasHeard = false
  private var context: ChannelHandlerContext?
  private var timer: Scheduled<Void>?
  private var awaitsHead = true
  private var hasBytes = false
  /// Counts answers: what the end of an earlier one would start is out of date.
  private var turn = 0

  /// - Parameters:
  ///   - idleTimeout: asked when the wait for another request begins; nil for that of the limits.
  ///   - heard: called once, when the first head has come.
  init(
    _ limits: HTTPLimits, idleTimeout: (@Sendable () -> TimeAmount)? = nil, heard: @escaping @Sendable () -> Void = {}
  ) {
    self.limits = limits
    self.idleTimeout = idleTimeout ?? { limits.idleTimeout }
    self.heard = heard
  }

  package func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    start(limits.headTimeout)
  }

  package func handlerRemoved(context: ChannelHandlerContext) { stop() }

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if awaitsHead, !hasBytes {
      hasBytes = true
      start(limits.headTimeout)
    }
    context.fireChannelRead(data)
  }

  package func headArrived() {
    awaitsHead = false
    timer?.cancel()
    timer = nil
    guard !wasHeard else { return }
    wasHeard = true
    heard()
  }

  /// - Parameter written: the end of the answer before. Until that has left, its client is slow, not idle, and may take
  ///   its time.
  package func awaitHead(after written: EventLoopFuture<Void>) {
    awaitsHead = true
    hasBytes = false
    turn += 1
    timer?.cancel()
    let turn = turn
    written.assumeIsolated().whenComplete { [weak self] _ in
      guard let self, self.turn == turn, self.awaitsHead, !self.hasBytes else { return }
      self.start(self.idleTimeout())
    }
  }

  package func stop() {
    timer?.cancel()
    timer = nil
    awaitsHead = false
    context = nil
  }

  private func start(_ time: TimeAmount) {
    timer?.cancel()
    timer = context?.eventLoop.assumeIsolated().scheduleTask(in: time) { [weak self] in
      guard let self, let context = self.context else { return }
      // Who never asked is owed no farewell, which might never be read.
      if self.wasHeard { context.close(promise: nil) } else { context.channel.abort() }
    }
  }

  package func channelInactive(context: ChannelHandlerContext) {
    stop()
    context.fireChannelInactive()
  }
}
