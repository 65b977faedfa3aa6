public import Transport

/// Where a share service or a public frontend listens: plain TCP, or TLS with the given certificate.
public struct ShareListener: Sendable {
  public var host: String
  public var port: Int
  public var identity: ServerIdentity?
  /// What it gives to peers that have proven nothing; visitors never do.
  public var strangerLimits: StrangerLimits

  public init(
    host: String, port: Int, identity: ServerIdentity? = nil, strangerLimits: StrangerLimits = StrangerLimits()
  ) {
    self.host = host
    self.port = port
    self.identity = identity
    self.strangerLimits = strangerLimits
  }
}
