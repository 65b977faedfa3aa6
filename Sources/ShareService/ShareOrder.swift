import SwiftletShare

/// What a client asks for when it shares, of either generation of the API (zrok.md 2.2).
struct ShareOrder: Sendable {
  struct NameSelection: Sendable, Equatable {
    /// Empty is the default namespace.
    var namespace: String
    /// Empty takes the share's token.
    var name: String
    /// Made with the share and gone with it where the account has no such name; otherwise a name is made before it is
    /// used, as zrok's clients do.
    var isEphemeral = false
  }

  var environment: String
  var mode: ShareOptions.Mode
  var backendMode: ShareOptions.Backend
  var target = ""
  var scheme = "none"
  var basicUsers: [(username: String, password: String)] = []
  var provider = ""
  var emailPatterns: [String] = []
  var refreshInterval = ""
  var permissionMode = PermissionMode.open
  var grants: [String] = []
  var names: [NameSelection] = []
  /// v1: public names of frontends; nil in v2.
  var frontends: [String]?
  var reserved = false
  /// The wanted token; empty takes a random one.
  var token = ""
  /// Its host knows flow control from end to end.
  var isWindowed = false
  /// It is to live only as long as it is served.
  var isLeased = false

  /// Ordered by a call of the first generation.
  var isFirstGeneration: Bool { frontends != nil }
}
