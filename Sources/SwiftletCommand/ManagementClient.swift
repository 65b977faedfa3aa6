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
  private let https: HTTPSClient
  private let timeout: TimeAmount

  init(profile: Profile, timeout: TimeAmount) throws {
    self.profile = profile
    self.timeout = timeout
    let roots = try TrustProbe.anchors(pem: profile.roots, source: "the saved login")
    https = HTTPSClient(tls: ClientTLS(trust: .anchors(roots, as: .controller(of: profile.trustDomain))))
  }

  /// - Parameters:
  ///   - path: below the management base, beginning with `/`.
  ///   - doing: for the error text, "create service demo".
  /// - Returns: the whole envelope.
  func send(_ method: String, _ path: String, query: [(String, String)] = [], body: JSONObject? = nil, doing: String)
    async throws -> JSONValue
  {
    let url = profile.url + path + Self.queryText(query)
    var headers = [("accept", "application/json"), ("zt-session", profile.token)]
    if body != nil { headers.append(("content-type", "application/json")) }
    let fields = headers
    let answer: HTTPAnswer
    do {
      answer = try await Spinner.during("waiting for \(profile.url)") {
        try await https.request(
          method: method, url, headers: fields, body: body.map { JSONValue.object($0).serialized() }, timeout: timeout,
          maxBody: 64 << 20)
      }
    } catch {
      throw CommandFailure(
        "cannot \(doing)", error, next: "check that the controller runs and answers at \(profile.url)")
    }
    return try Self.envelope(answer, doing: doing)
  }

  /// The envelope of a good answer; every other answer becomes a failure that says what the controller said.
  static func envelope(_ answer: HTTPAnswer, doing: String) throws -> JSONValue {
    let value = try? JSONValue(parsing: answer.body, limits: .stored)
    guard (200..<300).contains(answer.status) else {
      if answer.status == 401, value?["error"]?["code"]?.stringValue == "UNAUTHORIZED" {
        throw CommandFailure(
          "cannot \(doing)", reason: "the session ended or has no right to this",
          next: "sign in again: swiftlet login HOST:PORT -u NAME")
      }
      var failure = CommandFailure("cannot \(doing)", reason: reason(value?["error"], status: answer.status))
      failure.status = answer.status
      throw failure
    }
    guard let value else { throw CommandFailure("cannot \(doing)", reason: "the answer is not JSON") }
    return value
  }

  private static func reason(_ error: JSONValue?, status: Int) -> String {
    guard let error, let code = error["code"]?.stringValue else {
      return "the controller answered with status \(status)"
    }
    var text = error["message"]?.stringValue ?? code
    if let cause = error["cause"] {
      if let reason = cause["reason"]?.stringValue {
        text = reason
        if let field = cause["field"]?.stringValue, !field.isEmpty { text = "\(field): \(reason)" }
      } else if let message = cause["message"]?.stringValue {
        text = message
      }
    }
    return "\(text) (\(code), status \(status))"
  }

  static func queryText(_ query: [(String, String)]) -> String {
    guard !query.isEmpty else { return "" }
    return "?" + query.map { name, value in "\(name)=\(value.pathSegment)" }.joined(separator: "&")
  }
}
