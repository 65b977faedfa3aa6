import Foundation
package import NIOCore

/// Notices a peer that went away without a word: a machine that changed its network, a pulled cable, a power cut. Left
/// alone, TCP takes a quarter of an hour for that while bytes are on their way, and two hours while none are.
///
/// Idle connections are probed by the kernel. While bytes are on their way the question is when the peer's kernel last
/// sent anything: it answers for a program that does not read, too, so a reader who is paused is not taken for one who
/// is gone.
package final class PeerWatch: ChannelInboundHandler, RemovableChannelHandler {
  package typealias InboundIn = ByteBuffer

  /// Seconds: silence before the kernel's first probe, between probes, and how many go unanswered.
  private static let (idle, between, count): (Int, Int, Int) = (10, 5, 3)
  private static let interval = TimeAmount.seconds(5)
  /// Milliseconds without a sign of the peer, with something to answer.
  private static let limit: UInt32 = 15_000

  private var checks: RepeatedTask?
  /// Whether the check before found no sign of the peer either. One check alone may err: it may come right after the
  /// first byte that follows a long silence.
  private var wasSilent = false

  package init() {}

  package func handlerAdded(context: ChannelHandlerContext) {
    guard let options = context.channel.syncOptions else { return }
    // What is no socket has none of them.
    try? options.setOption(.socketOption(.so_keepalive), value: 1)
    #if os(Linux)
      try? options.setOption(.tcpOption(.init(rawValue: TCP_KEEPIDLE)), value: Self.idle)
      try? options.setOption(.tcpOption(.init(rawValue: TCP_KEEPINTVL)), value: Self.between)
      try? options.setOption(.tcpOption(.init(rawValue: TCP_KEEPCNT)), value: Self.count)
      guard let socket = context.channel as? any SocketOptionProvider else { return }
      let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
      checks = context.eventLoop.scheduleRepeatedTask(initialDelay: Self.interval, delay: Self.interval) { _ in
        socket.getTCPInfo().whenSuccess { info in
          let (watch, context) = bound.value
          watch.check(info, context)
        }
      }
    #endif
  }

  package func handlerRemoved(context: ChannelHandlerContext) { checks?.cancel() }

  package func channelInactive(context: ChannelHandlerContext) {
    checks?.cancel()
    context.fireChannelInactive()
  }

  #if os(Linux)
    private func check(_ info: tcp_info, _ context: ChannelHandlerContext) {
      let awaits = info.tcpi_unacked > 0 || info.tcpi_probes > 0
      let isSilent = awaits && min(info.tcpi_last_ack_recv, info.tcpi_last_data_recv) > Self.limit
      defer { wasSilent = isSilent }
      guard isSilent, wasSilent, context.channel.isActive else { return }
      context.fireErrorCaught(TransportError.closed(reason: "the peer's machine does not answer any more"))
      context.close(promise: nil)
    }
  #endif
}
