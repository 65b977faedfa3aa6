import Foundation
import JSON
import Model
import NIOCore
import PKI
import Transport

/// The management API as the command line uses it: envelopes in, JSON values or a `CommandFailure` out
/// (management-and-model.md 4.3).
struct ManagementClient: Sendable {
  let profile: Profile
  private let rest: RESTClient

  init(profile: Profile, timeout: TimeAmount) throws {
    self.profile = profile
    let roots = try TrustProbe.anchors(pem: profile.roots, source: "the saved login")
    rest = RESTClient(
      bases: [profile.url], tls: ClientTLS(trust: .anchors(roots, as: .controller(of: profile.trustDomain))),
      timeout: timeout, maxBody: 64 << 20)
  }

  /// - Parameters:
  ///   - path: below the management base, beginning with `/`.
  ///   - doing: for the error text, "create service demo".
  /// - Returns: the whole envelope.
  func send(_ method: String, _ path: String, query: [(String, String)] = [], body: JSONObject? = nil, doing: String)
    async throws -> JSONValue
  {
    let path = path + Self.queryText(query)
    let bytes = body.map { JSONValue.object($0).serialized() }
    let answer: HTTPAnswer
    do {
      answer = try await Spinner.during("waiting for \(profile.url)") {
        try await rest.send(method, path, token: profile.token, body: bytes)
      }
    } catch {
      throw CommandFailure(
        "cannot \(doing)", error, next: "check that the controller runs and answers at \(profile.url)")
    }
    return try Self.envelope(answer, doing: doing)
  }

  /// The envelope of a good answer; every other answer becomes a failure that says what the controller said.
  static func envelope(_ answer: HTTPAnswer, doing: String) throws -> JSONValue {
    guard answer.isGood else {
      let refusal = answer.refusal
      if refusal.status == 401, refusal.code == "UNAUTHORIZED" {
        throw CommandFailure(
          "cannot \(doing)", reason: "the session ended or has no right to this",
          next: "sign in again: swiftlet login HOST:PORT -u NAME")
      }
      var failure = CommandFailure("cannot \(doing)", reason: reason(refusal))
      failure.status = refusal.status
      throw failure
    }
    guard let value = answer.document else { throw CommandFailure("cannot \(doing)", reason: "the answer is not JSON") }
    return value
  }

  private static func reason(_ refusal: RESTRefusal) -> String {
    guard let code = refusal.code else { return "the controller answered with status \(refusal.status)" }
    var text = refusal.message ?? code
    if let reason = refusal.cause?.reason {
      text = reason
      if let field = refusal.cause?.field, !field.isEmpty { text = "\(field): \(reason)" }
    } else if let message = refusal.cause?.message {
      text = message
    }
    return "\(text) (\(code), status \(refusal.status))"
  }

  static func queryText(_ query: [(String, String)]) -> String {
    guard !query.isEmpty else { return "" }
    return "?" + query.map { name, value in "\(name)=\(value.pathSegment)" }.joined(separator: "&")
  }
}
