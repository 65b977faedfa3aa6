import ArgumentParser
import Foundation
import Logging
import NIOCore
import ServiceLifecycle
import ShareAgent
import Swiftlet
import SwiftletShare
import Transport
import WebRelay

/// What public and private shares have in common.
struct ShareTargetOptions: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "What serves the share: proxy, web, drive, tcpTunnel, udpTunnel or socks. Default: by the target.",
      valueName: "mode"),
    transform: { text in
      guard let mode = ShareOptions.Backend(rawValue: text) else {
        throw ValidationError("'\(text)' is no mode; use proxy, web, drive, tcpTunnel, udpTunnel or socks")
      }
      return mode
    })
  var backendMode: ShareOptions.Backend?

  @Option(
    help: ArgumentHelp(
      "The Host header that the server reads: a value, or 'rewrite' for its own address.", valueName: "value"))
  var hostHeader: String?

  @Option(help: ArgumentHelp("Set this header on every request.", valueName: "name:value"))
  var requestHeader: [String] = []

  @Option(
    help: ArgumentHelp(
      "Answer 504 when the server has said nothing for so long, before its answer or within it, such as 30s or 2m. It may take its time otherwise.",
      valueName: "duration"), transform: ResponseTimeout.parse)
  var responseTimeout: TimeAmount?

  @Flag(help: "Accept any certificate of the server.")
  var insecure = false

  @Flag(
    help:
      "Of a directory as a web site, serve names that begin with a dot too; .well-known always is served, and a drive has them all."
  )
  var showHidden = false

  @Option(help: ArgumentHelp("This account may access the share; the others may not.", valueName: "e-mail"))
  var accessGrant: [String] = []

  @OptionGroup var ending: GraceOptions
  @OptionGroup var screen: DisplayOptions
  @OptionGroup var home: ShareHomeOptions
  @OptionGroup var log: LogOptions

  func validate() throws {
    for header in requestHeader where !header.dropFirst().contains(":") {
      throw ValidationError("'\(header)' is no header; write name:value")
    }
  }

  func backend(_ observer: @escaping RequestObserver) -> BackendOptions {
    var options = BackendOptions()
    options.observer = observer
    options.insecure = insecure
    options.showsHidden = showHidden
    options.answerLimit = responseTimeout
    if let hostHeader { options.hostHeader = hostHeader == "rewrite" ? .target : .value(hostHeader) }
    options.requestHeaders = requestHeader.compactMap { header in
      guard let colon = header.firstIndex(of: ":") else { return nil }
      return (String(header[..<colon]), header[header.index(after: colon)...].trimmingCharacters(in: .whitespaces))
    }
    return options
  }
}

/// A share while its command runs: made, served, deleted at the end.
struct ShareRun: Service {
  let session: ShareSession
  let options: ShareOptions
  let target: BackendTarget?
  let backend: BackendOptions
  let grace: Duration
  let display: RunDisplay
  let logger: Logger

  func run() async throws {
    let (options, display, endpoint) = (options, display, session.environment.enabled?.endpoint)
    let running = RunningShare(
      session: session, options: options, target: target, backend: backend, grace: grace, logger: logger
    ) { event in
      switch event {
      case .shared(let share):
        display.show(
          LiveView.Subject(share, options, endpoint: endpoint), notice: "\(options.shown) is shared. Ctrl-C ends it.")
      case .sharedAgain(let share):
        let places = options.mode == .public ? share.urls.joined(separator: " ") : share.token
        Terminal.error.line(
          "The share service had taken it back, because this machine was away. It is shared again: \(CellText.clean(places))"
        )
      case .targetSilent(let target):
        Terminal.error.line(
          Terminal.error.styled("warning:", .yellow)
            + " nothing listens at \(target); visitors read an error until something does")
      // A terminal that takes nothing must not keep the share from being deleted.
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

extension ShareOptions {
  /// What people are told is shared.
  fileprivate var shown: String { target.isEmpty ? "A SOCKS proxy" : target }
}

extension LiveView.Subject {
  /// - Parameter endpoint: of the share service.
  init(_ share: Share, _ options: ShareOptions, endpoint: String?) {
    let isPublic = options.mode == .public
    self.init(
      headline: isPublic ? share.urls : ["swiftlet access private \(share.token)"],
      badges: [options.mode.rawValue.uppercased(), options.backend.rawValue.uppercased()], target: options.shown,
      link: isPublic ? share.urls.first : nil, traffic: options.backend.isHTTP ? "requests" : nil,
      hints: isPublic ? Array(share.urls.compactMap { LoopbackName.hint($0, endpoint: endpoint) }.prefix(1)) : [])
  }
}

extension ShareOptions.Backend {
  /// Whether what passes is requests that can be told apart.
  var isHTTP: Bool {
    switch self {
    case .proxy, .web, .drive, .caddy: true
    case .tcpTunnel, .udpTunnel, .socks: false
    }
  }
}

struct SharePublicCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "public", abstract: "Share a port or a directory with a URL.",
    discussion: """
      The share lives while the command runs, and ends with the terminal; with nohup it outlives that.

      Examples:
        swiftlet share public 8000
        swiftlet share public ./photos --name photos
        swiftlet share public ./report.pdf
        swiftlet share public https://10.0.0.7 --insecure --host-header rewrite
        swiftlet share public http://127.0.0.1:8080/app
        swiftlet share public unix:/run/app.sock
        swiftlet share public 8000 --basic-auth alice:secret
        swiftlet share public 8000 --oauth-provider google --oauth-email-pattern '*@example.com'
      """)

  @Argument(
    help: ArgumentHelp("A port, host:port, a URL, unix:/path of a socket, a directory, or a file.", valueName: "target")
  )
  var target: String

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Reach it at this name; namespace:name for another namespace.", valueName: "name"))
  var name: [String] = []

  @Option(help: ArgumentHelp("Visitors must enter one of these.", valueName: "user:password"))
  var basicAuth: [String] = []

  @Option(
    help: ArgumentHelp(
      "Visitors must sign in with this provider; the share service's operator says which there are.", valueName: "name")
  )
  var oauthProvider: String?

  @Option(
    help: ArgumentHelp(
      "Only visitors with such an e-mail address may pass; * stands for any characters.", valueName: "pattern"))
  var oauthEmailPattern: [String] = []

  @Option(
    help: ArgumentHelp("Visitors sign in again after this time, such as 30m; 3h otherwise.", valueName: "duration"))
  var oauthRefreshInterval: String?

  @Flag(help: "Show the URL as a QR code too.")
  var qr = false

  @OptionGroup var options: ShareTargetOptions

  func validate() throws {
    guard oauthProvider != nil || (oauthEmailPattern.isEmpty && oauthRefreshInterval == nil) else {
      throw ValidationError("--oauth-email-pattern and --oauth-refresh-interval need --oauth-provider")
    }
    guard oauthProvider == nil || basicAuth.isEmpty else {
      throw ValidationError("--basic-auth and --oauth-provider do not go together")
    }
  }

  func run() async throws {
    let logger = options.log.logger("share", quiet: .warning)
    let session = try options.home.session(logger)
    let recognised: BackendTarget
    do { recognised = try BackendTarget.recognise(target, for: options.backendMode) } catch {
      throw CommandFailure("cannot share \(target)", error)
    }
    var share = ShareOptions(
      .public, backend: options.backendMode ?? recognised.defaultMode, target: recognised.description)
    share.names = name.map(ShareOptions.Name.init(text:))
    for pair in basicAuth {
      guard let user = ShareOptions.basicUser(pair) else {
        throw CommandFailure("'\(pair.prefix(1))...' is no user:password pair")
      }
      share.basicUsers.append(user)
    }
    share.login = oauthProvider.map {
      .init(provider: $0, emailPatterns: oauthEmailPattern, refreshInterval: oauthRefreshInterval ?? "")
    }
    share.isOpen = true
    let display = try options.screen.display(options.home, wantsCode: qr)
    let run = ShareRun(
      session: session, options: share, target: recognised, backend: options.backend(display.observer),
      grace: options.ending.grace,
      display: display, logger: logger)
    do { try await ServiceRun.run([run], logger: logger) } catch {
      throw CommandFailure("cannot share \(target)", error)
    }
  }
}

struct SharePrivateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "private", abstract: "Share a port or a directory with a token, for other enabled machines.",
    discussion: """
      The share lives while the command runs, and ends with the terminal; with nohup it outlives that.

      Examples:
        swiftlet share private 8000
        swiftlet share private 127.0.0.1:22 --backend-mode tcpTunnel --share-token my-ssh
        swiftlet share private --backend-mode socks --access-grant bob@example.com
      """)

  @Argument(
    help: ArgumentHelp(
      "A port, host:port, a URL, unix:/path of a socket, a directory, or a file; none for socks.", valueName: "target"))
  var target: String?

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The wanted token: 3 to 32 characters of a-z, 0-9 and -.", valueName: "token"))
  var shareToken = ""

  @Flag(help: "Every account may access it, not only this one and those granted.")
  var open = false

  @OptionGroup var options: ShareTargetOptions

  func run() async throws {
    let logger = options.log.logger("share", quiet: .warning)
    let session = try options.home.session(logger)
    let recognised: BackendTarget?
    do { recognised = try target.map { try BackendTarget.recognise($0, for: options.backendMode) } } catch {
      throw CommandFailure("cannot share \(target ?? "")", error)
    }
    guard recognised != nil || options.backendMode == .socks else {
      throw CommandFailure("what is to be shared?", next: "give a port, host:port, a URL, a directory or a file")
    }
    var share = ShareOptions(
      .private, backend: options.backendMode ?? recognised?.defaultMode ?? .socks, target: recognised?.description ?? ""
    )
    share.token = shareToken
    share.isOpen = open
    share.grants = options.accessGrant
    let display = try options.screen.display(options.home)
    let run = ShareRun(
      session: session, options: share, target: recognised, backend: options.backend(display.observer),
      grace: options.ending.grace,
      display: display, logger: logger)
    do { try await ServiceRun.run([run], logger: logger) } catch {
      throw CommandFailure("cannot share \(target ?? "a SOCKS proxy")", error)
    }
  }
}

extension ShareOptions.Name {
  /// - Parameter text: `name`, or `namespace:name`.
  init(text: String) {
    let parts = text.split(separator: ":", maxSplits: 1)
    self = parts.count == 2 ? .init(namespace: String(parts[0]), name: String(parts[1])) : .init(name: text)
  }
}
