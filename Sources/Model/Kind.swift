/// A kind of entity, declared once: what bodies may say and how they are read, what filters may name, what is indexed,
/// what details refer to, and how the command line calls it. `REST`, `Store`, `Controller` and the commands read it
/// here; what a kind does beyond it stands in its extensions.
public final class Kind<E: Entity>: Sendable {
  public let collection: EntityKind
  /// As the command line and messages say it: `edge-router`.
  public let singular: String
  public let aliases: [String]
  /// In the order in which bodies are read and lists show them.
  public let members: [Member<E>]
  /// What filters may name, beside what all kinds have.
  public let filters: [FilterName]
  public let indexed: [IndexedMember]
  /// Members of documents that details do not show.
  public let hidden: [String]
  /// Collections below one entity that can be listed: `list identity services alice`.
  public let related: [String]
  /// Lines of help for `create` and for `update`.
  public let examples: (create: [String], update: [String])

  /// - Parameters:
  ///   - members: what operators give; none for what comes into being otherwise. `tags` is added.
  ///   - filters: names that no member brings.
  ///   - indexed: members of documents that no body gives.
  public init(
    _ collection: EntityKind, _ singular: String, aliases: [String] = [], members: [Member<E>] = [],
    filters: [FilterName] = [], indexed: [IndexedMember] = [], hidden: [String] = ["isSystem"], related: [String] = [],
    examples: (create: [String], update: [String]) = ([], [])
  ) {
    self.collection = collection
    self.singular = singular
    self.aliases = aliases
    self.members = members.isEmpty ? [] : members + [.tags]
    self.filters = members.flatMap(\.filters) + filters
    self.indexed = members.compactMap(\.index) + indexed
    self.hidden = hidden
    self.related = related
    self.examples = examples
  }

  /// What a replacement takes.
  public var shape: BodyShape {
    .members(
      members.filter { !$0.isCreateOnly }.map { member in
        (name: member.name, shape: member.isRequired ? BodyShape.required(member.shape) : member.shape)
      })
  }

  /// What creation takes.
  public var creationShape: BodyShape {
    .members(
      members.map { member in
        (name: member.name, shape: member.isRequiredToCreate ? BodyShape.required(member.shape) : member.shape)
      })
  }
}

/// An entity of a declared kind.
public protocol DeclaredEntity: Entity {
  static var declaration: Kind<Self> { get }
}

extension DeclaredEntity {
  public static var kind: EntityKind { declaration.collection }
  public static var indexedMembers: [IndexedMember] { declaration.indexed }

  /// Takes every member from a body.
  public mutating func readMembers(_ body: EntityBody) throws(ModelError) {
    for member in Self.declaration.members { try member.read(body, into: &self) }
  }

  /// The checks of all kinds and those of the members.
  public func validateMembers() throws(ModelError) {
    try validateBase()
    for member in Self.declaration.members { try member.check(self) }
  }

  public func validate() throws(ModelError) { try validateMembers() }
}
