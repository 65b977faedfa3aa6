import ArgumentParser
import JSON
import Logging
import Model
import SwiftletShare

struct ShareRemoteCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remote", abstract: "Give orders to agents on other machines of the account.",
    discussion: """
      On the other machine: swiftlet share agent enroll, and a running agent. MACHINE is its description or identity, as list shows them.

      Examples:
        swiftlet share remote list
        swiftlet share remote public ann@attic 8000 --name attic
        swiftlet share remote status ann@attic
        swiftlet share remote unshare ann@attic TOKEN
      """,
    subcommands: [
      ListMachines.self, ShowStatus.self, SharePublic.self, SharePrivate.self, Unshare.self, Access.self, Unaccess.self,
      Check.self,
    ])

  /// Which machine, and by whom it is reached.
  struct Machine: ParsableArguments {
    @Argument(help: ArgumentHelp("Description or identity of the machine.", valueName: "machine"))
    var machine: String

    @OptionGroup var home: ShareHomeOptions

    /// - Parameter doing: for errors: "cannot ...".
    func call(_ name: String, _ body: JSONObject = [:], doing: String) async throws -> JSONValue {
      let session = try home.session(Logger(label: "share"))
      do {
        return try await Spinner.during("asking \(machine)") {
          let id = try await Self.identity(machine, session)
          return try await session.agent(name, of: id, doing, body)
        }
      } catch { throw CommandFailure("cannot \(doing) at \(machine)", error) }
    }

    private static func identity(_ machine: String, _ session: ShareSession) async throws -> String {
      let known = try await ShareRemoteCommand.machines(session)
      if known.contains(where: { $0.id == machine }) { return machine }
      let found = known.filter { $0.description == machine }
      guard let only = found.first, found.count == 1 else {
        throw CommandFailure(
          found.isEmpty ? "the account has no machine \(machine)" : "\(found.count) machines are called \(machine)",
          next: "swiftlet share remote list shows them with their identities")
      }
      return only.id
    }
  }

  static func machines(_ session: ShareSession) async throws -> [(id: String, description: String, isEnrolled: Bool)] {
    (try await session.overview()["environments"]?.arrayValue ?? []).compactMap { entry in
      guard let environment = entry["environment"], let id = environment["zId"]?.stringValue else { return nil }
      return (id, environment["description"]?.stringValue ?? "", environment["remoteAgent"]?.boolValue ?? false)
    }
  }

  /// What serves a target, which zrok's agents have to be told.
  static func serving(_ target: String?, _ mode: String) -> (mode: String, target: String) {
    guard let target, mode.isEmpty else { return (mode, target ?? "") }
    let serving = ShareOptions.Backend.afar(target)
    return (serving.mode.rawValue, serving.target)
  }

  struct ListMachines: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "Show the account's machines.", aliases: ["ls"])

    @OptionGroup var home: ShareHomeOptions

    func run() async throws {
      let session = try home.session(Logger(label: "share"))
      var table = Table(headers: ["Machine", "Identity", "Agent"], alignments: [.left, .left, .left])
      do {
        for machine in try await ShareRemoteCommand.machines(session) {
          table.rows.append([
            CellText.clean(machine.description), CellText.clean(machine.id),
            machine.isEnrolled ? "takes orders" : "not enrolled",
          ])
        }
      } catch { throw CommandFailure("cannot show the account's machines", error) }
      Terminal.output.line(table.text)
    }
  }

  struct ShowStatus: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "Show what an agent keeps.")

    @Flag(help: "As the service answers, in JSON.")
    var json = false

    @OptionGroup var machine: Machine

    func run() async throws {
      let answer = try await machine.call("status", doing: "show what the agent keeps")
      let out = Terminal.output
      if json { return out.line(answer.text) }
      func text(_ value: JSONValue, _ member: String) -> String { CellText.clean(value[member]?.stringValue ?? "") }
      let shares = answer["shares"]?.arrayValue ?? []
      let accesses = answer["accesses"]?.arrayValue ?? []
      if shares.isEmpty, accesses.isEmpty { out.line("The agent keeps nothing.") }
      for share in shares {
        let endpoints = CellText.clean((share["frontendEndpoints"]?.stringArrayValue ?? []).joined(separator: ", "))
        show(
          text(share, "status"),
          ["share", text(share, "token"), text(share, "backendMode"), text(share, "backendEndpoint"), endpoints], share)
      }
      for access in accesses {
        show(
          text(access, "status"),
          ["access", text(access, "frontendToken"), text(access, "token"), text(access, "bindAddress")], access)
      }
    }

    private func show(_ status: String, _ cells: [String], _ entry: JSONValue) {
      let out = Terminal.output
      out.line(
        out.styled(status, status == "active" ? .green : .red) + "  "
          + cells.filter { !$0.isEmpty }.joined(separator: "  "))
      guard let failure = entry["failure"] else { return }
      let (id, reason) = (failure["id"]?.stringValue ?? "", failure["lastError"]?.stringValue ?? "")
      out.line("    " + CellText.clean("\(id): \(reason)"))
    }
  }

  struct SharePublic: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "public", abstract: "Have a machine share something with a URL.",
      discussion: """
        With a name it is kept through restarts of the agent; without one it ends with the agent.

        Examples:
          swiftlet share remote public ann@attic /srv/photos --name photos
        """)

    @OptionGroup var machine: Machine

    @Argument(
      help: ArgumentHelp("A port, host:port, a URL, or a directory, as that machine sees it.", valueName: "target"))
    var target: String

    @Option(
      name: .shortAndLong,
      help: ArgumentHelp("Reach it at this name; namespace:name for another namespace.", valueName: "name"))
    var name: [String] = []

    @Option(
      name: .shortAndLong, help: ArgumentHelp("What serves the share. Default: by the target.", valueName: "mode"))
    var backendMode = ""

    @Option(help: ArgumentHelp("Visitors must enter one of these.", valueName: "user:password"))
    var basicAuth: [String] = []

    @Option(help: ArgumentHelp("Visitors must sign in with this provider.", valueName: "name"))
    var oauthProvider = ""

    @Option(help: ArgumentHelp("Only visitors with such an e-mail address may pass.", valueName: "pattern"))
    var oauthEmailPattern: [String] = []

    @Option(help: ArgumentHelp("Visitors sign in again after this time, such as 30m.", valueName: "duration"))
    var oauthRefreshInterval = ""

    @Flag(help: "Accept any certificate of the server.")
    var insecure = false

    func run() async throws {
      let (mode, place) = ShareRemoteCommand.serving(target, backendMode)
      let answer = try await machine.call(
        "share",
        [
          "shareMode": "public", "target": .string(place), "backendMode": .string(mode),
          "basicAuth": JSONValue(basicAuth), "open": true,
          "oauthProvider": .string(oauthProvider), "oauthEmailDomains": JSONValue(oauthEmailPattern),
          "oauthRefreshInterval": .string(oauthRefreshInterval), "insecure": .bool(insecure),
          "nameSelections": .array(
            name.map(ShareOptions.Name.init(text:)).map {
              ["namespaceToken": .string($0.namespace), "name": .string($0.name)]
            }),
        ], doing: "share \(target)")
      for endpoint in answer["frontendEndpoints"]?.stringArrayValue ?? [] {
        Terminal.output.line(CellText.clean(endpoint))
      }
      Terminal.error.line(
        "It ends with: swiftlet share remote unshare \(machine.machine) \(CellText.clean(answer["token"]?.stringValue ?? ""))"
      )
    }
  }

  struct SharePrivate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "private", abstract: "Have a machine share something with a token.",
      discussion: """
        With a token of your choice it is kept through restarts of the agent; without one it ends with the agent.

        Examples:
          swiftlet share remote private ann@attic 127.0.0.1:22 --backend-mode tcpTunnel --share-token attic-ssh
        """)

    @OptionGroup var machine: Machine

    @Argument(
      help: ArgumentHelp(
        "A port, host:port, a URL, or a directory, as that machine sees it; none for socks.", valueName: "target"))
    var target: String?

    @Option(name: .shortAndLong, help: ArgumentHelp("The wanted token.", valueName: "token"))
    var shareToken = ""

    @Option(
      name: .shortAndLong, help: ArgumentHelp("What serves the share. Default: by the target.", valueName: "mode"))
    var backendMode = ""

    @Flag(help: "Every account may access it, not only this one and those granted.")
    var open = false

    @Option(help: ArgumentHelp("This account may access the share.", valueName: "e-mail"))
    var accessGrant: [String] = []

    func run() async throws {
      let (mode, place) = ShareRemoteCommand.serving(target, backendMode)
      let answer = try await machine.call(
        "share",
        [
          "shareMode": "private", "target": .string(place), "backendMode": .string(mode),
          "privateShareToken": .string(shareToken),
          "open": .bool(open), "accessGrants": JSONValue(accessGrant),
        ], doing: "share \(target ?? backendMode)")
      Terminal.output.line("swiftlet access private \(CellText.clean(answer["token"]?.stringValue ?? ""))")
    }
  }

  struct Unshare: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "unshare", abstract: "Have a machine end a share that it was ordered to keep.")

    @OptionGroup var machine: Machine

    @Argument(help: ArgumentHelp("Token of the share, or the id of one that fails.", valueName: "token"))
    var token: String

    func run() async throws {
      _ = try await machine.call("unshare", ["token": .string(token)], doing: "end the share \(token)")
    }
  }

  struct Access: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "access", abstract: "Have a machine bring a private share to a port of its own.",
      discussion: """
        Examples:
          swiftlet share remote access ann@attic their-database --bind 127.0.0.1:5432
        """)

    @OptionGroup var machine: Machine

    @Argument(help: ArgumentHelp("Token of the share.", valueName: "token"))
    var token: String

    @Option(
      name: .shortAndLong,
      help: ArgumentHelp("Its address on that machine. Default: a free port of 127.0.0.1.", valueName: "host:port"))
    var bind = ""

    @Option(help: ArgumentHelp("Set this header on every answer.", valueName: "name: value"))
    var responseHeader: [String] = []

    func run() async throws {
      let answer = try await machine.call(
        "access",
        ["token": .string(token), "bindAddress": .string(bind), "responseHeaders": JSONValue(responseHeader)],
        doing: "access \(token)")
      Terminal.output.line(CellText.clean(answer["frontendToken"]?.stringValue ?? ""))
      Terminal.error.line("Where it listens: swiftlet share remote status \(machine.machine)")
    }
  }

  struct Unaccess: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "unaccess", abstract: "Have a machine end an access.")

    @OptionGroup var machine: Machine

    @Argument(
      help: ArgumentHelp("Token of the access, as status shows it, or the id of one that fails.", valueName: "token"))
    var token: String

    func run() async throws {
      _ = try await machine.call("unaccess", ["frontendToken": .string(token)], doing: "end the access \(token)")
    }
  }

  struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "check", abstract: "Have a machine ask the server behind one of its shares.",
      discussion: """
        Exit status 0 when it answers as expected.

        Examples:
          swiftlet share remote check ann@attic TOKEN /health
        """)

    @OptionGroup var machine: Machine

    @Argument(help: ArgumentHelp("Token of the share.", valueName: "token"))
    var token: String

    @Argument(help: ArgumentHelp("What to ask for.", valueName: "path"))
    var path = "/"

    @Option(help: ArgumentHelp("The status that is expected.", valueName: "number"))
    var status = 200

    @Option(help: ArgumentHelp("The request's method.", valueName: "method"))
    var method = "GET"

    func run() async throws {
      let answer = try await machine.call(
        "share/http-healthcheck",
        [
          "shareToken": .string(token), "httpVerb": .string(method), "endpoint": .string(path),
          "expectedHttpResponse": JSONValue(status),
          "timeoutMs": 5000,
        ], doing: "check \(token)")
      guard answer["healthy"] == true else {
        throw CommandFailure(
          "the server behind \(token) is not healthy", reason: CellText.clean(answer["error"]?.stringValue ?? ""))
      }
      Terminal.output.line("healthy")
    }
  }
}
