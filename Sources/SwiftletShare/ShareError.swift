/// Why something with a share did not work, and what to do next.
public enum ShareError: Error, Sendable, Equatable, CustomStringConvertible {
  /// This machine has no environment.
  case notEnabled
  /// This machine has an environment, at that share service.
  case alreadyEnabled(endpoint: String)
  /// The share service knows this machine no more: its environment was deleted there, or its account.
  case environmentGone(endpoint: String)
  /// Somebody deleted the share at the share service.
  case shareDeleted(token: String)
  /// Another machine of the account shares under that token now.
  case shareElsewhere(token: String)
  /// Nobody said where the share service is.
  case noEndpoint
  /// What was said to be the share service cannot be one.
  case badEndpoint(String)
  /// It speaks plain HTTP on another machine, and nobody said that this is meant.
  case plainEndpoint(String)
  /// The share service cannot be reached.
  case unreachable(endpoint: String, reason: String)
  /// The share service refused; `reason` is its own.
  case refused(operation: String, status: Int, reason: String)
  /// The share service answered something that cannot be read: another program, or a proxy, may stand there.
  case badAnswer(operation: String, reason: String)
  /// A file of the environment, by its path, cannot be read or written.
  case badFile(String, reason: String)

  /// What went wrong, and what to do.
  public var description: String {
    switch self {
    case .notEnabled: "this machine is not enabled; run: swiftlet share enable TOKEN"
    case .alreadyEnabled(let endpoint):
      "this machine is enabled at \(endpoint) already; run first: swiftlet share disable"
    case .environmentGone(let endpoint):
      "the share service \(endpoint) knows this machine no more: its environment was deleted there; "
        + "forget it here with: swiftlet share disable, and come back with: swiftlet share enable TOKEN"
    case .shareDeleted(let token): "the share \(token) was deleted at the share service"
    case .shareElsewhere(let token):
      "another machine of this account has the share \(token) now, since this one was away; end it there first"
    case .noEndpoint: "no share service is known; say which: --endpoint URL, or swiftlet share config apiEndpoint URL"
    case .badEndpoint(let text):
      "'\(text)' is not where a share service is; write https://host, http://host:port, or host:port"
    case .plainEndpoint(let place):
      "\(place) speaks plain HTTP: whoever can listen on the way reads the account's token; if that may be, write http://\(place)"
    case .unreachable(let endpoint, let reason): "the share service \(endpoint) does not answer: \(reason)"
    case .refused(let operation, let status, let reason):
      "the share service refused to \(operation): \(reason.isEmpty ? Self.meaning(status) : reason) (HTTP \(status))"
    case .badAnswer(let operation, let reason):
      "the share service's answer to \"\(operation)\" cannot be read: \(reason)"
    case .badFile(let path, let reason): "the file \(path) cannot be used: \(reason)"
    }
  }

  /// Whether the same may work a little later.
  package var isPassing: Bool {
    switch self {
    case .unreachable: true
    case .refused(_, let status, _): status == 429 || status >= 500
    default: false
    }
  }

  private static func meaning(_ status: Int) -> String {
    switch status {
    case 401: "the account token is not good, or the account is at its limit"
    case 404: "there is no such thing, or the account may not see it"
    case 409: "it exists already, or is in use"
    case 422: "a value is not acceptable"
    case 429: "too many attempts; wait a minute"
    case 500...: "it failed on its side"
    default: "no reason given"
    }
  }
}
