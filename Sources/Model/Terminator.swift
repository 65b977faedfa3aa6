public import JSON

/// A way out of the fabric to a host of a service (management spec 1.11).
public struct Terminator: DeclaredEntity {
  public static let secretMembers = ["identitySecret"]

  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  /// Immutable.
  public var serviceId: String
  public var routerId: String
  /// Selects the router's dialer: `edge`, `tunnel`, `transport`, ...
  public var binding: String
  /// Specific to the binding.
  public var address: String
  /// Addressable identity; empty = not addressable.
  public var identity: String
  /// Base64; never returned.
  public var identitySecret: String?
  public var cost: Int
  public var precedence: Precedence
  /// Identity that hosts; for policy clean-up and circuit tags.
  public var hostId: String
  /// Decimal key to base64 value, such as the host's public key.
  public var peerData: [String: String]
  /// Kept while the router is quiesced.
  public var savedPrecedence: Precedence?
  /// Controller that created the terminator.
  public var sourceCtrl: String

  public init(
    id: String, serviceId: String, routerId: String, binding: String, address: String, identity: String = "",
    identitySecret: String? = nil,
    cost: Int = 0, precedence: Precedence = .default, hostId: String = "", peerData: [String: String] = [:],
    savedPrecedence: Precedence? = nil,
    sourceCtrl: String = "", tags: JSONObject = [:], isSystem: Bool = false, createdAt: Timestamp = .epoch,
    updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.serviceId = serviceId
    self.routerId = routerId
    self.binding = binding
    self.address = address
    self.identity = identity
    self.identitySecret = identitySecret
    self.cost = cost
    self.precedence = precedence
    self.hostId = hostId
    self.peerData = peerData
    self.savedPrecedence = savedPrecedence
    self.sourceCtrl = sourceCtrl
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public func validate() throws(ModelError) {
    try validateMembers()
    for (field, value) in [("service", serviceId), ("router", routerId), ("binding", binding), ("address", address)]
    where value.isEmpty {
      throw ModelError(field: field, reason: "\(field) is required", value: "")
    }
  }
}

extension Terminator {
  public static let declaration = Kind<Terminator>(
    .terminators, "terminator",
    members: [
      .reference("service", stored: "serviceId", \.serviceId, to: .services, shownAs: "service")
        .filterable().indexed().shown("Service"),
      .reference("router", stored: "routerId", \.routerId, to: .edgeRouters, shownAs: "router")
        .filterable().indexed().shown("Router"),
      .text("binding", \.binding).filterable().shown("Binding"),
      .text("address", \.address).filterable().shown("Address"),
      .text("identity", \.identity, default: "").createOnly().filterable(as: "instanceId").shown("Identity"),
      .optionalText("identitySecret", \.identitySecret).createOnly(),
      .cost("cost", \.cost).filterable(isListed: false).shown("Cost"),
      .precedence("precedence", \.precedence).filterable(isListed: false).shown("Precedence"),
    ],
    filters: [
      .text("hostId"), .text("sourceCtrl"), .linked("service.name", "serviceId", .services),
      .linked("router.name", "routerId", .edgeRouters),
    ],
    indexed: [IndexedMember("hostId")], hidden: ["isSystem", "peerData", "savedPrecedence", "sourceCtrl"])
}
