package import Model
package import NIOCore
import Transport

/// One user name and password of a share; the password is hashed.
package struct BasicUser: Sendable, Codable, Equatable {
  package var username: String
  package var password: PasswordHash

  package init(username: String, password: PasswordHash) {
    self.username = username
    self.password = password
  }
}

/// Who may pass a public frontend (zrok.md 1.7).
package struct ShareGate: Sendable, Codable, Equatable {
  /// `none`, `basic` or `oauth`.
  package var scheme = "none"
  package var users: [BasicUser] = []
  package var provider = ""
  package var emailPatterns: [String] = []
  package var refreshInterval = ""

  package init() {}

  /// How often a share that does not say it wants its visitors to sign in.
  static let defaultInterval = TimeAmount.hours(3)

  /// After which a visitor signs in again.
  package var interval: TimeAmount {
    guard let amount = GoDuration.parse(refreshInterval), amount > .zero else { return Self.defaultInterval }
    return amount
  }
}
