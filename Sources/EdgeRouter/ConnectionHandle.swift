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
  /// What the identity has of this router, this channel among it.
  let share: IdentityShare
  /// The channel's own. Given back when the channel closes: requests that are under way then go on to hold the handle.
  let ticket: IdentityShare.Ticket
  /// Bytes on their way to this connection before whoever sends them from another loop waits.
  private static let mailboxLimit = 1024 * 1024

  private let mailed = Atomic<Int>(0)
  private let blocked = Atomic<Bool>(false)
  private let sequence = Atomic<UInt32>(0)
  private let box: NIOLoopBoundBox<EdgeConnection?>

  init(
    id: UInt64, loop: any EventLoop, session: SessionTable.APISession, fingerprint: String, remoteAddress: String,
    localAddress: String,
    share: IdentityShare, ticket: IdentityShare.Ticket
  ) {
    self.id = id
    self.loop = loop
    self.session = session
    self.fingerprint = fingerprint
    self.remoteAddress = remoteAddress
    self.localAddress = localAddress
    self.share = share
    self.ticket = ticket
    box = NIOLoopBoundBox.makeEmptyBox(valueType: EdgeConnection.self, eventLoop: loop)
  }

  /// The connection while it lives; on its loop only.
  var connection: EdgeConnection? {
    get { box.value }
    set { box.value = newValue }
  }

  /// The next sequence of the channel. Taken from whatever loop readdresses a frame: receivers need uniqueness, not
  /// order (edge-data-plane.md 2.5).
  func nextSequence() -> Int32 { Int32(bitPattern: sequence.wrappingAdd(1, ordering: .relaxed).newValue & 0x7fff_ffff) }

  // MARK: Back pressure

  /// Whether payload from a connection on `source` has to wait: the SDK does not read, or its loop does not keep up.
  func isBlocked(from source: any EventLoop) -> Bool {
    blocked.load(ordering: .relaxed) || source !== loop && mailed.load(ordering: .relaxed) > Self.mailboxLimit
  }

  func setBlocked(_ isBlocked: Bool) { blocked.store(isBlocked, ordering: .relaxed) }

  /// Counts bytes that leave for this connection's loop, and, negative, those that arrived there.
  func addMailed(_ bytes: Int) { mailed.wrappingAdd(bytes, ordering: .relaxed) }

  /// What the SDK's services have to tell the controller.
  func nextNews() async throws -> EdgeConnection.HostNews? {
    try await loop.submit { self.connection?.takeNews() }.get()
  }

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
