import ArgumentParser
import EdgeRouter
import Foundation
import Logging
import Transport

struct RouterCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "router", abstract: "Enroll and run an edge router.",
    discussion: """
      Examples:
        swiftlet router enroll router.yml --jwt router.jwt
        swiftlet router run router.yml
      """,
    subcommands: [RouterEnrollCommand.self, RouterRunCommand.self])
}

struct RouterEnrollCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "enroll",
    abstract: "Turn a router's enrollment token into the key and certificates its configuration names.",
    discussion: """
      Examples:
        swiftlet create edge-router paris -a public -o paris.jwt
        swiftlet router enroll router.yml --jwt paris.jwt
      """)

  @Argument(help: ArgumentHelp("Configuration, YAML with OpenZiti's keys.", valueName: "config.yml"))
  var configuration: String

  @Option(name: .shortAndLong, help: ArgumentHelp("File with the token.", valueName: "file"))
  var jwt: String

  func run() async throws {
    let token = String(decoding: try PrivateFile.read(jwt, what: "the token", limit: 64 << 10), as: UTF8.self)
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let settings = try RouterLaunch.configuration(configuration)
    do {
      try await Spinner.during("enrolling the router") {
        try await RouterEnrollment.enroll(jwt: token, configuration: settings)
      }
    } catch {
      throw CommandFailure("cannot enroll the router of \(configuration) with \(jwt)", error)
    }
    Terminal.output.line("Enrolled. Start the router: swiftlet router run \(configuration)")
  }
}

struct RouterRunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run a router until SIGINT or SIGTERM.",
    discussion: """
      Examples:
        swiftlet router run router.yml
        swiftlet router run router.yml -v
      """)

  @Argument(help: ArgumentHelp("Configuration, YAML with OpenZiti's keys.", valueName: "config.yml"))
  var configuration: String

  @OptionGroup var log: LogOptions

  func run() async throws {
    let logger = log.logger("router")
    let settings = try RouterLaunch.configuration(configuration)
    let node: RouterNode
    do {
      node = try await RouterNode(configuration: settings, logger: logger)
    } catch {
      throw CommandFailure("cannot start the router of \(configuration)", error)
    }
    try await ServiceRun.run([node], logger: logger)
  }
}

enum RouterLaunch {
  static func configuration(_ path: String) throws -> RouterConfiguration {
    do {
      return try RouterConfiguration.load(path: path)
    } catch {
      throw CommandFailure("cannot use the configuration \(path)", error)
    }
  }
}
