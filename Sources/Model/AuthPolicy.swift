public import JSON

/// Which proofs an identity may use (management spec 1.16).
public struct AuthPolicy: Entity {
  public static let kind = EntityKind.authPolicies

  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var name: String
  public var primary: PrimaryAuthPolicy
  public var secondary: SecondaryAuthPolicy

  public init(
    id: String, name: String, primary: PrimaryAuthPolicy = PrimaryAuthPolicy(),
    secondary: SecondaryAuthPolicy = SecondaryAuthPolicy(),
    tags: JSONObject = [:], isSystem: Bool = false, createdAt: Timestamp = .epoch, updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.name = name
    self.primary = primary
    self.secondary = secondary
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public var uniqueName: String? { name }

  public func validate() throws(ModelError) {
    try validateBase()
    try validate(name: name)
  }

  /// Id of the built-in policy that identities without another one use.
  public static let defaultID = "default"
}
