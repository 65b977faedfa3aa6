import NIOCore
import Transport
import Wire

/// Channels to routers, shared by all that is dialled and hosted.
extension Overlay {
  struct ChannelKey: Hashable {
    let address: String
    let loop: ObjectIdentifier
  }

  private static let routerTimeout = TimeAmount.seconds(8)

  /// The channel to a router on an event loop; one for each loop, so that tunnels need not hop.
  func channel(_ router: String, _ address: PeerAddress, on loop: any EventLoop) async throws -> BoundChannel {
    let key = ChannelKey(address: address.description, loop: ObjectIdentifier(loop))
    if let task = channels[key] {
      if let bound = try? await task.value, try await loop.submit({ bound.value.isOpen }).get() { return bound }
      if channels[key] == task { channels[key] = nil }
      if let newer = channels[key] { return try await newer.value }
    }
    let login = try await current()
    let tls = client.routerTLS
    let task = Task {
      let hello = EdgeMessages.Hello(
        name: login.identity.name ?? login.identity.id, token: login.token, supportsInspect: true)
      return try await HelloDialer.dial(
        address, tls: tls, alpn: ALPN.edge, hello: hello.message(), group: loop, timeout: Self.routerTimeout
      ) {
        underlay, answer in
        let channel = RouterChannel(underlay: underlay, answer: answer, router: router)
        underlay.receiver = channel
        return NIOLoopBound(channel, eventLoop: underlay.eventLoop)
      }
    }
    channels[key] = task
    do { return try await task.value } catch {
      if channels[key] == task { channels[key] = nil }
      if case TransportError.helloRefused = error { await forgetLogin(login.token) }
      throw error
    }
  }

  /// How many requests the controller has had.
  package nonisolated var controllerRequests: Int { client.requests.now }
  /// How many connections to controllers were made for them.
  package nonisolated var controllerConnections: Int { client.rest.connectionsMade }

  /// How many connections through this SDK have not ended, dialled and hosted ones.
  package var openConnections: Int {
    get async {
      var count = 0
      for task in channels.values {
        guard let bound = try? await task.value else { continue }
        count += (try? await bound.eventLoop.submit { bound.value.connectionCount }.get()) ?? 0
      }
      return count
    }
  }
}
