import ArgumentParser
import Foundation
import Logging
import NIOCore
import ServiceLifecycle
import Share
import Swiftlet
import SwiftletShare
import WebRelay

/// What public and private shares have in common.
struct ShareTargetOptions: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("What serves the share: proxy, web, drive, tcpTunnel, udpTunnel or socks. Default: by the target.", valueName: "mode"),
    transform: { text in
      guard let mode = ShareOptions.Backend(rawValue: text) else {
        throw ValidationError("'\(text)' is no mode; use proxy, web, drive, tcpTunnel, udpTunnel or socks")
      }
      return mode
    })
  var backendMode: ShareOptions.Backend?

  @Option(help: ArgumentHelp("The Host header that the server reads: a value, or 'rewrite' for its own address.", valueName: "value"))
  var hostHeader: String?

  @Option(help: ArgumentHelp("Set this header on every request.", valueName: "name:value"))
  var requestHeader: [String] = []

  @Flag(help: "Accept any certificate of the server.")
  var insecure = false

  @Option(help: ArgumentHelp("This account may access the share; the others may not.", valueName: "e-mail"))
  var accessGrant: [String] = []

  @OptionGroup var home: ShareHomeOptions
  @OptionGroup var log: LogOptions

  func validate() throws {
    for header in requestHeader where !header.dropFirst().contains(":") { throw ValidationError("'\(header)' is no header; write name:value") }
  }

  func backend() -> BackendOptions {
    var options = BackendOptions()
    options.insecure = insecure
    if let hostHeader { options.hostHeader = hostHeader == "rewrite" ? .target : .value(hostHeader) }
    options.requestHeaders = requestHeader.compactMap { header in
      guard let colon = header.firstIndex(of: ":") else { return nil }
      return (String(header[..<colon]), header[header.index(after: colon)...].trimmingCharacters(in: .whitespaces))
    }
    options.observer = { record in RequestLine.show(record) }
    return options
  }
}

/// One line for each request that is over.
enum RequestLine {
  static func show(_ record: RequestRecord) {
    let out = Terminal.output
    let milliseconds = Double(record.duration.nanoseconds) / 1e6
    let status = record.status == 0 ? "---" : "\(record.status)"
    let style: Terminal.Style = record.status >= 500 || record.status == 0 ? .red : record.status >= 400 ? .yellow : .green
    let clean = String(record.path.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "?" : Character($0) })
    out.line("\(out.styled(status, style))  \(record.method)  \(clean)  \((milliseconds * 10).rounded() / 10) ms  \(record.remoteAddress)")
  }
}

/// A share while its command runs: made, served, deleted at the end.
struct ShareRun: Service {
  let session: ShareSession
  let options: ShareOptions
  let target: BackendTarget?
  let backend: BackendOptions
  let logger: Logger
  let ready: @Sendable (Share) -> Void

  func run() async throws {
    let share = try await session.create(options)
    let result: Result<Void, any Error>
    do {
      let running = try await ShareBackend.start(
        share, mode: options.backend, target: target, overlay: session.overlay(), options: backend, logger: logger)
      ready(share)
      try? await gracefulShutdown()
      await running.stop()
      result = .success(())
    } catch {
      result = .failure(error)
    }
    // In a task of its own: this one may be cancelled.
    let deletion = await Task { try await session.delete(share) }.result
    await session.close()
    try result.get()
    try deletion.get()
  }
}

struct SharePublicCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "public", abstract: "Share a port or a directory with a URL.",
    discussion: """
      The share lives while the command runs.

      Examples:
        swiftlet share public 8000
        swiftlet share public ./photos --name photos
        swiftlet share public https://10.0.0.7 --insecure --host-header rewrite
        swiftlet share public 8000 --basic-auth alice:secret
      """)

  @Argument(help: ArgumentHelp("A port, host:port, a URL, or a directory.", valueName: "target"))
  var target: String

  @Option(name: .shortAndLong, help: ArgumentHelp("Reach it at this name; namespace:name for another namespace.", valueName: "name"))
  var name: [String] = []

  @Option(help: ArgumentHelp("Visitors must enter one of these.", valueName: "user:password"))
  var basicAuth: [String] = []

  @OptionGroup var options: ShareTargetOptions

  func run() async throws {
    let logger = options.log.logger("share", quiet: .warning)
    let session = try options.home.session(logger)
    let recognised: BackendTarget
    do { recognised = try BackendTarget.recognise(target) } catch { throw CommandFailure("cannot share \(target)", error) }
    var share = ShareOptions(.public, backend: options.backendMode ?? recognised.defaultMode, target: recognised.description)
    share.names = name.map { text in
      let parts = text.split(separator: ":", maxSplits: 1)
      return parts.count == 2 ? .init(namespace: String(parts[0]), name: String(parts[1])) : .init(name: text)
    }
    for pair in basicAuth {
      guard let colon = pair.firstIndex(of: ":") else { throw CommandFailure("'\(pair.prefix(1))...' is no user:password pair") }
      share.basicUsers.append((String(pair[..<colon]), String(pair[pair.index(after: colon)...])))
    }
    share.isOpen = true
    let run = ShareRun(session: session, options: share, target: recognised, backend: options.backend(), logger: logger) { share in
      for url in share.urls { Terminal.output.line(Terminal.output.styled(url, .bold)) }
      Terminal.error.line("\(recognised) is shared. Ctrl-C ends it.")
    }
    do { try await ServiceRun.run([run], logger: logger) } catch { throw CommandFailure("cannot share \(target)", error) }
  }
}

struct SharePrivateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "private", abstract: "Share a port or a directory with a token, for other enabled machines.",
    discussion: """
      The share lives while the command runs.

      Examples:
        swiftlet share private 8000
        swiftlet share private 127.0.0.1:22 --backend-mode tcpTunnel --share-token my-ssh
        swiftlet share private --backend-mode socks --access-grant bob@example.com
      """)

  @Argument(help: ArgumentHelp("A port, host:port, a URL, or a directory; none for socks.", valueName: "target"))
  var target: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("The wanted token: 3 to 32 characters of a-z, 0-9 and -.", valueName: "token"))
  var shareToken = ""

  @Flag(help: "Every account may access it, not only this one and those granted.")
  var open = false

  @OptionGroup var options: ShareTargetOptions

  func run() async throws {
    let logger = options.log.logger("share", quiet: .warning)
    let session = try options.home.session(logger)
    let recognised: BackendTarget?
    do { recognised = try target.map { try BackendTarget.recognise($0) } } catch { throw CommandFailure("cannot share \(target ?? "")", error) }
    guard recognised != nil || options.backendMode == .socks else {
      throw CommandFailure("what is to be shared?", next: "give a port, host:port, a URL or a directory")
    }
    var share = ShareOptions(.private, backend: options.backendMode ?? recognised?.defaultMode ?? .socks, target: recognised?.description ?? "")
    share.token = shareToken
    share.isOpen = open
    share.grants = options.accessGrant
    let run = ShareRun(session: session, options: share, target: recognised, backend: options.backend(), logger: logger) { share in
      Terminal.output.line(Terminal.output.styled("swiftlet access private \(share.token)", .bold))
      Terminal.error.line("\(recognised?.description ?? "A SOCKS proxy") is shared. Ctrl-C ends it.")
    }
    do { try await ServiceRun.run([run], logger: logger) } catch { throw CommandFailure("cannot share \(target ?? "a SOCKS proxy")", error) }
  }
}
