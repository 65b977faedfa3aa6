import ArgumentParser
import Foundation
import NIOCore

/// What every command that talks to a controller takes.
struct ConnectionOptions: ParsableArguments {
  @Option(name: [.customShort("i"), .long], help: ArgumentHelp("Use this saved login.", valueName: "name"))
  var profile: String?

  @Flag(name: [.customShort("j"), .customLong("output-json")], help: "Print the controller's answer as JSON.")
  var outputJSON = false

  @Option(help: ArgumentHelp("Seconds to wait for an answer.", valueName: "seconds"))
  var timeout = 15

  func client() throws -> ManagementClient {
    try ManagementClient(profile: ProfileStore.load().profile(profile), timeout: .seconds(Int64(max(1, timeout))))
  }
}

/// How lists and details are shown.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable { case table, json }

/// Tags of an entity, on create and update.
struct TagOptions: ParsableArguments {
  @Option(name: [.customShort("t"), .long], help: ArgumentHelp("A tag; may be repeated.", valueName: "key=value"))
  var tags: [KeyValue] = []

  @Option(help: ArgumentHelp("Tags as a JSON object.", valueName: "json"))
  var tagsJson: String?
}

/// `key=value`.
struct KeyValue: ExpressibleByArgument, Sendable {
  let key: String
  let value: String

  init?(argument: String) {
    guard let sign = argument.firstIndex(of: "="), sign != argument.startIndex else { return nil }
    key = String(argument[..<sign])
    value = String(argument[argument.index(after: sign)...])
  }
}

/// A list on the command line: commas, repetition, or both.
struct CommaList: ExpressibleByArgument, Sendable {
  let items: [String]

  init?(argument: String) {
    items = argument.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
  }
}

extension [CommaList] {
  var flat: [String] { flatMap(\.items) }
}
