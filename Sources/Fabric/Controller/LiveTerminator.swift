public import Model

/// Where a circuit can end: a host behind a router.
public struct LiveTerminator: Sendable, Equatable {
  public let id: String
  public let serviceID: String
  public let routerID: String
  public let hostID: String
  /// The instance offered (addressable terminators); empty matches only dials that name none.
  public let instance: String
  public let binding: String
  /// What the router knows the host by.
  public let address: String
  public var cost: Int
  public var precedence: Precedence
  public var peerData: [UInt32: [UInt8]]
  public let createdAt: Timestamp
  /// Reported by a router for a live host; lives as long as the router says. Others were made over REST.
  public let isLease: Bool

  /// Bytes that it takes, roughly: its texts stand in several indexes.
  var weight: Int { peerData.values.reduce(512 + 4 * (id.utf8.count + instance.utf8.count)) { $0 + $1.count } }

  public init(
    id: String, serviceID: String, routerID: String, hostID: String, instance: String = "", binding: String = "edge", address: String, cost: Int = 0,
    precedence: Precedence = .default, peerData: [UInt32: [UInt8]] = [:], createdAt: Timestamp, isLease: Bool = true
  ) {
    self.id = id
    self.serviceID = serviceID
    self.routerID = routerID
    self.hostID = hostID
    self.instance = instance
    self.binding = binding
    self.address = address
    self.cost = cost
    self.precedence = precedence
    self.peerData = peerData
    self.createdAt = createdAt
    self.isLease = isLease
  }
}
