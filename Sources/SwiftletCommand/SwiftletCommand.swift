// SwiftletCommand: the executable `swiftlet`: reads the command line, calls the targets below it, and shows what
// happened to a person or a script. It decides nothing about the network: rights live in `Access`, protocol in `Fabric`
// and `Transport`, storage in `Store`. Start reading here for the list of commands, then at
// `EntityDescription+Catalogue.swift` for everything the management verbs know.

import ArgumentParser
import Foundation
import Transport

@main
struct SwiftletCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swiftlet",
    abstract: "A zero-trust overlay network: services that no port scan can find.",
    discussion: """
      First steps:
        swiftlet quickstart                                a network in one process
        swiftlet login localhost:1280 -u admin             sign in to a controller
        swiftlet create identity alice -o alice.jwt        a token to enroll with
        swiftlet enroll alice.jwt -o alice.json            a key and certificate
        swiftlet tunnel proxy -i alice.json demo:8080      demo on 127.0.0.1:8080
      """,
    version: Build.summary,
    groupedSubcommands: [
      CommandGroup(
        name: "Run",
        subcommands: [QuickstartCommand.self, ControllerCommand.self, RouterCommand.self, TunnelCommand.self]),
      CommandGroup(name: "Share", subcommands: [ShareCommand.self, AccessCommand.self]),
      CommandGroup(
        name: "Identity",
        subcommands: [EnrollCommand.self, LoginCommand.self, LogoutCommand.self, ProfilesCommand.self]),
      CommandGroup(
        name: "Manage",
        subcommands: [CreateCommand.self, ListCommand.self, ShowCommand.self, UpdateCommand.self, DeleteCommand.self]),
      CommandGroup(name: "Other", subcommands: [VersionCommand.self]),
    ])

  static func main() async {
    do {
      var command = try parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch let failure as CommandFailure {
      failure.report()
      exit(withError: ExitCode.failure)
    } catch let failure as PrivateFile.Failure {
      CommandFailure(failure).report()
      exit(withError: ExitCode.failure)
    } catch {
      exit(withError: error)
    }
  }
}
