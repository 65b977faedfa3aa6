import JSON
import Model
import ShareFrontend
import SwiftletShare

// The rows of the share service, stored beside the network's entities and changed in one transaction with them (zrok.md
// 1, 7.3).

/// Someone who shares (zrok.md 1.1).
struct ShareAccount: Entity {
  static let kind = EntityKind(rawValue: "share-accounts")
  static let secretMembers = ["token", "password"]
  static let indexedMembers = [IndexedMember("token", isUnique: true)]

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  /// Lower case; unique.
  var email: String
  /// The only credential of the API, so it can be shown again after a sign-in with the password.
  var token: String
  var password: PasswordHash?
  /// No warning page in front of this account's public shares.
  var skipsInterstitial = false
  /// Tokens of closed frontends and namespaces the account may use.
  var frontendGrants: [String] = []
  var namespaceGrants: [String] = []
  /// Ids of limit classes.
  var limitClasses: [Int]?
  /// Over a bandwidth limit: its shares are paused, and nothing new can be made. Over a warning level.
  var limited: Bool?
  var warned: Bool?
  /// Over the limit of a class that is only for these modes.
  var limitedModes: [ShareOptions.Backend]?

  var uniqueName: String? { email }
  /// Whether less usage would change something.
  var isHeldBack: Bool { limited ?? false || warned ?? false || limitedModes != nil }
  func mayUse(_ namespace: ShareNamespace) -> Bool { namespace.open || namespaceGrants.contains(namespace.id) }

  func validate() throws(ModelError) {
    try validateBase()
    try validate(name: email)
  }
}

/// One (account, user, machine), with the identity that shares and accesses run as (zrok.md 1.2). Its id is the
/// identity's.
struct ShareEnvironmentRow: Entity {
  static let kind = EntityKind(rawValue: "share-environments")
  static let indexedMembers = [IndexedMember("accountId")]

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  var accountId: String
  var description: String
  var host: String
  var address: String
  var edgeRouterPolicyId: String

  func validate() throws(ModelError) { try validateBase() }
}

/// That the service may give orders to the agent of an environment, over a service of the network that the agent hosts
/// (zrok.md 2.5, 3). Its id is the environment's.
struct ShareAgentEnrollment: Entity {
  static let kind = EntityKind(rawValue: "share-agent-enrollments")

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  /// Names the service.
  var token: String
  /// Entities of the network that go with it.
  var serviceId: String
  var bindPolicyId: String
  var dialPolicyId: String
  var routerPolicyId: String

  var uniqueName: String? { token }

  func validate() throws(ModelError) { try validateBase() }
}

/// The identity that the service dials agents with; there is one, of a fixed id.
struct ShareAgentController: Entity {
  static let kind = EntityKind(rawValue: "share-agent-controllers")
  static let onlyID = "agent-controller"

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  var zId: String

  func validate() throws(ModelError) { try validateBase() }
}

enum PermissionMode: String, Sendable, Codable { case open, closed }

/// A share; its token is the name of a service (zrok.md 1.3).
struct ShareRow: Entity {
  static let kind = EntityKind(rawValue: "shares")
  static let indexedMembers = [IndexedMember("environmentId"), IndexedMember("accountId")]
  static let secretMembers = ["gate"]

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  /// Unique among shares and among services.
  var token: String
  var accountId: String
  var environmentId: String
  var mode: ShareOptions.Mode
  var backendMode: ShareOptions.Backend
  /// Shown to people; the service never contacts it.
  var target: String
  var permissionMode: PermissionMode
  /// Ids of accounts that may access a closed share, beside its owner's.
  var accessGrants: [String] = []
  var gate = ShareGate()
  var interstitial = false
  /// v1: kept until released.
  var reserved = false
  /// v1: the public name of the frontend it was made for.
  var frontendSelection = ""
  /// As the API shows them.
  var endpoints: [String] = []
  /// Of a public TCP or UDP share: its port in the operator's pool.
  var publicPort: Int?
  /// Where a public share is found, as its config says; nil for one made before configs said so.
  var hosts: [String]?
  /// Identities of the frontends that dial a public share.
  var dialIdentities: [String]?
  /// Nobody may dial it: its account has used up its bandwidth.
  var paused: Bool?
  /// Its host knows flow control from end to end.
  var windowed: Bool?
  /// Lives only as long as it is served: its host makes it again where it was taken back (`ShareLeases`).
  var leased: Bool?
  /// Entities of the network that go with it.
  var serviceId: String
  var configId: String
  var bindPolicyId: String
  var dialPolicyId: String?
  var routerPolicyId: String

  var uniqueName: String? { token }
  var isPaused: Bool { paused ?? false }

  func validate() throws(ModelError) { try validateBase() }
}

/// The right of an environment to dial a private share (zrok.md 1.4).
struct ShareAccessRow: Entity {
  static let kind = EntityKind(rawValue: "share-accesses")
  static let indexedMembers = [IndexedMember("environmentId"), IndexedMember("shareToken")]

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  /// What the API calls the frontend's id: a number.
  var number: Int
  var token: String
  var environmentId: String
  var shareToken: String
  var backendMode: ShareOptions.Backend
  var bindAddress = ""
  var description = ""
  /// Empty while the share is paused.
  var dialPolicyId: String

  var uniqueName: String? { token }

  func validate() throws(ModelError) { try validateBase() }
}

/// The last number that was given of a kind of things. Its id is the kind.
struct ShareCounter: Entity {
  static let kind = EntityKind(rawValue: "share-counters")
  static let isIntent = false

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  var last: Int

  func validate() throws(ModelError) { try validateBase() }
}

/// A label in a namespace, owned by an account, in front of at most one share (zrok.md 1.3).
struct ShareName: Entity {
  static let kind = EntityKind(rawValue: "share-names")
  static let indexedMembers = [IndexedMember("accountId"), IndexedMember("shareToken"), IndexedMember("namespace")]

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  /// Token of the namespace.
  var namespace: String
  var name: String
  var accountId: String
  /// Empty while no share uses it.
  var shareToken = ""
  /// Outlives its shares.
  var reserved = false

  var uniqueName: String? { Self.unique(namespace, name) }
  static func unique(_ namespace: String, _ name: String) -> String { namespace + "/" + name }

  func validate() throws(ModelError) { try validateBase() }
}

/// A DNS zone whose labels are names of shares (zrok.md 1.3). Its id is its token.
struct ShareNamespace: Entity {
  static let kind = EntityKind(rawValue: "share-namespaces")

  struct Frontend: Sendable, Codable, Equatable {
    var token: String
    var isDefault: Bool
    var createdAt: Timestamp
  }

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  /// The zone: `share.example.com`.
  var name: String
  var description = ""
  /// Open to every account.
  var open = false
  var frontends: [Frontend] = []

  var uniqueName: String? { name }

  func validate() throws(ModelError) {
    try validateBase()
    try validate(name: name)
  }
}

/// A public entry (zrok.md 1.5). Its id is its token.
struct ShareFrontendRow: Entity {
  static let kind = EntityKind(rawValue: "share-frontends")

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  /// The identity that dials shares.
  var zId: String
  var publicName: String
  /// v1: `https://{token}.share.example.com`.
  var urlTemplate: String
  var permissionMode: PermissionMode
  var dynamic: Bool

  var uniqueName: String? { publicName }

  func validate() throws(ModelError) { try validateBase() }
}

/// A group whose administrators may read what its members have (zrok.md 1.9). Its id is its token.
struct ShareOrganization: Entity {
  static let kind = EntityKind(rawValue: "share-organizations")

  struct Member: Sendable, Codable, Equatable {
    var accountId: String
    var admin: Bool
  }

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  var description: String
  var members: [Member] = []

  func validate() throws(ModelError) { try validateBase() }
}

/// A token that was mailed, or is to be used once: registration, password reset, invitation. Its id is the token.
struct ShareTicket: Entity {
  static let kind = EntityKind(rawValue: "share-tickets")
  static let indexedMembers = [IndexedMember("email")]
  static let secretMembers = ["id"]
  static let isIntent = false

  enum Purpose: String, Sendable, Codable { case registration, passwordReset, invitation }

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  var purpose: Purpose
  /// Of the account that is to be, or is; empty for invitations.
  var email = ""

  /// How long it is good for; nil = until used.
  var lifetime: Int64? {
    switch purpose {
    case .registration: 24 * 3600
    case .passwordReset: 15 * 60
    case .invitation: nil
    }
  }

  func isGood(at now: Timestamp) -> Bool { lifetime.map { createdAt.adding(seconds: $0) > now } ?? true }

  func validate() throws(ModelError) { try validateBase() }
}
