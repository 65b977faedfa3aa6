import Logging
package import NIOCore
import Transport

/// Dialling: one router after the other, and once more where what is known of the service is out of date.
extension Overlay {
  /// Connects to a service.
  ///
  /// - Parameters:
  ///   - service: its name.
  ///   - options: how it is dialled.
  /// - Returns: the stream to one of its hosts, which took it.
  /// - Throws: `OverlayError`: `serviceNotFound`, `notPermitted`, `noRouters`, `routersUnreachable`, `dialRefused` with
  ///   the words of the side that refused, `peerDoesNotEncrypt`.
  public func dial(_ service: String, options: DialOptions = DialOptions()) async throws -> OverlayStream {
    let connection = try await connect(service, options: options, on: group.next())
    return try await OverlayStream.make(connection, caller: nil)
  }

  /// The same for programs on event loops: the connection lives on `loop`.
  package func connect(_ service: String, options: DialOptions = DialOptions(), on loop: any EventLoop) async throws
    -> BoundConnection
  {
    var details = try await self.service(service, .dial)
    var isFirst = true
    var backoff = Backoff(minimum: .milliseconds(50), maximum: .milliseconds(500))
    while true {
      do { return try await connect(details, options: options, on: loop) } catch let error as OverlayError {
        if isFirst, error.speaksOfSession || error.speaksOfService || error.saysUnhosted && mayAskForUnhosted() {
          // What is kept of the service may be out of date: it is looked up again, by its name.
          isFirst = false
          if error.speaksOfSession { forgetSession(details, .dial) }
          guard (try? await refreshServices()) != nil else { throw error }
          let now = try await self.service(service, .dial)
          let isOther = !now.isSame(as: details)
          details = now
          if isOther || error.speaksOfSession { continue }
        }
        // Its hosts are about to bind anew.
        guard error.isRefusal, let change = changes[service], ContinuousClock.now - change < Self.settlingTime else {
          throw error
        }
        details = known[service] ?? details
        try await Task.sleep(backoff.next())
      }
    }
  }

  /// Services that nobody hosts are dialled again and again: for them the controller is asked once a second, at most.
  private func mayAskForUnhosted() -> Bool {
    guard unhostedAt.map({ ContinuousClock.now - $0 > .seconds(1) }) ?? true else { return false }
    unhostedAt = .now
    return true
  }

  /// Tries one router after the other.
  private func connect(_ service: ControllerClient.Service, options: DialOptions, on loop: any EventLoop) async throws
    -> BoundConnection
  {
    var failure = "no router has an address"
    for router in try await session(service, .dial).edgeRouters {
      guard let address = router.tls else { continue }
      do {
        // A new login has a new session: the token is asked for once the channel stands.
        let channel = try await channel(router.name, address, on: loop)
        let token = try await session(service, .dial).token
        return try await Self.dial(channel, service, token: token, options: options)
      } catch let error as OverlayError {
        guard case .channelLost = error else { throw error }
        failure = "\(error)"
      } catch let error as TransportError {
        failure = "\(error)"
        logger.debug("router cannot be reached", metadata: ["router": "\(router.name)", "error": "\(error)"])
      }
    }
    throw OverlayError.routersUnreachable(service: service.name, reason: failure)
  }

  private static func dial(
    _ channel: BoundChannel, _ service: ControllerClient.Service, token: String, options: DialOptions
  ) async throws -> BoundConnection {
    let promise = channel.eventLoop.makePromise(of: BoundConnection.self)
    channel.eventLoop.execute {
      channel.value.dial(service: service.name, token: token, encrypted: service.encryptionRequired, options: options) {
        result in
        switch result {
        case .success(let connection): promise.succeed(NIOLoopBound(connection, eventLoop: channel.eventLoop))
        case .failure(let error): promise.fail(error)
        }
      }
    }
    return try await promise.futureResult.get()
  }
}
