public import JSON

/// A kind of config with an optional JSON Schema (management spec 1.5).
public struct ConfigType: DeclaredEntity {
  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var name: String
  /// JSON Schema draft-07, root type `object`.
  public var schema: JSONObject?
  /// Immutable.
  public var target: ConfigTarget

  public init(
    id: String, name: String, schema: JSONObject? = nil, target: ConfigTarget = .service, tags: JSONObject = [:],
    isSystem: Bool = false,
    createdAt: Timestamp = .epoch, updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.name = name
    self.schema = schema
    self.target = target
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public var uniqueName: String? { name }

  public func validate() throws(ModelError) {
    try validateMembers()
    guard name != "all" else {
      throw ModelError(field: "name", reason: "config type name 'all' is reserved", value: "all")
    }
    if let schema {
      guard schema["type"] == "object" else {
        throw ModelError(
          field: "schema", reason: "the root type of the schema must be object", value: schema["type"] ?? .null)
      }
      _ = try Self.compiled(schema)
    }
  }

  /// The schema, ready to judge data.
  static func compiled(_ schema: JSONObject) throws(ModelError) -> JSONSchema {
    do throws(JSONSchemaError) { return try JSONSchema(schema) } catch { throw ModelError(error) }
  }
}

extension ConfigType {
  public static let declaration = Kind<ConfigType>(
    .configTypes, "config-type",
    members: [
      .name(\.name),
      .optionalObject("schema", \.schema).filterable(),
      // `other` is no word of OpenZiti's document; its own model has such types all the same.
      .word("target", \.target, ["service", "router", "other"], default: .service) { ConfigTarget(rawValue: $0) }
        .createOnly().filterable().shown("Target"),
    ],
    filters: [.reverse("configs", .configs, "configTypeId")], related: ["configs"])
}
