import ArgumentParser
import Foundation
import Logging
import ServiceLifecycle
import ShareAgent
import SwiftletShare

struct ShareAgentCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "agent", abstract: "Keep shares and accesses up, through restarts of anything.",
    discussion: """
      Examples:
        swiftlet share agent Examples/agent.yml
        swiftlet share agent status
        swiftlet share agent enroll
      """,
    subcommands: [
      ShareAgentRunCommand.self, ShareAgentStatusCommand.self, ShareAgentEnrollCommand.self,
      ShareAgentUnenrollCommand.self,
    ],
    defaultSubcommand: ShareAgentRunCommand.self)
}

struct ShareAgentRunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run the agent of this machine.",
    discussion: """
      Each share and access is called active only after a nonce came back through the real data path. Keys of the file: Examples/agent.yml
      It also keeps what it is asked for while it runs: at agent.socket in the environment's directory, where zrok's own clients look, and by the share
      service once this machine is enrolled (swiftlet share agent enroll).

      Examples:
        swiftlet share agent run Examples/agent.yml
        swiftlet share agent run
      """)

  @Argument(help: ArgumentHelp("What to keep, in YAML. Without it only what it is asked for.", valueName: "file"))
  var file: String?

  @OptionGroup var home: ShareHomeOptions
  @OptionGroup var log: LogOptions

  func run() async throws {
    let logger = log.logger("agent")
    var configuration = AgentConfiguration()
    if let file {
      do { configuration = try AgentConfiguration.load(path: file) } catch {
        throw CommandFailure("cannot read \(file)", error)
      }
    }
    let agent = Agent(session: try home.session(logger), configuration: configuration, logger: logger)
    do { try await ServiceRun.run([agent], logger: logger) } catch {
      throw CommandFailure("the agent cannot run", error)
    }
  }
}

struct ShareAgentStatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show what the running agent of this machine keeps, with its last proof.")

  @OptionGroup var home: ShareHomeOptions

  func run() async throws {
    let environment = try home.environment()
    guard let report = Agent.report(environment) else {
      throw CommandFailure("no agent runs for \(environment.directory)")
    }
    let out = Terminal.output
    if report.entries.isEmpty { out.line("The agent runs and keeps nothing yet.") }
    for entry in report.entries {
      let style: Terminal.Style = entry.phase == .active ? .green : entry.phase == .failing ? .red : .yellow
      let proof =
        entry.lastProof.map { "reached \(max(0, Int(Date().timeIntervalSince1970) - $0)) s ago" } ?? "never reached"
      let origin = entry.isOrdered ? "  (ordered)" : ""
      // Orders come from afar.
      let (label, places) = (CellText.clean(entry.label), CellText.clean(entry.places.joined(separator: ", ")))
      out.line("\(out.styled(entry.phase.rawValue, style))  \(entry.kind)  \(label)  \(proof)  \(places)\(origin)")
      if let error = entry.error { out.line("    " + CellText.clean(error)) }
    }
    let endpoint = environment.enabled?.endpoint
    if let hint = report.entries.flatMap(\.places).compactMap({ LoopbackName.hint($0, endpoint: endpoint) }).first {
      out.line(CellText.clean(hint))
    }
  }
}

struct ShareAgentEnrollCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "enroll", abstract: "Let the share service give orders to this machine's agent.",
    discussion: """
      Whoever has the account's token, and whoever runs the share service, can then have the agent share anything that it can read on this machine, and open ports.
      A running agent notices by itself. Orders are given with: swiftlet share remote

      Examples:
        swiftlet share agent enroll
      """)

  @Flag(name: .shortAndLong, help: "Do not ask.")
  var yes = false

  @OptionGroup var home: ShareHomeOptions

  func run() async throws {
    let session = try home.session(Logger(label: "share"))
    let endpoint = session.environment.enabled?.endpoint ?? ""
    guard
      yes
        || Terminal.confirms(
          "Whoever has the account's token, and whoever runs \(endpoint), can then share this machine's files and open its ports. Go on?"
        )
    else { throw CommandFailure("the agent was not enrolled", next: "say yes, or give --yes") }
    do { try await Spinner.during("enrolling") { try await session.enrollAgent() } } catch {
      throw CommandFailure("cannot enroll the agent", error)
    }
    Terminal.output.line("The agent of this machine takes orders from \(endpoint). It runs with: swiftlet share agent")
  }
}

struct ShareAgentUnenrollCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unenroll", abstract: "End that; what was ordered before is kept until it is released.")

  @OptionGroup var home: ShareHomeOptions

  func run() async throws {
    let session = try home.session(Logger(label: "share"))
    do { try await session.unenrollAgent() } catch {
      throw CommandFailure("this machine takes no more orders, but the share service still lists it as enrolled", error)
    }
    Terminal.output.line("The agent of this machine takes no more orders from afar.")
  }
}
