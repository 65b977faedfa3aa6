import ArgumentParser
import JSON
import Model

/// Whether an entity is made or changed.
protocol DeclaredVerb {
  static var isCreation: Bool { get }
}

enum Creation: DeclaredVerb { static let isCreation = true }
enum Changing: DeclaredVerb { static let isCreation = false }

/// `create` of a kind whose declaration says all.
struct NewDeclared<E: DeclaredEntity>: NewEntity {
  static var kind: EntityDescription { EntityDescription(E.self) }
  static var examples: String {
    E.declaration.examples.create.map { "swiftlet create \(E.declaration.singular) \($0)" }.joined(separator: "\n")
  }

  @OptionGroup var fields: MemberOptions<E, Creation>
  @OptionGroup var tagging: TagOptions

  var title: String { fields.given["name"]?.first ?? "" }

  func body(_ names: NameResolver) async throws -> JSONObject { try await fields.body(names) }
}

/// `update` of a kind whose declaration says all.
struct DeclaredChange<E: DeclaredEntity>: UpdateOptions {
  static var kind: EntityDescription { EntityDescription(E.self) }
  static var examples: String {
    E.declaration.examples.update.map { "swiftlet update \(E.declaration.singular) \($0)" }.joined(separator: "\n")
  }

  @OptionGroup var fields: MemberOptions<E, Changing>
  @OptionGroup var tagging: TagOptions

  func body(_ names: NameResolver) async throws -> JSONObject { try await fields.body(names) }
}

/// The words and options of a kind's members. ArgumentParser finds the arguments of a type by its mirror, and gives
/// their values by their names: here both come from the declaration.
struct MemberOptions<E: DeclaredEntity, Verb: DeclaredVerb>: ParsableArguments, CustomReflectable {
  /// What was given, by member.
  private(set) var given: [String: [String]] = [:]

  init() {}

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: MemberKey.self)
    for member in E.declaration.members {
      let key = MemberKey(stringValue: member.name)
      switch Form(member) {
      case .none: break
      case .argument: given[member.name] = [try container.decode(Argument<String>.self, forKey: key).wrappedValue]
      case .initial: given[member.name] = [try container.decode(Option<String>.self, forKey: key).wrappedValue]
      case .option:
        given[member.name] = try container.decode(Option<String?>.self, forKey: key).wrappedValue.map { [$0] }
      case .list:
        let lists = try container.decode(Option<[CommaList]>.self, forKey: key).wrappedValue
        if !lists.isEmpty { given[member.name] = lists.flat }
      }
    }
  }

  var customMirror: Mirror {
    Mirror(
      self,
      children: E.declaration.members.compactMap { member -> Mirror.Child? in
        Form(member).wrapper.map { (label: "_" + member.name, value: $0) }
      })
  }

  /// How a member is given.
  private enum Form {
    case none
    case argument(help: ArgumentHelp)
    case option(NameSpecification, ArgumentHelp)
    case initial(String, NameSpecification, ArgumentHelp)
    case list(NameSpecification, ArgumentHelp)

    init(_ member: Member<E>) {
      switch member.word {
      case .none: self = .none
      case .argument(let help) where Verb.isCreation: self = .argument(help: ArgumentHelp(help))
      case .argument:
        self =
          member.name == "name"
          ? .option([.customShort("n"), .long], ArgumentHelp("New name.", valueName: "name")) : .none
      case .option(let short, let value, let help, let initial):
        if member.isCreateOnly, !Verb.isCreation {
          self = .none
          return
        }
        let name: NameSpecification = if let short { [.customShort(short), .long] } else { .long }
        let told = ArgumentHelp(help, valueName: value)
        if case .list = member.shape {
          self = .list(name, told)
        } else if let initial, Verb.isCreation {
          self = .initial(initial, name, told)
        } else {
          self = .option(name, told)
        }
      }
    }

    /// As a property of a type would be wrapped.
    var wrapper: Any? {
      switch self {
      case .none: nil
      case .argument(let help): Argument<String>(help: help)
      case .option(let name, let help): Option<String?>(name: name, help: help)
      case .initial(let value, let name, let help): Option<String>(wrappedValue: value, name: name, help: help)
      case .list(let name, let help): Option<[CommaList]>(wrappedValue: [], name: name, help: help)
      }
    }
  }

  /// What was given, as the API takes it.
  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [:]
    for member in E.declaration.members {
      if let texts = given[member.name] { body[member.name] = try await value(texts, of: member, names) }
    }
    return body
  }

  private func value(_ texts: [String], of member: Member<E>, _ names: NameResolver) async throws -> JSONValue {
    let text = texts.first ?? ""
    switch member.meaning {
    case .roles(let kind, _): return try await names.roles(texts, of: try Self.description(of: kind))
    case .reference(let kind, _): return .string(try await names.id(try Self.description(of: kind), text))
    case .plain: break
    }
    switch member.shape {
    case .list: return JSONValue(texts)
    case .boolean:
      guard let isOn = Switch(argument: text)?.isOn else {
        throw CommandFailure("\(text) is no value of \(member.name)", next: "give ON or OFF")
      }
      return .bool(isOn)
    case .number:
      guard let number = Int(text) else { throw CommandFailure("\(text) is no number", next: "give \(member.name)") }
      return JSONValue(number)
    case .word(let words): return .string(words.first { $0.lowercased() == text.lowercased() } ?? text)
    case .map, .members: return .object(try JSONArgument.object(text, of: member.name))
    default: return .string(text)
    }
  }

  private static func description(of kind: EntityKind) throws -> EntityDescription {
    guard let description = EntityDescription.of(kind) else { throw CommandFailure("\(kind.rawValue) have no names") }
    return description
  }
}

/// The name of a member where a decoder wants a key.
private struct MemberKey: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }

  init(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}
