import Foundation
import JSON
import Model
import Testing

@testable import ShareFrontend
@testable import ShareService

/// What upstream's service answers where its command line, which panics at anything else, depends on it (zrok 2.0.4,
/// controller).
@Suite("Answers as upstream's share service gives them", .timeLimit(.minutes(3)))
struct UpstreamAnswerTests {
  private static let admin = ShareBench.adminSecret

  @Test(
    "times: seconds of namespaces and of what joins them with frontends, milliseconds of all else, none of them 1970")
  func times() async throws {
    let file = NSTemporaryDirectory() + "limits-\(UUID().uuidString).yml"
    defer { try? FileManager.default.removeItem(atPath: file) }
    try "classes: [{id: 1, label: pro, shares: 3}]".write(toFile: file, atomically: true, encoding: .utf8)
    let changed = Date(timeIntervalSince1970: 1_700_000_000)
    try FileManager.default.setAttributes([.modificationDate: changed], ofItemAtPath: file)
    let limits = try ShareLimits.load(path: file)
    let bench = try await ShareBench.start { $0.limits = limits }
    let email = "ann@example.com"
    let token = try await bench.account(email)
    let home = try await bench.enable(token)
    _ = try await bench.publicShare(token, home.id)
    #expect(await bench.call("POST", "/api/v2/share/name", token, ["name": "docs"]).status == 201)
    #expect(
      await bench.call(
        "POST", "/api/v2/applied-limit-class", Self.admin, ["email": .string(email), "limitClassIds": [1]]
      ).status == 200)

    let now = bench.core.network.now
    func isNow(_ value: JSONValue?, seconds: Bool) -> Bool {
      guard let value = value?.intValue else { return false }
      let moment = Timestamp(millisecondsSinceEpoch: seconds ? Int64(value) * 1000 : Int64(value))
      return abs(now.milliseconds(since: moment)) < 100_000
    }
    func first(_ path: String, _ account: String = ShareBench.adminSecret, _ list: String? = nil) async throws
      -> JSONValue
    {
      let body = await bench.call("GET", "/api/v2/" + path, account).body
      return try #require((list.flatMap { body[$0] } ?? body).arrayValue?.first, "\(path)")
    }
    let namespace = try await first("namespaces")
    #expect(isNow(namespace["createdAt"], seconds: true) && isNow(namespace["updatedAt"], seconds: true))
    let frontend = try await first("frontends")
    #expect(isNow(frontend["createdAt"], seconds: false) && isNow(frontend["updatedAt"], seconds: false))
    for path in [
      "namespace/frontend/mapping/public",
      "frontend/namespace/mapping/" + (frontend["frontendToken"]?.stringValue ?? ""),
    ] {
      let mapping = try await first(path)
      #expect(isNow(mapping["createdAt"], seconds: true), "\(path)")
    }
    let name = try await first("share/names", token)
    #expect(isNow(name["createdAt"], seconds: true))
    for (path, list) in [("environments", "environments"), ("shares", "shares")] {
      let row = try await first(path, token, list)
      #expect(isNow(row["createdAt"], seconds: false) && isNow(row["updatedAt"], seconds: false), "\(path)")
    }
    // Classes are as old as the file they stand in.
    for (path, body) in [("limit-class/list", ["label": ""]), ("applied-limit-class/list", ["email": .string(email)])]
      as [(String, JSONObject)]
    {
      let answer = await bench.call("POST", "/api/v2/" + path, Self.admin, .object(body))
      #expect(answer.body.arrayValue?.map { $0["updatedAt"] } == [1_700_000_000_000], "\(path)")
    }
    await bench.stop()
  }

  @Test(
    "names: 404 without the namespace, 401 without its grant or of another account, and no trace of them in lists until the grant is back"
  )
  func names() async throws {
    let bench = try await ShareBench.start { $0.limits.counts.reservedNames = 1 }
    let (ann, bob) = (try await bench.account("ann@example.com"), try await bench.account("bob@example.com"))
    let home = try await bench.enable(ann)
    let namespace: JSONObject = ["token": "closed", "name": "closed.example", "open": false]
    #expect(await bench.call("POST", "/api/v2/namespace", Self.admin, .object(namespace)).status == 201)
    func call(_ method: String, _ account: String, _ namespace: String, _ name: String = "docs", reserved: Bool = false)
      async -> Int
    {
      let body: JSONValue = ["namespaceToken": .string(namespace), "name": .string(name), "reserved": .bool(reserved)]
      return await bench.call(method, "/api/v2/share/name", account, body).status
    }
    func grant(_ method: String, _ email: String = "ann@example.com") async -> Int {
      await bench.call(
        method, "/api/v2/namespace/grant", Self.admin, ["namespaceToken": "closed", "email": .string(email)]
      ).status
    }
    func listed() async -> [Int?] {
      let (all, own) = (
        await bench.call("GET", "/api/v2/share/names", ann), await bench.call("GET", "/api/v2/share/names/closed", ann)
      )
      let overview = await bench.call("GET", "/api/v2/overview", ann).body["names"]
      return [
        all.body.arrayValue?.count, own.status == 200 ? own.body.arrayValue?.count : own.status,
        overview?.arrayValue?.count,
      ]
    }
    for method in ["POST", "PATCH", "DELETE"] {
      #expect(await call(method, ann, "closed") == 401, "\(method)")
      #expect(await call(method, ann, "nowhere") == 404, "\(method)")
    }
    #expect(await bench.call("GET", "/api/v2/share/names/nowhere", ann).status == 404)
    for email in ["ann@example.com", "bob@example.com"] { #expect(await grant("POST", email) == 200) }
    #expect(await call("POST", ann, "closed") == 201)
    #expect(await call("POST", bob, "closed") == 409)
    for method in ["PATCH", "DELETE"] {
      #expect(await call(method, bob, "closed") == 401, "\(method)")
      #expect(await call(method, ann, "closed", "nosuch") == 404, "\(method)")
    }
    #expect(await listed() == [1, 1, 1])
    #expect(await grant("DELETE") == 200)
    #expect(await listed() == [0, 401, 0])
    #expect(await call("DELETE", ann, "closed") == 401)
    #expect(await grant("POST") == 200)
    #expect(await listed() == [1, 1, 1])

    // Beyond the limit nothing is reserved, whichever call would do it.
    #expect(await call("PATCH", ann, "closed") == 200)
    #expect(await call("POST", ann, "public", "more") == 201)
    #expect(await call("PATCH", ann, "closed", reserved: true) == 409)
    #expect(await call("PATCH", ann, "public", "more", reserved: true) == 200)

    // A share takes names that there are; those of our own clients may come with it.
    func share(_ name: String, ephemeral: Bool = false) async -> Int {
      await bench.call(
        "POST", "/api/v2/share", ann,
        [
          "envZId": .string(home.id), "shareMode": "public", "backendMode": "proxy", "authScheme": "none",
          "nameSelections": [["namespaceToken": "public", "name": .string(name), "ephemeral": .bool(ephemeral)]],
        ]
      ).status
    }
    #expect(await share("nobodys") == 409)
    #expect(await share("more") == 201)
    #expect(await share("mine", ephemeral: true) == 201)
    await bench.stop()
  }

  @Test(
    "a namespace is deleted with the names in it; shares stay reachable by their other names, and the next of its token starts without grants"
  )
  func deletedNamespace() async throws {
    let bench = try await ShareBench.start()
    let token = try await bench.account("ann@example.com")
    let home = try await bench.enable(token)
    let namespace: JSONObject = ["token": "second", "name": "second.example"]
    let grant: JSONObject = ["namespaceToken": "second", "email": "ann@example.com"]
    #expect(await bench.call("POST", "/api/v2/namespace", Self.admin, .object(namespace)).status == 201)
    #expect(await bench.call("POST", "/api/v2/namespace/grant", Self.admin, .object(grant)).status == 200)
    for place in ["second", "public"] {
      #expect(
        await bench.call("POST", "/api/v2/share/name", token, ["namespaceToken": .string(place), "name": "docs"]).status
          == 201)
    }
    let names: JSONObject = [
      "nameSelections": [["namespaceToken": "second", "name": "docs"], ["namespaceToken": "public", "name": "docs"]]
    ]
    let share = try await bench.publicShare(token, home.id, names).token
    #expect(bench.core.directory.route("docs.second.example")?.token == share)
    #expect(await bench.call("DELETE", "/api/v2/namespace", Self.admin, ["namespaceToken": "second"]).status == 200)
    #expect(bench.core.directory.route("docs.second.example") == nil)
    #expect(bench.core.directory.route("docs.share.localhost")?.token == share)
    #expect(await bench.call("DELETE", "/api/v2/namespace", Self.admin, ["namespaceToken": "second"]).status == 404)
    #expect(await bench.call("POST", "/api/v2/namespace", Self.admin, .object(namespace)).status == 201)
    #expect(
      await bench.call("POST", "/api/v2/share/name", token, ["namespaceToken": "second", "name": "docs"]).status == 401)
    await bench.stop()
  }
}
