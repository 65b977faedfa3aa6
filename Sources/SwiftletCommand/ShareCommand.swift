import ArgumentParser
import Foundation
import JSON
import Logging
import Model
import Swiftlet
import SwiftletShare
import Synchronization
import Transport
import WebRelay

struct ShareCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "share", abstract: "Share a local port or directory, with a URL or a private token.",
    discussion: """
      Examples:
        swiftlet share enable TOKEN --endpoint https://share.example.com
        swiftlet share public 8000
        swiftlet share public ./photos --name photos
        swiftlet share private 127.0.0.1:22 --backend-mode tcpTunnel
        swiftlet share serve
      """,
    subcommands: [
      SharePublicCommand.self, SharePrivateCommand.self, ShareReservedCommand.self, ShareEnableCommand.self,
      ShareDisableCommand.self,
      ShareStatusCommand.self,
      ShareOverviewCommand.self, ShareAgentCommand.self, ShareRemoteCommand.self, ShareReserveCommand.self,
      ShareReleaseCommand.self,
      ShareNamesCommand.self,
      ShareDeleteCommand.self, ShareConfigCommand.self, ShareInviteCommand.self, ShareRegisterCommand.self,
      ShareResetPasswordCommand.self,
      ShareServeCommand.self, ShareAdminCommand.self,
    ])
}

/// Where this machine keeps what it is at a share service, and whom it believes there.
struct ShareHomeOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Directory of the environment. Default: SWIFTLET_SHARE_HOME, ~/.zrok2 or ~/.zrok.", valueName: "directory"))
  var home: String?

  @Option(
    help: ArgumentHelp(
      "Believe the share service's certificate if it comes from these authorities (PEM).", valueName: "file"))
  var ca: String?

  func environment() throws -> ShareEnvironment {
    do { return try ShareEnvironment.load(directory: home) } catch {
      throw CommandFailure("cannot read this machine's environment", error)
    }
  }

  func session(_ logger: Logger) throws -> ShareSession {
    do { return try ShareSession(environment(), roots: ca, logger: logger) } catch {
      throw CommandFailure("cannot share", error)
    }
  }
}

struct ShareEnableCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "enable", abstract: "Make this machine an environment of an account.",
    discussion: """
      Examples:
        swiftlet share enable x7Kd02mPq1Zs --endpoint https://share.example.com
      """)

  @Argument(help: ArgumentHelp("The account's token.", valueName: "token"))
  var token: String

  @Option(
    help: ArgumentHelp("The share service. Default: ZROK2_API_ENDPOINT, or the setting apiEndpoint.", valueName: "url"))
  var endpoint: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("What people see. Default: user@host.", valueName: "text"))
  var description: String?

  @OptionGroup var options: ShareHomeOptions

  func run() async throws {
    var environment = try options.environment()
    let machine = ProcessInfo.processInfo
    let user = NSUserName()
    let description = description ?? "\(user)@\(machine.hostName)"
    let host = [user, machine.hostName, machine.operatingSystemVersionString].joined(separator: "; ")
    do {
      environment = try await Spinner.during("enabling") { [environment] in
        var made = environment
        try await ShareSession.enable(
          &made, token: token, endpoint: endpoint, description: description, host: host, roots: options.ca)
        return made
      }
    } catch {
      throw CommandFailure("cannot enable this machine", error)
    }
    Terminal.error.line("Enabled. Share something: swiftlet share public 8000")
  }
}

struct ShareDisableCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "disable", abstract: "Delete this machine's environment with everything it shares.")

  @Flag(help: "Forget it here even when the share service does not agree.")
  var force = false

  @OptionGroup var options: ShareHomeOptions

  func run() async throws {
    var environment = try options.environment()
    let wasKnown: Bool
    do { wasKnown = try await ShareSession.disable(&environment, force: force, roots: options.ca) } catch {
      throw CommandFailure(
        "cannot disable this machine", error, next: "forget it here all the same: swiftlet share disable --force")
    }
    Terminal.error.line(
      wasKnown ? "Disabled." : "Disabled here; the share service did not know this machine, or did not answer.")
  }
}

struct ShareStatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show what this machine is at a share service.")

  @Flag(help: "Show the account token.")
  var secrets = false

  @OptionGroup var options: ShareHomeOptions

  func run() async throws {
    let environment = try options.environment()
    let out = Terminal.output
    let endpoint = environment.endpoint
    out.line("directory      \(environment.directory)")
    out.line("apiEndpoint    \(endpoint.map { "\($0.url)   (\($0.source))" } ?? "not set")")
    if let enabled = environment.enabled {
      out.line("account token  \(secrets ? enabled.token : "<<SET>>")")
      out.line("environment    \(enabled.identity)")
    } else {
      out.line("not enabled; run: swiftlet share enable TOKEN")
    }
  }
}

struct ShareConfigCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "Show or change a setting: apiEndpoint, defaultNamespace, headless.",
    discussion: """
      Examples:
        swiftlet share config apiEndpoint
        swiftlet share config apiEndpoint https://share.example.com
        swiftlet share config apiEndpoint --unset
      """)

  @Argument(help: ArgumentHelp("The setting.", valueName: "name"))
  var name: String

  @Argument(help: ArgumentHelp("Its new value.", valueName: "value"))
  var value: String?

  @Flag(help: "Remove the setting.")
  var unset = false

  @OptionGroup var options: ShareHomeOptions

  func run() async throws {
    guard let setting = ShareEnvironment.Setting(rawValue: name) else {
      throw CommandFailure(
        "there is no setting \(name)",
        next: "settings are \(ShareEnvironment.Setting.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    var environment = try options.environment()
    if value != nil || unset {
      do { try environment.set(setting, to: unset ? nil : value) } catch {
        throw CommandFailure("cannot change the setting \(name)", error)
      }
      if setting == .apiEndpoint, environment.enabled != nil {
        Terminal.error.line("It takes effect once this machine is disabled.")
      }
    } else {
      Terminal.output.line(environment.setting(setting) ?? "")
    }
  }
}

struct ShareNameOptions: ParsableArguments {
  @Argument(help: ArgumentHelp("3 to 63 characters of a-z, 0-9 and -.", valueName: "name"))
  var name: String

  @Option(
    help: ArgumentHelp(
      "Its namespace. Default: the setting defaultNamespace, then that of the service.", valueName: "token"))
  var namespace: String?

  @OptionGroup var home: ShareHomeOptions

  func selection() throws -> ShareOptions.Name {
    .init(namespace: try namespace ?? home.environment().setting(.defaultNamespace) ?? "", name: name)
  }
}

struct ShareReserveCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reserve", abstract: "Reserve a name for public shares: it stays this account's between shares.",
    discussion: """
      Examples:
        swiftlet share reserve docs
        swiftlet share reserved docs ./docs
      """)

  @OptionGroup var options: ShareNameOptions

  func run() async throws {
    do { try await options.home.session(Logger(label: "share")).createName(options.selection()) } catch {
      throw CommandFailure("cannot reserve the name \(options.name)", error)
    }
    Terminal.error.line("Reserved. Use it: swiftlet share reserved \(options.name) 8000")
  }
}

struct ShareReservedCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reserved", abstract: "Share a port or a directory at a reserved name.",
    discussion: """
      As 'share public', and only at a name that stays this account's when the command has ended.

      Examples:
        swiftlet share reserve docs
        swiftlet share reserved docs ./docs
      """)

  @Argument(help: ArgumentHelp("The name.", valueName: "name"))
  var reserved: String

  @OptionGroup var share: SharePublicCommand

  func run() async throws {
    let names: [JSONValue]
    do {
      names = try await share.options.home.session(Logger(label: "share")).overview()["names"]?.arrayValue ?? []
    } catch {
      throw CommandFailure("cannot share at the name \(reserved)", error)
    }
    let label = reserved.split(separator: ":").last.map(String.init) ?? reserved
    guard names.contains(where: { $0["name"]?.stringValue == label && $0["reserved"]?.boolValue ?? false }) else {
      throw CommandFailure("the name \(label) is not reserved", next: "reserve it: swiftlet share reserve \(label)")
    }
    var share = share
    share.name.append(reserved)
    try await share.run()
  }
}

struct ShareReleaseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "release", abstract: "Release a reserved name: others may take it.",
    discussion: """
      Examples:
        swiftlet share release docs
      """)

  @OptionGroup var options: ShareNameOptions

  func run() async throws {
    do { try await options.home.session(Logger(label: "share")).deleteName(options.selection()) } catch {
      throw CommandFailure("cannot release the name \(options.name)", error)
    }
    Terminal.error.line("Released.")
  }
}

struct ShareNamesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "names", abstract: "Show the account's names and what they lead to.",
    discussion: """
      Examples:
        swiftlet share names
      """)

  @Flag(help: "As the service answers, in JSON.")
  var json = false

  @OptionGroup var options: ShareHomeOptions

  func run() async throws {
    let names: JSONValue
    do { names = try await options.session(Logger(label: "share")).overview()["names"] ?? [] } catch {
      throw CommandFailure("cannot show the names", error)
    }
    let out = Terminal.output
    if json { return out.line(names.text) }
    var table = Table(headers: ["name", "share", "reserved"], alignments: [.left, .left, .left])
    for name in names.arrayValue ?? [] {
      table.rows.append(
        [
          (name["name"]?.stringValue ?? "") + "." + (name["namespaceName"]?.stringValue ?? ""),
          name["shareToken"]?.stringValue ?? "",
          name["reserved"]?.boolValue ?? false ? "yes" : "",
        ].map(CellText.clean))
    }
    table.rows.isEmpty ? Terminal.error.line("None. Reserve one: swiftlet share reserve NAME") : out.line(table.text)
  }
}

struct ShareDeleteCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Delete a share of this machine that nobody serves any more.")

  @Argument(help: ArgumentHelp("The share's token.", valueName: "token"))
  var token: String

  @OptionGroup var options: ShareHomeOptions

  func run() async throws {
    do { try await options.session(Logger(label: "share")).deleteShare(token) } catch {
      throw CommandFailure("cannot delete the share", error)
    }
    Terminal.error.line("Deleted.")
  }
}

struct ShareOverviewCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "overview", abstract: "Show everything the account shares and accesses.", aliases: ["ls"])

  @Flag(help: "As the service answers, in JSON.")
  var json = false

  @OptionGroup var options: ShareHomeOptions

  func run() async throws {
    let view: JSONValue
    do { view = try await options.session(Logger(label: "share")).overview() } catch {
      throw CommandFailure("cannot show what there is", error)
    }
    let out = Terminal.output
    if json { return out.line(view.text) }
    for entry in view["environments"]?.arrayValue ?? [] {
      let environment = entry["environment"]
      out.line(
        out.styled(environment?["description"]?.stringValue ?? "", .bold)
          + "  \(environment?["zId"]?.stringValue ?? "")")
      for share in entry["shares"]?.arrayValue ?? [] {
        let endpoints = share["frontendEndpoints"]?.stringArrayValue?.joined(separator: ", ") ?? ""
        out.line(
          "  share   \(share["shareToken"]?.stringValue ?? "")  \(share["backendMode"]?.stringValue ?? "")  \(endpoints)  "
            + (share["target"]?.stringValue ?? ""))
      }
      for access in entry["frontends"]?.arrayValue ?? [] {
        out.line("  access  \(access["shareToken"]?.stringValue ?? "")  \(access["bindAddress"]?.stringValue ?? "")")
      }
    }
    for name in view["names"]?.arrayValue ?? [] {
      out.line(
        "name  \(name["name"]?.stringValue ?? "").\(name["namespaceName"]?.stringValue ?? "")  \(name["shareToken"]?.stringValue ?? "")"
      )
    }
  }
}
