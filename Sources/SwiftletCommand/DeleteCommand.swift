import ArgumentParser
import Foundation
import JSON
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
      A filter may have an order and a page: what it lists is what is deleted. More than one is asked about on a terminal.

      Entities: \(EntityDescription.catalogue.map(\.singular).joined(separator: ", "))

      Examples:
        swiftlet delete identity alice
        swiftlet delete service web chat --ignore-missing
        swiftlet delete services where 'name contains "test"'
        swiftlet delete identities where 'name contains "zz" sort by name limit 3' --yes
      """,
    aliases: ["rm"])

  @OptionGroup var connection: ConnectionOptions

  @Argument(help: "Kind of entity.")
  var entity: KindArgument

  @Argument(help: "Ids or names; or the word where and a filter.")
  var names: [String]

  @Flag(help: "A missing entity is no error.")
  var ignoreMissing = false

  @Flag(name: .shortAndLong, help: "Do not ask before several are deleted.")
  var yes = false

  func run() async throws {
    let client = try connection.client()
    let kind = entity.description
    let deletion = Deletion(client: client, kind: kind, isQuiet: connection.outputJSON)
    var outcomes: [Deletion.Outcome] = []
    if names.first == "where" {
      guard names.count == 2, let filter = names.last else {
        throw CommandFailure(
          "where needs one filter",
          next: "put it in quotes: swiftlet delete \(kind.plural) where 'name contains \"test\"'")
      }
      let selection = try FilterSelection(filter, of: kind)
      let found = try await selection.list(client)
      if !connection.outputJSON { Terminal.output.line(selection.summary(found)) }
      if found.entities.count > 1, !yes, isatty(STDIN_FILENO) != 0,
        !Terminal.confirms(Self.question(found.entities, kind))
      {
        throw CommandFailure("nothing was deleted", next: "say yes, or give --yes")
      }
      for entity in found.entities { outcomes.append(await deletion.delete(entity.id)) }
    } else {
      let resolver = NameResolver(client: client)
      for name in names { outcomes.append(try await delete(name, deletion, resolver)) }
    }
    if connection.outputJSON { Terminal.output.line(JSONValue.object(["data": .array(outcomes.map(\.json))]).indented) }
    if outcomes.contains(where: \.isFailure) { throw ExitCode.failure }
  }

  private func delete(_ name: String, _ deletion: Deletion, _ resolver: NameResolver) async throws -> Deletion.Outcome {
    let found = try await resolver.matches(deletion.kind, name)
    if found.isEmpty, ignoreMissing { return deletion.note(.missing, name) }
    do { return await deletion.delete(try await resolver.id(deletion.kind, name)) } catch let failure as CommandFailure
    {
      failure.report()
      return .init(id: name, state: .failed)
    }
  }

  private static func question(_ entities: [FilterSelection.Entity], _ kind: EntityDescription) -> String {
    let shown = entities.prefix(5).map { CellText.clean($0.name.isEmpty ? $0.id : $0.name) }.joined(separator: ", ")
    return "Delete \(entities.count) \(kind.plural): \(shown)\(entities.count > 5 ? ", ..." : "")?"
  }
}

/// Deletes one after the other, and tells what became of each.
struct Deletion: Sendable {
  enum State: String, Sendable { case deleted, missing, failed }

  struct Outcome: Sendable, Equatable {
    let id: String
    let state: State

    var isFailure: Bool { state == .failed }
    var json: JSONValue { ["id": .string(id), "state": .string(state.rawValue)] }
  }

  let client: ManagementClient
  let kind: EntityDescription
  /// Says nothing of each.
  let isQuiet: Bool

  func delete(_ id: String) async -> Outcome {
    do {
      _ = try await client.send(
        "DELETE", "\(kind.path)/\(id.pathSegment)", doing: "delete the \(kind.title) with id \(id)")
      return note(.deleted, id)
    } catch let failure as CommandFailure where failure.status == 404 {
      // Somebody else was quicker: it is gone, as was wanted.
      return note(.missing, id)
    } catch {
      (error as? CommandFailure ?? CommandFailure("cannot delete the \(kind.title) with id \(id)", error)).report()
      return Outcome(id: id, state: .failed)
    }
  }

  func note(_ state: State, _ id: String) -> Outcome {
    if !isQuiet {
      Terminal.output.line("delete of \(kind.title) with id \(id): \(state == .deleted ? "OK" : "not found")")
    }
    return Outcome(id: id, state: state)
  }
}

/// What a filter lists, page by page, with its own order, `skip` and `limit` over the whole.
struct FilterSelection: Sendable {
  struct Entity: Sendable, Equatable {
    let id: String
    let name: String
  }

  struct Found: Sendable, Equatable {
    var entities: [Entity] = []
    /// Matches, whatever page was asked for.
    var total = 0
  }

  /// What controllers give at most at once.
  private static let pageSize = 500

  let kind: EntityDescription
  /// Condition and order.
  let filter: String
  let skip: Int
  /// nil: all.
  let limit: Int?

  /// - Throws: `CommandFailure` for what is no filter, and for one that says nothing: an empty variable of a script
  ///   must not mean everything.
  init(_ text: String, of kind: EntityDescription) throws {
    self.kind = kind
    guard text.contains(where: { !$0.isWhitespace }) else {
      throw CommandFailure("the filter is empty", next: "to mean all \(kind.plural), write true")
    }
    let query: FilterQuery
    do { query = try FilterQuery(parsing: text) } catch { throw CommandFailure("the filter cannot be read", error) }
    skip = max(query.skip ?? 0, 0)
    switch query.limit {
    case .count(let count)?:
      guard count >= -1 else {
        throw CommandFailure("\(count) is no limit", next: "give a number of \(kind.plural), or none")
      }
      limit = count < 0 ? nil : count
    case FilterLimit.none?, nil: limit = nil
    }
    filter = Self.withoutPage(text, query)
  }

  /// `skip` and `limit` stand behind all else, in this order.
  private static func withoutPage(_ text: String, _ query: FilterQuery) -> String {
    var rest = text[...]
    for (word, isThere) in [("limit", query.limit != nil), ("skip", query.skip != nil)] where isThere {
      if let range = rest.range(of: word, options: [.backwards, .caseInsensitive]) { rest = rest[..<range.lowerBound] }
    }
    return rest.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Everything that is selected, before anything is changed: pages would move under a change.
  func list(_ client: ManagementClient) async throws -> Found {
    try await list { query in try await client.send("GET", kind.path, query: query, doing: "list \(kind.plural)") }
  }

  /// - Parameter page: asks for one page, and gives the envelope.
  func list(_ page: ([(String, String)]) async throws -> JSONValue) async throws -> Found {
    var found = Found()
    var seen: Set<String> = []
    var offset = skip
    while limit.map({ found.entities.count < $0 }) ?? true {
      let wanted = min(Self.pageSize, limit.map { $0 - found.entities.count } ?? Self.pageSize)
      var query = [("limit", "\(wanted)"), ("offset", "\(offset)")]
      if !filter.isEmpty { query.append(("filter", filter)) }
      let envelope = try await page(query)
      found.total = envelope["meta"]?["pagination"]?["totalCount"]?.intValue ?? found.total
      let documents = envelope["data"]?.arrayValue ?? []
      // One that gives more than was asked for is no reason to take more.
      for document in documents.prefix(wanted) {
        guard let id = document["id"]?.stringValue, seen.insert(id).inserted else { continue }
        found.entities.append(Entity(id: id, name: document["name"]?.stringValue ?? ""))
      }
      offset += documents.count
      if documents.isEmpty || offset >= found.total { break }
    }
    return found
  }

  func summary(_ found: Found) -> String {
    guard !found.entities.isEmpty else { return "filter returned no results" }
    return "filter returned results: \(skip + 1)-\(skip + found.entities.count) of \(found.total)"
  }
}
