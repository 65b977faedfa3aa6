import ArgumentParser
import Controller
import Foundation
import Logging

struct ControllerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "controller", abstract: "Run a controller.",
    discussion: """
      Examples:
        swiftlet controller init controller.yml --username admin
        swiftlet controller run controller.yml
      """,
    subcommands: [ControllerRunCommand.self, ControllerInitCommand.self])
}

struct ControllerRunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run a controller until SIGINT or SIGTERM.",
    discussion: """
      Examples:
        swiftlet controller run controller.yml
        swiftlet controller run controller.yml -v --log-format json
      """)

  @Argument(help: ArgumentHelp("Configuration, YAML with OpenZiti's keys.", valueName: "config.yml"))
  var configuration: String

  @OptionGroup var log: LogOptions

  func run() async throws {
    let logger = log.logger("controller")
    let node = try await ControllerLaunch.node(configuration, logger: logger)
    try await ServiceRun.run([node], logger: logger)
  }
}

struct ControllerInitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Make the first administrator, before the controller runs.",
    discussion: """
      Examples:
        swiftlet controller init controller.yml --username admin
        echo "$PASSWORD" | swiftlet controller init controller.yml --username admin --password-stdin
      """)

  @Argument(help: ArgumentHelp("Configuration, YAML with OpenZiti's keys.", valueName: "config.yml"))
  var configuration: String

  @Option(name: .shortAndLong, help: ArgumentHelp("User name of the administrator.", valueName: "name"))
  var username = "admin"

  @Flag(help: "Read the password from standard input instead of asking.")
  var passwordStdin = false

  @OptionGroup var log: LogOptions

  func run() async throws {
    guard let password = passwordStdin ? readLine() : Terminal.secret("Password for \(username)"), !password.isEmpty
    else {
      throw CommandFailure("no password given for \(username)")
    }
    let node = try await ControllerLaunch.node(configuration, logger: log.logger("controller", quiet: .warning))
    do {
      try await node.provisioning.setAdminPassword(username: username, password: password)
    } catch {
      throw CommandFailure("cannot make the administrator \(username)", error)
    }
    Terminal.output.line(
      "Administrator \(username) is ready. Start the controller: swiftlet controller run \(configuration)")
  }
}

enum ControllerLaunch {
  static func node(_ path: String, logger: Logger) async throws -> ControllerNode {
    do {
      let configuration = try ControllerConfiguration.load(path: path)
      return try await ControllerNode(configuration: configuration, logger: logger)
    } catch {
      throw CommandFailure("cannot start the controller of \(path)", error)
    }
  }
}
