public import Model

/// Cost and precedence of a terminator.
public struct Standing: Sendable, Equatable {
  public var cost: Int
  public var precedence: Precedence

  public init(cost: Int = 0, precedence: Precedence = .default) {
    self.cost = cost
    self.precedence = precedence
  }

  /// Tells whom it concerns what stands, until nothing has changed since it was told. A change is made known by whoever
  /// makes it as well; told by two at a time, the older word could be the last.
  ///
  /// - Parameters:
  ///   - judged: what was told last.
  ///   - now: what stands.
  public static func follow(from judged: Standing, now: () -> Standing, tell: (Standing) -> Void) {
    var told = judged
    while case let standing = now(), standing != told {
      tell(standing)
      told = standing
    }
  }
}

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
  public private(set) var standing: Standing
  /// What the host asked for; of a lease, cost 0 and the default precedence leave it to the host's identity.
  private var asked: Standing
  /// Whether the identity's values stand, now and when they change.
  private var followsCost = false
  private var followsPrecedence = false
  public var cost: Int { standing.cost }
  public var precedence: Precedence { standing.precedence }
  public var peerData: [UInt32: [UInt8]]
  public let createdAt: Timestamp
  /// Reported by a router for a live host; lives as long as the router says. Others were made over REST.
  public let isLease: Bool

  /// Bytes that it takes, roughly: its texts stand in several indexes.
  var weight: Int { peerData.values.reduce(512 + 4 * (id.utf8.count + instance.utf8.count)) { $0 + $1.count } }

  public init(
    id: String, serviceID: String, routerID: String, hostID: String, instance: String = "", binding: String = "edge",
    address: String, cost: Int = 0,
    precedence: Precedence = .default, peerData: [UInt32: [UInt8]] = [:], createdAt: Timestamp, isLease: Bool = true
  ) {
    self.id = id
    self.serviceID = serviceID
    self.routerID = routerID
    self.hostID = hostID
    self.instance = instance
    self.binding = binding
    self.address = address
    asked = Standing(cost: cost, precedence: precedence)
    standing = asked
    self.peerData = peerData
    self.createdAt = createdAt
    self.isLease = isLease
  }

  /// Takes what its identity says of hosting for what the host does not say (management-and-model.md 1.2). SDKs that
  /// read their identity repeat its values when they bind: those follow it too, also when they are told once more after
  /// the identity changed.
  ///
  /// - Parameter old: the same lease as it was known before.
  mutating func settle(by identity: Standing, after old: LiveTerminator? = nil) {
    followsCost =
      asked.cost == 0 || asked.cost == identity.cost || (old?.followsCost ?? false) && old?.asked.cost == asked.cost
    followsPrecedence =
      asked.precedence == .default || asked.precedence == identity.precedence
      || (old?.followsPrecedence ?? false) && old?.asked.precedence == asked.precedence
    follow(identity)
  }

  /// The identity's values changed.
  mutating func follow(_ identity: Standing) {
    standing = Standing(
      cost: followsCost ? identity.cost : asked.cost,
      precedence: followsPrecedence ? identity.precedence : asked.precedence)
  }

  /// The host asks for something else; nil leaves a part as it is.
  mutating func ask(cost: Int?, precedence: Precedence?, identity: Standing) {
    let old = self
    asked = Standing(cost: cost ?? asked.cost, precedence: precedence ?? asked.precedence)
    settle(by: identity, after: old)
  }
}
