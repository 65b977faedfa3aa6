import Controller
import EdgeRouter
import Foundation
import JSON
import Model
import NIOCore
import NIOPosix
import NetworkFixture
import PKI
import Swiftlet
import Testing
import Transport
import Tunnel

@Sendable private func hasIPv6() async -> Bool {
  let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
  guard let channel = try? await bootstrap.bind(host: "::1", port: 0).get() else { return false }
  try? await channel.close()
  return true
}

@Suite("A network on IPv6", .timeLimit(.minutes(5)), .enabled("this machine has no ::1", hasIPv6))
struct IPv6Tests {
  /// A TCP server on ::1 that sends back what it gets.
  private static func echoServer() async throws -> any Channel {
    try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Echo()) }
      }
      .bind(host: "::1", port: 0).get()
  }

  private final class Echo: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.writeAndFlush(data, promise: nil) }
  }

  /// Sends, and reads as many bytes.
  private static func exchange(_ port: Int, _ sent: ByteBuffer) async throws -> ByteBuffer {
    let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connect(
      host: "::1", port: port
    ) { channel in
      channel.eventLoop.makeCompletedFuture {
        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
      }
    }
    return try await client.executeThenClose { inbound, outbound in
      try await outbound.write(sent)
      var all = ByteBuffer()
      for try await var part in inbound {
        all.writeBuffer(&part)
        if all.readableBytes >= sent.readableBytes { break }
      }
      return all
    }
  }

  @Test(
    "controller, router, host, dial and tunnels over ::1; addresses are written in brackets, in URLs, tokens and certificates"
  )
  func whole() async throws {
    let bench = OverlayBench(network: try await Network.start(host: "::1"))
    let port = await bench.network.controller.advertised.port
    #expect(await bench.network.controller.url == "https://[::1]:\(port)")

    let invitation = try await bench.network.invite("somebody")
    let claims = try TokenParts(invitation.jwt).unverifiedClaims(as: EnrollmentClaims.self)
    #expect(claims.iss == "https://[::1]:\(port)" && claims.ctrls == ["tls:[::1]:\(port)"])
    let identity = try await IdentityFile.enroll(jwt: invitation.jwt)
    #expect(identity.controllers.allSatisfy { $0.hasPrefix("https://[::1]:\(port)") })
    #expect(try await HTTPSClient.leaf(of: "HTTPS://[::1]:\(port)").names(host: "::1"))

    let routers = try await bench.network.api("GET", "/edge-routers")
    let routerPort = try #require(await bench.network.router?.edgeAddress?.port)
    #expect(routers.arrayValue?.first?["supportedProtocols"]?["tls"]?.stringValue == "tls://[::1]:\(routerPort)")
    let sessions = try await bench.network.api("GET", "/api-sessions")
    #expect(sessions.arrayValue?.contains { $0["ipAddress"]?.stringValue == "::1" } == true)

    try await bench.network.service("tcp")
    let server = try await Self.echoServer()
    let hosting = HostTunnel(
      overlay: try await bench.overlay("host"), service: "tcp", host: "[::1]", port: server.localAddress?.port ?? 0,
      logger: bench.network.logger)
    try await hosting.start()
    let proxy = ProxyTunnel(
      overlay: try await bench.overlay("client"), service: "tcp", host: "::1", port: 0, logger: bench.network.logger)
    let running = Task { try? await proxy.run() }
    let address = try await proxy.start()
    #expect(address.text.hasPrefix("[::1]:"))
    let sent = OverlayBench.pattern(200_000)
    #expect(try await Self.exchange(address.port ?? 0, sent) == sent)
    running.cancel()
    await running.value
    await hosting.stop()
    try await server.close()
    await bench.stop()
  }

  @Test("plain HTTP at the controller's port is led to its https")
  func redirect() async throws {
    let network = try await Network.start(host: "::1")
    let port = await network.controller.advertised.port
    let client = HTTPSClient(tls: ClientTLS(trust: .any), allowsPlaintext: true)
    let answer = try await client.request("http://[::1]:\(port)/edge/client/v1/version")
    #expect(answer.status == 308 && answer.header("location") == "https://[::1]:\(port)/edge/client/v1/version")
    #expect(try await client.request(answer.header("location") ?? "").status == 200)
    await network.stop()
  }
}
