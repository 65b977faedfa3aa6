import ArgumentParser
import Model
import Transport

struct DeleteCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Delete entities by id, name or filter.",
    usage: """
      swiftlet delete <entity> <id-or-name> ...
      swiftlet delete <entity> where <filter>
      """,
    discussion: """
      Entities: \(EntityDescription.catalogue.map(\.singular).joined(separator: ", "))

      Examples:
        swiftlet delete identity alice
        swiftlet delete service web chat --ignore-missing
        swiftlet delete services where 'name contains "test"'
      """,
    aliases: ["rm"])

  @OptionGroup var connection: ConnectionOptions

  @Argument(help: "Kind of entity.")
  var entity: EntityName

  @Argument(help: "Ids or names; or the word where and a filter.")
  var names: [String]

  @Flag(help: "A missing entity is no error.")
  var ignoreMissing = false

  func run() async throws {
    let client = try connection.client()
    let kind = entity.description
    if names.first == "where" {
      guard names.count == 2, let filter = names.last else {
        throw CommandFailure("where needs one filter", next: "put it in quotes: swiftlet delete \(kind.plural) where 'name contains \"test\"'")
      }
      return try await delete(matching: filter, kind, client)
    }
    let resolver = NameResolver(client: client)
    var failed = false
    for name in names {
      let found = try await resolver.matches(kind, name)
      if found.isEmpty, ignoreMissing {
        Terminal.output.line("delete of \(kind.title) \(name): not found")
        continue
      }
      do {
        let id = try await resolver.id(kind, name)
        try await delete(id, kind, client)
      } catch let failure as CommandFailure {
        failure.report()
        failed = true
      }
    }
    if failed { throw ExitCode.failure }
  }

  private func delete(_ id: String, _ kind: EntityDescription, _ client: ManagementClient) async throws {
    _ = try await client.send("DELETE", "\(kind.path)/\(id.pathSegment)", doing: "delete the \(kind.title) with id \(id)")
    Terminal.output.line("delete of \(kind.title) with id \(id): OK")
  }

  /// Lists first and deletes then, so that the pages do not move under the deletion.
  private func delete(matching filter: String, _ kind: EntityDescription, _ client: ManagementClient) async throws {
    var ids: [String] = []
    var total = 0
    repeat {
      let page = try await client.send(
        "GET", kind.path, query: [("filter", filter), ("limit", "500"), ("offset", "\(ids.count)")], doing: "list \(kind.plural)")
      total = page["meta"]?["pagination"]?["totalCount"]?.intValue ?? 0
      let found = (page["data"]?.arrayValue ?? []).compactMap { $0["id"]?.stringValue }
      if found.isEmpty { break }
      ids += found
    } while ids.count < total
    Terminal.output.line(ids.isEmpty ? "filter returned no results" : "filter returned results: 1-\(ids.count) of \(total)")
    for id in ids { try await delete(id, kind, client) }
  }
}
