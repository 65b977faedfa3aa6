import ArgumentParser
import Controller
import Foundation
import Logging
import PKI
import ServiceLifecycle
import Share
import Synchronization
import Transport

struct ShareServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "Run a share service: network, API, public frontend and page for account holders, in one process.",
    discussion: """
      The first start makes an account and shows its token; later starts on the same directory find everything as it was left.
      zrok's own clients can be used with it: zrok config set apiEndpoint URL.

      Examples:
        swiftlet share serve
        swiftlet share serve --zone share.example.com --host share.example.com --frontend-port 443 --cert fullchain.pem --key key.pem
      """)

  @Option(help: ArgumentHelp("Where keys, certificates, accounts and shares are kept.", valueName: "path"))
  var directory = "./swiftlet-share"

  @Option(help: ArgumentHelp("Name or address that clients dial; beyond this machine everything listens on all addresses.", valueName: "host"))
  var host = "127.0.0.1"

  @Option(help: ArgumentHelp("Public shares are reached at NAME.ZONE; its wildcard DNS entry leads here.", valueName: "zone"))
  var zone = "share.localhost"

  @Option(help: ArgumentHelp("Port of the API and of the page for account holders.", valueName: "port"))
  var apiPort = 18080

  @Option(help: ArgumentHelp("Port of the public frontend.", valueName: "port"))
  var frontendPort = 8080

  @Option(help: ArgumentHelp("Port of the controller.", valueName: "port"))
  var port = 1280

  @Option(help: ArgumentHelp("Port of the edge router.", valueName: "port"))
  var routerPort = 3022

  @Option(
    help: ArgumentHelp("Certificate chain (PEM) for API and frontend; wildcard for the zone. Without one both speak plain HTTP.", valueName: "file"))
  var cert: String?

  @Option(help: ArgumentHelp("Private key (PEM) of the certificate.", valueName: "file"))
  var key: String?

  @Option(help: ArgumentHelp("Ports for public TCP shares, such as 7000-7099. None without it.", valueName: "from-to"))
  var tcpPorts: String?

  @Option(help: ArgumentHelp("Ports for public UDP shares. None without it.", valueName: "from-to"))
  var udpPorts: String?

  @Option(help: ArgumentHelp("E-mail address of the first account.", valueName: "address"))
  var account = "admin@localhost"

  @Flag(help: "Anyone may ask for an account (swiftlet share invite); the registration token is logged.")
  var openInvites = false

  @Flag(help: "Show visitors a warning page before their first look at a share.")
  var interstitial = false

  @Flag(help: "Frontends of upstream serve shares too: basic-auth passwords stand in clear in the network's configs.")
  var upstreamFrontends = false

  @OptionGroup var log: LogOptions

  func validate() throws {
    for port in [port, routerPort, apiPort, frontendPort] {
      guard (0...65535).contains(port) else { throw ValidationError("\(port) is no port; give a number from 0 to 65535") }
    }
    for (name, text) in [("--tcp-ports", tcpPorts), ("--udp-ports", udpPorts)] where text != nil && Self.range(text) == nil {
      throw ValidationError("\(name) is a range of ports from 1024 to 65535, such as 7000-7099")
    }
    guard !host.isEmpty, !zone.isEmpty else { throw ValidationError("--host and --zone must not be empty") }
    guard (cert == nil) == (key == nil) else { throw ValidationError("--cert and --key go together") }
  }

  private static func range(_ text: String?) -> ClosedRange<Int>? {
    let bounds = text?.split(separator: "-").compactMap { Int($0) } ?? []
    guard bounds.count == 2, (1024...65535).contains(bounds[0]), bounds[1] >= bounds[0], bounds[1] <= 65535 else { return nil }
    return bounds[0]...bounds[1]
  }

  private struct Account: Sendable {
    var token: String
    /// At the first start only.
    var password: String?
  }

  func run() async throws {
    let logger = log.logger("share", quiet: .warning)
    let isLocal = ["127.0.0.1", "localhost", "::1"].contains(host)
    let address = isLocal ? "127.0.0.1" : "0.0.0.0"
    let made = Mutex<Account?>(nil)
    let (email, upstreamFrontends, openInvites, interstitial) = (account, upstreamFrontends, openInvites, interstitial)
    var configuration = ShareConfiguration(
      directory: directory + "/share", api: .init(host: address, port: apiPort, identity: try identity()),
      frontend: .init(host: address, port: frontendPort, identity: try identity()), zone: zone.lowercased())
    configuration.upstreamFrontends = upstreamFrontends
    configuration.tcpPorts = Self.range(tcpPorts)
    configuration.udpPorts = Self.range(udpPorts)
    configuration.invitesOpen = openInvites
    configuration.interstitial = interstitial
    configuration.adminSecrets = [try adminSecret()]
    let complete = configuration
    var network = QuickstartNetwork(directory: directory, host: host, port: port, routerPort: routerPort, logger: logger) { report in
      guard let account = made.withLock({ $0 }) else { return }
      show(report, account)
    }
    network.application = { controller in
      let service = try ShareService(network: controller.provisioning, configuration: complete, logger: logger)
      try await service.start()
      let password = QuickstartNetwork.password() + "-9A"
      let account = try await service.account(email: email, password: password)
      made.withLock { $0 = Account(token: account.token, password: account.isNew ? password : nil) }
      return service
    }
    do {
      try await ServiceRun.run([network], logger: logger)
    } catch {
      throw CommandFailure("the share service in \(directory) cannot run", error)
    }
    Terminal.error.line("Stopped. The same command starts it again with everything it had.")
  }

  private func identity() throws -> ServerIdentity? {
    guard let cert, let key else { return nil }
    do {
      return try ServerIdentity(
        chain: CertificateChain(pem: String(contentsOfFile: cert, encoding: .utf8)),
        key: PrivateKey(pem: String(contentsOfFile: key, encoding: .utf8)))
    } catch {
      throw CommandFailure("certificate \(cert) with key \(key) cannot be used", error)
    }
  }

  /// The secret of the administrative calls, made once, kept for its owner.
  private func adminSecret() throws -> String {
    let file = directory + "/admin-token"
    if let known = try? String(contentsOfFile: file, encoding: .utf8) { return known.trimmingCharacters(in: .whitespacesAndNewlines) }
    let secret = QuickstartNetwork.password()
    try PrivateFile.makeDirectory(directory)
    try PrivateFile.write(Array((secret + "\n").utf8), to: file)
    return secret
  }

  private func show(_ report: QuickstartNetwork.Report, _ account: Account) {
    let out = Terminal.output
    let program = CommandLine.arguments.first ?? "swiftlet"
    let scheme = cert == nil ? "http" : "https"
    let endpoint = "\(scheme)://\(host):\(apiPort)"
    out.line()
    out.line("\(out.styled("The share service is up.", .green)) Page for account holders: \(endpoint)/")
    out.line()
    out.line("  account        \(out.styled(self.account, .bold))")
    if let password = account.password {
      out.line("  password       \(out.styled(password, .bold))   (shown once)")
      out.line("  network admin  admin, password \(report.password ?? "as before")   (shown once)")
    }
    out.line()
    out.line("Share something. In another terminal:")
    out.line("  \(program) share enable \(account.token) --endpoint \(endpoint)")
    out.line("  \(program) share public 8000")
    out.line()
    out.line("Administrative calls of zrok's client: ZROK2_ADMIN_TOKEN is in \(directory)/admin-token")
    out.line("Ctrl-C stops it.")
  }
}
