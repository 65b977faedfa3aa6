import NIOCore
import NIOPosix
import WebRelay

extension BackendTarget {
  /// How long a server may take to accept a connection before it counts as silent.
  private static let patience = TimeAmount.seconds(3)

  /// How a server is reached as a program that speaks TCP alone; nil for what is none, and for datagrams, whose
  /// receiver says nothing.
  private var connector: Connector? {
    switch self {
    case .server(.udp, _, _, _), .directory, .file, .caddyfile: nil
    case .server(_, let host, let port, _): try? TCPConnector.make(host: host, port: port)
    case .socket(let path): TCPConnector.make(socket: path)
    }
  }

  /// Whether nothing accepts connections there at this moment; false where that cannot be told.
  func isSilent() async -> Bool {
    guard let connector else { return false }
    let loop = MultiThreadedEventLoopGroup.singleton.any()
    let connecting = connector(loop) { $0.eventLoop.makeSucceededVoidFuture() }
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
