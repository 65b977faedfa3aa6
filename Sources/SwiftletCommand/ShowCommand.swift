import ArgumentParser
import JSON
import Model
import Transport

struct ShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show one entity with all its fields.",
    discussion: """
      Entities: \(EntityDescription.catalogue.map(\.singular).joined(separator: ", "))

      Examples:
        swiftlet show identity alice
        swiftlet show service web -o json
        swiftlet show config-type host.v1 -o json
      """)

  @OptionGroup var connection: ConnectionOptions

  @Argument(help: "Kind of entity.")
  var entity: KindArgument

  @Argument(help: "Its id or name.")
  var name: String

  @Option(name: .shortAndLong, help: "How to print it: table or json.")
  var output: OutputFormat = .table

  func run() async throws {
    let client = try connection.client()
    let kind = entity.description
    let id = try await NameResolver(client: client).id(kind, name)
    let envelope = try await client.send(
      "GET", "\(kind.path)/\(id.pathSegment)", doing: "show the \(kind.title) \(name)")
    if connection.outputJSON { return Terminal.output.line(envelope.indented) }
    let document = envelope["data"] ?? .null
    if output == .json { return Terminal.output.line(document.indented) }
    var table = Table(headers: ["Field", "Value"], alignments: [.left, .left])
    for (field, value) in (document.objectValue ?? [:]).sorted(by: { Self.rank($0.key) < Self.rank($1.key) })
    where field != "_links" {
      table.rows.append([field, Self.text(value)])
    }
    Terminal.output.line(table.text)
  }

  private static func rank(_ field: String) -> String {
    switch field {
    case "id": "0"
    case "name": "1"
    default: "2" + field
    }
  }

  /// A reference to another entity shows its name; a document is indented.
  private static func text(_ value: JSONValue) -> String {
    if value["_links"] != nil, let name = value["name"]?.stringValue { return name }
    guard case .object(let members) = value, !members.isEmpty else { return value.plain }
    return value.indented
  }
}
