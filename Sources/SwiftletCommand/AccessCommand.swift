import ArgumentParser
import Foundation
import Logging
import ServiceLifecycle
import ShareAgent
import Swiftlet
import SwiftletShare
import Transport
import WebRelay

struct AccessCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "access", abstract: "Use somebody's private share at a local port, or serve public shares.",
    discussion: """
      Examples:
        swiftlet access private k3v9x0a1b2c3
        swiftlet access private my-ssh --bind 127.0.0.1:2222
        swiftlet access public --identity public.json --zone share.example.com
      """, subcommands: [AccessPrivateCommand.self, AccessPublicCommand.self])
}

struct AccessPrivateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "private", abstract: "Listen at a local port and carry each connection to a private share.",
    discussion: """
      The access lives while the command runs. Where the share ends it waits, until a share of that token is there again.

      Examples:
        swiftlet access private k3v9x0a1b2c3
        swiftlet access private my-ssh --bind 127.0.0.1:2222
      """)

  @Argument(help: ArgumentHelp("The share's token.", valueName: "token"))
  var token: String

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Local address to listen on; port 0 picks a free one.", valueName: "host:port"),
    transform: AddressArgument.place)
  var bind = HostPort(host: "127.0.0.1", port: 9191)

  @Option(help: ArgumentHelp("Set this header on every answer, where the share speaks HTTP.", valueName: "name: value"))
  var responseHeader: [String] = []

  @OptionGroup var ending: GraceOptions
  @OptionGroup var screen: DisplayOptions
  @OptionGroup var home: ShareHomeOptions
  @OptionGroup var log: LogOptions

  func run() async throws {
    let logger = log.logger("access", quiet: .warning)
    let headers = try responseHeader.map { text in
      guard let header = ResponseHeader(text) else {
        throw CommandFailure(
          "'\(text)' is no header that an access can set", next: "write name: value, such as 'cache-control: no-store'")
      }
      return header
    }
    let session = try home.session(logger)
    let run = AccessRun(
      session: session, token: token, host: bind.host, port: bind.port, responseHeaders: headers, grace: ending.grace,
      display: try screen.display(home), logger: logger)
    do { try await ServiceRun.run([run], logger: logger) } catch {
      throw CommandFailure("cannot access the share \(token)", error)
    }
  }
}

/// An access while its command runs.
private struct AccessRun: Service {
  let session: ShareSession
  let token: String
  let host: String
  let port: Int
  let responseHeaders: [ResponseHeader]
  let grace: Duration
  let display: RunDisplay
  let logger: Logger

  func run() async throws {
    let (token, display) = (token, display)
    let running = RunningAccess(
      session: session, token: token, host: host, port: port, responseHeaders: responseHeaders,
      observer: display.observer, grace: grace,
      logger: logger
    ) { event in
      switch event {
      case .ready(let access, let address):
        let isHTTP = access.backend?.isHTTP ?? false
        let scheme = isHTTP ? "http" : access.backend == .udpTunnel ? "udp" : "tcp"
        let subject = LiveView.Subject(
          headline: ["\(scheme)://\(address.text)"],
          badges: ["ACCESS", access.backend?.rawValue.uppercased() ?? "TCP"], target: "the share \(token)",
          link: nil, traffic: isHTTP ? "requests" : nil)
        display.show(subject, notice: "The share \(token) is here. Ctrl-C ends it.")
      case .lost(let reason):
        let reason = reason.isEmpty ? "" : " (\(CellText.clean(reason)))"
        Terminal.error.line(
          "The share \(token) has ended\(reason). This access waits for it to come back; Ctrl-C ends it.")
      case .back: Terminal.error.line("The share \(token) is here again.")
      // A terminal that takes nothing must not keep the access from being deleted.
      case .ending: display.leave()
      }
    }
    let result: Result<Void, any Error>
    do { result = .success(try await running.run()) } catch { result = .failure(error) }
    await session.close()
    await display.end()
    try result.get()
  }
}
