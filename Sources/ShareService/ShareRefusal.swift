import JSON
import Model
import REST
import Store

/// An answer that is not a success, as the share API words it (zrok.md 2.1): a status, and a bare JSON string where
/// there is something to say.
struct ShareRefusal: Error, CustomStringConvertible {
  let status: Int
  let reason: String?

  init(_ status: Int, _ reason: String? = nil) {
    self.status = status
    self.reason = reason
  }

  var description: String { reason ?? "refused with status \(status)" }

  static func notFound(_ what: String) -> ShareRefusal { ShareRefusal(404, "\(what) not found") }
}

/// Media type and forms of the share API.
enum ShareForm {
  static let mediaType = "application/zrok.v1+json"

  static func json(_ value: JSONValue, status: Int = 200) -> APIResponse {
    APIResponse(status: status, headers: [("content-type", mediaType)], body: value.serialized())
  }

  /// No body, and then no type either: clients depend on it.
  static func empty(_ status: Int = 200) -> APIResponse { APIResponse(status: status, headers: [], body: []) }

  static func answer(_ error: any Error) -> APIResponse? {
    switch error {
    case let refusal as ShareRefusal:
      if refusal.status == 401, refusal.reason == nil { return unauthorized }
      guard let reason = refusal.reason else { return empty(refusal.status) }
      return json(.string(reason), status: refusal.status)
    case let error as APIError:
      switch error.code {
      case .unauthorized: return unauthorized
      case .couldNotValidate, .couldNotParseBody:
        let text = if case .field(_, let reason, _)? = error.cause { reason } else { error.message }
        return plain(["code": 606, "message": .string(text)], status: 422)
      default:
        return plain(
          ["code": JSONValue(error.code.status), "message": .string(error.message)], status: error.code.status)
      }
    case let error as StoreError where error.isOfDisk:
      return plain(["code": 503, "message": .string("\(error)")], status: 503)
    default: return nil
    }
  }

  private static let unauthorized = plain(
    ["code": 401, "message": "unauthenticated: the x-token header holds no token of an account of this service"],
    status: 401)

  private static func plain(_ value: JSONValue, status: Int) -> APIResponse {
    APIResponse(status: status, headers: [("content-type", "application/json")], body: value.serialized())
  }
}
