import ArgumentParser
import JSON
import Model

struct NewTerminator: NewEntity {
  static let kind = EntityDescription.terminator
  static let examples = """
    swiftlet create terminator web paris tcp:10.0.0.7:80
    """

  @Argument(help: "Id or name of the service.")
  var service: String

  @Argument(help: "Id or name of the edge router that reaches the address.")
  var router: String

  @Argument(help: "The address, in the form of the binding.")
  var address: String

  @Option(help: ArgumentHelp("How the router reaches it.", valueName: "name"))
  var binding = "edge_transport"

  @Option(name: [.customShort("c"), .long], help: ArgumentHelp("Cost, 0 to 65535.", valueName: "cost"))
  var cost: Int?

  @Option(
    name: [.customShort("p"), .long],
    help: ArgumentHelp("Precedence: default, required or failed.", valueName: "precedence"))
  var precedence: String?

  @Option(help: ArgumentHelp("Name under which it can be dialled alone.", valueName: "name"))
  var identity: String?

  @OptionGroup var tagging: TagOptions

  var title: String { "of \(service)" }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [
      "service": .string(try await names.id(.service, service)),
      "router": .string(try await names.id(.edgeRouter, router)),
      "address": .string(address),
      "binding": .string(binding),
    ]
    body.set("cost", cost)
    body.set("precedence", precedence)
    body.set("identity", identity)
    return body
  }
}

struct TerminatorChange: UpdateOptions {
  static let kind = EntityDescription.terminator
  static let examples = """
    swiftlet update terminator 4EcDuuUIO0ORgWXZ33RUH0 --cost 100 --precedence required
    """

  @Option(name: [.customShort("c"), .long], help: ArgumentHelp("Cost, 0 to 65535.", valueName: "cost"))
  var cost: Int?

  @Option(
    name: [.customShort("p"), .long],
    help: ArgumentHelp("Precedence: default, required or failed.", valueName: "precedence"))
  var precedence: String?

  @Option(help: ArgumentHelp("New address.", valueName: "address"))
  var address: String?

  @Option(help: ArgumentHelp("New binding.", valueName: "name"))
  var binding: String?

  @OptionGroup var tagging: TagOptions

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [:]
    body.set("cost", cost)
    body.set("precedence", precedence)
    body.set("address", address)
    body.set("binding", binding)
    return body
  }
}
