import Authentication
import Controller
import Logging
import Model
import Store
import SwiftletShare

/// Accounts, how one comes to have one, and passwords (zrok.md 1.1).
extension ShareCore {
  /// - Parameter email: at most 254 bytes, one `@`, no blanks and nothing that `NameText` forbids; kept in lower case.
  static func address(_ email: String) throws -> String {
    let email = email.lowercased()
    let parts = email.split(separator: "@", omittingEmptySubsequences: false)
    guard email.utf8.count <= 254, parts.count == 2, parts.allSatisfy({ !$0.isEmpty }), !email.utf8.contains(0x20),
      NameText.forbidden(in: email) == nil
    else {
      throw ShareRefusal(400, "'\(email.prefix(254))' is no e-mail address")
    }
    return email
  }

  /// An account, made by an administrator: the rule for passwords does not apply (zrok.md 1.1). - Returns: the account
  /// token.
  func createAccount(email: String, password: String) async throws -> String {
    let account = ShareAccount(
      id: EntityID.short(), email: try Self.address(email), token: ShareTokens.secret(),
      password: try await passwords.hash(password))
    return try await network.write(author: "share administrator") { change in
      guard try change.store.account(email: account.email) == nil else {
        throw ShareRefusal(500, "account \(account.email) exists")
      }
      return try change.store.put(account).token
    }
  }

  func account(token: String) async throws -> ShareAccount? {
    guard !token.isEmpty, token.utf8.count <= 128 else { return nil }
    return try await network.read { try $0.first(ShareAccount.self, field: "token", equals: token) }
  }

  func isAdministrator(_ token: String) -> Bool {
    // All are compared, so that time tells nothing.
    configuration.adminSecrets.reduce(false) { found, secret in SecretText.equal(secret, token) || found }
  }

  /// - Returns: the account token. - Throws: 401 for an unknown address and a wrong password alike, at the same cost.
  func logIn(email: String, password: String, from address: String) async throws -> String {
    let email = email.lowercased()
    let account = try await network.read { try $0.account(email: email) }
    let isRight = try await attempt(email, from: address) {
      try await passwords.verify(password, against: account?.password, from: address)
    }
    guard isRight, let account else { throw ShareRefusal(401) }
    return account.token
  }

  func deleteAccount(email: String) async throws {
    let account = try await network.read { try $0.requireAccount(email: email) }
    for environment in try await network.read({
      try $0.all(ShareEnvironmentRow.self, field: "accountId", equals: account.id)
    }) {
      try await disable(account.id, environment: environment.id)
    }
    try await network.write(author: "share administrator") { change in
      for name in try change.store.all(ShareName.self, field: "accountId", equals: account.id) {
        try change.store.delete(ShareName.self, name.id)
      }
      for organization in try change.store.all(ShareOrganization.self)
      where organization.members.contains(where: { $0.accountId == account.id }) {
        var organization = organization
        organization.members.removeAll { $0.accountId == account.id }
        try change.store.put(organization)
      }
      try change.store.delete(ShareAccount.self, account.id)
    }
  }

  func setPassword(email: String, password: String) async throws {
    if let weakness = AccountPassword.weakness(password) { throw ShareRefusal(422, weakness) }
    let hash = try await passwords.hash(password)
    try await change(email: email) { $0.password = hash }
  }

  func changePassword(_ id: String, old: String, new: String, from address: String) async throws {
    let account = try await network.read { try $0.account(id) }
    // The token of an account is no right to guess its password.
    let isRight = try await attempt(account.email, from: address) {
      try await passwords.verify(old, against: account.password, from: address)
    }
    guard isRight else { throw ShareRefusal(401, "the old password is wrong") }
    try await setPassword(email: account.email, password: new)
  }

  /// The old token is of no use from now on. - Returns: the new one.
  func regenerateToken(_ id: String, email: String) async throws -> String {
    let token = ShareTokens.secret()
    return try await network.write(author: email) { change in
      var account = try change.store.account(id)
      guard account.email == email.lowercased() else { throw ShareRefusal.notFound("account \(email)") }
      account.token = token
      return try change.store.put(account).token
    }
  }

  func change(email: String, _ body: @escaping @Sendable (inout ShareAccount) throws -> Void) async throws {
    try await network.write(author: "share administrator") { change in
      var account = try change.store.requireAccount(email: email)
      try body(&account)
      try change.store.put(account)
    }
  }

  // MARK: Invitation and registration

  /// How soon the same address may get the next letter, in seconds: nobody is to be buried in them.
  private static let mailInterval: Int64 = 60

  /// Asks for an account. The token goes to the log where no mail is configured: an operator passes it on.
  func invite(email: String, token: String?, from address: String) async throws {
    guard configuration.invitesOpen else {
      throw ShareRefusal(400, "this service takes no invitations; ask its administrator for an account")
    }
    let email = try Self.address(email)
    // Each request counts as an attempt: it makes somebody work, or mails a stranger.
    try count(from: address)
    if mailer != nil, !ShareMail.isPlain(email) { throw ShareRefusal(400, "mail cannot go to '\(email)'") }
    let (needsToken, interval) = (configuration.invitesNeedToken, mailer == nil ? 0 : Self.mailInterval)
    let ticket = ShareTicket(id: ShareTokens.secret(), purpose: .registration, email: email)
    if needsToken {
      // Operators choose these, so they can be guessed.
      let isKnown = try await attempt("an invitation", from: address) {
        try await network.read { reader in
          try token.flatMap { try reader.get(ShareTicket.self, $0) }?.purpose == .invitation
        }
      }
      guard isKnown else { throw ShareRefusal(400, "missing invite token") }
    }
    try await network.write(author: "share invitation") { change in
      guard try change.store.account(email: email) == nil else { throw ShareRefusal(400, "duplicate email found") }
      if needsToken {
        guard let token, try change.store.delete(ShareTicket.self, token) else {
          throw ShareRefusal(400, "missing invite token")
        }
      }
      for old in try change.store.all(ShareTicket.self, field: "email", equals: email)
      where old.purpose == .registration {
        guard old.createdAt.adding(seconds: interval) <= change.store.now else {
          throw ShareRefusal(
            429, "a registration link was sent to \(email) a moment ago; wait a minute before you ask again")
        }
        try change.store.delete(ShareTicket.self, old.id)
      }
      try change.store.put(ticket)
    }
    if let mailer {
      let text = """
        Somebody, you perhaps, asked for an account at \(configuration.pageURL) with this address.

        Make the account within a day: \(configuration.pageURL)/register/\(ticket.id)

        If it was not you, there is nothing to do.
        """
      return try mailer.post(.init(to: email, subject: "Your account at \(configuration.zone)", text: text))
    }
    // A warning: an operator has to act.
    logger.warning(
      "registration asked for; no mail is configured, so pass the token on",
      metadata: ["email": "\(email)", "registration": "\(ticket.id)"])
  }

  func addInvitations(_ tokens: [String]) async throws {
    guard tokens.count <= 1000, tokens.allSatisfy({ (1...64).contains($0.utf8.count) }) else {
      throw ShareRefusal(400, "at most 1000 tokens of 1 to 64 bytes")
    }
    try await network.write(author: "share administrator") { change in
      for token in tokens { try change.store.put(ShareTicket(id: token, purpose: .invitation)) }
    }
  }

  private func ticket(_ token: String, _ purpose: ShareTicket.Purpose, from address: String) async throws -> ShareTicket
  {
    let now = network.now
    guard !token.isEmpty, let ticket = try await network.read({ try $0.get(ShareTicket.self, token) }),
      ticket.purpose == purpose,
      ticket.isGood(at: now)
    else {
      try count(from: address)
      throw ShareRefusal(404, "the token is unknown, was used, or has expired")
    }
    return ticket
  }

  /// - Returns: the address a registration token is for.
  func verify(registration token: String, from address: String) async throws -> String {
    try await ticket(token, .registration, from: address).email
  }

  /// - Returns: the account token.
  func register(registration token: String, password: String, from address: String) async throws -> String {
    let ticket = try await ticket(token, .registration, from: address)
    if let weakness = AccountPassword.weakness(password) { throw ShareRefusal(422, weakness) }
    let account = ShareAccount(
      id: EntityID.short(), email: ticket.email, token: ShareTokens.secret(),
      password: try await passwords.hash(password))
    return try await network.write(author: account.email) { change in
      // Of two who register with one token at once, one is refused.
      guard try change.store.delete(ShareTicket.self, ticket.id), try change.store.account(email: account.email) == nil
      else {
        throw ShareRefusal(404, "the token is unknown, was used, or has expired")
      }
      return try change.store.put(account).token
    }
  }

  /// Resets of one account that wait to be used, at most: their letters went to its owner, who can use any of them.
  private static let resetLimit = 3

  /// Answers the same whether the account exists or not.
  func requestReset(email: String, from address: String) async throws {
    let email = try Self.address(email)
    // Each request counts as an attempt: for its address, and with growing waits for this account.
    _ = try await attempt("reset of " + email, from: address) { false }
    let ticket = ShareTicket(id: ShareTokens.secret(), purpose: .passwordReset, email: email)
    let interval = mailer == nil ? 0 : Self.mailInterval
    let made = try await network.write(author: "password reset") { change -> Bool in
      let store = change.store
      guard try store.account(email: email) != nil else { return false }
      let waiting = try store.all(ShareTicket.self, field: "email", equals: email).filter {
        $0.purpose == .passwordReset && $0.isGood(at: store.now)
      }
      guard waiting.count < Self.resetLimit, waiting.allSatisfy({ $0.createdAt.adding(seconds: interval) <= store.now })
      else { return false }
      try store.put(ticket)
      return true
    }
    if made, let mailer {
      let text = """
        Somebody, you perhaps, asked for a new password of your account at \(configuration.pageURL).

        Set it within a quarter of an hour: \(configuration.pageURL)/resetPassword/\(ticket.id)

        If it was not you, there is nothing to do: the password stays as it is.
        """
      do { try mailer.post(.init(to: email, subject: "Your password at \(configuration.zone)", text: text)) } catch {
        logger.error("mail with a password reset was not sent", metadata: ["email": "\(email)", "reason": "\(error)"])
      }
    } else if made {
      logger.warning(
        "password reset asked for; no mail is configured, so pass the token on",
        metadata: ["email": "\(email)", "reset": "\(ticket.id)"])
    }
  }

  func resetPassword(_ token: String, password: String, from address: String) async throws {
    let ticket = try await ticket(token, .passwordReset, from: address)
    if let weakness = AccountPassword.weakness(password) { throw ShareRefusal(422, weakness) }
    let hash = try await passwords.hash(password)
    try await network.write(author: ticket.email) { change in
      guard try change.store.delete(ShareTicket.self, ticket.id),
        var account = try change.store.account(email: ticket.email)
      else {
        throw ShareRefusal(404, "the token is unknown, was used, or has expired")
      }
      account.password = hash
      try change.store.put(account)
    }
  }

  /// Forgets tickets whose time is over. They are looked for beside the writer, which only takes out what was found.
  func forgetTickets() async throws {
    let now = network.now
    let over = try await network.read { try $0.all(ShareTicket.self).filter { !$0.isGood(at: now) }.map(\.id) }
    guard !over.isEmpty else { return }
    try await network.write(author: "share service") { change in
      for id in over { try change.store.delete(ShareTicket.self, id) }
    }
  }
}
