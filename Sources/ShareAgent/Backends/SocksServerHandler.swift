import NIOCore
import NIOPosix
import WebRelay

/// SOCKS 5 on a connection of the overlay: `CONNECT` without authentication, as zrok's backend has it (RFC 1928);
/// whoever may dial the share may use it.
final class SocksServerHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// Greeting, or request with the longest name.
  private static let limit = 512

  private enum State { case greeting, request, connecting, done }

  private var state = State.greeting
  private var buffer = ByteBuffer()

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    buffer.writeBuffer(&bytes)
    guard state != .connecting || buffer.readableBytes <= 1 << 20 else { return context.close(promise: nil) }
    step(context)
  }

  private func step(_ context: ChannelHandlerContext) {
    switch state {
    case .greeting:
      guard let head = buffer.getBytes(at: buffer.readerIndex, length: 2) else { return }
      guard head[0] == 5, head[1] > 0 else { return context.close(promise: nil) }
      guard buffer.readableBytes >= 2 + Int(head[1]) else { return }
      let methods = buffer.getBytes(at: buffer.readerIndex + 2, length: Int(head[1])) ?? []
      buffer.moveReaderIndex(forwardBy: 2 + methods.count)
      guard methods.contains(0) else { return answer([5, 0xFF], context, thenClose: true) }
      answer([5, 0], context)
      state = .request
      step(context)
    case .request:
      do {
        guard let (target, length) = try Self.target(buffer) else {
          if buffer.readableBytes > Self.limit { context.close(promise: nil) }
          return
        }
        buffer.moveReaderIndex(forwardBy: length)
        state = .connecting
        connect(target, context)
      } catch {
        answer([5, error.code, 0, 1, 0, 0, 0, 0, 0, 0], context, thenClose: true)
      }
    case .connecting, .done: break
    }
  }

  private struct Refusal: Error { let code: UInt8 }

  /// nil while bytes are missing.
  private static func target(_ buffer: ByteBuffer) throws(Refusal) -> (target: (host: String, port: Int), length: Int)?
  {
    guard let head = buffer.getBytes(at: buffer.readerIndex, length: 5) else { return nil }
    guard head[0] == 5, head[2] == 0 else { throw Refusal(code: 1) }
    guard head[1] == 1 else { throw Refusal(code: 7) }
    let size: Int
    var start = 4
    switch head[3] {
    case 1: size = 4
    case 4: size = 16
    case 3:
      size = Int(head[4])
      start = 5
    default: throw Refusal(code: 8)
    }
    guard size > 0 else { throw Refusal(code: 1) }
    guard let address = buffer.getBytes(at: buffer.readerIndex + start, length: size),
      let port = buffer.getInteger(at: buffer.readerIndex + start + size, as: UInt16.self)
    else { return nil }
    let host: String
    switch head[3] {
    case 1: host = address.map { "\($0)" }.joined(separator: ".")
    case 4:
      host = stride(from: 0, to: 16, by: 2).map {
        String(UInt16(address[$0]) << 8 | UInt16(address[$0 + 1]), radix: 16)
      }.joined(separator: ":")
    default:
      guard let name = String(validating: address, as: UTF8.self),
        !name.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F })
      else {
        throw Refusal(code: 1)
      }
      host = name
    }
    return ((host, Int(port)), start + size + 2)
  }

  private func connect(_ target: (host: String, port: Int), _ context: ChannelHandlerContext) {
    let channel = context.channel
    ClientBootstrap(group: context.eventLoop)
      .connectTimeout(.seconds(10))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelOption(.autoRead, value: false)
      .connect(host: target.host, port: target.port)
      .assumeIsolated()
      .whenComplete { result in
        switch result {
        case .success(let upstream):
          guard channel.isActive else { return upstream.close(promise: nil) }
          self.answer([5, 0, 0, 1, 0, 0, 0, 0, 0, 0], context)
          self.state = .done
          do {
            try Glue.join(channel, upstream)
          } catch {
            upstream.close(promise: nil)
            return channel.close(promise: nil)
          }
          if self.buffer.readableBytes > 0 {
            context.fireChannelRead(NIOAny(self.buffer))
            context.fireChannelReadComplete()
          }
          context.pipeline.syncOperations.removeHandler(self, promise: nil)
          upstream.setOption(.autoRead, value: true).whenFailure { _ in upstream.close(promise: nil) }
        case .failure: self.answer([5, 5, 0, 1, 0, 0, 0, 0, 0, 0], context, thenClose: true)
        }
      }
  }

  private func answer(_ bytes: [UInt8], _ context: ChannelHandlerContext, thenClose: Bool = false) {
    let channel = context.channel
    let written = context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)))
    if thenClose { written.assumeIsolated().whenComplete { _ in channel.close(promise: nil) } }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
