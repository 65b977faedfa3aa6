import ArgumentParser
import Logging
import NIOCore
import ShareFrontend
import ShareService
import Swiftlet
import SwiftletShare
import Transport

struct AccessPublicCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "public",
    abstract: "Serve public shares: a frontend on its own, beside or instead of the one in a share service.",
    discussion: """
      It needs the frontend's identity and nothing else: what may be dialled is what is shared. The identity is share/public.json in the directory of
      swiftlet share serve; zrok's own controller writes identities/public.json. Several frontends may use the same one.

      Examples:
        swiftlet access public --identity public.json --zone share.example.com --port 443 --cert fullchain.pem --key key.pem
        swiftlet share serve --no-frontend --frontend-port 8080
        swiftlet access public --identity swiftlet-share/share/public.json
      """)

  @Option(
    help: ArgumentHelp(
      "Identity that may dial public shares; identities/public.json of this environment without it.", valueName: "file")
  )
  var identity: String?

  @Option(
    help: ArgumentHelp("Public shares are reached at NAME.ZONE; its wildcard DNS entry leads here.", valueName: "zone"))
  var zone = "share.localhost"

  @Option(help: ArgumentHelp("Address to listen on.", valueName: "address"), transform: AddressArgument.host)
  var host = "127.0.0.1"

  @Option(help: ArgumentHelp("Port to listen on.", valueName: "port"))
  var port = 8080

  @Option(
    help: ArgumentHelp(
      "Certificate chain (PEM) for the zone's wildcard. Read again when it changes. Without one: plain HTTP.",
      valueName: "file"))
  var cert: String?

  @Option(help: ArgumentHelp("Private key (PEM) of the certificate.", valueName: "file"))
  var key: String?

  @Option(
    help: ArgumentHelp(
      "YAML file of providers that visitors can sign in with, as for share serve; several frontends of one zone need the same secrets in it.",
      valueName: "file"))
  var oauth: String?

  @Option(help: ArgumentHelp("YAML file of limits; its frontend section counts.", valueName: "file"))
  var limits: String?

  @Option(
    help: ArgumentHelp(
      "Answer 504 when a share has said nothing for so long, such as 30s or 2m, whatever the limits say. It may take its time otherwise.",
      valueName: "duration"), transform: ResponseTimeout.parse)
  var responseTimeout: TimeAmount?

  @Flag(help: "Show visitors a warning page before shares that want one.")
  var interstitial = false

  @Option(
    name: .customLong("trusted-proxy"),
    help: ArgumentHelp(
      "A proxy in front of it: connections from there have no limit by address. May be given several times.",
      valueName: "address"),
    transform: AddressArgument.address)
  var trustedProxies: [String] = []

  @OptionGroup var home: ShareHomeOptions
  @OptionGroup var log: LogOptions

  func validate() throws {
    try AddressArgument.requirePort(port)
    guard !zone.isEmpty else { throw ValidationError("--zone must not be empty") }
    guard (cert == nil) == (key == nil) else { throw ValidationError("--cert and --key go together") }
  }

  func run() async throws {
    let logger = log.logger("frontend", quiet: .warning)
    let path = try identity ?? home.environment().directory + "/identities/public.json"
    let file: IdentityFile
    do { file = try IdentityFile.load(from: path) } catch {
      throw CommandFailure(
        "the identity \(path) cannot be used", error, next: "give the frontend's identity with --identity")
    }
    let (certificate, watchers) = try CertificateFiles.identity(cert, key, logger)
    var configuration = StandaloneFrontend.Configuration(
      listener: .init(host: host, port: port, identity: certificate), zone: zone.lowercased())
    configuration.listener.strangerLimits.trustedProxies = trustedProxies
    configuration.interstitial = interstitial
    if let limits { configuration.limits = try Self.limits(limits).frontend }
    if let responseTimeout { configuration.limits.answerLimit = responseTimeout }
    configuration.login = try oauth.map { try Self.login($0, secret: "") }
    do {
      let frontend = try StandaloneFrontend(identity: file, configuration: configuration, logger: logger)
      let address = try await Spinner.during("asking the network what is shared") { try await frontend.start() }
      Terminal.error.line("Public shares of \(zone) are served at \(address.text). Ctrl-C stops it.")
      try await ServiceRun.run(watchers + [frontend], logger: logger)
    } catch { throw CommandFailure("the frontend at \(HostPort(host: host, port: port)) cannot run", error) }
  }

  // MARK: Shared with share serve

  /// - Parameter secret: of sessions, where the file has none.
  static func login(_ path: String, secret: @autoclosure () throws -> String) throws -> LoginConfiguration {
    var login: LoginConfiguration
    do { login = try LoginConfiguration.load(path: path) } catch {
      throw CommandFailure("the sign-in providers cannot be used", error)
    }
    if login.secret.isEmpty { login.secret = try secret() }
    return login
  }

  static func limits(_ path: String) throws -> ShareLimits {
    do { return try ShareLimits.load(path: path) } catch { throw CommandFailure("the limits cannot be used", error) }
  }
}
