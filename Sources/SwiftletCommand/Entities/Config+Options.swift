import ArgumentParser
import JSON
import Model

struct NewConfig: NewEntity {
  static let kind = EntityDescription.config
  static let examples = """
    swiftlet create config web-host host.v1 '{"protocol": "tcp", "address": "127.0.0.1", "port": 8000}'
    swiftlet create config web-intercept intercept.v1 -f intercept.json
    """

  @Argument(help: "Its name.")
  var name: String

  @Argument(help: "Id or name of its config type.")
  var type: String

  @Argument(help: "The data, a JSON object.")
  var json: String?

  @Option(
    name: [.customShort("f"), .customLong("json-file")],
    help: ArgumentHelp("Read the data from a file.", valueName: "file"))
  var file: String?

  @OptionGroup var tagging: TagOptions

  var title: String { name }

  func body(_ names: NameResolver) async throws -> JSONObject {
    guard let data = try ConfigData.object(json, file: file) else {
      throw CommandFailure("no data given for the config \(name)", next: "add a JSON object, or -f FILE")
    }
    return [
      "name": .string(name), "configTypeId": .string(try await names.id(.configType, type)), "data": .object(data),
    ]
  }
}

struct ConfigChange: UpdateOptions {
  static let kind = EntityDescription.config
  static let examples = """
    swiftlet update config web-host --data '{"protocol": "tcp", "address": "127.0.0.1", "port": 8001}'
    swiftlet update config web-host -f host.json
    """

  @Option(name: [.customShort("n"), .customLong("name")], help: ArgumentHelp("New name.", valueName: "name"))
  var newName: String?

  @Option(
    name: [.customShort("d"), .long],
    help: ArgumentHelp("New data, a JSON object; replaces the old.", valueName: "json"))
  var data: String?

  @Option(
    name: [.customShort("f"), .customLong("json-file")],
    help: ArgumentHelp("Read the new data from a file.", valueName: "file"))
  var file: String?

  @OptionGroup var tagging: TagOptions

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [:]
    body.set("name", newName)
    body.set("data", try ConfigData.object(data, file: file))
    return body
  }
}

struct NewConfigType: NewEntity {
  static let kind = EntityDescription.configType
  static let examples = """
    swiftlet create config-type app.v1 '{"type": "object", "properties": {"port": {"type": "integer"}}}'
    swiftlet create config-type app.v1 -f schema.json --target service
    """

  @Argument(help: "Its name.")
  var name: String

  @Argument(help: "JSON Schema of its configs.")
  var schema: String?

  @Option(
    name: [.customShort("f"), .customLong("schema-file")],
    help: ArgumentHelp("Read the schema from a file.", valueName: "file"))
  var file: String?

  @Option(help: ArgumentHelp("What its configs are for: service or router.", valueName: "target"))
  var target: String?

  @OptionGroup var tagging: TagOptions

  var title: String { name }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = ["name": .string(name)]
    body.set("schema", try ConfigData.object(schema, file: file))
    body.set("target", target)
    return body
  }
}

struct ConfigTypeChange: UpdateOptions {
  static let kind = EntityDescription.configType
  static let examples = """
    swiftlet update config-type app.v1 -f schema.json
    """

  @Option(name: [.customShort("n"), .customLong("name")], help: ArgumentHelp("New name.", valueName: "name"))
  var newName: String?

  @Option(help: ArgumentHelp("New JSON Schema.", valueName: "json"))
  var schema: String?

  @Option(
    name: [.customShort("f"), .customLong("schema-file")],
    help: ArgumentHelp("Read the new schema from a file.", valueName: "file"))
  var file: String?

  @OptionGroup var tagging: TagOptions

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [:]
    body.set("name", newName)
    body.set("schema", try ConfigData.object(schema, file: file))
    return body
  }
}

/// A JSON object given in place or by file; the file wins when both are given.
enum ConfigData {
  static func object(_ text: String?, file: String?) throws -> JSONObject? {
    if let file { return try JSONArgument.object(file: file, of: "the file") }
    return try text.map { try JSONArgument.object($0, of: "the data") }
  }
}
