import Foundation
import JSON
import Logging
import Model
import REST
import Transport

/// A small API under the two base paths of a controller's client API, which also answers under the root, and one for
/// operators.
enum TestAPI {
  static let administrator = Caller(
    identityID: "i1", identityName: "admin", isAdmin: true, apiSessionID: "as1",
    sessionHeaders: [("expiration-seconds", "1800")])
  static let user = Caller(identityID: "i2", identityName: "user", isAdmin: false, apiSessionID: "as2")

  struct Unexpected: Error {}
  struct Translated: Error {}

  static let shape: BodyShape = [
    "name": .required(.string(2...5)), "kind": .word(["a", "b"]), "cost": .number(0...10), "on": .boolean, "at": .time,
    "roles": .texts,
    "costs": .map(.integer), "inner": ["deep": .required(.boolean)], "list": .list(["id": .required(.text)]),
    "free": .object,
  ]

  static let client = API(
    basePaths: ["/edge/client/v1", "/edge/client"],
    endpoints: [
      .open("GET", "/version", "tells the version") { request in
        .data(["base": .string(request.basePath), "id": .string(request.requestID)])
      },
      .open(
        "POST", "/echo", body: RequestBody(nil, isRequired: false, mediaTypes: ["", "text/plain", "application/json"]),
        "returns the body"
      ) {
        request in .data(["size": JSONValue(request.body.count), "type": .string(request.mediaType)])
      },
      .open("POST", "/typed", "reads members of the body") { request in
        let body = try request.object()
        return .data([
          "name": JSONValue(try body.required("name", try body.string("name"))),
          "cost": JSONValue(try body.int("cost") ?? 0),
          "admin": JSONValue(try body.bool("admin") ?? false), "roles": JSONValue(try body.strings("roles") ?? []),
          "tags": .object(try body.object("tags") ?? [:]),
        ])
      },
      .open("POST", "/plain", body: RequestBody(nil, mediaTypes: ["text/plain"]), "takes text only") { _ in
        .text("thanks", contentType: "text/plain")
      },
      .open("PUT", "/shaped", body: RequestBody(shape), "takes a body of one shape") { request in
        .data(try request.parsed())
      },
      .open("PATCH", "/shaped", body: RequestBody(shape.patch, isRequired: false), "takes parts of it, or none") {
        request in
        .data(request.body.isEmpty ? "none" : try request.parsed())
      },
      .open(
        "GET", "/words",
        words: [QueryWords("kind", ["dial", "bind"]), QueryWords("method", ["cert"], isRequired: true)],
        "knows a few words"
      ) { request in .data(JSONValue(request.query("kind"))) },
      .open("GET", "/items", "lists numbers") { request in
        .list((0..<25).map { JSONValue($0) }, query: try ListQuery(request), filterable: ["id"])
      },
      .open("GET", "/numbers", "lists numbers, known by id") { request in
        let query = try ListQuery(request)
        try query.checkSort { name throws(FilterError) in
          if name != "id" { throw .unknownSymbol(name, filterable: ["id"]) }
        }
        return .list((0..<25).map { JSONValue($0) }, query: query, filterable: ["id"])
      },
      .open("GET", "/items/{id}", "one item") { request in .data(.string(request.parameter("id"))) },
      .open("GET", "/items/{id}/parts/{part}", "one part") { request in
        .data([.string(request.parameter("id")), .string(request.parameter("part"))])
      },
      .open("GET", "/items/special", "is hidden behind the pattern before it") { _ in .data("special") },
      .open("DELETE", "/items/{id}", "removes one item") { _ in .empty },
      .open("POST", "/items", "makes one item") { _ in .created("x", resource: "items") },
      .open("GET", "/query", "shows the query") { request in
        .data([
          JSONValue(request.query("q")), JSONValue(request.queryList("list")), JSONValue(request.query("missing")),
        ])
      },
      .open("GET", "/long", "answers with a mebibyte") { _ in
        .text(String(repeating: "a", count: 1 << 20), contentType: "text/plain")
      },
      .open("GET", "/unexpected", "fails unexpectedly") { _ in throw Unexpected() },
      .open("GET", "/translated", "fails as lower floors fail") { _ in throw Translated() },
      .open("GET", "/model", "fails in the model") { _ in
        throw ModelError(field: "name", reason: "name is required", value: "")
      },
      Endpoint("GET", "/mine", "for sessions") { _, caller in .data(.string(caller.identityName)) },
      Endpoint("GET", "/operators", access: .admin, "for administrators") { _, caller in
        .data(.string(caller.identityName))
      },
    ])

  static let management = API(
    basePaths: ["/edge/management/v1"],
    endpoints: [.open("GET", "/version", "tells the version") { _ in .data("management") }])

  static let server = APIServer(
    apis: [client, management], root: client, standing: [("ziti-instance-id", "instance"), ("server", "test")],
    logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
    authenticate: { request in
      switch request.header("zt-session") {
      case "admin": administrator
      case "user": user
      default: nil
      }
    },
    translate: { $0 is Translated ? APIError(.cannotDeleteReferenced, "it is in use") : nil })
}

/// An answer as a client sees it.
struct Answer {
  let status: Int
  let headers: [(name: String, value: String)]
  let json: JSONValue

  init(_ response: APIResponse) {
    status = response.status
    headers = response.headers
    json = (try? JSONValue(parsing: response.body)) ?? .null
  }

  func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
  var code: String? { json["error"]?["code"]?.stringValue }
  var causeField: String? { json["error"]?["cause"]?["field"]?.stringValue }
}

func send(
  _ method: String, _ path: String, query: [(name: String, value: String)] = [],
  headers: [(name: String, value: String)] = [], body: [UInt8] = [],
  type: String? = "application/json"
) async -> Answer {
  var headers = headers
  if let type, !body.isEmpty { headers.append(("content-type", type)) }
  return Answer(
    await TestAPI.server.respond(
      to: APIRequest(
        method: method, path: path, query: query, headers: headers, body: body, peer: .anonymous(), requestID: "q1")))
}
