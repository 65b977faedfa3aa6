import ArgumentParser
import Foundation
import Logging
import ServiceLifecycle
import Share
import SwiftletShare

struct ShareAgentCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "agent", abstract: "Keep the shares and accesses of a file up, through restarts of anything.",
    discussion: """
      Each is called active only after a nonce came back through the real data path. Keys of the file: Examples/agent.yml

      Examples:
        swiftlet share agent Examples/agent.yml
        swiftlet share agent --status
      """)

  @Argument(help: ArgumentHelp("What to keep, in YAML.", valueName: "file"))
  var file: String?

  @Flag(help: "Show what the running agent of this machine keeps, with its last proof.")
  var status = false

  @OptionGroup var home: ShareHomeOptions
  @OptionGroup var log: LogOptions

  func validate() throws {
    guard (file != nil) != status else { throw ValidationError("Give a file, or --status") }
  }

  func run() async throws {
    if status { return try show() }
    let logger = log.logger("agent")
    let configuration: AgentConfiguration
    do { configuration = try AgentConfiguration.load(path: file ?? "") } catch { throw CommandFailure("cannot read \(file ?? "")", error) }
    let agent = ShareAgent(session: try home.session(logger), configuration: configuration, logger: logger)
    do { try await ServiceRun.run([agent], logger: logger) } catch { throw CommandFailure("the agent cannot run", error) }
  }

  private func show() throws {
    let environment = try home.environment()
    guard let report = ShareAgent.report(environment) else { throw CommandFailure("no agent runs for \(environment.directory)") }
    let out = Terminal.output
    for entry in report.entries {
      let style: Terminal.Style = entry.phase == .active ? .green : entry.phase == .failing ? .red : .yellow
      let proof = entry.lastProof.map { "reached \(max(0, Int(Date().timeIntervalSince1970) - $0)) s ago" } ?? "never reached"
      out.line("\(out.styled(entry.phase.rawValue, style))  \(entry.kind)  \(entry.label)  \(proof)  \(entry.places.joined(separator: ", "))")
      if let error = entry.error { out.line("    \(error)") }
    }
  }
}
