import Controller
import Foundation
import JSON
import Model
import NIOConcurrencyHelpers
import NetworkFixture
import Store
import Swiftlet
import SwiftletShare
import Testing

@testable import ShareFrontend
@testable import ShareService

@Suite("The share API", .timeLimit(.minutes(8)))
struct ShareAPITests {
  @Test("strangers get nowhere, and the answers have the forms that clients read")
  func forms() async throws {
    let bench = try await ShareBench.start()
    for (method, path) in [
      ("GET", "/api/v2/overview"), ("POST", "/api/v1/enable"), ("POST", "/api/v2/account"),
      ("GET", "/api/v2/namespaces"),
    ] {
      let nobody = await bench.call(method, path)
      #expect(nobody.status == 401)
      #expect(nobody.body["code"] == 401)
      #expect(await bench.call(method, path, "not-a-token-at-all").status == 401)
    }
    let token = try await bench.account("Ann@Example.com")
    // An account is no administrator, and an administrator no account.
    #expect(await bench.call("GET", "/api/v2/namespaces", token).status == 401)
    #expect(await bench.call("GET", "/api/v2/overview", ShareBench.adminSecret).status == 401)
    for path in ["/api/v1", "/api/v2"] {
      let check = await bench.call("POST", path + "/clientVersionCheck", nil, ["clientVersion": "v1.0"])
      #expect(check.status == 200 && check.body == .null)
      #expect(!check.headers.contains { $0.name.lowercased() == "content-type" })
      let overview = await bench.call("GET", path + "/overview", token)
      #expect(overview.status == 200)
      #expect(overview.body["environments"] == [])
    }
    let refused = await bench.call("POST", "/api/v2/clientVersionCheck", nil, ["clientVersion": "v0.4"])
    #expect(refused.status == 400 && refused.body.stringValue != nil)

    let environment = try await bench.enable(token)
    let share: JSONObject = [
      "envZId": .string(environment.id), "shareMode": "public", "backendMode": "proxy", "authScheme": "none",
    ]
    for (name, value) in [("backendMode", "teleport"), ("shareMode", "secret"), ("permissionMode", "ajar")]
      as [(String, JSONValue)]
    {
      let answer = await bench.call("POST", "/api/v2/share", token, .object(share.merging([name: value]) { $1 }))
      #expect(answer.status == 422 && answer.body["code"] == 606)
    }
    #expect(
      await bench.call("POST", "/api/v2/share", token, .object(share.merging(["accessGrants": 7]) { $1 })).status == 422
    )
    #expect(await bench.call("POST", "/api/v2/share", token, text: "{\"envZId\":").status == 422)
    #expect(await bench.call("POST", "/api/v2/share", token, text: "[]").status == 422)
    // A public tunnel could be reached by nobody.
    #expect(
      await bench.call("POST", "/api/v2/share", token, .object(share.merging(["backendMode": "tcpTunnel"]) { $1 }))
        .status == 422)
    await bench.stop()
  }

  @Test("an environment is an identity that works at once, and goes with everything it has")
  func environments() async throws {
    let bench = try await ShareBench.start()
    let token = try await bench.account("ann@example.com")
    let environment = try await bench.enable(token)
    let overlay = try await Overlay(identity: IdentityFile(parsing: Array(environment.cfg.utf8)))
    #expect(try await overlay.services().isEmpty)

    let privateToken = try await bench.privateShare(token, environment.id)
    let made = try await bench.publicShare(token, environment.id)
    #expect(made.endpoints == ["\(made.token).share.localhost:\(bench.frontendPort)"])
    #expect(Set(try await overlay.services().filter(\.canHost).map(\.name)) == [privateToken, made.token])
    #expect(bench.core.directory.route("\(made.token).share.localhost")?.token == made.token)
    #expect(
      await bench.call(
        "POST", "/api/v2/access", token, ["envZId": .string(environment.id), "shareToken": .string(privateToken)]
      ).status == 201)
    #expect(try await overlay.services().filter(\.canDial).map(\.name) == [privateToken])

    // Nobody else's environment.
    let other = try await bench.account("bob@example.com")
    #expect(await bench.call("POST", "/api/v2/disable", other, ["identity": .string(environment.id)]).status == 401)
    #expect(
      await bench.call(
        "DELETE", "/api/v2/unshare", other, ["envZId": .string(environment.id), "shareToken": .string(privateToken)]
      ).status == 401)
    #expect(await bench.call("GET", "/api/v2/detail/share/\(privateToken)", other).status == 404)

    #expect(await bench.call("POST", "/api/v2/disable", token, ["identity": .string(environment.id)]).status == 200)
    #expect(bench.core.directory.route("\(made.token).share.localhost") == nil)
    for kind in ["services", "configs", "service-policies"] {
      let left = try await bench.network.api("GET", "/\(kind)").arrayValue ?? []
      #expect(left.isEmpty, "\(kind) left: \(left)")
    }
    let routerPolicies = try await bench.network.api("GET", "/service-edge-router-policies").arrayValue?.compactMap {
      $0["name"]?.stringValue
    }
    #expect(routerPolicies == ["all services"])
    await overlay.close()
    await bench.stop()
  }

  @Test("closed shares answer like none to those without a grant")
  func permissions() async throws {
    let bench = try await ShareBench.start()
    let ann = try await bench.account("ann@example.com")
    let bob = try await bench.account("bob@example.com")
    let (home, away) = (try await bench.enable(ann), try await bench.enable(bob))
    let token = try await bench.privateShare(ann, home.id, ["permissionMode": "closed"])
    let request: JSONValue = ["envZId": .string(away.id), "shareToken": .string(token)]
    let refused = await bench.call("POST", "/api/v2/access", bob, request)
    let unknown = await bench.call(
      "POST", "/api/v2/access", bob, ["envZId": .string(away.id), "shareToken": "nosuchshare0"])
    #expect(refused.status == 404 && unknown.status == 404)
    #expect(
      await bench.call(
        "PATCH", "/api/v2/share", ann, ["shareToken": .string(token), "addAccessGrants": ["bob@example.com"]]
      ).status == 200)
    let granted = await bench.call("POST", "/api/v2/access", bob, request)
    #expect(granted.status == 201)
    let frontend = try #require(granted.body["frontendToken"]?.stringValue)
    // Of another environment's access nothing is known.
    #expect(
      await bench.call(
        "DELETE", "/api/v2/unaccess", ann,
        ["frontendToken": .string(frontend), "envZId": .string(home.id), "shareToken": .string(token)]
      ).status == 404)
    #expect(
      await bench.call(
        "PATCH", "/api/v2/access", bob, ["frontendToken": .string(frontend), "bindAddress": "127.0.0.1:9191"]
      ).status == 200)
    let accesses = await bench.call("GET", "/api/v2/accesses", bob)
    #expect(accesses.body["accesses"]?.arrayValue?.first?["bindAddress"] == "127.0.0.1:9191")
    #expect(
      await bench.call(
        "DELETE", "/api/v2/unaccess", bob,
        ["frontendToken": .string(frontend), "envZId": .string(away.id), "shareToken": .string(token)]
      ).status == 200)
    await bench.stop()
  }

  @Test("names are reserved, attached, kept and released; nobody takes another's")
  func names() async throws {
    let bench = try await ShareBench.start()
    let ann = try await bench.account("ann@example.com")
    let bob = try await bench.account("bob@example.com")
    let (home, away) = (try await bench.enable(ann), try await bench.enable(bob))
    #expect(
      await bench.call("POST", "/api/v2/share/name", ann, ["namespaceToken": "public", "name": "docs"]).status == 201)
    #expect(await bench.call("POST", "/api/v2/share/name", bob, ["name": "docs"]).status == 409)
    for bad in ["", "ab", "-docs", "Docs", "do.cs", "<script>", String(repeating: "x", count: 64)] as [String] {
      #expect(await bench.call("POST", "/api/v2/share/name", ann, ["name": .string(bad)]).status == 409, "\(bad)")
    }
    #expect(
      await bench.call("POST", "/api/v2/share/name", ann, ["namespaceToken": "nowhere", "name": "docs"]).status == 404)
    let selection: JSONObject = ["nameSelections": [["namespaceToken": "public", "name": "docs"]]]
    let share: JSONObject = ["shareMode": "public", "backendMode": "proxy", "authScheme": "none"]
    #expect(
      await bench.call(
        "POST", "/api/v2/share", bob,
        .object(share.merging(selection) { $1 }.merging(["envZId": .string(away.id)]) { $1 })
      ).status
        == 409)
    let made = try await bench.publicShare(ann, home.id, selection)
    #expect(made.endpoints == ["docs.share.localhost:\(bench.frontendPort)"])
    #expect(bench.core.directory.route("docs.share.localhost")?.token == made.token)
    // In use: neither for a second share, nor to be deleted.
    #expect(
      await bench.call(
        "POST", "/api/v2/share", ann,
        .object(share.merging(selection) { $1 }.merging(["envZId": .string(home.id)]) { $1 })
      ).status
        == 409)
    #expect(await bench.call("DELETE", "/api/v2/share/name", ann, ["name": "docs"]).status == 409)
    #expect(
      await bench.call(
        "DELETE", "/api/v2/unshare", ann, ["envZId": .string(home.id), "shareToken": .string(made.token)]
      ).status == 200)
    let names = await bench.call("GET", "/api/v2/share/names/public", ann)
    #expect(names.body.arrayValue?.map { $0["name"] } == ["docs"])
    #expect(await bench.call("DELETE", "/api/v2/share/name", bob, ["name": "docs"]).status == 401)
    #expect(await bench.call("DELETE", "/api/v2/share/name", ann, ["name": "docs"]).status == 200)
    #expect(await bench.call("GET", "/api/v2/share/names", ann).body == [])
    await bench.stop()
  }

  @Test("a share that nobody serves any more gives its name to its owner's next one, and to nobody else's")
  func takeover() async throws {
    let ahead = NIOLockedValueBox<Int64>(0)
    let network = try await Network.start {
      $0.clock = { Timestamp.now().adding(seconds: ahead.withLockedValue { $0 }) }
    }
    let bench = try await ShareBench.start(on: network)
    let (ann, bob) = (try await bench.account("ann@example.com"), try await bench.account("bob@example.com"))
    let (home, away) = (try await bench.enable(ann), try await bench.enable(bob))
    let body: JSONObject = [
      "shareMode": "public", "backendMode": "proxy", "authScheme": "none", "envZId": .string(home.id),
      "nameSelections": [["namespaceToken": "", "name": "docs", "ephemeral": true]],
    ]
    let first = try await bench.publicShare(ann, home.id, ["nameSelections": [["name": "docs", "ephemeral": true]]])
    // Its host may be about to come.
    #expect(await bench.call("POST", "/api/v2/share", ann, .object(body)).status == 409)
    ahead.withLockedValue { $0 = 11 }
    #expect(
      await bench.call("POST", "/api/v2/share", bob, .object(body.merging(["envZId": .string(away.id)]) { $1 })).status
        == 409)
    let overlay = try await Overlay(identity: IdentityFile(parsing: Array(home.cfg.utf8)))
    let listener = try await overlay.listen(first.token)
    #expect(await bench.call("POST", "/api/v2/share", ann, .object(body)).status == 409)
    await listener.close()
    await overlay.close()
    let core = bench.core
    let service = try #require(try await core.network.read { try $0.named(ShareRow.self, first.token)?.serviceId })
    try await Network.wait("nobody hosts it") {
      try await core.network.write(author: "test") { try !$0.isHosted(service) }
    }
    let second = await bench.call("POST", "/api/v2/share", ann, .object(body))
    #expect(second.status == 201)
    #expect(bench.core.directory.route("docs.share.localhost")?.token == second.body["shareToken"]?.stringValue)
    #expect(await bench.call("GET", "/api/v2/detail/share/\(first.token)", ann).status == 404)
    await bench.stop()
  }

  @Test("v1: reserved shares stay until released, whoever says unshare without it")
  func firstGeneration() async throws {
    let bench = try await ShareBench.start()
    let token = try await bench.account("ann@example.com")
    let environment = try await bench.enable(token)
    let request: JSONObject = [
      "envZId": .string(environment.id), "shareMode": "public", "frontendSelection": ["public"], "backendMode": "proxy",
      "backendProxyEndpoint": "http://127.0.0.1:8000", "authScheme": "none", "reserved": true, "uniqueName": "myname",
    ]
    let made = await bench.call("POST", "/api/v1/share", token, .object(request))
    #expect(made.status == 201)
    #expect(made.body["shareToken"] == "myname")
    #expect(
      made.body["frontendProxyEndpoints"]?.stringArrayValue == ["http://myname.share.localhost:\(bench.frontendPort)"])
    #expect(await bench.call("POST", "/api/v1/share", token, .object(request)).status == 409)
    #expect(
      await bench.call(
        "POST", "/api/v1/share", token,
        .object(request.merging(["frontendSelection": [], "uniqueName": "other"]) { $1 })
      ).status
        == 404)
    let unshare: JSONObject = ["envZId": .string(environment.id), "shareToken": "myname"]
    #expect(await bench.call("DELETE", "/api/v1/unshare", token, .object(unshare)).status == 200)
    #expect(await bench.call("GET", "/api/v1/detail/share/myname", token).body["reserved"] == true)
    #expect(
      await bench.call("DELETE", "/api/v1/unshare", token, .object(unshare.merging(["reserved": true]) { $1 })).status
        == 200)
    #expect(await bench.call("GET", "/api/v1/detail/share/myname", token).status == 404)
    await bench.stop()
  }

  @Test("passwords, tokens, invitations and resets")
  func accounts() async throws {
    let bench = try await ShareBench.start {
      $0.invitesOpen = true
      $0.invitesNeedToken = true
    }
    let token = try await bench.account("ann@example.com")
    #expect(
      await bench.call(
        "POST", "/api/v2/account", ShareBench.adminSecret, ["email": "ANN@example.com", "password": "x"]
      ).status == 500)
    #expect(
      await bench.call("POST", "/api/v2/login", nil, ["email": "Ann@example.com", "password": "Secret-123"]).body
        == .string(token))
    #expect(
      await bench.call("POST", "/api/v2/login", nil, ["email": "ann@example.com", "password": "secret-123"]).status
        == 401)
    #expect(
      await bench.call("POST", "/api/v2/login", nil, ["email": "eve@example.com", "password": "Secret-123"]).status
        == 401)
    let change: JSONObject = ["email": "ann@example.com", "oldPassword": "Secret-123", "newPassword": "weak"]
    #expect(await bench.call("POST", "/api/v2/changePassword", token, .object(change)).status == 422)
    #expect(
      await bench.call(
        "POST", "/api/v2/changePassword", token, .object(change.merging(["newPassword": "Better-456"]) { $1 })
      ).status == 200)
    let replaced = await bench.call(
      "POST", "/api/v2/regenerateAccountToken", token, ["emailAddress": "ann@example.com"])
    let newer = try #require(replaced.body["accountToken"]?.stringValue)
    #expect(await bench.call("GET", "/api/v2/overview", token).status == 401)
    #expect(await bench.call("GET", "/api/v2/overview", newer).status == 200)

    // An invitation needs its token, which is good once; the registration it leads to as well.
    #expect(await bench.call("POST", "/api/v2/invite", nil, ["email": "bob@example.com"]).status == 400)
    #expect(
      await bench.call("POST", "/api/v2/invite/token/generate", ShareBench.adminSecret, ["inviteTokens": ["come-in"]])
        .status == 201)
    #expect(
      await bench.call("POST", "/api/v2/invite", nil, ["email": "ann@example.com", "inviteToken": "come-in"]).status
        == 400)
    #expect(
      await bench.call("POST", "/api/v2/invite", nil, ["email": "Bob@example.com", "inviteToken": "come-in"]).status
        == 201)
    #expect(
      await bench.call("POST", "/api/v2/invite", nil, ["email": "bob@example.com", "inviteToken": "come-in"]).status
        == 400)
    let ticket = try #require(
      try await bench.core.network.read { try $0.all(ShareTicket.self) }.first { $0.purpose == .registration })
    #expect(
      await bench.call("POST", "/api/v2/verify", nil, ["registerToken": .string(ticket.id)]).body["email"]
        == "bob@example.com")
    #expect(
      await bench.call("POST", "/api/v2/register", nil, ["registerToken": .string(ticket.id), "password": "weak"])
        .status == 422)
    let registered = await bench.call(
      "POST", "/api/v2/register", nil, ["registerToken": .string(ticket.id), "password": "Secret-789"])
    #expect(registered.status == 200)
    #expect(
      await bench.call(
        "POST", "/api/v2/register", nil, ["registerToken": .string(ticket.id), "password": "Secret-789"]
      ).status == 404)

    // Whether an account exists is not told.
    #expect(
      await bench.call("POST", "/api/v2/resetPasswordRequest", nil, ["emailAddress": "nobody@example.com"]).status
        == 201)
    #expect(
      await bench.call("POST", "/api/v2/resetPasswordRequest", nil, ["emailAddress": "bob@example.com"]).status == 201)
    let resets = try await bench.core.network.read { try $0.all(ShareTicket.self) }.filter {
      $0.purpose == .passwordReset
    }
    #expect(resets.map(\.email) == ["bob@example.com"])
    let reset: JSONObject = ["resetToken": .string(resets.first?.id ?? ""), "password": "Again-0000"]
    #expect(await bench.call("POST", "/api/v2/resetPassword", nil, .object(reset)).status == 200)
    #expect(await bench.call("POST", "/api/v2/resetPassword", nil, .object(reset)).status == 404)
    #expect(
      await bench.call("POST", "/api/v2/login", nil, ["email": "bob@example.com", "password": "Again-0000"]).status
        == 200)
    await bench.stop()
  }

  @Test("mail: links that work, to one plain address, not twice in a minute; a program that fails costs nothing else")
  func mail() async throws {
    let directory = NSTemporaryDirectory() + "mail-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let program = directory + "/sendmail"
    // Fails for one address; else leaves arguments and text where the test finds them whole.
    let script =
      "#!/bin/sh\nfor to; do :; done\n[ \"$to\" = bad@example.com ] && exit 75\n"
      + "{ echo \"$@\"; cat; } > \(directory)/part && mv \(directory)/part \"\(directory)/$to\"\n"
    try Data(script.utf8).write(to: URL(fileURLWithPath: program))
    try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: program)
    let bench = try await ShareBench.start {
      $0.invitesOpen = true
      $0.mail = ShareMail(from: "share@example.com", program: program)
      $0.pageURL = "https://share.example.com"
    }
    func letter(_ to: String) async throws -> String {
      while true {
        if let text = try? String(contentsOfFile: directory + "/" + to, encoding: .utf8) {
          try FileManager.default.removeItem(atPath: directory + "/" + to)
          return text
        }
        try await Task.sleep(for: .milliseconds(50))
      }
    }
    func invite(_ email: String) async -> Int {
      await bench.call("POST", "/api/v2/invite", nil, ["email": .string(email)]).status
    }
    for hostile in [
      "a,b@example.com", "\"a\"@example.com", "-oQ/tmp@example.com", "a@example.com\r\nBcc:x@y", "a@exa mple.com",
      "<a@b>",
    ] {
      #expect(await invite(hostile) == 400, "\(hostile)")
    }
    #expect(await invite("bad@example.com") == 201)
    #expect(await invite("Bob@example.com") == 201)
    #expect(await invite("bob@example.com") == 429)
    let invitation = try await letter("bob@example.com")
    #expect(
      invitation.hasPrefix(
        "-i -f share@example.com -- bob@example.com\nFrom: share@example.com\nTo: bob@example.com\nSubject: "))
    let registration = try #require(invitation.firstMatch(of: /https:\/\/share\.example\.com\/register\/(\S+)/)?.1)
    let register: JSONValue = ["registerToken": .string(String(registration)), "password": "Secret-123"]
    #expect(await bench.call("POST", "/api/v2/register", nil, register).status == 200)
    let reset: JSONValue = ["emailAddress": "bob@example.com"]
    #expect(await bench.call("POST", "/api/v2/resetPasswordRequest", nil, reset).status == 201)
    let link = try #require(
      try await letter("bob@example.com").firstMatch(of: /https:\/\/share\.example\.com\/resetPassword\/(\S+)/)?.1)
    #expect(await bench.call("POST", "/api/v2/resetPasswordRequest", nil, reset).status == 201)
    #expect(
      try await bench.core.network.read { try $0.all(ShareTicket.self) }.filter { $0.purpose == .passwordReset }.count
        == 1)
    let password: JSONValue = ["resetToken": .string(String(link)), "password": "Again-0000"]
    #expect(await bench.call("POST", "/api/v2/resetPassword", nil, password).status == 200)
    await bench.stop()
  }

  @Test("limits refuse with a reason; an account without limits passes")
  func limits() async throws {
    let bench = try await ShareBench.start {
      $0.limits.counts = .init(environments: 1, shares: 1, reservedNames: 1, accesses: 1)
      $0.limits.exempt = ["free@example.com"]
    }
    let token = try await bench.account("ann@example.com")
    let environment = try await bench.enable(token)
    let second = await bench.call("POST", "/api/v2/enable", token, ["description": "", "host": ""])
    #expect(second.status == 401 && second.body.stringValue?.contains("may have 1") == true)
    let shared = try await bench.privateShare(token, environment.id)
    let share: JSONObject = [
      "envZId": .string(environment.id), "shareMode": "private", "backendMode": "proxy", "authScheme": "none",
    ]
    #expect(await bench.call("POST", "/api/v2/share", token, .object(share)).status == 401)
    let access: JSONValue = ["envZId": .string(environment.id), "shareToken": .string(shared)]
    #expect(await bench.call("POST", "/api/v2/access", token, access).status == 201)
    #expect(await bench.call("POST", "/api/v2/access", token, access).status == 404)
    let free = try await bench.account("free@example.com")
    for _ in 0..<2 {
      let environment = try await bench.enable(free)
      _ = try await bench.privateShare(free, environment.id)
      _ = try await bench.privateShare(free, environment.id)
    }
    await bench.stop()
  }

  @Test("limit classes: of a file, applied, one for each slot, taken away")
  func limitClasses() async throws {
    let file = NSTemporaryDirectory() + "limits-\(UUID().uuidString).yml"
    defer { try? FileManager.default.removeItem(atPath: file) }
    try Self.limits.write(toFile: file, atomically: true, encoding: .utf8)
    let limits = try ShareLimits.load(path: file)
    #expect(limits.counts == .init(environments: 1, reservedNames: 5))
    #expect(limits.warning == .init(period: 3600, total: 1000) && limits.limit == .init(period: 3600, rx: 2000))
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    try Self.limits.replacing("enforcing: true", with: "enforcing: false").write(
      toFile: file, atomically: true, encoding: .utf8)
    let off = try ShareLimits.load(path: file)
    #expect(off.counts == .init() && !off.limitsBytes && off.classes.isEmpty)
    let example = try ShareLimits.load(path: root.appendingPathComponent("Examples/limits.yml").path)
    #expect(
      example.classes.count == 3 && example.limit?.total == 10_000_000_000 && example.exempt == ["admin@localhost"])
    let bench = try await ShareBench.start { $0.limits = limits }
    let (admin, token) = (ShareBench.adminSecret, try await bench.account("ann@example.com"))
    let all = await bench.call("POST", "/api/v2/limit-class/list", admin, ["label": ""])
    #expect(all.body.arrayValue?.map { $0["id"]?.intValue } == [1, 2, 3, 4])
    #expect(all.body.arrayValue?[2]["backendMode"] == "proxy" && all.body.arrayValue?[2]["periodMinutes"] == 60)
    #expect(all.body.arrayValue?[2]["totalBytes"] == 5000 && all.body.arrayValue?[2]["shares"] == -1)
    #expect(await bench.call("POST", "/api/v2/limit-class/list", admin, ["label": "pro"]).body.arrayValue?.count == 2)
    #expect(await bench.call("POST", "/api/v2/limit-class/list", token, ["label": ""]).status == 401)
    func apply(_ method: String, _ ids: JSONValue) async -> Int {
      await bench.call(
        method, "/api/v2/applied-limit-class", admin, ["email": "ann@example.com", "limitClassIds": ids]
      ).status
    }
    #expect(await apply("POST", [9]) == 404)
    #expect(await apply("POST", ["x"]) == 400)
    #expect(await apply("POST", [1, 3]) == 200)
    #expect(await apply("POST", [4]) == 500)
    let applied = await bench.call("POST", "/api/v2/applied-limit-class/list", admin, ["email": "ann@example.com"])
    #expect(applied.body.arrayValue?.map { $0["id"]?.intValue } == [1, 3])
    _ = try await bench.enable(token)
    _ = try await bench.enable(token)
    #expect(await apply("DELETE", [1]) == 200)
    #expect(await bench.call("POST", "/api/v2/enable", token, ["description": "", "host": ""]).status == 401)
    await bench.stop()
    for wrong in [
      "classes: [{id: 1, backend_mode: fax}]", "classes: [{id: 1, rx_bytes: 5}]",
      "classes: [{id: 1, shares: 1, period_minutes: 5, rx_bytes: 5}]",
      "bandwidth: {period: 1s}", "classes: [{id: 1}, {id: 1}]", "shares: -2", "share: 1",
    ] {
      try wrong.write(toFile: file, atomically: true, encoding: .utf8)
      #expect(throws: (any Error).self, "\(wrong)") { try ShareLimits.load(path: file) }
    }
  }

  private static let limits = """
    limits:
      environments: 1
      shares: -1
      reserved_shares: 5
      unique_names: 10
      enforcing: true
      bandwidth:
        period: 1h
        warning: {rx: -1, tx: -1, total: 1000}
        limit: {rx: 2000, tx: -1, total: -1}
      classes:
        - {id: 1, label: pro, environments: 10}
        - {id: 2, label: pro, period_minutes: 5, total_bytes: 1000000}
        - {id: 3, label: proxies, backend_mode: proxy, period_minutes: 60, total_bytes: 5000}
        - {id: 4, label: larger, environments: 20}
    """

  @Test("what was moved pauses shares, and of which mode")
  func bandwidth() async throws {
    let bench = try await ShareBench.start {
      $0.limits.limit = .init(period: 3600, total: 1000)
      $0.limits.warning = .init(period: 3600, total: 500)
      $0.limits.classes = [
        .init(
          id: 1, label: "", backendMode: .proxy, counts: .init(), bandwidth: .init(period: 60, tx: 100), action: .limit)
      ]
    }
    let token = try await bench.account("ann@example.com")
    let environment = try await bench.enable(token)
    let share = try await bench.privateShare(token, environment.id)
    let proxy = try await bench.privateShare(token, environment.id, ["backendMode": "proxy"])
    let access: JSONObject = ["envZId": .string(environment.id), "shareToken": .string(share)]
    #expect(await bench.call("POST", "/api/v2/access", token, .object(access)).status == 201)
    let services = try await bench.core.network.read { reader in
      try [share, proxy].map { try reader.named(ShareRow.self, $0)?.serviceId ?? "" }
    }
    func move(_ index: Int, rx: Int, tx: Int) async throws {
      bench.core.usage.add(service: services[index], rx: rx, tx: tx, now: bench.core.network.now)
      try await bench.core.enforceLimits(try await bench.core.storeUsage())
    }
    func state() async throws -> (paused: [Bool], account: ShareAccount, access: ShareAccessRow?) {
      try await bench.core.network.read { reader in
        (
          try [share, proxy].map { try reader.named(ShareRow.self, $0)?.isPaused ?? false },
          try reader.requireAccount(email: "ann@example.com"),
          try reader.all(ShareAccessRow.self).first
        )
      }
    }
    try await move(0, rx: 600, tx: 0)
    var now = try await state()
    #expect(now.paused == [false, false] && now.account.warned == true && now.account.limited != true)
    try await bench.core.applyLimitClasses(email: "ann@example.com", [1])
    try await move(1, rx: 5000, tx: 99)
    #expect(try await state().paused == [false, false])
    try await move(1, rx: 0, tx: 1)
    now = try await state()
    #expect(now.paused == [false, true] && now.account.limitedModes == [.proxy] && now.account.limited != true)
    let more: JSONObject = [
      "envZId": .string(environment.id), "shareMode": "private", "backendMode": "proxy", "authScheme": "none",
    ]
    #expect(await bench.call("POST", "/api/v2/share", token, .object(more)).status == 401)
    try await move(0, rx: 0, tx: 400)
    now = try await state()
    #expect(now.paused == [true, true] && now.account.limited == true && now.access?.dialPolicyId == "")
    let overview = await bench.call("GET", "/api/v2/overview", token).body
    #expect(
      overview["accountLimited"] == true
        && overview["environments"]?.arrayValue?.first?["environment"]?["limited"] == true)
    #expect(await bench.call("POST", "/api/v2/access", token, .object(access)).status == 404)
    // A class for everybody's bytes raises the limit: the other share goes on.
    try await bench.core.network.write(author: "test") { change in
      for row in try change.store.all(ShareUsageRow.self) where row.backendMode == .tcpTunnel {
        try change.store.delete(ShareUsageRow.self, row.id)
      }
    }
    try await bench.core.enforceLimits([])
    now = try await state()
    #expect(now.paused == [false, true] && now.account.limited == false && now.account.warned == false)
    #expect(now.access?.dialPolicyId.isEmpty == false)
    await bench.stop()
  }

  @Test("rows and counts beyond all measure, as a lying router left them once, end nothing")
  func poisonedUsage() async throws {
    let bench = try await ShareBench.start {
      $0.limits.limit = .init(period: 3600, total: 1000)
      $0.limits.classes = [
        .init(
          id: 1, label: "", backendMode: .proxy, counts: .init(), bandwidth: .init(period: 3600, rx: 5), action: .limit)
      ]
    }
    let token = try await bench.account("ann@example.com")
    let environment = try await bench.enable(token)
    let share = try await bench.privateShare(token, environment.id)
    let (service, account) = try await bench.core.network.read { reader in
      (try reader.named(ShareRow.self, share)?.serviceId ?? "", try reader.requireAccount(email: "ann@example.com").id)
    }
    let hour = Int(bench.core.network.now.secondsSinceEpoch) / 3600 * 3600
    // Whole hours of the greatest number there is, one too short, one below zero, and times that are none.
    let rows = [
      (hour, Array(repeating: Int.max, count: 60)), (hour - 3600, Array(repeating: Int.max, count: 60)),
      (hour - 7200, [Int.max]),
      (hour - 10_800, Array(repeating: Int.min, count: 90)), (Int.max, Array(repeating: 1, count: 60)), (Int.min, [1]),
    ]
    try await bench.core.network.write(author: "test") { change in
      for (hour, counts) in rows {
        try change.store.put(
          ShareUsageRow(
            id: ShareUsageRow.id(share, hour: hour), shareToken: share, accountId: account,
            environmentId: environment.id, hour: hour, rx: counts,
            tx: counts))
      }
    }
    // As at a start, with rows of an older version.
    try await bench.core.enforceLimits(nil)
    let now = bench.core.network.now
    for _ in 0..<3 {
      bench.core.usage.add(service: service, rx: .max, tx: .max, now: now)
      bench.core.usage.add(service: service, rx: -1, tx: .min, now: now)
      bench.core.usage.add(service: service, rx: 1, tx: 1, now: now.adding(seconds: -7200))
      #expect(try await bench.core.storeUsage() == [account])
    }
    bench.core.usage.putBack([.init(service: service, minute: hour / 60): .init(rx: .max, tx: .max)])
    bench.core.usage.putBack([.init(service: service, minute: hour / 60): .init(rx: .max, tx: .max)])
    try await bench.core.enforceLimits(try await bench.core.storeUsage())
    #expect(try await bench.core.network.read { try $0.requireAccount(email: "ann@example.com").limited } == true)
    for path in ["metrics/account", "metrics/share/" + share, "overview", "detail/share/" + share, "shares?idle=true"] {
      #expect(await bench.call("GET", "/api/v2/" + path, token).status == 200, "\(path)")
    }
    try await bench.core.forgetOldUsage()
    await bench.stop()
  }

  @Test(
    "passwords stand hashed in configs, and in clear only where upstream's frontends serve; then the sharer is told")
  func clearPasswords() async throws {
    for upstream in [false, true] {
      let bench = try await ShareBench.start { $0.upstreamFrontends = upstream }
      let token = try await bench.account("ann@example.com")
      let environment = try await bench.enable(token)
      let order: JSONObject = [
        "envZId": .string(environment.id), "shareMode": "public", "backendMode": "proxy", "authScheme": "basic",
        "target": "x",
        "basicAuthUsers": [["username": "eve", "password": "open sesame"]],
      ]
      let made = await bench.call("POST", "/api/v2/share", token, .object(order))
      let share = try #require(made.body["shareToken"]?.stringValue)
      #expect(made.body["warnings"]?.arrayValue?.count == (upstream ? 1 : 0))
      let data = try await bench.core.network.read { reader in
        try reader.named(ShareRow.self, share).flatMap { try reader.get(Config.self, $0.configId) }?.data
      }
      #expect(data?["basic_auth"] == (upstream ? ["users": [["username": "eve", "password": "open sesame"]]] : .null))
      #expect(data?["interstitial"] == false && data?["auth_scheme"] == "basic" && data?["oauth"] == .null)
      let user = data?["swiftlet"]?["users"]?.arrayValue?.first
      #expect(
        user?["username"] == "eve" && user?["password"]?["algorithm"] != nil && user?.text.contains("sesame") == false)
      await bench.stop()
    }
  }

  @Test("activity: who moved something lately, and how much in the last minutes")
  func activity() async throws {
    let bench = try await ShareBench.start()
    let token = try await bench.account("ann@example.com")
    let (busy, quiet) = (try await bench.enable(token), try await bench.enable(token))
    let (share, other) = (try await bench.privateShare(token, busy.id), try await bench.privateShare(token, busy.id))
    let service = try await bench.core.network.read { try $0.named(ShareRow.self, share)?.serviceId ?? "" }
    func found(_ path: String, _ list: String, _ key: String) async -> Set<String> {
      let body = await bench.call("GET", "/api/v2/" + path, token).body
      return Set((body[list]?.arrayValue ?? []).compactMap { $0[key]?.stringValue })
    }
    #expect(await found("shares?idle=true", "shares", "shareToken") == [share, other])
    let now = bench.core.network.now
    bench.core.usage.add(service: service, rx: 7, tx: 9, now: now)
    bench.core.usage.add(service: service, rx: 1, tx: 0, now: now.adding(seconds: -120))
    #expect(await found("shares?hasActivity=true", "shares", "shareToken") == [share])
    #expect(await found("shares?hasActivity=false", "shares", "shareToken") == [other])
    #expect(await found("environments?idle=true", "environments", "envZId") == [quiet.id])
    #expect(await found("environments?hasActivity=true&activityDuration=2d", "environments", "envZId") == [busy.id])
    for query in ["activityDuration=31d", "activityDuration=long", "hasActivity=true&idle=true"] {
      #expect(await bench.call("GET", "/api/v2/shares?" + query, token).status == 400, "\(query)")
    }
    let detail = await bench.call("GET", "/api/v2/detail/share/" + share, token).body
    let sparks = try #require(detail["activity"]?.arrayValue)
    #expect(
      sparks.count == 5 && sparks.reduce(0) { $0 + ($1["rx"]?.intValue ?? 0) } == 8 && sparks.contains { $0["tx"] == 9 }
    )
    let overview = await bench.call("GET", "/api/v2/overview", token).body
    let environment = overview["environments"]?.arrayValue?.first { $0["environment"]?["zId"] == .string(busy.id) }
    #expect(environment?["environment"]?["activity"]?.arrayValue?.count == 5)
    #expect(await bench.call("GET", "/api/v2/detail/share/" + other, token).body["activity"] == [])
    await bench.stop()
  }

  @Test("frontends, namespaces, grants and organizations")
  func administration() async throws {
    let bench = try await ShareBench.start()
    let (admin, token) = (ShareBench.adminSecret, try await bench.account("ann@example.com"))
    let environment = try await bench.enable(token)
    let identity = await bench.call("POST", "/api/v2/identity", admin, ["name": "second-frontend"])
    #expect(identity.status == 201)
    let zId = try #require(identity.body["identity"]?.stringValue)
    #expect(
      await bench.call("POST", "/api/v2/frontend", admin, ["zId": "nosuch", "public_name": "second"]).status == 404)
    let frontend = await bench.call(
      "POST", "/api/v2/frontend", admin,
      [
        "zId": .string(zId), "public_name": "second", "url_template": "https://{token}.second.example",
        "permissionMode": "closed", "dynamic": true,
      ])
    let frontendToken = try #require(frontend.body["frontendToken"]?.stringValue)
    #expect(
      await bench.call(
        "POST", "/api/v2/namespace", admin, ["token": "second", "name": "Second.example", "open": false]
      ).status == 201)
    #expect(
      await bench.call("POST", "/api/v2/namespace", admin, ["token": "second", "name": "other.example"]).status == 409)
    #expect(
      await bench.call(
        "POST", "/api/v2/namespace/frontend/mapping", admin,
        ["namespaceToken": "second", "frontendToken": .string(frontendToken), "isDefault": true]
      ).status == 200)
    let selection: JSONObject = ["nameSelections": [["namespaceToken": "second", "name": "docs", "ephemeral": true]]]
    let share: JSONObject = [
      "envZId": .string(environment.id), "shareMode": "public", "backendMode": "web", "authScheme": "none",
    ]
    #expect(await bench.call("POST", "/api/v2/share", token, .object(share.merging(selection) { $1 })).status == 409)
    #expect(
      await bench.call(
        "POST", "/api/v2/namespace/grant", admin, ["namespaceToken": "second", "email": "ann@example.com"]
      ).status == 200)
    let made = await bench.call("POST", "/api/v2/share", token, .object(share.merging(selection) { $1 }))
    #expect(made.status == 201)
    #expect(bench.core.directory.route("docs.second.example") != nil)
    #expect(await bench.call("DELETE", "/api/v2/namespace", admin, ["namespaceToken": "second"]).status == 200)
    #expect(bench.core.directory.route("docs.second.example") == nil)
    #expect(await bench.call("GET", "/api/v2/frontends", admin).body.arrayValue?.count == 2)

    let organization = await bench.call("POST", "/api/v2/organization", admin, ["description": "us"])
    let group = try #require(organization.body["organizationToken"]?.stringValue)
    let bob = try await bench.account("bob@example.com")
    for (email, isAdmin) in [("ann@example.com", false), ("bob@example.com", true)] {
      #expect(
        await bench.call(
          "POST", "/api/v2/organization/add", admin,
          ["organizationToken": .string(group), "email": .string(email), "admin": .bool(isAdmin)]
        ).status == 201)
    }
    #expect(
      await bench.call("GET", "/api/v2/overview/\(group)/ann@example.com", bob).body["environments"]?.arrayValue?.count
        == 1)
    #expect(await bench.call("GET", "/api/v2/overview/\(group)/bob@example.com", token).status == 404)
    #expect(await bench.call("GET", "/api/v2/members/\(group)", bob).body["members"]?.arrayValue?.count == 2)
    #expect(await bench.call("DELETE", "/api/v2/account", admin, ["email": "ann@example.com"]).status == 200)
    #expect(await bench.call("GET", "/api/v2/overview", token).status == 401)
    #expect(await bench.call("GET", "/api/v2/members/\(group)", bob).body["members"]?.arrayValue?.count == 1)
    await bench.stop()
  }

  @Test("a restart finds everything: accounts, names and routes; secrets are in no change-set")
  func restart() async throws {
    let bench = try await ShareBench.start()
    let token = try await bench.account("ann@example.com")
    let environment = try await bench.enable(token)
    let made = try await bench.publicShare(
      token, environment.id,
      ["authScheme": "basic", "basicAuthUsers": [["username": "eve", "password": "open sesame"]]])
    await bench.stopService()
    let again = try await ShareBench.start(on: bench.network)
    #expect(again.core.directory.route("\(made.token).share.localhost")?.gate.users.map(\.username) == ["eve"])
    #expect(await again.call("GET", "/api/v2/overview", token).body["environments"]?.arrayValue?.count == 1)
    let changes = try await again.core.network.read { try $0.changeSets(after: 0) } ?? []
    let text = try changes.map { try JSONValue(encoding: $0.changes).text }.joined()
    #expect(!text.contains(token))
    #expect(!text.contains("open sesame"))
    #expect(text.contains("ann@example.com"))
    await again.stop()
  }
}
