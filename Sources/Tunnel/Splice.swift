// Tunnel: carries ordinary TCP programs over the overlay: local ports towards services, services towards local servers. It decides no access and speaks no
// protocol of the overlay; that is the SDK below. Start reading at `ProxyTunnel`.

import NIOCore
import Swiftlet

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Joins a local TCP connection and a connection of the overlay that live on one event loop: bytes move in read bursts, each end's half close becomes the other's,
/// and nobody reads faster than the other end writes.
final class Splice: ChannelInboundHandler, OverlayConnectionDelegate {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let connection: OverlayConnection
  private var context: ChannelHandlerContext?
  private var localEnded = false
  private var overlayEnded = false
  private var closesAfterFlush = false

  init(_ connection: OverlayConnection) { self.connection = connection }

  /// Options of a local channel that is spliced: half closes are passed on, bursts are large.
  static func prepare(_ channel: any Channel) throws {
    guard let options = channel.syncOptions else { return }
    try options.setOption(.allowRemoteHalfClosure, value: true)
    try options.setOption(.autoRead, value: false)
    try options.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 128 * 1024))
    try options.setOption(.maxMessagesPerRead, value: 1)
    try options.setOption(.writeBufferWaterMark, value: .init(low: 512 * 1024, high: 1024 * 1024))
  }

  /// Puts the splice at the end of the channel's pipeline and lets bytes flow. On the event loop.
  static func join(_ channel: any Channel, _ connection: OverlayConnection) throws {
    let splice = Splice(connection)
    try channel.pipeline.syncOperations.addHandler(splice)
    connection.start(splice)
    try channel.syncOptions?.setOption(.autoRead, value: true)
  }

  // MARK: Local

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    connection.write(unwrapInboundIn(data))
    if !connection.isWritable { read(false) }
  }

  func channelReadComplete(context: ChannelHandlerContext) { connection.flush() }

  func channelWritabilityChanged(context: ChannelHandlerContext) { connection.setReading(context.channel.isWritable) }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event {
      localEnded = true
      connection.finish()
      endIfDone()
    }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    connection.close()
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func read(_ reading: Bool) { try? context?.channel.syncOptions?.setOption(.autoRead, value: reading) }

  private func endIfDone() {
    guard localEnded, overlayEnded else { return }
    connection.close()
  }

  // MARK: OverlayConnectionDelegate

  func received(_ bytes: ByteBuffer) {
    guard let context else { return }
    context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    if !context.channel.isWritable { connection.setReading(false) }
  }

  func receivedEnd() {
    overlayEnded = true
    context?.close(mode: .output, promise: nil)
    endIfDone()
  }

  func becameWritable() { read(true) }

  func closed(_ error: OverlayError?) {
    guard let context else { return }
    // Bytes on their way to the program still arrive; a broken connection must not look like an orderly end to it.
    let channel = context.channel
    if error != nil { _ = (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)) }
    context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in channel.close(promise: nil) }
  }
}
