import ArgumentParser
import Foundation
import JSON
import Model
import Transport

/// What one kind of entity takes on creation. The verb itself, its errors and its output are written once, in `Create`.
protocol NewEntity: ParsableArguments {
  static var kind: EntityDescription { get }
  static var examples: String { get }
  /// What messages call the new entity.
  var title: String { get }
  var tagging: TagOptions { get }
  /// Where to write the enrollment token that came into being with the entity.
  var tokenFile: String? { get }
  func body(_ names: NameResolver) async throws -> JSONObject
}

extension NewEntity {
  var tokenFile: String? { nil }
}

struct CreateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Create an entity.",
    discussion: """
      Examples:
        swiftlet create identity alice -a staff -o alice.jwt
        swiftlet create service web -a intranet
        swiftlet create service-policy staff-dial Dial --service-roles '#intranet' --identity-roles '#staff'
      """,
    subcommands: [
      Create<NewIdentity>.self, Create<NewService>.self, Create<NewConfig>.self, Create<NewConfigType>.self,
      Create<NewDeclared<ServicePolicy>>.self,
      Create<NewDeclared<EdgeRouterPolicy>>.self, Create<NewDeclared<ServiceEdgeRouterPolicy>>.self,
      Create<NewEdgeRouter>.self,
      Create<NewTerminator>.self,
      Create<NewEnrollment>.self, Create<NewAuthenticator>.self,
    ])
}

struct Create<New: NewEntity>: AsyncParsableCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: New.kind.singular, abstract: "Create \(New.kind.article) \(New.kind.title).",
      discussion: "Examples:\n" + New.examples.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n"),
      aliases: New.kind.aliases)
  }

  @OptionGroup var new: New
  @OptionGroup var connection: ConnectionOptions

  func run() async throws { try await run(try connection.client()) }

  func run(_ client: ManagementClient) async throws {
    let kind = New.kind
    var body = try await new.body(NameResolver(client: client))
    if let tags = try new.tagging.object() { body["tags"] = .object(tags) }
    let envelope = try await client.send("POST", kind.path, body: body, doing: "create the \(kind.title) \(new.title)")
    guard let id = envelope["data"]?["id"]?.stringValue else {
      throw CommandFailure("the controller created the \(kind.title) \(new.title) without telling its id")
    }
    if connection.outputJSON {
      Terminal.output.line(envelope.indented)
    } else {
      Terminal.output.line("New \(kind.title) \(new.title) created with id: \(id)")
    }
    if let file = new.tokenFile { try await writeToken(of: id, to: file, client) }
  }

  private func writeToken(of id: String, to file: String, _ client: ManagementClient) async throws {
    let kind = New.kind
    let document = try await client.send(
      "GET", "\(kind.path)/\(id.pathSegment)", doing: "read the enrollment of \(new.title)")["data"]
    let enrollment = document?["enrollment"]?["ott"] ?? document?["enrollment"]?["updb"]
    guard
      let token = enrollment?["jwt"]?.stringValue ?? document?["enrollmentJwt"]?.stringValue
        ?? document?["jwt"]?.stringValue
    else {
      throw CommandFailure("the \(kind.title) \(new.title) exists, but has no enrollment token to write")
    }
    try PrivateFile.write(token, to: file)
    guard !connection.outputJSON else { return }
    let expiry =
      enrollment?["expiresAt"]?.stringValue ?? document?["enrollmentExpiresAt"]?.stringValue
      ?? document?["expiresAt"]?.stringValue
    Terminal.output.line("Enrollment token written to \(file)" + (expiry.map { ", expires at \($0)" } ?? ""))
  }
}

extension EntityDescription {
  var article: String { singular.first.map { "aeiou".contains($0) } == true ? "an" : "a" }
}

extension TagOptions {
  /// Nil when no tags were given at all.
  func object() throws -> JSONObject? {
    guard !tags.isEmpty || tagsJson != nil else { return nil }
    var object = try tagsJson.map { try JSONArgument.object($0, of: "--tags-json") } ?? [:]
    for tag in tags { object[tag.key] = .string(tag.value) }
    return object
  }
}

/// JSON given on the command line or in a file.
enum JSONArgument {
  static func object(_ text: String, of name: String) throws -> JSONObject {
    let value: JSONValue
    do {
      value = try JSONValue(parsing: text)
    } catch {
      throw CommandFailure(
        "\(name) is not JSON", reason: "\(error)", next: "put it in single quotes: '{\"key\": \"value\"}'")
    }
    guard let object = value.objectValue else {
      throw CommandFailure("\(name) must be a JSON object, not \(value.typeName)")
    }
    return object
  }

  static func object(file: String, of name: String) throws -> JSONObject {
    try object(
      String(decoding: try PrivateFile.read(file, what: "the JSON document", limit: 1 << 20), as: UTF8.self),
      of: "\(name) \(file)")
  }
}
