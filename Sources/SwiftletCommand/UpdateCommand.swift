import ArgumentParser
import JSON
import Model
import Transport

/// What one kind of entity lets be changed. Only what is given is sent: an update is a PATCH (management-and-model.md
/// 5.4).
protocol UpdateOptions: ParsableArguments {
  static var kind: EntityDescription { get }
  static var examples: String { get }
  var tagging: TagOptions { get }
  func body(_ names: NameResolver) async throws -> JSONObject
}

struct UpdateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "update", abstract: "Change fields of an entity.",
    discussion: """
      Only the fields given are changed.

      Examples:
        swiftlet update identity alice -a staff,admins
        swiftlet update service web --name intranet
      """,
    subcommands: [
      Update<IdentityChange>.self, Update<ServiceChange>.self, Update<ConfigChange>.self, Update<ConfigTypeChange>.self,
      Update<DeclaredChange<ServicePolicy>>.self,
      Update<DeclaredChange<EdgeRouterPolicy>>.self, Update<DeclaredChange<ServiceEdgeRouterPolicy>>.self,
      Update<EdgeRouterChange>.self,
      Update<TerminatorChange>.self,
      Update<AuthenticatorChange>.self,
    ])
}

struct Update<Change: UpdateOptions>: AsyncParsableCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: Change.kind.singular, abstract: "Change \(Change.kind.article) \(Change.kind.title).",
      discussion: "Examples:\n" + Change.examples.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n"),
      aliases: Change.kind.aliases)
  }

  @Argument(help: "Its id or name.")
  var name: String

  @OptionGroup var change: Change
  @OptionGroup var connection: ConnectionOptions

  func run() async throws { try await run(try connection.client()) }

  func run(_ client: ManagementClient) async throws {
    let names = NameResolver(client: client)
    let kind = Change.kind
    var body = try await change.body(names)
    if let tags = try change.tagging.object() { body["tags"] = .object(tags) }
    guard !body.isEmpty else {
      throw CommandFailure(
        "nothing to change was given for the \(kind.title) \(name)",
        next: "see what can be changed: swiftlet update \(kind.singular) --help")
    }
    let id = try await names.id(kind, name)
    let envelope = try await client.send(
      "PATCH", "\(kind.path)/\(id.pathSegment)", body: body, doing: "update the \(kind.title) \(name)")
    if connection.outputJSON { Terminal.output.line(envelope.indented) }
  }
}

extension JSONObject {
  /// Sets the member when there is a value.
  mutating func set(_ member: String, _ value: String?) { if let value { self[member] = .string(value) } }
  mutating func set(_ member: String, _ value: Int?) { if let value { self[member] = JSONValue(value) } }
  mutating func set(_ member: String, _ value: Bool?) { if let value { self[member] = .bool(value) } }
  mutating func set(_ member: String, _ value: JSONObject?) { if let value { self[member] = .object(value) } }
  /// Sets the member when the option was given; `''` gives an empty list.
  mutating func set(_ member: String, _ lists: [CommaList]) {
    if !lists.isEmpty { self[member] = JSONValue(lists.flat) }
  }
}
