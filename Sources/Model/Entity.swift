// Model: the entities of a network, their validation, role expressions and the filter language, as plain values. It
// neither stores nor decides anything (that is `Store` and `Access`) and knows no sockets; nothing here reads a clock
// but `Timestamp.now()`. Start reading at `Entity` and one entity such as `Identity`, then `Roles.swift` and `Filter`.

public import JSON

/// What every stored thing has in common (management spec 1.1). The property names of entities are the JSON member
/// names of the REST details, so that a stored document and a rendered detail differ by computed members only.
public protocol Entity: Codable, Sendable, Equatable {
  static var kind: EntityKind { get }
  /// Whether changes are intent, numbered in change-sets. Sessions are activity: durable, but of no interest to
  /// replicas.
  static var isIntent: Bool { get }
  static var indexedMembers: [IndexedMember] { get }
  /// Names of members that must never leave the store in change-sets, events or logs.
  static var secretMembers: [String] { get }
  var id: String { get }
  var createdAt: Timestamp { get set }
  var updatedAt: Timestamp { get set }
  var tags: JSONObject { get set }
  var isSystem: Bool { get set }
  /// The name that must be unique within the kind; nil for kinds without names.
  var uniqueName: String? { get }
  /// Checks everything that can be judged from the entity alone; references to others are the caller's part.
  func validate() throws(ModelError)
}

extension Entity {
  public static var isIntent: Bool { true }
  public static var indexedMembers: [IndexedMember] { [] }
  public static var secretMembers: [String] { [] }
  public var uniqueName: String? { nil }

  /// The checks common to all kinds.
  public func validateBase() throws(ModelError) {
    guard !id.isEmpty, id.utf8.count <= 256 else {
      throw ModelError(field: "id", reason: "id must have 1 to 256 bytes", value: .string(id))
    }
    try NameText.check(id, field: "id")
    if let uniqueName { try NameText.check(uniqueName, field: "name") }
    for (name, value) in tags {
      try NameText.check(name, field: "tags")
      if case .array = value {
        throw ModelError(field: "tags", reason: "tag '\(name)' must not be an array", value: value)
      }
    }
  }

  public func validate(name: String) throws(ModelError) {
    guard !name.allSatisfy(\.isWhitespace) else {
      throw ModelError(field: "name", reason: "name is required", value: .string(name))
    }
    guard name.utf8.count <= 4096 else {
      throw ModelError(field: "name", reason: "name must not exceed 4096 bytes", value: .string(name))
    }
  }

  func validate(cost: Int, field: String = "cost") throws(ModelError) {
    guard (0...65535).contains(cost) else {
      throw ModelError(field: field, reason: "cost must be between 0 and 65535", value: JSONValue(cost))
    }
  }

  func validate(attributes: [String]) throws(ModelError) {
    for attribute in attributes {
      try NameText.check(attribute, field: "roleAttributes")
      guard let first = attribute.utf8.first else {
        throw ModelError(
          field: "roleAttributes", reason: "role attributes must not be empty", value: JSONValue(attributes))
      }
      guard first != UInt8(ascii: "#"), first != UInt8(ascii: "@") else {
        throw ModelError(
          field: "roleAttributes", reason: "role attributes must not begin with # or @", value: .string(attribute))
      }
    }
  }

  func validate(roles: [String], field: String) throws(ModelError) { _ = try RoleList(roles, field: field) }
}
