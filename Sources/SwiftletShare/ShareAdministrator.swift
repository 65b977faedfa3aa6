import Foundation
public import JSON

/// Calls of a share service for which no machine need be enabled: what its operators may do, and the way to an account
/// (zrok.md 2.1, 2.6).
public struct ShareAdministrator: Sendable {
  private let endpoint: String
  private let secret: String
  private let roots: String?

  /// - Parameters:
  ///   - endpoint: URL of the share service; nil takes what the environment knows.
  ///   - secret: the operator's token; empty for calls that anybody may make.
  ///   - environment: asked where `endpoint` is nil.
  ///   - roots: PEM file of the authorities that the share service's certificate comes from; nil takes the system's.
  /// - Throws: `ShareError.noEndpoint`.
  public init(endpoint: String? = nil, secret: String = "", environment: ShareEnvironment, roots: String? = nil) throws
  {
    guard let endpoint = endpoint ?? environment.endpoint?.url else { throw ShareError.noEndpoint }
    self.endpoint = endpoint
    self.secret = secret
    self.roots = roots
  }

  private func client() async throws -> ShareClient { try await .finding(endpoint, token: secret, roots: roots) }

  /// One call of the second generation of the API.
  /// - Parameters:
  ///   - operation: for errors: "refused to ...".
  ///   - method: of HTTP.
  ///   - path: below the API's base path, `/account`.
  ///   - body: nil for none.
  /// - Throws: `ShareError`.
  public func call(_ operation: String, _ method: String, _ path: String, _ body: JSONObject? = nil) async throws
    -> JSONValue
  {
    try await client().call(operation, method, path, body.map { .object($0) })
  }

  /// Asks for an account: the service mails a registration token, or its operator passes it on.
  /// - Parameters:
  ///   - email: of whom the account is for.
  ///   - invitation: a token that the service may want to see.
  /// - Throws: `ShareError`.
  public func invite(email: String, invitation: String? = nil) async throws {
    var body: JSONObject = ["email": .string(email)]
    if let invitation { body["inviteToken"] = .string(invitation) }
    try await client().call("take the request for an account", "POST", "/invite", .object(body))
  }

  /// Makes the account that a registration token is for.
  /// - Parameters:
  ///   - registration: the token.
  ///   - password: of the new account.
  /// - Returns: its e-mail address and its token.
  /// - Throws: `ShareError`.
  public func register(_ registration: String, password: String) async throws -> (email: String, token: String) {
    let operation = "register the account"
    let client = try await client()
    let known = try await client.call(operation, "POST", "/verify", ["registerToken": .string(registration)])
    let made = try await client.call(
      operation, "POST", "/register", ["registerToken": .string(registration), "password": .string(password)])
    return (try client.text(known, "email", operation), try client.text(made, "accountToken", operation))
  }

  /// Asks for a token with which a new password can be set; the answer is the same whether there is such an account or
  /// not.
  public func requestPasswordReset(email: String) async throws {
    try await client().call(
      "take the request for a new password", "POST", "/resetPasswordRequest", ["emailAddress": .string(email)])
  }

  /// Sets a new password.
  /// - Parameters:
  ///   - reset: the token that came by mail.
  ///   - password: the new one.
  /// - Throws: `ShareError`.
  public func resetPassword(_ reset: String, password: String) async throws {
    try await client().call(
      "set the password", "POST", "/resetPassword", ["resetToken": .string(reset), "password": .string(password)])
  }
}
