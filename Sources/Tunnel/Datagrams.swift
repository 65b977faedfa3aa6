import Logging
import NIOCore
import NIOPosix
import Swiftlet

/// What a tunnel carries.
public enum TunnelTransport: String, Sendable {
  case tcp
  /// Each datagram is one message of the connection, without framing, as zrok's udpTunnel has it (zrok.md 1.3), of any
  /// size that UDP itself has. Lost where nobody reads fast enough, as datagrams are.
  case udp
}

/// The local port of a UDP tunnel: each source address is a connection of the overlay, until it was silent for a
/// minute.
///
/// Lives on the event loop of its socket, with all its flows.
final class DatagramListener: ChannelInboundHandler {
  typealias InboundIn = AddressedEnvelope<ByteBuffer>
  typealias OutboundOut = AddressedEnvelope<ByteBuffer>

  private static let idleLimit = TimeAmount.seconds(60)
  private static let sweepInterval = TimeAmount.seconds(5)
  /// Datagrams of one source that wait for the overlay, and their bytes.
  private static let (earlyLimit, earlyBytes) = (64, 256 * 1024)

  private let overlay: Overlay
  private let service: String
  private let logger: Logger
  private let flowLimit: Int
  private var flows: [SocketAddress: Flow] = [:]
  private var sweeper: RepeatedTask?

  init(overlay: Overlay, service: String, flowLimit: Int, logger: Logger) {
    self.overlay = overlay
    self.service = service
    self.flowLimit = flowLimit
    self.logger = logger
  }

  /// One source address.
  private final class Flow: OverlayConnectionDelegate {
    let remote: SocketAddress
    unowned let listener: DatagramListener
    let context: ChannelHandlerContext
    var connection: OverlayConnection?
    var early: [ByteBuffer] = []
    var lastUse: NIODeadline

    init(_ remote: SocketAddress, _ listener: DatagramListener, _ context: ChannelHandlerContext) {
      self.remote = remote
      self.listener = listener
      self.context = context
      lastUse = .now()
    }

    func join(_ connection: OverlayConnection) {
      self.connection = connection
      connection.keepBoundaries()
      for bytes in early { connection.write(bytes) }
      early = []
      connection.flush()
      connection.start(self)
    }

    func send(_ bytes: ByteBuffer) {
      lastUse = .now()
      guard let connection else {
        let held = early.reduce(bytes.readableBytes) { $0 + $1.readableBytes }
        if early.count < DatagramListener.earlyLimit, held <= DatagramListener.earlyBytes { early.append(bytes) }
        return
      }
      if connection.isWritable { connection.write(bytes) }
    }

    func received(_ bytes: ByteBuffer) {
      lastUse = .now()
      guard context.channel.isWritable else { return }
      context.writeAndFlush(
        listener.wrapOutboundOut(AddressedEnvelope(remoteAddress: remote, data: bytes)), promise: nil)
    }

    func receivedEnd() { connection?.close() }
    func becameWritable() {}
    func closed(_ error: OverlayError?) { listener.forget(self) }
  }

  func channelActive(context: ChannelHandlerContext) {
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    sweeper = context.eventLoop.scheduleRepeatedTask(initialDelay: Self.sweepInterval, delay: Self.sweepInterval) { _ in
      bound.value.sweep(olderThan: .now() - Self.idleLimit)
    }
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let envelope = unwrapInboundIn(data)
    let remote = envelope.remoteAddress
    if let flow = flows[remote] { return flow.send(envelope.data) }
    if flows.count >= flowLimit {
      // Sources cost a stranger nothing: who has said nothing for a while makes room.
      sweep(olderThan: .now() - Self.sweepInterval)
      guard flows.count < flowLimit else { return }
    }
    let flow = Flow(remote, self, context)
    flows[remote] = flow
    flow.send(envelope.data)
    let bound = NIOLoopBound((self, flow), eventLoop: context.eventLoop)
    let (overlay, service, loop) = (overlay, service, context.eventLoop)
    loop.makeFutureWithTask { try await overlay.connect(service, on: loop) }.whenComplete { result in
      let (listener, flow) = bound.value
      switch result {
      case .success(let connection):
        guard listener.flows[flow.remote] === flow else { return connection.value.close() }
        flow.join(connection.value)
      case .failure(let error):
        listener.logger.warning(
          "datagrams cannot be carried", metadata: ["service": "\(service)", "reason": "\(error)"])
        listener.forget(flow)
      }
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    for flow in flows.values { flow.connection?.flush() }
    context.fireChannelReadComplete()
  }

  func channelInactive(context: ChannelHandlerContext) {
    sweeper?.cancel()
    sweep(olderThan: .distantFuture)
    context.fireChannelInactive()
  }

  /// An answer that found nobody, most often.
  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    logger.debug("a datagram was not delivered", metadata: ["service": "\(service)", "reason": "\(error)"])
  }

  private func forget(_ flow: Flow) { if flows[flow.remote] === flow { flows[flow.remote] = nil } }

  private func sweep(olderThan limit: NIODeadline) {
    for flow in flows.values.filter({ $0.lastUse < limit }) {
      forget(flow)
      flow.connection?.close()
    }
  }
}

/// A connected UDP socket towards a server, joined with a connection of the overlay.
final class DatagramSplice: ChannelInboundHandler, OverlayConnectionDelegate {
  typealias InboundIn = AddressedEnvelope<ByteBuffer>
  typealias OutboundOut = AddressedEnvelope<ByteBuffer>

  private var connection: OverlayConnection?
  private var context: ChannelHandlerContext?

  func join(_ connection: OverlayConnection) {
    guard context?.channel.isActive == true else { return connection.close() }
    self.connection = connection
    connection.keepBoundaries()
    connection.start(self)
  }

  func abandon() { context?.close(promise: nil) }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = unwrapInboundIn(data).data
    if let connection, connection.isWritable { connection.write(bytes) }
  }

  func channelReadComplete(context: ChannelHandlerContext) { connection?.flush() }

  func channelInactive(context: ChannelHandlerContext) {
    connection?.close()
    context.fireChannelInactive()
  }

  /// The server's machine said that nobody listens: it may begin to at any time, and datagrams are lost until then.
  func errorCaught(context: ChannelHandlerContext, error: any Error) {}

  func received(_ bytes: ByteBuffer) {
    guard let context, let server = context.channel.remoteAddress, context.channel.isWritable else { return }
    context.writeAndFlush(wrapOutboundOut(AddressedEnvelope(remoteAddress: server, data: bytes)), promise: nil)
  }

  func receivedEnd() { connection?.close() }
  func becameWritable() {}
  func closed(_ error: OverlayError?) { context?.close(promise: nil) }
}
