import JSON

/// How a policy combines the `#attribute` entries of a role list (management spec 2.1).
public enum Semantic: String, Sendable, Codable, CaseIterable {
  case allOf = "AllOf"
  case anyOf = "AnyOf"

  /// Compares without case, as upstream accepts it.
  public init?(text: String) {
    switch text.lowercased() {
    case "allof": self = .allOf
    case "anyof": self = .anyOf
    default: return nil
    }
  }
}

/// A role list taken apart: `#all`, `@id` entries, `#attribute` entries.
///
/// An entity matches when it is listed by id, or the list is `#all`, or there are attributes and the entity has all
/// (`AllOf`) or one (`AnyOf`) of them. Ids are alternatives whatever the semantic; an empty list matches nothing.
public struct RoleList: Sendable, Equatable {
  public let isAll: Bool
  public let ids: Set<String>
  public let attributes: Set<String>

  public init(_ roles: [String], field: String) throws(ModelError) {
    var ids: Set<String> = []
    var attributes: Set<String> = []
    for role in roles {
      try NameText.check(role, field: field)
      let rest = String(role.dropFirst())
      guard let mark = role.first, mark == "#" || mark == "@" else {
        throw ModelError(
          field: field,
          reason: "role entries must prefixed with # (to indicate role attributes) or @ (to indicate a name or id)",
          value: JSONValue(roles))
      }
      guard !rest.isEmpty else {
        throw ModelError(field: field, reason: "role entry '\(role)' names nothing", value: JSONValue(roles))
      }
      if mark == "@" { ids.insert(rest) } else { attributes.insert(rest) }
    }
    let isAll = attributes.contains("all")
    guard !isAll || roles.count == 1 else {
      throw ModelError(
        field: field, reason: "if using #all, it should be the only role specified", value: JSONValue(roles))
    }
    self.isAll = isAll
    self.ids = ids
    self.attributes = isAll ? [] : attributes
  }

  /// For lists that were validated when they were stored: entries that are no roles are left out, and so match nothing.
  public init(stored roles: [String]) {
    isAll = roles == ["#all"]
    ids = Set(roles.lazy.filter { $0.hasPrefix("@") }.map { String($0.dropFirst()) })
    attributes =
      isAll ? [] : Set(roles.lazy.filter { $0.hasPrefix("#") && $0 != "#all" }.map { String($0.dropFirst()) })
  }

  public func matches(id: String, attributes entityAttributes: some Collection<String>, semantic: Semantic) -> Bool {
    if isAll || ids.contains(id) { return true }
    guard !attributes.isEmpty else { return false }
    switch semantic {
    case .anyOf: return entityAttributes.contains(where: attributes.contains)
    case .allOf:
      let own = Set(entityAttributes)
      return attributes.isSubset(of: own)
    }
  }
}

/// What a service policy allows its identities to do.
public enum PolicyType: String, Sendable, Codable, CaseIterable {
  case dial = "Dial"
  case bind = "Bind"
}

/// The same two words where they are rights of a caller on a service.
public typealias Permission = PolicyType

/// How a terminator ranks before cost counts (management spec 3.1).
public enum Precedence: String, Sendable, Codable, CaseIterable {
  case `default`
  case required
  case failed

  /// Unknown words count as `default` (management spec 1.1).
  public init(text: String) { self = Precedence(rawValue: text.lowercased()) ?? .default }
}
