import JSON
import Logging
import Model
import NIOConcurrencyHelpers
import REST
import Testing
import Transport

@Suite("The API server", .timeLimit(.minutes(5)))
struct APIServerTests {
  @Test(
    "a path is found under every base and under the root, the longest base first",
    arguments: [
      ("/edge/client/v1/version", "/edge/client/v1"), ("/edge/client/version", "/edge/client"), ("/version", ""),
      ("//version/", ""),
      ("/edge/client/v1/version/", "/edge/client/v1"),
    ])
  func bases(_ path: String, _ base: String) async {
    let answer = await send("GET", path)
    #expect(answer.status == 200)
    #expect(answer.json["data"]?["base"] == .string(base))
  }

  @Test("a base of another API is that API's")
  func otherAPI() async {
    #expect(await send("GET", "/edge/management/v1/version").json["data"] == "management")
    #expect(await send("GET", "/edge/management/v1/echo").status == 404)
  }

  @Test(
    "an unknown path answers 404 and says which",
    arguments: [
      "/", "/nothing", "/edge/client/v1/nothing", "/edge/client/v1", "/edge/client/v2/version", "/versions",
      "/version/x", "/items/1/parts",
    ])
  func unknown(_ path: String) async {
    let answer = await send("GET", path)
    #expect(answer.status == 404)
    #expect(answer.code == "NOT_FOUND")
    #expect(answer.json["error"]?["message"]?.stringValue?.contains(path) == true)
    #expect(answer.json["error"]?["requestId"] == "q1")
  }

  @Test("another method answers 405 and names those there are")
  func wrongMethod() async {
    let answer = await send("PUT", "/items/1")
    #expect(answer.status == 405)
    #expect(answer.code == "METHOD_NOT_ALLOWED")
    #expect(answer.json["error"]?["message"]?.stringValue?.hasSuffix("it supports DELETE, GET") == true)
    #expect(answer.header("allow") == "DELETE, GET")
  }

  @Test("what a resource can do is told to whoever asks for that, and to nobody else")
  func options() async {
    #expect(await send("OPTIONS", "/items/1").header("allow") == "DELETE, GET")
    #expect(await send("OPTIONS", "/nothing").header("allow") == nil)
    #expect(await send("GET", "/items/1").header("allow") == nil)
    #expect(await send("HEAD", "/items/1").status == 405)
  }

  @Test(
    "Accept is refused only when it excludes all we make",
    arguments: [
      ("application/json", 200), ("*/*", 200), ("application/xml, */*;q=0.1", 200),
      ("text/html;q=0.5 , application/json; charset=utf-8", 200),
      ("", 200),
      ("application/xml", 406), ("image/png, application/yaml", 406),
    ])
  func accept(_ value: String, _ status: Int) async {
    let answer = await send("GET", "/version", headers: [("Accept", value)])
    #expect(answer.status == status)
    if status == 406 { #expect(answer.code == "COULD_NOT_VALIDATE") }
  }

  @Test("another media type than the operation takes answers 415")
  func mediaType() async {
    let refused = await send("POST", "/plain", body: Array("{}".utf8))
    #expect(refused.status == 415)
    #expect(refused.code == "COULD_NOT_VALIDATE")
    #expect(refused.causeField == "Content-Type")
    #expect(await send("POST", "/plain", body: [1], type: " Text/Plain ; charset=utf-8").status == 200)
  }

  @Test(
    "JSON is what operations take that say nothing else; a body without a type is none",
    arguments: [
      ("application/json", 200), ("Application/JSON; charset=utf-8", 200), ("application/x-www-form-urlencoded", 415),
      ("text/plain", 415),
      ("multipart/form-data; boundary=x", 415), ("application/jsonp", 415), ("", 415), (nil, 415),
    ] as [(String?, Int)])
  func onlyJSON(_ type: String?, _ status: Int) async {
    #expect(await send("PUT", "/shaped", body: Array(#"{"name":"abc"}"#.utf8), type: type).status == status)
    // Where nothing is to be read, nothing is read as something else.
    #expect(await send("DELETE", "/items/1", body: [0x7b, 0x7d], type: type).status == status)
    #expect(await send("DELETE", "/items/1", type: type).status == 200)
  }

  @Test(
    "parameters of the query that know a few words refuse others",
    arguments: [
      ([("method", "cert")], 200, nil), ([("method", "cert"), ("kind", "bind")], 200, nil),
      ([("method", "cert"), ("kind", "")], 200, nil),
      ([("method", "cert"), ("kind", "Bind")], 400, "kind"), ([], 400, "method"), ([("method", "")], 400, "method"),
    ] as [([(name: String, value: String)], Int, String?)])
  func words(_ query: [(name: String, value: String)], _ status: Int, _ field: String?) async {
    let answer = await send("GET", "/words", query: query)
    #expect(answer.status == status)
    #expect(answer.causeField == field)
  }

  @Test(
    "parameters are percent-decoded once, within their segment",
    arguments: [
      ("/items/a", "a"), ("/items/a%20b", "a b"), ("/items/a+b", "a+b"), ("/items/a%2Fb", "a/b"),
      ("/items/%C3%A4", "ä"), ("/items/%2541", "%41"),
      ("/items/100%", "100%"), ("/items/%zz", "%zz"), ("/items/%4", "%4"), ("/items/%+1", "%+1"),
      ("/items/%ff", "\u{fffd}"),
    ])
  func percentDecoding(_ path: String, _ id: String) async {
    #expect(await send("GET", path).json["data"] == .string(id))
  }

  @Test("a base path is not decoded into being, nor a segment into two")
  func encodedPaths() async {
    #expect(await send("GET", "/items/a/parts/b%2Fc").json["data"] == ["a", "b/c"])
    #expect(await send("GET", "/items%2Fa").status == 404)
    #expect(await send("GET", "/items/..%2F..%2Fversion").json["data"] == "../../version")
  }

  @Test("the first declaration that matches serves")
  func order() async { #expect(await send("GET", "/items/special").json["data"] == "special") }

  @Test(
    "a session opens what is for sessions, an administrator what is for them",
    arguments: [
      ("/version", nil, 200), ("/mine", nil, 401), ("/mine", "stale", 401), ("/mine", "user", 200),
      ("/operators", "user", 401),
      ("/operators", "admin", 200), ("/nothing", nil, 404),
    ] as [(String, String?, Int)])
  func access(_ path: String, _ session: String?, _ status: Int) async {
    let answer = await send("GET", path, headers: session.map { [("zt-session", $0)] } ?? [])
    #expect(answer.status == status)
    if status == 401 {
      #expect(answer.code == "UNAUTHORIZED")
      #expect(
        answer.header("www-authenticate")
          == "zt-session realm=\"zt-session\" error=\"\(session == nil ? "missing" : "invalid")\"")
    }
    #expect(answer.header("expiration-seconds") == (session == "admin" ? "1800" : nil))
  }

  @Test(
    "every answer bears the standing headers",
    arguments: [("GET", "/version"), ("GET", "/nothing"), ("GET", "/unexpected"), ("OPTIONS", "/mine")])
  func standing(_ method: String, _ path: String) async {
    let answer = await send(method, path, headers: [("Origin", "https://console")])
    #expect(answer.header("ziti-instance-id") == "instance")
    #expect(answer.header("server") == "test")
    #expect(answer.header("access-control-allow-origin") == "https://console")
  }

  @Test("who comes from no page gets no cross-origin headers")
  func noOrigin() async { #expect(await send("GET", "/version").header("access-control-allow-origin") == nil) }

  @Test(
    "a failure of lower floors is translated, an unexpected one is not told",
    arguments: [
      ("/translated", 409, "CAN_NOT_DELETE_REFERENCED_ENTITY"), ("/unexpected", 500, "UNHANDLED"),
      ("/model", 400, "COULD_NOT_VALIDATE"),
    ])
  func failures(_ path: String, _ status: Int, _ code: String) async {
    let answer = await send("GET", path)
    #expect(answer.status == status)
    #expect(answer.code == code)
    if status == 500 { #expect(answer.json["error"]?["message"]?.stringValue?.contains("Unexpected") == false) }
  }

  @Test("every code has the status of its family", arguments: APIError.Code.allCases)
  func statuses(_ code: APIError.Code) { #expect((400...503).contains(code.status)) }
}

@Suite("Bodies and envelopes", .timeLimit(.minutes(5)))
struct EnvelopeTests {
  private func typed(_ body: String) async -> Answer { await send("POST", "/typed", body: Array(body.utf8)) }

  @Test("a body of the right types is read")
  func rightTypes() async {
    let answer = await typed(#"{"name":"n","cost":5,"admin":true,"roles":["a"],"tags":{"x":1},"unknown":null}"#)
    #expect(answer.json["data"] == ["name": "n", "cost": 5, "admin": true, "roles": ["a"], "tags": ["x": 1]])
    #expect(answer.json["meta"] == [:])
    #expect(answer.header("content-type") == "application/json")
  }

  @Test(
    "a member of the wrong type is named, with its value",
    arguments: [
      (#"{"name":1}"#, "name"), (#"{"name":"n","cost":"5"}"#, "cost"), (#"{"name":"n","cost":1.5}"#, "cost"),
      (#"{"name":"n","admin":"true"}"#, "admin"),
      (#"{"name":"n","roles":"a"}"#, "roles"), (#"{"name":"n","roles":["a",1]}"#, "roles"),
      (#"{"name":"n","tags":[]}"#, "tags"), ("{}", "name"),
      (#"{"name":null}"#, "name"), ("", "name"), ("[]", "body"), ("null", "body"), ("\"text\"", "body"),
    ])
  func wrongTypes(_ body: String, _ field: String) async {
    let answer = await typed(body)
    #expect(answer.status == 400)
    #expect(answer.code == "COULD_NOT_VALIDATE")
    #expect(answer.causeField == field)
    #expect(answer.json["error"]?["cause"]?["reason"]?.stringValue?.isEmpty == false)
  }

  @Test(
    "what is no JSON answers 400",
    arguments: [
      "{", "{\"name\":}", "{\"name\":\"n\"} x", "\u{0}", "{'name':'n'}", String(repeating: "[", count: 100_000),
    ])
  func malformed(_ body: String) async {
    let answer = await typed(body)
    #expect(answer.status == 400)
    #expect(answer.code == "COULD_NOT_PARSE_BODY")
  }

  @Test("bytes that are no UTF-8 answer 400")
  func notUTF8() async {
    #expect(
      await send("POST", "/typed", body: Array("{\"name\":\"".utf8) + [0xff, 0xfe] + Array("\"}".utf8)).status == 400)
  }

  @Test("what was made is named by id and by link")
  func created() async {
    let answer = await send("POST", "/items")
    #expect(answer.status == 201)
    #expect(answer.json["data"] == ["id": "x", "_links": ["self": ["href": "./items/x"]]])
  }

  @Test("an empty answer has its envelope")
  func empty() async { #expect(await send("DELETE", "/items/1").json == ["data": [:], "meta": [:]]) }

  @Test(
    "a list is cut by limit and offset and tells the whole",
    arguments: [
      ([], 10, 0, 10), ([("limit", "3")], 3, 0, 3), ([("limit", "3"), ("offset", "24")], 3, 24, 1),
      ([("offset", "100")], 10, 100, 0),
      ([("limit", "0")], 10, 0, 10), ([("limit", "-2")], 10, 0, 10), ([("limit", "-1")], Int.max, 0, 25),
      ([("limit", "9999")], 500, 0, 25),
      ([("limit", "")], 10, 0, 10), ([("filter", "true skip 1 limit 2")], 2, 1, 2),
    ] as [([(name: String, value: String)], Int, Int, Int)])
  func paging(_ query: [(name: String, value: String)], _ limit: Int, _ offset: Int, _ count: Int) async {
    let answer = await send("GET", "/items", query: query)
    #expect(answer.json["data"]?.arrayValue?.count == count)
    #expect(
      answer.json["meta"]?["pagination"] == ["limit": JSONValue(limit), "offset": JSONValue(offset), "totalCount": 25])
    #expect(answer.json["meta"]?["filterableFields"] == ["id"])
  }

  @Test(
    "paging and filters that make no sense are refused by name",
    arguments: [
      ("limit", "many", "COULD_NOT_VALIDATE", "limit"), ("limit", "1.5", "COULD_NOT_VALIDATE", "limit"),
      ("limit", "99999999999999999999", "COULD_NOT_VALIDATE", "limit"), ("offset", "x", "COULD_NOT_VALIDATE", "offset"),
      ("offset", "-1", "INVALID_PAGINATION", "offset"), ("offset", "100001", "INVALID_PAGINATION", "offset"),
      ("filter", "name =", "INVALID_FILTER", nil),
      ("filter", "name = \"x", "INVALID_FILTER", nil), ("sort", "id sideways", "INVALID_SORT_IDENTIFIER", nil),
      ("sort", "; drop", "INVALID_SORT_IDENTIFIER", nil),
      ("sort", "nosuch", "INVALID_SORT_IDENTIFIER", nil),
    ] as [(String, String, String, String?)])
  func badPaging(_ name: String, _ value: String, _ code: String, _ field: String?) async {
    let answer = await send("GET", "/numbers", query: [(name, value)])
    #expect(answer.status == 400)
    #expect(answer.code == code)
    #expect(answer.causeField == field)
  }

  @Test(
    "an order may bring a page with it; what the filter says wins",
    arguments: [
      ([("sort", "id desc")], 0, 10), ([("sort", "id skip 1")], 1, 10), ([("sort", "id skip 1 limit 2")], 1, 2),
      ([("sort", "id limit none"), ("limit", "3")], 0, Int.max),
      ([("sort", "id skip 4"), ("offset", "2"), ("limit", "5")], 4, 5),
      ([("sort", "id skip 4 limit 9"), ("filter", "true skip 1 limit 2")], 1, 2),
      ([("sort", "nosuch skip 4"), ("filter", "true sort by id")], 0, 10),
    ] as [([(name: String, value: String)], Int, Int)])
  func sortTail(_ query: [(name: String, value: String)], _ offset: Int, _ limit: Int) async {
    let answer = await send("GET", "/numbers", query: query)
    #expect(answer.status == 200)
    #expect(
      answer.json["meta"]?["pagination"] == ["limit": JSONValue(limit), "offset": JSONValue(offset), "totalCount": 25])
    #expect(answer.json["data"]?.arrayValue?.first == JSONValue(offset))
  }

  @Test("a list in the query may be repeated, bracketed or separated by commas")
  func queryLists() async {
    let answer = await send("GET", "/query", query: [("q", "1"), ("list", "a,b"), ("list[]", "c"), ("q", "2")])
    #expect(answer.json["data"] == ["1", ["a", "b", "c"], nil])
  }

  @Test("a caller who loses the session while a long answer is sent gets no further part of it")
  func revokedWhileSending() async {
    let isIn = NIOLockedValueBox(true)
    let long = Endpoint("GET", "/long", "answers in parts") { _, _ in
      APIResponse(headers: [], body: Array("0".utf8)) { part in
        if part == 1 { isIn.withLockedValue { $0 = false } }
        return part < 4 ? Array("\(part + 1)".utf8) : nil
      }
    }
    let api = API(basePaths: ["/"], endpoints: [long])
    let server = APIServer(
      apis: [api], root: api, standing: [], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      authenticate: { _ in isIn.withLockedValue { $0 } ? TestAPI.user : nil }, translate: { _ in nil })
    let answer = await server.respond(
      to: APIRequest(method: "GET", path: "/long", query: [], headers: [], body: [], peer: .anonymous(), requestID: "q")
    )
    #expect(String(decoding: answer.body, as: UTF8.self) == "012")
  }

  @Test("the declarations tell OpenAPI what there is")
  func openAPI() {
    #expect(TestAPI.client.openAPIPaths["/items/{id}"] == ["get": "one item", "delete": "removes one item"])
  }
}

@Suite("Shapes of bodies")
struct BodyShapeTests {
  private func put(_ body: String) async -> Answer { await send("PUT", "/shaped", body: Array(body.utf8)) }

  @Test("what fits is given to the operation, unknown members with it; null is absent")
  func fits() async {
    let body =
      #"{"name":"abc","kind":"b","cost":10,"on":false,"at":"2026-11-30T00:00:00Z","roles":["a"],"costs":{"x":-1},"inner":{"deep":true},"list":[{"id":""}],"free":{"a":[1]},"else":1}"#
    #expect(await put(body).json["data"]?["else"] == 1)
    #expect(await put(#"{"name":"ab","kind":null,"inner":null,"costs":{"x":null}}"#).status == 200)
    #expect(await send("PATCH", "/shaped", body: Array(#"{"inner":{}}"#.utf8)).json["data"] == ["inner": [:]])
    #expect(await send("PATCH", "/shaped").json["data"] == "none")
  }

  @Test(
    "what does not fit is named",
    arguments: [
      ("{}", "name"), (#"{"name":null}"#, "name"), (#"{"name":5}"#, "name"), (#"{"name":"a"}"#, "name"),
      (#"{"name":"abcdef"}"#, "name"),
      (#"{"name":"abc","kind":"c"}"#, "kind"), (#"{"name":"abc","kind":1}"#, "kind"),
      (#"{"name":"abc","cost":11}"#, "cost"),
      (#"{"name":"abc","cost":"1"}"#, "cost"), (#"{"name":"abc","cost":1.5}"#, "cost"),
      (#"{"name":"abc","on":"true"}"#, "on"),
      (#"{"name":"abc","at":"yesterday"}"#, "at"), (#"{"name":"abc","roles":"a"}"#, "roles"),
      (#"{"name":"abc","roles":["a",1]}"#, "roles.1"),
      (#"{"name":"abc","costs":[]}"#, "costs"), (#"{"name":"abc","costs":{"x":"1"}}"#, "costs.x"),
      (#"{"name":"abc","inner":{}}"#, "inner.deep"),
      (#"{"name":"abc","inner":true}"#, "inner"), (#"{"name":"abc","list":[{"id":"a"},{}]}"#, "list.1.id"),
      (#"{"name":"abc","free":[]}"#, "free"),
      ("[]", "body"), ("null", "body"), ("\"abc\"", "body"), ("", "body"),
    ])
  func named(_ body: String, _ field: String) async {
    let answer = await put(body)
    #expect(answer.status == 400)
    #expect(answer.code == "COULD_NOT_VALIDATE")
    #expect(answer.causeField == field)
  }

  @Test("a value of the wrong type is not told: it may be a secret in the wrong place")
  func secrets() async {
    let answer = await put(#"{"name":{"password":"hunter22"}}"#)
    #expect(answer.status == 400)
    #expect(!answer.json.text.contains("hunter22"))
  }
}
