import ArgumentParser
import JSON
import Model

/// What create and update of a service share.
struct ServiceFields: ParsableArguments {
  @Option(name: [.customShort("a"), .long], help: ArgumentHelp("Role attributes.", valueName: "a,b"))
  var roleAttributes: [CommaList] = []

  @Option(name: [.customShort("c"), .long], help: ArgumentHelp("Ids or names of configs.", valueName: "a,b"))
  var configs: [CommaList] = []

  @Option(help: ArgumentHelp("How one of several hosts is chosen.", valueName: "name"))
  var terminatorStrategy: String?

  @Option(help: ArgumentHelp("End circuits that were idle that long: 30s, 5m, 1h; 0 for never.", valueName: "duration"))
  var maxIdleTime: DurationArgument?

  @Option(
    name: [.customShort("e"), .long],
    help: ArgumentHelp("Demand end-to-end encryption: ON or OFF.", valueName: "ON|OFF"))
  var encryption: Switch?

  @OptionGroup var tagging: TagOptions

  func fill(_ body: inout JSONObject, _ names: NameResolver) async throws {
    body.set("roleAttributes", roleAttributes)
    body.set("terminatorStrategy", terminatorStrategy)
    body.set("maxIdleTimeMillis", maxIdleTime?.milliseconds)
    body.set("encryptionRequired", encryption?.isOn)
    guard !configs.isEmpty else { return }
    var ids: [String] = []
    for config in configs.flat { ids.append(try await names.id(.config, config)) }
    body["configs"] = JSONValue(ids)
  }
}

struct NewService: NewEntity {
  static let kind = EntityDescription.service
  static let examples = """
    swiftlet create service web -a intranet
    swiftlet create service ssh -c ssh-intercept,ssh-host --max-idle-time 1h
    """

  @Argument(help: "Its name.")
  var name: String

  @OptionGroup var fields: ServiceFields

  var title: String { name }
  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = ["name": .string(name), "encryptionRequired": true]
    try await fields.fill(&body, names)
    return body
  }
}

struct ServiceChange: UpdateOptions {
  static let kind = EntityDescription.service
  static let examples = """
    swiftlet update service web -a intranet,public
    swiftlet update service web --encryption OFF
    """

  @Option(name: [.customShort("n"), .customLong("name")], help: ArgumentHelp("New name.", valueName: "name"))
  var newName: String?

  @OptionGroup var fields: ServiceFields

  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [:]
    body.set("name", newName)
    try await fields.fill(&body, names)
    return body
  }
}

/// `ON` or `OFF`, also `true` and `false`.
struct Switch: ExpressibleByArgument, Sendable {
  let isOn: Bool

  init?(argument: String) {
    switch argument.lowercased() {
    case "on", "true", "yes": isOn = true
    case "off", "false", "no": isOn = false
    default: return nil
    }
  }
}
