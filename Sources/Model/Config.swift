public import JSON

/// Named data of a config type, attached to services or routers (management spec 1.6).
public struct Config: DeclaredEntity {
  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var name: String
  /// Immutable.
  public var configTypeId: String
  /// Valid against the schema of the type: see `validate(against:)`.
  public var data: JSONObject

  public init(
    id: String, name: String, configTypeId: String, data: JSONObject = [:], tags: JSONObject = [:],
    isSystem: Bool = false,
    createdAt: Timestamp = .epoch, updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.name = name
    self.configTypeId = configTypeId
    self.data = data
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public var uniqueName: String? { name }

  public func validate() throws(ModelError) {
    try validateMembers()
    guard !configTypeId.isEmpty else {
      throw ModelError(field: "configTypeId", reason: "configTypeId is required", value: "")
    }
  }

  /// Checks `data` against the schema of its type; every violation found is in the reason.
  public func validate(against type: ConfigType) throws(ModelError) {
    guard let schema = type.schema else { return }
    let violations = try ConfigType.compiled(schema).violations(of: .object(data))
    guard let first = violations.first else { return }
    let reasons = violations.prefix(8).map(\.description).joined(separator: "; ")
    throw ModelError(field: first.path, reason: "\(first.path) is invalid: \(reasons)", value: .object(data))
  }
}

extension Config {
  public static let declaration = Kind<Config>(
    .configs, "config",
    members: [
      .name(\.name),
      .reference("configTypeId", \.configTypeId, to: .configTypes, shownAs: "configType")
        .createOnly().filterable(as: "type").indexed().shown("Config Type"),
      .object("data", \.data, isRequired: true).filterable(isListed: false),
    ], related: ["services"])
}
