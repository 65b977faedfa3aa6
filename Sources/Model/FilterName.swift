/// What a name in a filter means for one kind of entity (management spec 4.3). Only declared names can be used.
public struct FilterName: Sendable {
  public enum Source: Sendable {
    /// A column of the table.
    case id, name, createdAt, updatedAt, isSystem
    /// A member of the document.
    case member([String], FilterType)
    /// An array of strings in the document; `elements` is the kind the strings are ids of, for sub-queries.
    case set([String], elements: EntityKind?)
    /// A member of the entity whose id a member of this document holds.
    case linked([String], EntityKind, [String], FilterType)
    /// The ids of entities of another kind whose member is the id of this one.
    case reverse(EntityKind, [String])
    /// An object of free members: `tags.region`.
    case object([String])
    /// A set known to the running controller only, such as what policies bring together; of ids of `elements`, for
    /// sub-queries.
    case relation(elements: EntityKind?)
    /// A truth value known to the running controller only.
    case live
  }

  public let name: String
  public let source: Source
  /// Whether `meta.filterableFields` names it.
  public let isListed: Bool

  public init(_ name: String, _ source: Source, isListed: Bool = true) {
    self.name = name
    self.source = source
    self.isListed = isListed
  }

  /// One that may be used, though OpenZiti's controllers do not name it.
  public var unlisted: FilterName { FilterName(name, source, isListed: false) }

  // MARK: Those that are no members of bodies

  /// - Parameter path: where it stands in the document, `a.b`; nil where it stands under its own name.
  public static func member(_ name: String, _ type: FilterType, at path: String? = nil) -> FilterName {
    FilterName(name, .member((path ?? name).split(separator: ".").map(String.init), type))
  }
  public static func text(_ name: String, at path: String? = nil) -> FilterName { member(name, .text, at: path) }
  public static func bool(_ name: String, at path: String? = nil) -> FilterName { member(name, .bool, at: path) }
  public static func datetime(_ name: String) -> FilterName { member(name, .datetime) }
  public static func strings(_ name: String) -> FilterName { FilterName(name, .set([name], elements: nil)) }

  /// A member of the entity that `member` names.
  public static func linked(_ name: String, _ member: String, _ kind: EntityKind, _ target: String = "name")
    -> FilterName
  {
    FilterName(name, .linked([member], kind, [target], .text))
  }

  /// The entities of a kind whose `member` names this one.
  public static func reverse(_ name: String, _ kind: EntityKind, _ member: String) -> FilterName {
    FilterName(name, .reverse(kind, [member]), isListed: false)
  }

  public static func relation(_ name: String, _ elements: EntityKind, isListed: Bool = false) -> FilterName {
    FilterName(name, .relation(elements: elements), isListed: isListed)
  }

  public static func live(_ name: String) -> FilterName { FilterName(name, .live) }

  /// What entities of every kind have.
  public static let common = [
    FilterName("id", .id), FilterName("createdAt", .createdAt), FilterName("updatedAt", .updatedAt),
    FilterName("isSystem", .isSystem), FilterName("tags", .object(["tags"])),
  ]
}
