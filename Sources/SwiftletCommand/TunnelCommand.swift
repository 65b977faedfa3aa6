import ArgumentParser
import Foundation
import Logging
import ServiceLifecycle
import Swiftlet
import Transport
import Tunnel

struct TunnelCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tunnel", abstract: "Carry ordinary TCP programs over the overlay.",
    discussion: """
      Examples:
        swiftlet tunnel host -i server.json web:127.0.0.1:8000
        swiftlet tunnel proxy -i alice.json web:8080
      """,
    subcommands: [TunnelProxyCommand.self, TunnelHostCommand.self])
}

/// The identity a tunnel acts as.
struct TunnelOptions: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Identity file, as `swiftlet enroll` and other SDKs write it.", valueName: "file"))
  var identity: String

  @OptionGroup var log: LogOptions

  func overlay(_ logger: Logger) async throws -> Overlay {
    let file: IdentityFile
    do {
      file = try IdentityFile.load(from: identity)
    } catch {
      throw CommandFailure(
        "cannot use the identity file \(identity)", error,
        next: "make one with: swiftlet enroll TOKEN.jwt -o \(identity)")
    }
    do {
      return try await Spinner.during("signing in") {
        try await Overlay(identity: file, options: .init(logger: logger))
      }
    } catch {
      throw CommandFailure("cannot sign in with \(identity)", error)
    }
  }
}

struct TunnelProxyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "proxy", abstract: "Listen on local ports and carry each connection to a service.",
    discussion: """
      Examples:
        swiftlet tunnel proxy -i alice.json web:8080
        swiftlet tunnel proxy -i alice.json web:8080 ssh:2222 --bind ::1 --grace 30s
      """)

  @OptionGroup var options: TunnelOptions

  @Argument(help: ArgumentHelp("A service and the local port for it.", valueName: "service:port"))
  var targets: [ProxyTarget]

  @Option(help: ArgumentHelp("Local address to listen on.", valueName: "address"), transform: AddressArgument.host)
  var bind = "127.0.0.1"

  @OptionGroup var ending: GraceOptions

  func run() async throws {
    let logger = options.log.logger("tunnel")
    let overlay = try await options.overlay(logger)
    let proxies = targets.map {
      ProxyTunnel(overlay: overlay, service: $0.service, host: bind, port: $0.port, grace: ending.grace, logger: logger)
    }
    try await ServiceRun.run([ServiceRun.Together(services: proxies)], logger: logger)
    await overlay.close()
  }
}

struct TunnelHostCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "host", abstract: "Host services: carry each connection from the overlay to a server.",
    discussion: """
      Examples:
        swiftlet tunnel host -i server.json web:127.0.0.1:8000
        swiftlet tunnel host -i server.json web:127.0.0.1:8000 'ssh:[::1]:22'
        swiftlet tunnel host -i server.json --demo demo
      """)

  @OptionGroup var options: TunnelOptions

  @Argument(help: ArgumentHelp("A service and the server behind it.", valueName: "service:host:port"))
  var targets: [HostTarget] = []

  @Option(help: ArgumentHelp("Host a built-in web page under this service.", valueName: "service"))
  var demo: String?

  @OptionGroup var ending: GraceOptions

  func validate() throws {
    guard !targets.isEmpty || demo != nil else {
      throw ValidationError("Name a service and its server: web:127.0.0.1:8000")
    }
  }

  func run() async throws {
    let logger = options.log.logger("tunnel")
    let overlay = try await options.overlay(logger)
    var services: [any Service] = targets.map {
      HostTunnel(
        overlay: overlay, service: $0.service, host: $0.server.host, port: $0.server.port, grace: ending.grace,
        logger: logger)
    }
    if let demo { services.append(DemoSite(overlay: overlay, service: demo, logger: logger)) }
    try await ServiceRun.run([ServiceRun.Together(services: services)], logger: logger)
    await overlay.close()
  }
}

/// `service:port`; service names may hold colons, the port is what follows the last one.
struct ProxyTarget: ExpressibleByArgument, Sendable {
  let service: String
  let port: Int

  init?(argument: String) {
    guard let colon = argument.lastIndex(of: ":"), colon != argument.startIndex else { return nil }
    guard let port = Int(argument[argument.index(after: colon)...]), (0...65535).contains(port) else { return nil }
    service = String(argument[..<colon])
    self.port = port
  }
}

/// `service:host:port`, with an IPv6 address in brackets; service names may hold colons.
struct HostTarget: ExpressibleByArgument, Sendable {
  let service: String
  let server: HostPort

  init?(argument: String) {
    guard let last = argument.lastIndex(of: ":") else { return nil }
    let rest = argument[..<last]
    let split =
      rest.hasSuffix("]") ? rest.lastIndex(of: "[").map { rest[..<$0] }?.lastIndex(of: ":") : rest.lastIndex(of: ":")
    guard let split, split != rest.startIndex, rest.hasSuffix("]") || !Self.endsInBareAddress(rest) else { return nil }
    guard let server = HostPort(argument[argument.index(after: split)...]), server.port > 0 else { return nil }
    service = String(rest[..<split])
    self.server = server
  }

  /// Nobody can tell where an IPv6 address without brackets begins.
  private static func endsInBareAddress(_ text: Substring) -> Bool {
    text.indices.contains { index in
      let rest = text[text.index(after: index)...]
      return text[index] == ":" && rest.contains(":") && HostPort.address(rest) != nil
    }
  }
}
