import Fabric
import NIOCore
import Synchronization

/// How everybody but its own event loop refers to an SDK's connection.
final class ConnectionHandle: Sendable {
  let id: UInt64
  let loop: any EventLoop
  let session: SessionTable.APISession
  /// Of the certificate the handshake proved.
  let fingerprint: String
  let remoteAddress: String
  let localAddress: String
  /// Payload bytes on their way from other loops.
  let queued = Atomic<Int>(0)
  private let sequence = Atomic<UInt32>(0)
  private let box: NIOLoopBoundBox<EdgeConnection?>

  init(
    id: UInt64, loop: any EventLoop, session: SessionTable.APISession, fingerprint: String, remoteAddress: String, localAddress: String
  ) {
    self.id = id
    self.loop = loop
    self.session = session
    self.fingerprint = fingerprint
    self.remoteAddress = remoteAddress
    self.localAddress = localAddress
    box = NIOLoopBoundBox.makeEmptyBox(valueType: EdgeConnection.self, eventLoop: loop)
  }

  /// The connection while it lives; on its loop only.
  var connection: EdgeConnection? {
    get { box.value }
    set { box.value = newValue }
  }

  /// The next sequence of the channel. Taken from whatever loop readdresses a frame: receivers need uniqueness, not order (edge-data-plane.md 2.5).
  func nextSequence() -> Int32 { Int32(bitPattern: sequence.wrappingAdd(1, ordering: .relaxed).newValue & 0x7fff_ffff) }

  /// Runs `body` on the connection's loop; `otherwise` when it is gone.
  func run(_ body: @escaping @Sendable (EdgeConnection) -> Void, otherwise: (@Sendable () -> Void)? = nil) {
    if loop.inEventLoop {
      if let connection { body(connection) } else { otherwise?() }
    } else {
      loop.execute { if let connection = self.connection { body(connection) } else { otherwise?() } }
    }
  }
}

/// One end of a circuit: a connection id on an SDK's channel.
struct CircuitEndpoint: Sendable {
  let handle: ConnectionHandle
  let connID: UInt32
  /// `jti` of the service session it was made with.
  let sessionID: String

  func isSame(as other: CircuitEndpoint) -> Bool { handle === other.handle && connID == other.connID }
}
