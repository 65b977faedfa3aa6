import ArgumentParser
import JSON
import Model

/// One kind of thing the management API keeps, as data: every verb of the command line reads its path, its names and
/// its columns here.
struct EntityDescription: Sendable {
  /// As the command line and messages say it: `edge-router`.
  let singular: String
  /// As the API's paths say it: `edge-routers`.
  let plural: String
  let aliases: [String]
  let columns: [Column]
  /// Collections below one entity that can be listed: `list identity services alice`.
  let related: [String]
  /// False for kinds that are found by id alone.
  let hasName: Bool

  var path: String { "/" + plural }
  var title: String { singular.replacing("-", with: " ") }

  init(
    _ singular: String, _ plural: String, aliases: [String] = [], related: [String] = [], hasName: Bool = true,
    columns: [Column]
  ) {
    self.singular = singular
    self.plural = plural
    self.aliases = aliases
    self.columns = columns
    self.related = related
    self.hasName = hasName
  }

  /// What the declaration of a kind says.
  /// - Parameters:
  ///   - columns: others than those of its members.
  ///   - more: those that no member has.
  init<E: DeclaredEntity>(_ type: E.Type, columns: [Column]? = nil, more: [Column] = []) {
    let kind = E.declaration
    self.init(
      kind.singular, kind.collection.rawValue, aliases: kind.aliases, related: kind.related,
      hasName: kind.members.contains { $0.name == "name" },
      columns: columns ?? [.id] + kind.members.compactMap { Column($0) } + more)
  }

  static func of(_ kind: EntityKind) -> EntityDescription? { catalogue.first { $0.plural == kind.rawValue } }

  static func named(_ name: String) -> EntityDescription? {
    catalogue.first { $0.singular == name || $0.plural == name || $0.aliases.contains(name) }
  }
}

/// One column of a list: its header and how a row's document becomes text.
struct Column: Sendable {
  let header: String
  let alignment: Table.Alignment
  let text: @Sendable (JSONValue) -> String

  init(_ header: String, _ alignment: Table.Alignment = .left, text: @escaping @Sendable (JSONValue) -> String) {
    self.header = header
    self.alignment = alignment
    self.text = text
  }

  /// The member at a path, `identity.name`.
  static func member(_ header: String, _ path: String, _ alignment: Table.Alignment = .left) -> Column {
    let names = path.split(separator: ".").map(String.init)
    return Column(header, alignment) { document in
      names.reduce(document as JSONValue?) { value, name in value?[name] }?.plain ?? ""
    }
  }

  /// Roles with names instead of ids where the controller gives them.
  static func roles(_ header: String, _ member: String) -> Column {
    Column(header) { document in
      let shown = document[member + "Display"]?.arrayValue?.compactMap { $0["name"]?.stringValue }
      return (shown ?? document[member]?.stringArrayValue ?? []).joined(separator: " ")
    }
  }

  /// Of a member; nil where lists do not show it.
  init?<E: Entity>(_ member: Member<E>) {
    guard let header = member.column else { return nil }
    let isNumber = if case .number = member.shape { true } else { false }
    if let reference = member.referenceName {
      self = .member(header, reference + ".name")
    } else if case .roles = member.meaning {
      self = .roles(header, member.name)
    } else {
      self = .member(header, member.stored, isNumber ? .right : .left)
    }
  }

  static let id = member("ID", "id")
  static let name = member("Name", "name")
}

/// The name of an entity kind on the command line, in singular, plural or short form.
struct KindArgument: ExpressibleByArgument, Sendable {
  let description: EntityDescription

  init?(argument: String) {
    guard let description = EntityDescription.named(argument) else { return nil }
    self.description = description
  }

  init(_ description: EntityDescription) { self.description = description }

  static var allValueStrings: [String] { EntityDescription.catalogue.map(\.plural) }
}
