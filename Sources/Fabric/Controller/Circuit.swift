public import Model

/// A path through the fabric from a dialler to a host.
public struct Circuit: Sendable, Equatable {
  public let id: String
  public let serviceID: String
  /// Identity of the dialler.
  public let clientID: String
  public let hostID: String
  public let terminatorID: String
  /// Routers, ingress first.
  public let path: [String]
  public let ingressAddress: String
  public let egressAddress: String
  public let createdAt: Timestamp

  public init(
    id: String, serviceID: String, clientID: String, hostID: String, terminatorID: String, path: [String],
    ingressAddress: String,
    egressAddress: String,
    createdAt: Timestamp
  ) {
    self.id = id
    self.serviceID = serviceID
    self.clientID = clientID
    self.hostID = hostID
    self.terminatorID = terminatorID
    self.path = path
    self.ingressAddress = ingressAddress
    self.egressAddress = egressAddress
    self.createdAt = createdAt
  }

  /// What the dialler does.
  var dial: Grant { Grant(identity: clientID, service: serviceID) }
  /// What the host does.
  var bind: Grant { Grant(identity: hostID, service: serviceID) }
}

/// An authorised wish for a circuit.
public struct CircuitRequest: Sendable {
  /// Names the request in actions; the shell's choice.
  public var ticket: UInt64
  public var serviceID: String
  public var strategy: TerminatorStrategy
  public var encryptionRequired: Bool
  public var instance: String
  public var ingressRouter: String
  public var clientID: String
  /// For the host, see `PeerData.toHost`.
  public var peerData: [UInt32: [UInt8]]
  /// The terminator the dialler had before, for strategy `sticky`.
  public var sticky: String?
  /// Bytes of what the router sent, which are kept until it is answered.
  public var weight: Int

  public init(
    ticket: UInt64, serviceID: String, strategy: TerminatorStrategy, encryptionRequired: Bool, instance: String,
    ingressRouter: String,
    clientID: String,
    peerData: [UInt32: [UInt8]], sticky: String? = nil, weight: Int = 0
  ) {
    self.ticket = ticket
    self.serviceID = serviceID
    self.strategy = strategy
    self.encryptionRequired = encryptionRequired
    self.instance = instance
    self.ingressRouter = ingressRouter
    self.clientID = clientID
    self.peerData = peerData
    self.sticky = sticky
    self.weight = weight
  }
}
