package import JSON
import Model
import NIOCore
package import SwiftletShare

/// The config `zrok.proxy.v1` of a share's service, which frontends of every generation read (zrok.md 3): who may pass.
/// What only frontends of ours understand stands under a key of its own, which others leave alone: the hosts a share is
/// found at, and hashed passwords.
package struct ProxyConfig: Codable, Sendable {
  /// Of the config type.
  package static let typeName = "zrok.proxy.v1"

  struct Basic: Codable, Sendable {
    struct User: Codable, Sendable {
      var username: String
      var password: String
    }
    var users: [User]
  }

  struct OAuth: Codable, Sendable {
    var provider: String
    var emailPatterns: [String]?
    var interval: String?

    private enum CodingKeys: String, CodingKey {
      case provider
      case emailPatterns = "email_domains"
      case interval = "authorization_check_interval"
    }
  }

  struct Own: Codable, Sendable {
    /// Lower case, without port.
    var hosts: [String]
    var users: [BasicUser]
    var backendMode: ShareOptions.Backend
    var windowed: Bool?
  }

  var interstitial: Bool
  var scheme: String
  /// In clear: only where the operator runs frontends of upstream.
  var basic: Basic?
  var oauth: OAuth?
  var own: Own?

  private enum CodingKeys: String, CodingKey {
    case interstitial, oauth
    case scheme = "auth_scheme"
    case basic = "basic_auth"
    case own = "swiftlet"
  }

  /// - Parameters:
  ///   - clear: users with their passwords, for frontends of upstream; empty writes none.
  ///   - place: of a public share: the hosts it is found at, and what runs behind it.
  package init(
    _ gate: ShareGate, interstitial: Bool, clear: [(username: String, password: String)],
    place: (hosts: [String], backendMode: ShareOptions.Backend, isWindowed: Bool?)?
  ) {
    self.interstitial = interstitial
    scheme = gate.scheme
    basic = clear.isEmpty ? nil : Basic(users: clear.map { .init(username: $0.username, password: $0.password) })
    if gate.scheme == "oauth" {
      oauth = OAuth(
        provider: gate.provider, emailPatterns: gate.emailPatterns,
        interval: "\(gate.interval.nanoseconds / 1_000_000_000)s")
    }
    if let place {
      own = Own(
        hosts: place.hosts, users: gate.users, backendMode: place.backendMode, windowed: place.isWindowed)
    }
  }

  /// The four keys that upstream reads are always there.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(interstitial, forKey: .interstitial)
    try container.encode(scheme, forKey: .scheme)
    try container.encode(basic, forKey: .basic)
    try container.encode(oauth, forKey: .oauth)
    try container.encodeIfPresent(own, forKey: .own)
  }

  package func object() throws -> JSONObject { try JSONValue(encoding: self).objectValue ?? [:] }

  // MARK: Read by a frontend

  private static let hostLimit = 64
  private static let userLimit = 64
  /// What a config may make this machine spend on one password.
  private static let passes = 1...16
  private static let memory = 8192...(256 << 20)

  /// Where the share is found, and who may pass.
  /// - Parameters:
  ///   - service: of the share; its name is the share's token, and the host's first label where the config says nothing
  ///     of hosts.
  ///   - interstitial: whether this frontend shows a warning page at all.
  func route(service: (id: String, name: String), zone: String, interstitial: Bool) -> (
    hosts: [String], route: ShareRoute
  ) {
    var gate = ShareGate()
    gate.scheme = scheme
    gate.provider = oauth?.provider ?? ""
    gate.emailPatterns = oauth?.emailPatterns ?? []
    gate.refreshInterval = oauth?.interval ?? ""
    gate.users = (own?.users ?? []).prefix(Self.userLimit).filter {
      Self.passes.contains($0.password.opslimit) && Self.memory.contains($0.password.memlimit)
    }
    var clear: [String: String] = [:]
    for user in basic?.users.prefix(Self.userLimit) ?? [] { clear[user.username] = user.password }
    let hosts = own?.hosts.prefix(Self.hostLimit).map { $0.lowercased() } ?? [service.name.lowercased() + "." + zone]
    return (
      hosts,
      ShareRoute(
        token: service.name, backendMode: own?.backendMode ?? .proxy, gate: gate, clearUsers: clear,
        interstitial: interstitial && self.interstitial,
        serviceID: service.id, isPaused: false, isWindowed: own?.windowed ?? false)
    )
  }
}
