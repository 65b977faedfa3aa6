import SwiftletShare
import Transport
import WebRelay

/// What somebody asks a running agent to keep, beside what its file says.
enum AgentOrder: Sendable, Equatable {
  case share(Share)
  case access(Access)

  struct Share: Sendable, Equatable {
    var mode: ShareOptions.Mode
    var target = ""
    /// Empty is told from the target.
    var backendMode = ""
    var insecure = false
    var closed = false
    var accessGrants: [String] = []
    /// Of a private share; empty takes what the service gives.
    var token = ""
    // Of a public share.
    var names: [ShareOptions.Name] = []
    /// `user:password`
    var basicAuth: [String] = []
    var oauthProvider = ""
    var oauthEmailDomains: [String] = []
    var oauthRefreshInterval = ""

    init(_ mode: ShareOptions.Mode) { self.mode = mode }

    /// What the file of the agent would say of it.
    /// - Throws: what is wrong, in words for whoever ordered it.
    func entry() throws -> AgentConfiguration.ShareEntry {
      var said: ShareOptions.Backend?
      if !backendMode.isEmpty {
        guard let known = ShareOptions.Backend(rawValue: backendMode) else {
          throw AgentRefusal("'\(backendMode.prefix(64))' is no backend mode")
        }
        said = known
      }
      let target = try target.isEmpty ? nil : BackendTarget.recognise(target, for: said)
      guard let backend = said ?? target?.defaultMode else {
        throw AgentRefusal("neither a target nor a backend mode was given")
      }
      var options = ShareOptions(mode, backend: backend, target: target?.description ?? "")
      options.isOpen = !closed
      options.grants = accessGrants
      options.token = token
      options.names = names
      for pair in basicAuth {
        guard let user = ShareOptions.basicUser(pair) else {
          throw AgentRefusal("an entry of basicAuth is no user:password")
        }
        options.basicUsers.append(user)
      }
      if !oauthProvider.isEmpty {
        guard basicAuth.isEmpty else { throw AgentRefusal("a share has either passwords or a sign-in") }
        options.login = .init(
          provider: oauthProvider, emailPatterns: oauthEmailDomains, refreshInterval: oauthRefreshInterval)
      }
      var settings = BackendOptions()
      settings.insecure = insecure
      return .init(options: options, target: target, backend: settings)
    }
  }

  struct Access: Sendable, Equatable {
    var token: String
    /// `host:port`; empty picks a free port of this machine alone.
    var bindAddress = ""
    /// Takes the first free port of a range instead.
    var autoMode = false
    var autoAddress = ""
    var autoStartPort = 0
    var autoEndPort = 0
    /// `Name: value`
    var responseHeaders: [String] = []

    init(_ token: String) { self.token = token }

    /// - Throws: what is wrong, in words for whoever ordered it.
    func entry() throws -> AgentConfiguration.AccessEntry {
      guard !token.isEmpty else { throw AgentRefusal("no token of a share was given") }
      let headers = try responseHeaders.map { text in
        guard let header = ResponseHeader(text) else {
          throw AgentRefusal("'\(text.prefix(64))' is no header of an answer, 'Name: value'")
        }
        return header
      }
      if autoMode {
        guard (1...65535).contains(autoStartPort), (autoStartPort...65535).contains(autoEndPort) else {
          throw AgentRefusal("\(autoStartPort) to \(autoEndPort) is no range of ports")
        }
        guard autoEndPort - autoStartPort < 1000 else {
          throw AgentRefusal("at most 1000 ports are tried; \(autoStartPort) to \(autoEndPort) are more")
        }
        return .init(
          token: token, host: autoAddress.isEmpty ? "127.0.0.1" : HostPort.host(autoAddress) ?? autoAddress,
          ports: autoStartPort...autoEndPort,
          responseHeaders: headers)
      }
      guard let address = HostPort(bindAddress.isEmpty ? "127.0.0.1:0" : bindAddress, defaultPort: 0) else {
        throw AgentRefusal("'\(bindAddress.prefix(64))' is no address; write host:port")
      }
      return .init(token: token, host: address.host, ports: address.port...address.port, responseHeaders: headers)
    }
  }

  /// How status and log call it.
  var label: String {
    switch self {
    case .share(let share):
      share.names.first { !$0.name.isEmpty }?.name ?? (share.token.isEmpty ? share.target : share.token)
    case .access(let access): access.token
    }
  }

  /// Names and tokens that only one share can have; a default namespace is known to the service alone.
  var claims: Set<String> {
    guard case .share(let share) = self else { return [] }
    return Self.claims(share.mode, share.names, share.token)
  }

  static func claims(_ mode: ShareOptions.Mode, _ names: [ShareOptions.Name], _ token: String) -> Set<String> {
    switch mode {
    case .public: Set(names.filter { !$0.name.isEmpty }.map { "name \($0.namespace)/\($0.name)" })
    case .private: token.isEmpty ? [] : ["token " + token]
    }
  }

  /// Whether it is written down, and kept again by the next agent: what has a name, a token, or is an access. The
  /// others end with the agent that was asked.
  var isLasting: Bool {
    switch self {
    case .share(let share): share.mode == .public ? share.names.contains { !$0.name.isEmpty } : !share.token.isEmpty
    case .access: true
    }
  }
}

/// What an agent does not do for somebody, and why.
struct AgentRefusal: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
