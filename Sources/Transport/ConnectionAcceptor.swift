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
  /// - Returns: the rest of the connection's life, run in a task that the listener owns.
  func accept(_ channel: any Channel, peer: PresentedPeer, alpn: String?) -> EventLoopFuture<ConnectionTask>
}

/// ALPN names of the ecosystem (edge-data-plane.md 1.2).
public enum ALPN {
  public static let edge = "ziti-edge"
  public static let control = "ziti-ctrl"
  public static let link = "ziti-link"
  public static let http2 = "h2"
  public static let http1 = "http/1.1"
}

/// What a listener gives to peers that have proven nothing yet (house plan: a byte budget for strangers).
public struct StrangerLimits: Sendable {
  /// From accept to the end of the TLS handshake.
  public var handshakeTimeout: TimeAmount = .seconds(5)
  /// Connections open at the same time; beyond it a new one is closed at once.
  public var connections = 20_000
  /// Handshakes under way at the same time.
  public var handshakes = 1_000

  public init() {}
}
