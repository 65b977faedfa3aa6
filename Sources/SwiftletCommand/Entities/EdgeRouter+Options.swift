import ArgumentParser
import JSON
import Model

/// What create and update of an edge router share.
struct EdgeRouterFields: ParsableArguments {
  @Option(name: [.customShort("a"), .long], help: ArgumentHelp("Role attributes.", valueName: "a,b"))
  var roleAttributes: [CommaList] = []

  @Option(
    name: .customLong("host"),
    help: ArgumentHelp(
      "Host name or address that its certificates may carry; repeat it for several. Without any, what it enrolls with and nobody else has.",
      valueName: "host"), transform: AddressArgument.host)
  var hosts: [String] = []

  @Option(help: ArgumentHelp("Cost of paths over it, 0 to 65535.", valueName: "cost"))
  var cost: Int?

  @Flag(inversion: .prefixedNo, help: "Whether paths may go through it, not only begin or end there.")
  var traversal: Bool?

  @Flag(inversion: .prefixedNo, help: "Whether it is kept from connecting.")
  var disabled: Bool?

  @OptionGroup var tagging: TagOptions

  func fill(_ body: inout JSONObject) {
    body.set("roleAttributes", roleAttributes)
    if !hosts.isEmpty { body["allowedNames"] = JSONValue(hosts) }
    body.set("cost", cost)
    body.set("noTraversal", traversal.map { !$0 })
    body.set("disabled", disabled)
  }
}

struct NewEdgeRouter: NewEntity {
  static let kind = EntityDescription.edgeRouter
  static let examples = """
    swiftlet create edge-router paris -a public --host paris.example.com -o paris.jwt
    swiftlet create edge-router edge1 --cost 10 --no-traversal -o edge1.jwt
    """

  @Argument(help: "Its name.")
  var name: String

  @Option(
    name: [.customShort("o"), .customLong("jwt-output-file")],
    help: ArgumentHelp("Write the enrollment token there.", valueName: "file"))
  var tokenFile: String?

  @OptionGroup var fields: EdgeRouterFields

  var title: String { name }
  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = ["name": .string(name), "isTunnelerEnabled": false]
    fields.fill(&body)
    return body
  }
}

struct EdgeRouterChange: UpdateOptions {
  static let kind = EntityDescription.edgeRouter
  static let examples = """
    swiftlet update edge-router paris -a public,europe
    swiftlet update edge-router paris --disabled
    swiftlet update edge-router paris --host paris.example.com --host 192.0.2.7
    """

  @Option(name: [.customShort("n"), .customLong("name")], help: ArgumentHelp("New name.", valueName: "name"))
  var newName: String?

  @OptionGroup var fields: EdgeRouterFields

  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [:]
    body.set("name", newName)
    fields.fill(&body)
    return body
  }
}
