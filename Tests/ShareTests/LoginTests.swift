import Foundation
import JSON
import Model
import NIOCore
import NIOHTTP1
import NIOPosix
import NetworkFixture
import Store
import Swiftlet
import SwiftletShare
import Synchronization
import Testing
import Transport
import WebRelay

@testable import ShareAgent
@testable import ShareFrontend
@testable import ShareService

@Suite("Signing in to a share with an account elsewhere", .timeLimit(.minutes(10)))
struct LoginTests {
  /// A share service with two providers, and a server to share.
  private struct Place {
    let bench: ShareBench
    let provider: FakeProvider
    let sharer: Sharer
    let server: any Channel

    static func start(_ configure: (inout ShareConfiguration) -> Void = { _ in }) async throws -> Place {
      let provider = try await FakeProvider.start()
      let bench = try await ShareBench.start(signingIn: provider, configure)
      return Place(
        bench: bench, provider: provider, sharer: try await Sharer.enable(bench, "ann@example.com"),
        server: try await FrontendTests.mirror())
    }

    func stop() async throws {
      await sharer.session.close()
      try await server.close()
      await bench.stop()
      try await provider.stop()
    }

    /// Serves the mirror while the body runs.
    func share<R: Sendable>(
      _ login: ShareOptions.Login?, name: String? = nil,
      _ body: @Sendable (_ url: String, _ host: String) async throws -> R
    ) async throws -> R {
      var options = ShareOptions(.public, backend: .proxy, target: "mirror")
      options.login = login
      options.names = name.map { [.init(name: $0)] } ?? []
      return try await sharer.session.withShare(options) { share in
        let backend = try await ShareBackend.start(
          share, mode: .proxy, target: .server(.http, host: "127.0.0.1", port: server.localAddress?.port ?? 0),
          overlay: sharer.session.overlay(),
          options: BackendOptions(), logger: bench.network.logger)
        let url = try #require(share.urls.first)
        let result = try await body(url, "\(share.token).share.localhost")
        await backend.stop()
        return result
      }
    }

    /// A browser with cookies of its own.
    func browser(_ name: String) -> Browser { Browser(jar: bench.network.directory + "/jar-" + name) }
    var login: String { bench.core.configuration.login?.origin.url(nil, "") ?? "" }
  }

  private struct Browser {
    let jar: String

    /// Follows redirects; the status stands at the end.
    func get(_ url: String, _ more: String...) throws -> String {
      try Zrok.run(
        "/usr/bin/env",
        [
          "curl", "--silent", "--show-error", "--max-time", "30", "--location", "--cookie", jar, "--cookie-jar", jar,
          "--write-out", "%{http_code}",
        ]
          + more
          + [url])
    }

    /// One step: status, and where it leads.
    func step(_ url: String, _ more: String...) throws -> (status: Int, location: String) {
      let text = try Zrok.run(
        "/usr/bin/env",
        [
          "curl", "--silent", "--show-error", "--max-time", "30", "--cookie", jar, "--cookie-jar", jar, "--output",
          "/dev/null", "--write-out",
          "%{http_code} %{redirect_url}",
        ] + more + [url])
      let parts = text.split(separator: " ", maxSplits: 1)
      return (Int(parts[0]) ?? 0, parts.count > 1 ? String(parts[1]) : "")
    }
  }

  @Test("a visitor signs in once, the share learns the address, and nothing of ours reaches it")
  func signsIn() async throws {
    let place = try await Place.start()
    let provider = place.provider
    try await place.share(.init(provider: "corp", emailPatterns: ["*@corp.example"])) { url, host in
      let browser = place.browser("ann")
      let seen = try browser.get(
        url + "/a?b=c", "--header", "Cookie: mine=2", "--header", "zrok-auth-email: root@corp.example")
      #expect(seen.hasSuffix("200") && seen.contains("path: /a?b=c"), "\(seen)")
      #expect(
        seen.contains("zrok-auth-provider: corp") && seen.contains("zrok-auth-email: ann@corp.example")
          && seen.contains("zrok-auth-expires: 20"))
      #expect(
        !seen.contains("root@") && !seen.contains("zrok-login") && !seen.contains("zrok-auth-session")
          && seen.contains("mine=2"))
      #expect(
        provider.state.withLock {
          $0.refusals.isEmpty && $0.authorizations.count == 1 && $0.authorizations[0]["scope"] == "openid email"
        })
      // Known from here on, for every method.
      #expect(try browser.get(url + "/again").hasSuffix("200"))
      #expect(try browser.get(url, "--data", "x").hasSuffix("200"))
      #expect(provider.state.withLock { $0.authorizations.count } == 1)
      // Others are not.
      let stranger = place.browser("stranger")
      #expect(try stranger.step(url, "--data", "x").status == 401)
      #expect(try stranger.step(url, "--head").status == 302)
      // The session ends with the visitor's word.
      #expect(try browser.get(url + FrontendLogin.sharePath + "?logout").contains("Signed out"))
      #expect(try browser.step(url).status == 302)
      #expect(
        try browser.step(place.login + "/corp/logout?redirect_url=" + (url + "/x").pathSegment).location == url
          + FrontendLogin.sharePath + "?logout")
      #expect(try browser.step(place.login + "/corp/logout?redirect_url=https%3A%2F%2Fevil.example%2F").status == 200)
    }
    try await place.stop()
  }

  @Test("under TLS the cookies are ones that other hosts of the zone cannot set")
  func overTLS() async throws {
    let identity = try ShareBench.certificate()
    let place = try await Place.start { $0.frontend.identity = identity }
    try await place.share(.init(provider: "corp")) { url, host in
      let browser = place.browser("ann")
      #expect(url.hasPrefix("https://"))
      #expect(try browser.get(url, "--insecure").contains("zrok-auth-email: ann@corp.example"))
      #expect(try browser.get(url, "--insecure", "--http1.1").hasSuffix("200"))
      #expect(place.provider.state.withLock { $0.authorizations.count } == 1)
      let cookies = try String(contentsOfFile: browser.jar, encoding: .utf8).split(separator: "\n").filter {
        $0.contains("zrok-")
      }
      #expect(
        cookies.count == 3 && cookies.allSatisfy { $0.contains("\t__Host-") && $0.hasPrefix("#HttpOnly_") },
        "\(cookies)")
    }
    try await place.stop()
  }

  @Test("GitHub's way: the checked primary address counts")
  func github() async throws {
    let place = try await Place.start()
    try await place.share(.init(provider: "hub", emailPatterns: ["{ann,bob}@corp.example"])) { url, _ in
      #expect(try place.browser("ann").get(url).contains("zrok-auth-email: ann@corp.example"))
      place.provider.state.withLock { $0.isVerified = false }
      let page = try place.browser("unverified").get(url)
      #expect(page.contains("No e-mail address") && page.hasSuffix("403"))
    }
    try await place.stop()
  }

  @Test("who is not invited reads so and may take another account; a refused sign-in leads back")
  func notInvited() async throws {
    let place = try await Place.start()
    try await place.share(.init(provider: "corp", emailPatterns: ["*@corp.example"])) { url, _ in
      let browser = place.browser("eve")
      place.provider.state.withLock { $0.email = "Eve@Evil.example" }
      let page = try browser.get(url)
      #expect(page.contains("eve@evil.example") && page.contains("another account") && page.hasSuffix("401"))
      place.provider.state.withLock { $0.email = "eve@corp.example" }
      #expect(try browser.get(url + FrontendLogin.sharePath + "?another").contains("zrok-auth-email: eve@corp.example"))
      #expect(place.provider.state.withLock { $0.authorizations.last?["prompt"] } == "select_account")
      place.provider.state.withLock { $0.declines = true }
      let declined = try place.browser("declines").get(url)
      #expect(
        declined.contains("(access_denied)") && declined.contains("Back to the share") && !declined.contains("<script>")
          && declined.hasSuffix("403"))
    }
    try await place.stop()
  }

  @Test("a visitor signs in again after the share's interval, whatever a link says")
  func interval() async throws {
    let place = try await Place.start()
    try await place.share(.init(provider: "corp", refreshInterval: "2s")) { url, _ in
      let browser = place.browser("ann")
      #expect(try browser.get(url).hasSuffix("200"))
      while try browser.step(url).status == 200 { try await Task.sleep(for: .milliseconds(200)) }
      let login = try browser.step(url).location
      #expect(login.contains("refreshInterval=2s"))
      // Longer, says the link; the share knows better.
      _ = try browser.get(login.replacing("refreshInterval=2s", with: "refreshInterval=9000h"))
      #expect(try browser.step(url).status == 200)
      while try browser.step(url).status == 200 { try await Task.sleep(for: .milliseconds(200)) }
    }
    try await place.stop()
  }

  @Test("tokens of the provider that do not hold sign nobody in")
  func forgedTokens() async throws {
    let place = try await Place.start()
    let forgeries: [(String, @Sendable (inout JSONObject) -> Void)] = [
      ("issuer", { $0["iss"] = "https://evil.example" }), ("audience", { $0["aud"] = "somebody else" }),
      ("nonce", { $0["nonce"] = "old" }),
      ("no nonce", { $0["nonce"] = nil }), ("expired", { $0["exp"] = .int(1000) }),
      ("party", { $0["azp"] = "somebody else" }),
      ("audiences", { $0["aud"] = ["swiftlet client", "somebody else"] }),
      ("unverified", { $0["email_verified"] = false }),
      ("silent about verification", { $0["email_verified"] = nil }),
      ("two addresses", { $0["email"] = "a@evil.example,ann@corp.example" }),
      ("header injection", { $0["email"] = "a\r\nx: y@corp.example" }), ("no text", { $0["email"] = 7 }),
    ]
    let mangled: [(String, @Sendable (String) -> String)] = [
      ("signature", { String($0.dropLast(4)) + "AAAA" }),
      ("none", { "eyJhbGciOiJub25lIiwia2lkIjoib25lIn0." + $0.split(separator: ".")[1] + "." }),
      (
        "unknown key",
        { "eyJhbGciOiJFUzI1NiIsImtpZCI6InR3byJ9." + $0.split(separator: ".")[1] + "." + $0.split(separator: ".")[2] }
      ),
      (
        "HMAC",
        { "eyJhbGciOiJIUzI1NiIsImtpZCI6Im9uZSJ9." + $0.split(separator: ".")[1] + "." + $0.split(separator: ".")[2] }
      ),
      ("no token", { _ in "" }),
    ]
    try await place.share(.init(provider: "corp", emailPatterns: ["*"])) { url, _ in
      // Each failed attempt counts against the address, so each comes from another one.
      var count = 0
      func visit() throws -> String {
        count += 1
        return try place.browser("forged-\(count)").get(url, "--interface", "127.0.0.\(count + 1)")
      }
      for (name, forge) in forgeries {
        place.provider.state.withLock { $0.forge = forge }
        let page = try visit()
        #expect(page.hasSuffix("403"), "\(name)")
      }
      place.provider.state.withLock { $0.forge = nil }
      for (name, mangle) in mangled {
        place.provider.state.withLock { $0.mangle = mangle }
        #expect(try visit().hasSuffix("403"), "\(name)")
      }
      place.provider.state.withLock { $0.mangle = nil }
      #expect(try visit().hasSuffix("200"))
      // The address from userinfo, of the same subject only.
      place.provider.state.withLock { $0.tellsInToken = false }
      #expect(try visit().contains("zrok-auth-email: ann@corp.example"))
      place.provider.state.withLock { $0.forge = { $0["sub"] = "somebody else" } }
      #expect(try visit().hasSuffix("403"))
    }
    try await place.stop()
  }

  @Test("links, states, tickets and sessions of others sign nobody in, and nothing leads out of the shares")
  func attacks() async throws {
    let place = try await Place.start()
    let login = place.login
    try await place.share(.init(provider: "corp")) { url, host in
      let (victim, attacker) = (place.browser("victim"), place.browser("attacker"))
      // A ticket of the attacker's own sign-in, given to a victim: login CSRF.
      let start = try attacker.step(url + "/x")
      #expect(start.status == 302 && start.location.hasPrefix(login + "/corp/login?"))
      let authorize = try attacker.step(start.location).location
      let callback = try attacker.step(authorize).location
      #expect(callback.hasPrefix(login + "/corp/auth/callback?"))
      // The callback of the attacker's sign-in in the victim's browser.
      #expect(try victim.step(callback).status == 403)
      let ticket = try attacker.step(callback).location
      #expect(ticket.hasPrefix(url + FrontendLogin.sharePath + "?ticket="))
      #expect(try victim.step(ticket).status == 403)
      // Even when the victim has begun a sign-in.
      _ = try victim.step(url)
      #expect(try victim.step(ticket).status == 403)
      #expect(try attacker.step(ticket) == (302, url + "/x"))
      // Once only; the browser that has the session is led on, another one with its start cookie is not.
      #expect(try attacker.step(ticket) == (302, url + "/x"))
      let copy = place.browser("copy")
      let kept = try String(contentsOfFile: attacker.jar, encoding: .utf8).split(separator: "\n").filter {
        !$0.contains("zrok-auth-session")
      }
      try Data(kept.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: copy.jar))
      #expect(try copy.step(ticket).status == 403)
      // A code once redeemed is worth nothing.
      #expect(try attacker.step(callback).status == 403)

      // Another share is another session.
      let session = try #require(
        String(contentsOfFile: attacker.jar, encoding: .utf8).split(separator: "\n").first {
          $0.contains("zrok-auth-session")
        }?.split(
          separator: "\t"
        ).last)
      try await place.share(.init(provider: "corp")) { other, otherHost in
        let elsewhere = try place.browser("other").step(other, "--header", "Cookie: zrok-auth-session=\(session)")
        #expect(elsewhere.status == 302)
        #expect(try place.browser("other").step(url, "--header", "Cookie: zrok-auth-session=\(session)").status == 200)
        // A ticket for one host is none for another, even with the start secret it belongs to.
        let fresh = place.browser("fresh")
        var step = try fresh.step(url)
        while !step.location.contains("?ticket=") { step = try fresh.step(step.location) }
        let secret = try #require(
          String(contentsOfFile: fresh.jar, encoding: .utf8).split(separator: "\n").first {
            $0.contains("zrok-login-start")
          }?.split(separator: "\t")
            .last)
        let moved = ("--header", "Cookie: zrok-login-start=\(secret)")
        #expect(
          try place.browser("mover").step(step.location.replacing(host, with: otherHost), moved.0, moved.1).status
            == 403)
        #expect(try place.browser("mover").step(step.location, moved.0, moved.1) == (302, url + "/"))
      }
      // Of another purpose, cut, changed.
      let state = String(callback.split(separator: "state=")[1].split(separator: "&")[0])
      for text in [
        state, String(session.dropLast()), String(session.dropFirst(4)), "", String(repeating: "A", count: 7000),
      ] {
        #expect(try place.browser("other").step(url, "--header", "Cookie: zrok-auth-session=\(text)").status == 302)
        #expect(try attacker.step(url + FrontendLogin.sharePath + "?ticket=\(text)").status == 403)
      }

      // Places that are none.
      let digest = LoginSeal.digest(LoginSeal.secret())
      for target in [
        "evil.example", "evil.example/\(host)", "\(host).evil.example", "\(host)@evil.example", "evil.example#\(host)",
        "", "/", "share.localhost",
        "login.share.localhost", "\(host):1", "//\(host)", "http://\(host)", "\(host)\u{0}",
      ] {
        #expect(
          try victim.step(login + "/corp/login?start=\(digest)&targetHost=" + target.pathSegment).status == 404,
          "\(target)")
      }
      // Another provider than the share's.
      #expect(try victim.step(login + "/hub/login?start=\(digest)&targetHost=" + host).status == 404)
      for (path, safe) in [
        ("/a?b=c", "/a?b=c"), ("//evil.example", "/"), ("/\\evil.example", "/"), ("/a\r\nset-cookie: x=y", "/"),
        ("", "/"),
        ("/" + String(repeating: "a", count: 1100), "/"), (FrontendLogin.sharePath + "?logout", "/"),
        ("/%0d%0a", "/%0d%0a"),
      ] {
        // A link without a start leads to the share itself.
        #expect(
          try victim.step(login + "/corp/login?targetHost=" + (host + path).pathSegment).location == url + safe,
          "\(path)")
      }
      for (path, status) in [
        ("/", 200), ("/nobody/login", 404), ("/corp", 404), ("/corp/login/x", 404), ("/corp/auth/callback", 403),
      ] {
        #expect(try victim.step(login + path).status == status, "\(path)")
      }
      #expect(try victim.step(login + "/corp/login", "--data", "x").status == 405)
    }
    try await place.stop()
  }

  @Test(
    "a session, and a ticket, end with their share: another one under the same name asks again, and one without a sign-in never sees them"
  )
  func remade() async throws {
    let place = try await Place.start()
    let browser = place.browser("ann")
    let ticket = try await place.share(.init(provider: "corp"), name: "docs") { url, _ in
      #expect(try browser.get(url).hasSuffix("200"))
      let fresh = place.browser("fresh")
      var step = try fresh.step(url)
      while !step.location.contains("?ticket=") { step = try fresh.step(step.location) }
      return step.location
    }
    try await place.share(nil, name: "docs") { url, _ in
      let page = try place.browser("fresh").step(ticket)
      #expect(page == (302, url + "/"))
      #expect(try place.browser("open").get(url).hasSuffix("200"))
    }
    try await place.share(.init(provider: "corp"), name: "docs") { url, _ in
      let again = try browser.step(url)
      #expect(again.status == 302 && again.location.hasPrefix(place.login + "/corp/login"))
      #expect(try place.browser("fresh").step(ticket).status == 403)
      #expect(try browser.get(url).hasSuffix("200"))
    }
    try await place.stop()
  }

  @Test("a state of a share that is older than its end does not bring it back")
  func directory() {
    let directory = ShareDirectory()
    func route(_ token: String) -> ShareRoute {
      ShareRoute(
        token: token, backendMode: .proxy, gate: ShareGate(), interstitial: false, serviceID: token, isPaused: false,
        isWindowed: false)
    }
    directory.replace("a", hosts: ["x"], with: route("a"), version: 8)
    directory.replace("a", hosts: [], with: nil, version: 10)
    directory.replace("b", hosts: ["x"], with: route("b"), version: 11)
    directory.replace("a", hosts: ["x"], with: route("a"), version: 9)
    #expect(directory.route("x")?.token == "b")
    for index in 0..<3000 {
      directory.replace("t\(index)", hosts: ["h"], with: route("t\(index)"), version: UInt64(20 + 2 * index))
      directory.replace("t\(index)", hosts: [], with: nil, version: UInt64(21 + 2 * index))
    }
    #expect(directory.count == 1 && directory.route("x")?.token == "b")
  }

  @Test("what the service refuses, and what frontends of upstream are told")
  func orders() async throws {
    let place = try await Place.start()
    let (bench, token) = (place.bench, try await place.bench.account("sue@example.com"))
    let environment = try await bench.enable(token)
    func order(_ more: JSONObject) async -> (Int, String) {
      let body: JSONObject = [
        "envZId": .string(environment.id), "shareMode": "public", "backendMode": "proxy", "authScheme": "oauth",
        "target": "x",
        "oauthProvider": "corp",
      ]
      let answer = await bench.call("POST", "/api/v2/share", token, .object(body.merging(more) { $1 }))
      return (answer.status, answer.body.text)
    }
    #expect(await order(["oauthProvider": "google"]).0 == 422)
    #expect(await order(["oauthProvider": "google"]).1.contains("corp, hub"))
    #expect(await order(["oauthEmailDomains": ["*@{a"]]).0 == 422)
    #expect(await order(["oauthRefreshInterval": "soon"]).0 == 422)
    #expect(await order(["shareMode": "private"]).0 == 422)
    #expect(
      await order(["nameSelections": [["namespaceToken": "public", "name": "login", "ephemeral": true]]]).0 == 409)
    #expect(
      await bench.call("POST", "/api/v2/share/name", token, ["namespaceToken": "public", "name": "login"]).status == 409
    )
    // As the SDK of the first generation asks (zrok.md 2.9).
    let first: JSONObject = [
      "envZId": .string(environment.id), "shareMode": "public", "frontendSelection": ["public"], "backendMode": "proxy",
      "backendProxyEndpoint": "http-server", "authScheme": "oauth", "oauthProvider": "corp",
      "oauthEmailDomains": ["*@x.y"],
      "oauthAuthorizationCheckInterval": "1h", "reserved": true, "permissionMode": "closed", "accessGrants": [],
      "uniqueName": "myname",
    ]
    #expect(await bench.call("POST", "/api/v1/share", token, .object(first)).status == 201)
    let gate = try #require(bench.core.directory.route("myname.share.localhost")?.gate)
    #expect(gate.provider == "corp" && gate.emailPatterns == ["*@x.y"] && gate.interval == .hours(1))
    let made = try await bench.publicShare(
      token, environment.id,
      [
        "authScheme": "oauth", "oauthProvider": "corp", "oauthEmailDomains": ["*@corp.example"],
        "oauthRefreshInterval": "0s",
      ])
    let data = try await bench.core.network.read { reader in
      try reader.named(ShareRow.self, made.token).flatMap { try reader.get(Config.self, $0.configId) }?.data
    }
    #expect(
      data?["oauth"] == [
        "provider": "corp", "email_domains": ["*@corp.example"], "authorization_check_interval": "10800s",
      ]
        && data?["auth_scheme"] == "oauth" && data?["basic_auth"] == .null)
    try await place.stop()
  }

  @Test("the file of providers: ours, and upstream's")
  func files() throws {
    let text = """
      v: 4
      identity: public
      address: 0.0.0.0:8080
      oauth:
        bind_address: 0.0.0.0:8181
        endpoint_url: https://oauth.example.com
        cookie_name: session
        cookie_domain: example.com
        session_lifetime: 6h
        signing_key: 0123456789abcdef
        encryption_key: 0123456789abcdef
        providers:
          - {name: g, type: google, client_id: a, client_secret: b}
          - {name: kc, type: oidc, client_id: a, issuer: "https://id.example.com/realms/x", scopes: [openid, email, profile], prompt: login}
          - {name: gh, type: github, client_id: a, client_secret: b}
      """
    _ = try LoginConfiguration.load(
      path: URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
        "../../Examples/oauth.yml"
      ).path)
    let configuration = try LoginConfiguration.parse(text, file: "f")
    #expect(
      configuration.origin.url(nil, "/x") == "https://oauth.example.com/x" && configuration.sessionLifetime == .hours(6)
    )
    #expect(
      configuration.providers.map(\.name) == ["g", "kc", "gh"] && configuration.provider("kc")?.scopes.count == 3)
    for (from, to, expected) in [
      ("https://oauth.example.com", "https://oauth.example.com/path", "endpoint_url"),
      ("type: google", "type: gogle", "gogle"),
      ("https://id.example.com", "http://id.example.com", "https://"), ("name: gh", "name: g", "two providers"),
      ("signing_key: 0123456789abcdef", "signing_key: short", "32 bytes"),
      ("session_lifetime: 6h", "session_lifetime: 1s", "session_lifetime"),
      ("cookie_name", "cookie_nam", "cookie_name"), ("client_id: a, issuer", "issuer", "client_id"),
    ] {
      do {
        _ = try LoginConfiguration.parse(text.replacing(from, with: to), file: "f")
        Issue.record("accepted: \(to)")
      } catch { #expect("\(error)".contains(expected), "\(error)") }
    }
  }

  @Test(
    "e-mail patterns",
    arguments: [
      (
        "*@example.com", ["a@example.com", "A.B@EXAMPLE.com"], ["a@example.com.evil", "a@example.org", "@exampleXcom"]
      ),
      ("ann@example.com", ["Ann@example.com"], ["joann@example.com", "ann@example.co"]),
      (
        "{ann,bob}@*.example.com", ["ann@x.example.com", "bob@y.z.example.com"],
        ["eve@x.example.com", "ann@example.com"]
      ),
      ("?[0-9][!x]@e.com", ["a1b@e.com"], ["a1x@e.com", "ab1@e.com", "11@e.com"]),
      ("**@e.com", ["a@e.com"], ["a@e.comm"]), ("*", ["a@b"], []),
    ])
  func patterns(_ pattern: String, _ passes: [String], _ fails: [String]) throws {
    let parsed = try #require(EmailPattern(pattern))
    for email in passes { #expect(parsed.matches(email), "\(email)") }
    for email in fails { #expect(!parsed.matches(email), "\(email)") }
  }

  @Test("cookies, pages and fields are told apart by bytes, whatever combines with them in one character")
  func combining() {
    let mark = "\u{600}"
    var headers: HTTPHeaders = [
      "cookie": "x=\(mark); __Host-zrok-login=secret; mine=2", "zrok_auth_email": "boss", "Zrok-Auth-User": "root",
      "other": "1",
    ]
    #expect(
      RequestCookies.value("__Host-zrok-login", headers) == "secret"
        && RequestCookies.value("zrok-login", headers) == nil)
    RequestCookies.remove(["__Host-zrok-login"], from: &headers)
    #expect(headers["cookie"] == ["x=\(mark); mine=2"])
    #expect(WebPage.escaped("a\(mark)<b>\(mark)\"'&\u{301}").utf8.allSatisfy { !"<>\"'".utf8.contains($0) })
    #expect(PublicFrontend.identityFields(headers).sorted() == ["Zrok-Auth-User", "zrok_auth_email"])
  }

  @Test("texts that are no patterns, and one that would take long")
  func badPatterns() throws {
    for text in [
      "", "{a", "a}", "{a{b}}", "[", "[]", "[z-a]", "a b", String(repeating: "a", count: 257),
      String(repeating: "{a,b}", count: 8),
      String(repeating: "x", count: 200) + "{a,b,c,d,e,f}",
    ] {
      #expect(EmailPattern(text) == nil, "\(text)")
    }
    let slow = try #require(EmailPattern(String(repeating: "*a", count: 100) + "b"))
    #expect(!slow.matches(String(repeating: "a", count: 254)))
  }
}
