import ArgumentParser
import Controller
import EdgeRouter
import Foundation
import Logging
import ServiceLifecycle
import Swiftlet
import Transport

struct QuickstartCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quickstart",
    abstract: "Start a whole network in one process: controller, edge router and a demo service.",
    discussion: """
      The first start makes an administrator and a demo service; later starts on the same directory find everything as it was left.

      Examples:
        swiftlet quickstart
        swiftlet quickstart --directory /tmp/net --host 192.0.2.7
        swiftlet quickstart --host ::1
      """)

  @Option(help: ArgumentHelp("Where keys, certificates and the model are kept.", valueName: "path"))
  var directory = "./swiftlet-data"

  @Option(
    help: ArgumentHelp(
      "Name or address that clients dial; beyond this machine the network listens on all addresses.", valueName: "host"),
    transform: AddressArgument.host)
  var host = "127.0.0.1"

  @Option(help: ArgumentHelp("Port of the controller.", valueName: "port"))
  var port = 1280

  @Option(help: ArgumentHelp("Port of the edge router.", valueName: "port"))
  var routerPort = 3022

  @OptionGroup var log: LogOptions

  func validate() throws {
    for port in [port, routerPort] { try AddressArgument.requirePort(port) }
  }

  func run() async throws {
    let logger = log.logger("quickstart", quiet: .warning)
    let network = QuickstartNetwork(
      directory: directory, host: host, port: port, routerPort: routerPort, logger: logger
    ) { report in
      Self.show(report)
    }
    do {
      try await ServiceRun.run([network], logger: logger)
    } catch {
      throw CommandFailure("the network in \(directory) cannot run", error)
    }
    Terminal.error.line("Stopped. The same command starts it again with everything it had.")
  }

  private static func show(_ report: QuickstartNetwork.Report) {
    let out = Terminal.output
    let program = CommandLine.arguments.first ?? "swiftlet"
    out.line()
    out.line("\(out.styled("The network is up.", .green)) Controller \(report.url), edge router \(report.router)")
    out.line()
    if let password = report.password {
      out.line("  administrator  \(out.styled("admin", .bold))")
      out.line("  password       \(out.styled(password, .bold))   (shown once)")
    } else {
      out.line("  administrator  admin, with the password that the first start showed")
    }
    out.line()
    if let demo = report.demo {
      out.line("See a request cross the overlay. In two more terminals:")
      out.line("  \(program) tunnel host -i \(demo.host) --demo \(QuickstartNetwork.service)")
      out.line("  \(program) tunnel proxy -i \(demo.client) \(QuickstartNetwork.service):8080")
      out.line("and in a third one:")
      out.line("  curl http://127.0.0.1:8080/")
      out.line()
    }
    out.line("Manage it:  \(program) login \(ShellWord.quoted(report.url.replacing("https://", with: ""))) -u admin")
    out.line("Ctrl-C stops it.")
  }
}
