import ArgumentParser
import JSON
import Model
import Transport

struct ListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List entities, or those related to one entity.",
    usage: """
      swiftlet list <entities> [<filter>]
      swiftlet list <entity> <related> <id-or-name> [<filter>]
      """,
    discussion: """
      Entities: \(EntityDescription.catalogue.map(\.plural).joined(separator: ", "))

      Examples:
        swiftlet list services
        swiftlet list services 'name contains "web" sort by name limit 5'
        swiftlet list identities 'anyOf(roleAttributes) = "staff"'
        swiftlet list edge-routers 'isVerified = true' -o json
        swiftlet list identity services alice
      """,
    aliases: ["ls"])

  @OptionGroup var connection: ConnectionOptions

  @Argument(help: "What to list.")
  var entity: KindArgument

  @Argument(help: "A filter, or a relation and an id or name.")
  var rest: [String] = []

  @Option(name: .shortAndLong, help: "How to print it: table or json.")
  var output: OutputFormat = .table

  @Option(help: ArgumentHelp("Entities on a page, at most 500; -1 for all of them.", valueName: "number"))
  var limit: Int?

  @Option(help: ArgumentHelp("Entities to skip.", valueName: "number"))
  var offset: Int?

  @Option(help: ArgumentHelp("Order, such as 'name' or 'createdAt desc'.", valueName: "fields"))
  var sort: String?

  @Option(
    help: ArgumentHelp("Only entities with these roles (identities, services, edge-routers).", valueName: "#attr,@id"))
  var roleFilters: [CommaList] = []

  @Option(help: ArgumentHelp("How several roles combine: AnyOf or AllOf.", valueName: "semantic"))
  var roleSemantic: String?

  func run() async throws {
    let client = try connection.client()
    var kind = entity.description
    var path = kind.path
    var words = rest[...]
    if words.count >= 2, let relation = words.first, kind.related.contains(relation) {
      let name = words[words.startIndex + 1]
      path += "/\(try await NameResolver(client: client).id(kind, name).pathSegment)/\(relation)"
      words = words.dropFirst(2)
      guard let listed = EntityDescription.named(relation) else { throw CommandFailure("\(relation) cannot be shown") }
      kind = listed
    }
    guard words.count <= 1 else {
      throw CommandFailure(
        "too many arguments: \(words.joined(separator: " "))",
        next: "put the filter in quotes: swiftlet list \(kind.plural) '\(rest.joined(separator: " "))'"
          + (entity.description.related.isEmpty
            ? ""
            : "\nrelations of \(entity.description.singular): \(entity.description.related.joined(separator: ", "))"))
    }
    let envelope = try await client.send("GET", path, query: query(filter: words.first), doing: "list \(kind.plural)")
    if output == .json || connection.outputJSON { return Terminal.output.line(envelope.indented) }
    Self.print(envelope, kind)
  }

  private func query(filter: String?) -> [(String, String)] {
    var query: [(String, String)] = []
    if let filter { query.append(("filter", filter)) }
    if let limit { query.append(("limit", "\(limit)")) }
    if let offset { query.append(("offset", "\(offset)")) }
    if let sort { query.append(("sort", sort)) }
    query += roleFilters.flat.map { ("roleFilter", $0) }
    if let roleSemantic { query.append(("roleSemantic", roleSemantic)) }
    return query
  }

  static func print(_ envelope: JSONValue, _ kind: EntityDescription) {
    let items = envelope["data"]?.arrayValue ?? []
    var table = Table(headers: kind.columns.map(\.header), alignments: kind.columns.map(\.alignment))
    table.rows = items.map { item in kind.columns.map { $0.text(item) } }
    Terminal.output.line(table.text)
    let page = envelope["meta"]?["pagination"]
    let offset = page?["offset"]?.intValue ?? 0
    let total = page?["totalCount"]?.intValue ?? items.count
    Terminal.output.line(items.isEmpty ? "results: none" : "results: \(offset + 1)-\(offset + items.count) of \(total)")
  }
}
