import ArgumentParser
import Controller
import Foundation
import Logging
import NIOCore
import PKI
import ServiceLifecycle
import ShareFrontend
import ShareService
import Synchronization
import Transport

struct ShareServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Run a share service: network, API, public frontend and page for account holders, in one process.",
    discussion: """
      The first start makes an account and shows its token; later starts on the same directory find everything as it was left.
      zrok's own clients can be used with it: zrok config set apiEndpoint URL.
      With --controller it joins a network that runs elsewhere, Swiftlet's or OpenZiti's, and needs nothing but its management API.

      Examples:
        swiftlet share serve
        swiftlet share serve --zone share.example.com --host share.example.com --frontend-port 443 --cert fullchain.pem --key key.pem
        swiftlet share serve --controller ctrl.example.com:1280 --username admin --password-file admin-password
      """)

  @Option(help: ArgumentHelp("Where keys, certificates, accounts and shares are kept.", valueName: "path"))
  var directory = "./swiftlet-share"

  @Option(
    help: ArgumentHelp(
      "Name or address that clients dial; beyond this machine everything listens on all addresses.", valueName: "host"),
    transform: AddressArgument.host)
  var host = "127.0.0.1"

  @Option(
    help: ArgumentHelp("Public shares are reached at NAME.ZONE; its wildcard DNS entry leads here.", valueName: "zone"))
  var zone = "share.localhost"

  @Option(help: ArgumentHelp("Port of the API and of the page for account holders.", valueName: "port"))
  var apiPort = 18080

  @Option(help: ArgumentHelp("Port of the public frontend.", valueName: "port"))
  var frontendPort = 8080

  @Flag(
    help: "Leave public shares to frontends that run elsewhere (swiftlet access public); --frontend-port is theirs.")
  var noFrontend = false

  @Option(help: ArgumentHelp("Join the network of this controller instead of making one.", valueName: "host:port"))
  var controller: String?

  @Option(help: ArgumentHelp("Administrator of that controller whom the service signs in as.", valueName: "name"))
  var username = "admin"

  @Option(help: ArgumentHelp("File with that administrator's password.", valueName: "file"))
  var passwordFile: String?

  @Option(help: ArgumentHelp("Trust these roots (PEM) of that controller and ask nothing.", valueName: "file"))
  var ca: String?

  @Flag(name: .shortAndLong, help: "Trust that controller's roots without asking.")
  var yes = false

  @Option(help: ArgumentHelp("Port of the controller.", valueName: "port"))
  var port = 1280

  @Option(help: ArgumentHelp("Port of the edge router.", valueName: "port"))
  var routerPort = 3022

  @Option(
    help: ArgumentHelp(
      "Certificate chain (PEM) for API and frontend; wildcard for the zone. Read again when it changes. Without one both speak plain HTTP.",
      valueName: "file"))
  var cert: String?

  @Option(help: ArgumentHelp("Private key (PEM) of the certificate.", valueName: "file"))
  var key: String?

  @Flag(help: "Make an authority and certificates of one's own, where there is no certificate that everybody believes.")
  var ownCertificate = false

  @Option(help: ArgumentHelp("Ports for public TCP shares, such as 7000-7099. None without it.", valueName: "from-to"))
  var tcpPorts: String?

  @Option(help: ArgumentHelp("Ports for public UDP shares. None without it.", valueName: "from-to"))
  var udpPorts: String?

  @Option(
    help: ArgumentHelp(
      "YAML file of what accounts may have and move; nothing is limited without it.", valueName: "file"))
  var limits: String?

  @Option(
    help: ArgumentHelp(
      "Send mail from this address: registration, password resets, limits. Without it tokens go to the log.",
      valueName: "address"))
  var mailFrom: String?

  @Option(help: ArgumentHelp("The machine's mail program.", valueName: "path"))
  var sendmail = "/usr/sbin/sendmail"

  @Option(
    help: ArgumentHelp(
      "YAML file of providers that visitors of shares can sign in with; the oauth section of upstream's frontends is one.",
      valueName: "file"))
  var oauth: String?

  @Option(
    name: .customLong("trusted-proxy"),
    help: ArgumentHelp(
      "A proxy in front of it: connections from there have no limit by address. May be given several times.",
      valueName: "address"),
    transform: AddressArgument.address)
  var trustedProxies: [String] = []

  @Option(help: ArgumentHelp("E-mail address of the first account.", valueName: "address"))
  var account = "admin@localhost"

  @Flag(help: "Anyone may ask for an account (swiftlet share invite); the registration token is logged.")
  var openInvites = false

  @Flag(help: "Let accounts give orders to agents of their machines that were enrolled for it (swiftlet share remote).")
  var agentRemoting = false

  @Flag(help: "Show visitors a warning page before their first look at a share.")
  var interstitial = false

  @Flag(help: "Frontends of upstream serve shares too: basic-auth passwords stand in clear in the network's configs.")
  var upstreamFrontends = false

  @OptionGroup var log: LogOptions

  func validate() throws {
    for port in [port, routerPort, apiPort, frontendPort] { try AddressArgument.requirePort(port) }
    for (name, text) in [("--tcp-ports", tcpPorts), ("--udp-ports", udpPorts)]
    where text != nil && Self.range(text) == nil {
      throw ValidationError("\(name) is a range of ports from 1024 to 65535, such as 7000-7099")
    }
    guard !noFrontend || (tcpPorts == nil && udpPorts == nil) else {
      throw ValidationError("--tcp-ports and --udp-ports are of the service's own frontend; leave --no-frontend away")
    }
    guard !zone.isEmpty else { throw ValidationError("--zone must not be empty") }
    guard controller == nil || passwordFile != nil else { throw ValidationError("--controller needs --password-file") }
    if let mailFrom, !ShareMail.isPlain(mailFrom) {
      throw ValidationError("--mail-from is an address such as share@example.com")
    }
    guard (cert == nil) == (key == nil) else { throw ValidationError("--cert and --key go together") }
    guard cert == nil || !ownCertificate else {
      throw ValidationError("--cert and --own-certificate exclude each other")
    }
  }

  private static func range(_ text: String?) -> ClosedRange<Int>? {
    let bounds = text?.split(separator: "-").compactMap { Int($0) } ?? []
    guard bounds.count == 2, (1024...65535).contains(bounds[0]), bounds[1] >= bounds[0], bounds[1] <= 65535 else {
      return nil
    }
    return bounds[0]...bounds[1]
  }

  private struct Account: Sendable {
    var token: String
    /// At the first start only.
    var password: String?
  }

  func run() async throws {
    let logger = log.logger("share", quiet: .warning)
    let address = ListeningHost(host: host).address
    var (identity, watchers) = try CertificateFiles.identity(cert, key, logger)
    if ownCertificate {
      let zone = zone.lowercased()
      let own = try OwnCertificate(
        directory: directory, names: [zone, "*." + zone] + (host == zone ? [] : [host]), logger: logger)
      (watchers, identity) = ([own], own.identity)
    }
    let complete = try configuration(address: address, identity)
    do {
      if let controller {
        let service = try await ShareServer.remote(remote(controller), configuration: complete, logger: logger)
        let account = try await Spinner.during("joining the network of \(controller)") { try await start(service) }
        show(account)
        try await ServiceRun.run(watchers + [service], logger: logger)
      } else {
        let made = Mutex<Account?>(nil)
        var network = QuickstartNetwork(
          directory: directory, host: host, port: port, routerPort: routerPort, logger: logger
        ) { report in
          guard let account = made.withLock({ $0 }) else { return }
          show(account, networkPassword: .some(report.password))
        }
        network.application = { controller in
          let service = try ShareServer(network: controller.provisioning, configuration: complete, logger: logger)
          let account = try await start(service)
          made.withLock { $0 = account }
          return service
        }
        try await ServiceRun.run(watchers + [network], logger: logger)
      }
    } catch {
      throw CommandFailure("the share service in \(directory) cannot run", error)
    }
    Terminal.error.line("Stopped. The same command starts it again with everything it had.")
  }

  private func start(_ service: ShareServer) async throws -> Account {
    try await service.start()
    let password = QuickstartNetwork.password() + "-9A"
    let made = try await service.account(email: account, password: password)
    return Account(token: made.token, password: made.isNew ? password : nil)
  }

  private func configuration(address: String, _ identity: ServerIdentity?) throws -> ShareConfiguration {
    var configuration = ShareConfiguration(
      directory: directory + "/share", api: .init(host: address, port: apiPort, identity: identity),
      frontend: .init(host: address, port: frontendPort, identity: identity), zone: zone.lowercased())
    configuration.api.strangerLimits.trustedProxies = trustedProxies
    configuration.frontend.strangerLimits.trustedProxies = trustedProxies
    configuration.upstreamFrontends = upstreamFrontends
    configuration.tcpPorts = Self.range(tcpPorts)
    configuration.udpPorts = Self.range(udpPorts)
    configuration.invitesOpen = openInvites
    configuration.pageURL = endpoint
    if let mailFrom {
      guard FileManager.default.isExecutableFile(atPath: sendmail) else {
        throw CommandFailure(
          "there is no mail program at \(sendmail)", next: "install one (apt-get install msmtp-mta), or give --sendmail"
        )
      }
      configuration.mail = ShareMail(from: mailFrom, program: sendmail)
    }
    configuration.interstitial = interstitial
    configuration.remotesAgents = agentRemoting
    configuration.servesFrontend = !noFrontend
    if let limits { configuration.limits = try AccessPublicCommand.limits(limits) }
    if noFrontend, controller != nil, configuration.limits.limitsBytes {
      throw CommandFailure(
        "bandwidth cannot be limited",
        reason: "beside a controller elsewhere only the service's own frontend counts what shares move",
        next: "leave --no-frontend away, or the bandwidth out of \(limits ?? "the limits")")
    }
    configuration.login = try oauth.map { try AccessPublicCommand.login($0, secret: kept("login-key")) }
    configuration.adminSecrets = [try kept("admin-token")]
    return configuration
  }

  /// The controller of the network to join. Its roots are kept at the first start.
  private func remote(_ controller: String) async throws -> RemoteController {
    let base = try TrustProbe.base(controller)
    let kept = directory + "/controller-roots.pem"
    let roots: TrustAnchors
    if let file = ca ?? (FileManager.default.fileExists(atPath: kept) ? kept : nil) {
      roots = try TrustProbe.anchors(
        pem: String(decoding: PrivateFile.read(file, what: "the certificates in"), as: UTF8.self), source: file)
    } else {
      roots = try await TrustProbe.fetch(base, timeout: .seconds(15))
      guard TrustProbe.confirms(roots, of: base, yes: yes) else { throw TrustProbe.refusal(base) }
      try PrivateFile.write(roots.pem, to: kept)
    }
    let password = String(decoding: try PrivateFile.read(passwordFile ?? "", what: "the password in"), as: UTF8.self)
    return RemoteController(
      url: try await TrustProbe.managementBase(
        base, trust: .anchors(roots, as: .controller(of: nil)), timeout: .seconds(15)), roots: roots,
      username: username,
      password: password.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  /// URL of the API and of the page for account holders.
  private var endpoint: String {
    "\(cert == nil && !ownCertificate ? "http" : "https")://\(HostPort(host: host, port: apiPort))"
  }

  /// A secret made once, kept for its owner: of the administrative calls, or of visitors' sessions.
  private func kept(_ name: String) throws -> String {
    let file = directory + "/" + name
    if let known = try? String(contentsOfFile: file, encoding: .utf8) {
      return known.trimmingCharacters(in: .whitespacesAndNewlines)
    }
    let secret = QuickstartNetwork.password()
    try PrivateFile.write(secret + "\n", to: file)
    return secret
  }

  /// - Parameter networkPassword: of the network's administrator, where the network is ours too.
  private func show(_ account: Account, networkPassword: String?? = nil) {
    let out = Terminal.output
    let program = CommandLine.arguments.first ?? "swiftlet"
    out.line()
    out.line("\(out.styled("The share service is up.", .green)) Page for account holders: \(endpoint)/")
    out.line()
    out.line("  account        \(out.styled(self.account, .bold))")
    if let password = account.password {
      out.line("  password       \(out.styled(password, .bold))   (shown once)")
      if let networkPassword {
        out.line("  network admin  admin, password \(networkPassword ?? "as before")   (shown once)")
      }
    }
    out.line()
    out.line("Share something. In another terminal:")
    if ownCertificate { out.line("  export SWIFTLET_SHARE_CA=\(directory)/authority.pem") }
    out.line("  \(program) share enable \(account.token) --endpoint \(ShellWord.quoted(endpoint))")
    out.line("  \(program) share public 8000")
    out.line()
    let example = "\(endpoint.prefix { $0 != ":" })://NAME.\(zone.lowercased()):\(frontendPort)/"
    if let hint = LoopbackName.hint(example, endpoint: endpoint) { out.line(hint) }
    if ownCertificate { out.line("Visitors' browsers believe the shares once they trust \(directory)/authority.pem") }
    out.line("Administrative calls of zrok's client: ZROK2_ADMIN_TOKEN is in \(directory)/admin-token")
    out.line("Ctrl-C stops it.")
  }
}
