import ArgumentParser
import JSON
import Model

/// What create and update of an identity share.
struct IdentityFields: ParsableArguments {
  @Option(name: [.customShort("a"), .long], help: ArgumentHelp("Role attributes.", valueName: "a,b"))
  var roleAttributes: [CommaList] = []

  @Option(help: ArgumentHelp("The name another identity provider knows it by.", valueName: "id"))
  var externalId: String?

  @Option(help: ArgumentHelp("Permissions on the management API.", valueName: "p,q"))
  var permissions: [CommaList] = []

  @Option(
    name: [.customShort("p"), .long],
    help: ArgumentHelp("Precedence of what it hosts: default, required or failed.", valueName: "precedence"))
  var defaultHostingPrecedence: String?

  @Option(
    name: [.customShort("c"), .long], help: ArgumentHelp("Cost of what it hosts, 0 to 65535.", valueName: "cost"))
  var defaultHostingCost: Int?

  @Option(help: ArgumentHelp("Cost when it hosts this service.", valueName: "service=cost"))
  var serviceCosts: [KeyValue] = []

  @Option(help: ArgumentHelp("Precedence when it hosts this service.", valueName: "service=precedence"))
  var servicePrecedences: [KeyValue] = []

  @Option(help: ArgumentHelp("Application data.", valueName: "key=value"))
  var appData: [KeyValue] = []

  @Option(help: ArgumentHelp("Application data as a JSON object.", valueName: "json"))
  var appDataJson: String?

  @Option(help: ArgumentHelp("Application data from a file.", valueName: "file"))
  var appDataJsonFile: String?

  @Option(name: [.customShort("P"), .long], help: ArgumentHelp("Id of the authentication policy.", valueName: "id"))
  var authPolicy: String?

  @OptionGroup var tagging: TagOptions

  func fill(_ body: inout JSONObject, _ names: NameResolver) async throws {
    body.set("roleAttributes", roleAttributes)
    body.set("externalId", externalId)
    body.set("permissions", permissions)
    body.set("defaultHostingPrecedence", defaultHostingPrecedence)
    body.set("defaultHostingCost", defaultHostingCost)
    body.set("authPolicyId", authPolicy)
    var costs: JSONObject = [:]
    for entry in serviceCosts {
      guard let cost = Int(entry.value) else {
        throw CommandFailure("\(entry.value) is not a cost", next: "give a number from 0 to 65535")
      }
      costs[try await names.id(.service, entry.key)] = JSONValue(cost)
    }
    if !costs.isEmpty { body["serviceHostingCosts"] = .object(costs) }
    var precedences: JSONObject = [:]
    for entry in servicePrecedences { precedences[try await names.id(.service, entry.key)] = .string(entry.value) }
    if !precedences.isEmpty { body["serviceHostingPrecedences"] = .object(precedences) }
    body.set("appData", try appDataObject())
  }

  private func appDataObject() throws -> JSONObject? {
    guard !appData.isEmpty || appDataJson != nil || appDataJsonFile != nil else { return nil }
    var object = try appDataJsonFile.map { try JSONArgument.object(file: $0, of: "--app-data-json-file") } ?? [:]
    if let appDataJson { object.merge(try JSONArgument.object(appDataJson, of: "--app-data-json")) { $1 } }
    for entry in appData { object[entry.key] = .string(entry.value) }
    return object
  }
}

struct NewIdentity: NewEntity {
  static let kind = EntityDescription.identity
  static let examples = """
    swiftlet create identity alice -a staff -o alice.jwt
    swiftlet create identity operator --admin --updb operator -o operator.jwt
    """

  @Argument(help: "Its name.")
  var name: String

  @Flag(name: [.customShort("A"), .long], help: "Make it an administrator of the controller.")
  var admin = false

  @Option(
    name: [.customShort("o"), .customLong("jwt-output-file")],
    help: ArgumentHelp("Write the enrollment token there.", valueName: "file"))
  var tokenFile: String?

  @Option(help: ArgumentHelp("Enroll with this user name and a password instead of a certificate.", valueName: "user"))
  var updb: String?

  @OptionGroup var fields: IdentityFields

  var title: String { name }
  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = ["name": .string(name), "type": "Default", "isAdmin": .bool(admin)]
    body["enrollment"] = updb.map { ["updb": .string($0)] } ?? ["ott": true]
    try await fields.fill(&body, names)
    return body
  }
}

struct IdentityChange: UpdateOptions {
  static let kind = EntityDescription.identity
  static let examples = """
    swiftlet update identity alice -a staff,admins
    swiftlet update identity alice --name alice.smith
    """

  @Option(name: [.customShort("n"), .customLong("name")], help: ArgumentHelp("New name.", valueName: "name"))
  var newName: String?

  @OptionGroup var fields: IdentityFields

  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [:]
    body.set("name", newName)
    try await fields.fill(&body, names)
    return body
  }
}
