public import JSON
import NIOCore

/// Agents that take orders from afar: of this machine, and of others of the account (zrok.md 2.5).
extension ShareSession {
  /// An agent that is to share something talks to the service and to the network before it answers.
  private static let patience = TimeAmount.seconds(130)

  /// Lets the share service, and with it whoever has the account's token, give orders to this machine's agent. The
  /// agent notices by itself.
  /// - Throws: `ShareError`; `refused` with 400 when the service has it enrolled already.
  public func enrollAgent() async throws {
    let token = try await agent("enroll", of: identity, "enroll the agent")["token"]?.stringValue ?? ""
    guard !token.isEmpty else { throw ShareError.badAnswer(operation: "enroll the agent", reason: "token is missing") }
    try environment.setAgentEnrollment(token)
  }

  /// Ends that.
  /// - Throws: `ShareError`, after the machine has forgotten its side: the agent takes no more orders either way.
  public func unenrollAgent() async throws {
    try environment.setAgentEnrollment(nil)
    try await agent("unenroll", of: identity, "unenroll the agent")
  }

  /// A call to the agent of an environment of this account, as the API words it.
  /// - Parameters:
  ///   - call: `ping`, `status`, `share`, `unshare`, `access`, `unaccess` or `share/http-healthcheck`.
  ///   - environment: its identity; nil is this machine's.
  ///   - operation: for errors: "refused to ...".
  ///   - body: what the call needs besides the environment.
  /// - Throws: `ShareError`.
  @discardableResult
  public func agent(_ call: String, of environment: String? = nil, _ operation: String, _ body: JSONObject = [:])
    async throws -> JSONValue
  {
    try await client.call(
      operation, "POST", "/agent/" + call, .object(body.merging(["envZId": .string(environment ?? identity)]) { $1 }),
      timeout: Self.patience)
  }
}
