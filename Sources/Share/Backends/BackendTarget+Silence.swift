import NIOCore
import NIOPosix
import WebRelay

extension BackendTarget {
  /// How long a server may take to accept a connection before it counts as silent.
  private static let patience = TimeAmount.seconds(3)

  /// Whether nothing accepts connections there at this moment; false where that cannot be told, as of datagrams.
  func isSilent() async -> Bool {
    guard case .server(let scheme, let host, let port) = self, scheme != .udp, let connect = try? TCPConnector.make(host: host, port: port) else {
      return false
    }
    let loop = MultiThreadedEventLoopGroup.singleton.any()
    let connecting = connect(loop) { $0.eventLoop.makeSucceededVoidFuture() }
    let answered = loop.makePromise(of: Bool.self)
    let deadline = loop.scheduleTask(in: Self.patience) { answered.succeed(false) }
    connecting.whenComplete { result in
      deadline.cancel()
      switch result {
      case .success(let channel):
        channel.close(promise: nil)
        answered.succeed(true)
      case .failure: answered.succeed(false)
      }
    }
    return (try? await answered.futureResult.get()) == false
  }
}
