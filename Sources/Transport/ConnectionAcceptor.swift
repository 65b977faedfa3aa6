public import NIOCore

/// The life of one accepted connection after its handshake; the listener owns the task that runs it.
public typealias ConnectionTask = @Sendable () async -> Void

/// A protocol that a listener can hand a connection to, chosen by ALPN.
public protocol ConnectionAcceptor: Sendable {
  /// Called on the connection's event loop when the handshake is complete; installs the handlers.
  ///
  /// - Parameters:
  ///   - channel: the connection; TLS is already in its pipeline.
  ///   - peer: what the peer showed; unverified.
  ///   - alpn: the negotiated protocol, nil when the client offered none that we know.
  ///   - stranger: to be told when the peer has spoken, and when it has proven who it is; until then its connection may
  ///     have to give way to another.
  /// - Returns: the rest of the connection's life, run in a task that the listener owns; the connection ends with it.
  func accept(_ channel: any Channel, peer: PresentedPeer, alpn: String?, stranger: Stranger) -> EventLoopFuture<
    ConnectionTask
  >
}

/// ALPN names of the ecosystem (edge-data-plane.md 1.2).
public enum ALPN {
  public static let edge = "ziti-edge"
  public static let control = "ziti-ctrl"
  public static let link = "ziti-link"
  public static let http2 = "h2"
  public static let http1 = "http/1.1"
}
