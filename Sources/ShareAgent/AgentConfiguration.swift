import NIOCore
public import SwiftletShare
import Transport
public import WebRelay

/// What an agent keeps up: shares and accesses, from a YAML file.
///
/// ```yaml
/// shares:
///   - target: ./photos
///     name: photos
///   - target: 127.0.0.1:22
///     mode: private
///     backend: tcpTunnel
///     token: my-ssh
/// accesses:
///   - token: their-database
///     bind: 127.0.0.1:5432
/// ```
public struct AgentConfiguration: Sendable {
  public struct ShareEntry: Sendable {
    public var options: ShareOptions
    public var target: BackendTarget?
    public var backend: BackendOptions

    /// How status and log call it.
    public var label: String { options.names.first?.name ?? (options.token.isEmpty ? options.target : options.token) }
  }

  public struct AccessEntry: Sendable {
    public var token: String
    public var host: String
    /// The first free one is taken; 0 picks any.
    public var ports: ClosedRange<Int>
    public var responseHeaders: [ResponseHeader]
  }

  public var shares: [ShareEntry] = []
  public var accesses: [AccessEntry] = []

  public init() {}

  /// - Throws: `ConfigurationError` with every line to look at, or what is wrong with a target.
  public static func load(path: String) throws -> AgentConfiguration {
    let document = try StrictDocument(path: path)
    let configuration = try AgentConfiguration(document.root)
    try document.finish()
    guard !configuration.shares.isEmpty || !configuration.accesses.isEmpty else {
      throw ConfigurationError(file: path, "neither shares nor accesses; there is nothing to keep")
    }
    return configuration
  }

  init(_ root: StrictSection) throws {
    for section in try root.sections("shares") ?? [] { shares.append(try Self.share(section)) }
    for section in try root.sections("accesses") ?? [] {
      let token = try section.required("token")
      let bind = try section.string("bind") ?? "127.0.0.1:0"
      guard let address = HostPort(bind, defaultPort: 0) else {
        throw section.error("bind", "'\(bind)' is no address; write host:port, an IPv6 address in brackets")
      }
      let headers = try (section.list("responseHeaders") ?? []).map { text in
        guard let header = ResponseHeader(text) else {
          throw section.error("responseHeaders", "'\(text)' is no header of an answer, 'Name: value'")
        }
        return header
      }
      accesses.append(
        AccessEntry(token: token, host: address.host, ports: address.port...address.port, responseHeaders: headers))
    }
    var labels: Set<String> = []
    for label in shares.map(\.label) where !labels.insert(label).inserted {
      throw root.error("shares", "two shares are called \(label)")
    }
  }

  private static func share(_ section: StrictSection) throws -> ShareEntry {
    let word = try section.string("mode") ?? "public"
    guard let mode = ShareOptions.Mode(rawValue: word) else {
      throw section.error("mode", "'\(word)' is no mode; there are public and private")
    }
    var said: ShareOptions.Backend?
    if let word = try section.string("backend") {
      guard let known = ShareOptions.Backend(rawValue: word) else {
        throw section.error("backend", "'\(word)' is no backend mode")
      }
      said = known
    }
    let target: BackendTarget?
    do { target = try section.string("target").map { try BackendTarget.recognise($0, for: said) } } catch {
      throw section.error("target", "\(error)")
    }
    guard let backend = said ?? target?.defaultMode else { throw section.missing("target") }
    var options = ShareOptions(mode, backend: backend, target: target?.description ?? "")
    options.isOpen = try section.bool("open") ?? (mode == .public)
    options.grants = try section.list("accessGrants") ?? []
    if let name = try section.string("name") {
      options.names = [.init(namespace: try section.string("namespace") ?? "", name: name)]
    }
    options.token = try section.string("token") ?? ""
    for pair in try section.list("basicAuth") ?? [] {
      guard let user = ShareOptions.basicUser(pair) else {
        throw section.error("basicAuth", "an entry is no user:password")
      }
      options.basicUsers.append(user)
    }
    if let login = try section.section("oauth") {
      guard options.basicUsers.isEmpty else { throw section.error("oauth", "a share has either this or basicAuth") }
      options.login = .init(
        provider: try login.required("provider"), emailPatterns: try login.list("emailPatterns") ?? [],
        refreshInterval: try login.duration("refreshInterval").map { "\($0.nanoseconds / 1_000_000_000)s" } ?? "")
    }
    var settings = BackendOptions()
    settings.insecure = try section.bool("insecure") ?? false
    settings.showsHidden = try section.bool("showHidden") ?? false
    if let limit = try section.duration("responseTimeout") {
      guard limit >= .seconds(1) else {
        throw section.error("responseTimeout", "at least 1s; leave it out for no limit")
      }
      settings.answerLimit = limit
    }
    if let host = try section.string("hostHeader") { settings.hostHeader = host == "rewrite" ? .target : .value(host) }
    return ShareEntry(options: options, target: target, backend: settings)
  }
}
