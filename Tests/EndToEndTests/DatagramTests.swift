import Foundation
import NIOCore
import NIOPosix
import NetworkFixture
import Testing

@testable import Tunnel

@Suite("Datagrams through tunnels", .timeLimit(.minutes(3)))
struct DatagramTests {
  /// Sends every datagram back.
  private final class Mirror: ChannelInboundHandler, Sendable {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      context.writeAndFlush(wrapOutboundOut(unwrapInboundIn(data)), promise: nil)
    }
  }

  /// Sends datagrams of these sizes from a socket of its own, each after the answer to the one before. - Returns: the
  /// sizes of answers that are what was sent.
  private static func exchange(_ port: Int, _ sizes: [Int]) throws -> [Int] {
    let socket = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    defer { Foundation.close(socket) }
    // A datagram may be lost anywhere, on a busy machine too: it is sent again.
    var patience = timeval(tv_sec: 2, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    try SocketAddress(ipAddress: "127.0.0.1", port: port).withSockAddr { address, size in
      guard connect(socket, address, socklen_t(size)) == 0 else { throw Network.Failure("connect: \(errno)") }
    }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    return sizes.filter { size in
      let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ size) }
      for _ in 0..<15 {
        guard send(socket, bytes, size, 0) == size else { return false }
        let count = recv(socket, &buffer, buffer.count, 0)
        if count == size, buffer[..<count].elementsEqual(bytes) { return true }
      }
      return false
    }
  }

  @Test("datagrams of all sizes that UDP has, both ways, encrypted or not", arguments: [false, true])
  func sizes(_ isEncrypted: Bool) async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("udp", encrypted: isEncrypted)
    let server = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 1 << 16))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Mirror()) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let hosting = HostTunnel(
      overlay: try await bench.overlay("host"), service: "udp", host: "127.0.0.1", port: server.localAddress?.port ?? 0,
      transport: .udp,
      logger: bench.network.logger)
    try await hosting.start()
    let proxy = ProxyTunnel(
      overlay: try await bench.overlay("client"), service: "udp", host: "127.0.0.1", port: 0, transport: .udp,
      logger: bench.network.logger)
    let port = try await proxy.start().port ?? 0
    let running = Task { try await proxy.run() }
    let sizes = [1, 0, 100, 1472, 16_384, 31_743, 31_744, 31_745, 32_000, 32_768, 40_000, 65_000, 65_506, 65_507, 2]
    let carried = try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<[Int], any Error>) in
      Thread.detachNewThread { continuation.resume(with: Result { try Self.exchange(port, sizes) }) }
    }
    #expect(carried == sizes)
    running.cancel()
    _ = await running.result
    await hosting.stop()
    try await server.close()
    await bench.stop()
  }
}
