import Controller
import Foundation
import Model
import NIOConcurrencyHelpers
import NIOCore
import NetworkFixture
import Store
import Swiftlet
import SwiftletShare
import Testing
import Transport

@testable import Share

/// How shares and accesses end, and come back.
@Suite("The life of a share", .timeLimit(.minutes(5)))
struct ShareLifeTests {
  /// What a running share or access told.
  private final class Diary: Sendable {
    private let lines = NIOLockedValueBox<[String]>([])

    func write(_ line: String) { lines.withLockedValue { $0.append(line) } }
    var all: [String] { lines.withLockedValue { $0 } }

    func wait(for line: String, count: Int = 1) async throws {
      try await Network.wait("\(line) is told") { self.all.filter { $0 == line }.count >= count }
    }
  }

  private static func share(_ session: ShareSession, _ options: ShareOptions, _ target: BackendTarget, _ bench: ShareBench, _ diary: Diary)
    -> Task<Void, any Error>
  {
    let running = RunningShare(session: session, options: options, target: target, logger: bench.network.logger) { event in
      switch event {
      case .shared(let share): diary.write("shared \(share.token) \(share.urls.joined(separator: " "))")
      case .sharedAgain(let share): diary.write("again \(share.token) \(share.urls.joined(separator: " "))")
      case .targetSilent(let target): diary.write("silent \(target)")
      case .ending: diary.write("ending")
      }
    }
    return Task { try await running.run() }
  }

  private static func access(_ session: ShareSession, _ token: String, _ bench: ShareBench, _ diary: Diary) -> Task<Void, any Error> {
    let running = RunningAccess(session: session, token: token, host: "127.0.0.1", port: 0, logger: bench.network.logger) { event in
      switch event {
      case .ready(_, let address): diary.write("ready \(address.port ?? 0)")
      case .lost: diary.write("lost")
      case .back: diary.write("back")
      case .ending: diary.write("ending")
      }
    }
    return Task { try await running.run() }
  }

  /// Soon told what changes in the network.
  private static func session(_ sharer: Sharer) throws -> ShareSession {
    try ShareSession(ShareEnvironment.load(directory: sharer.directory), pollInterval: .milliseconds(200))
  }

  private static func page(_ url: String) -> String? {
    try? Zrok.run("/usr/bin/env", ["curl", "--silent", "--fail", "--max-time", "10", url])
  }

  private static func site(_ bench: ShareBench, _ text: String) throws -> String {
    let site = bench.network.directory + "/site-" + text
    try FileManager.default.createDirectory(atPath: site, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(fileURLWithPath: site + "/index.html"))
    return site
  }

  @Test("what a killed host leaves behind is taken back; what is reserved, what never promised to be served, and what cannot be served now stays")
  func takenBack() async throws {
    let ahead = NIOLockedValueBox<Int64>(0)
    let network = try await Network.start { $0.clock = { Timestamp.now().adding(seconds: ahead.withLockedValue { $0 }) } }
    let bench = try await ShareBench.start(on: network)
    let desk = bench.desk
    let (ann, bob) = (try await bench.account("ann@example.com"), try await bench.account("bob@example.com"))
    let home = try await bench.enable(ann)
    #expect(await bench.call("POST", "/api/v2/share/name", ann, ["name": "kept"]).status == 201)
    let names: JSONObject = ["nameSelections": [["name": "kept"], ["name": "docs", "ephemeral": true]]]
    let share = try await bench.publicShare(ann, home.id, names.merging(["leased": true]) { $1 }).token
    // A reservation of zrok's, a share of somebody's program, a reserved share of the first generation.
    let others = [
      try await bench.privateShare(ann, home.id, ["privateShareToken": "reservation"]), try await bench.publicShare(ann, home.id).token,
    ]
    let reserved: JSONObject = [
      "envZId": .string(home.id), "shareMode": "public", "frontendSelection": ["public"], "backendMode": "proxy", "authScheme": "none",
      "reserved": true, "uniqueName": "forever", "leased": true,
    ]
    #expect(await bench.call("POST", "/api/v1/share", ann, .object(reserved)).status == 201)
    func status(_ token: String, _ account: String) async -> Int { await bench.call("GET", "/api/v2/detail/share/" + token, account).status }

    let overlay = try await Overlay(identity: IdentityFile(parsing: Array(home.cfg.utf8)))
    let listener = try await overlay.listen(share)
    await desk.takeBackUnserved()
    ahead.withLockedValue { $0 += ShareLeases.patience }
    await desk.takeBackUnserved()
    #expect(await status(share, ann) == 200)
    await listener.close()
    await overlay.close()
    let service = try #require(try await desk.network.read { try $0.named(ShareRow.self, share)?.serviceId })
    try await Network.wait("nobody hosts it") { try await desk.network.unhosted([service]) == [service] }
    await desk.takeBackUnserved()
    ahead.withLockedValue { $0 += ShareLeases.patience - 30 }
    await desk.takeBackUnserved()
    #expect(await status(share, ann) == 200)
    // Without a router nobody can host: that is not the hosts' doing.
    await network.stopRouter()
    try await Network.wait("the router is gone") { try await desk.network.unhosted([service]) == nil }
    ahead.withLockedValue { $0 += 1000 }
    await desk.takeBackUnserved()
    try await network.startRouter()
    await desk.takeBackUnserved()
    #expect(await status(share, ann) == 200)
    ahead.withLockedValue { $0 += ShareLeases.patience }
    await desk.takeBackUnserved()
    // Its owner learns why; the others as of any share.
    #expect(await status(share, ann) == 410)
    #expect(await status(share, bob) == 404)
    #expect(desk.directory.route("docs.share.localhost") == nil && desk.directory.route("kept.share.localhost") == nil)
    #expect(await bench.call("GET", "/api/v2/share/names", ann).body.arrayValue?.compactMap { $0["name"]?.stringValue }.contains("kept") == true)
    #expect(await bench.call("POST", "/api/v2/share/name", bob, ["name": "docs"]).status == 201)
    #expect(await bench.call("POST", "/api/v2/share/name", bob, ["name": "kept"]).status == 409)
    for other in others + ["forever"] { #expect(await status(other, ann) == 200, "\(other)") }
    await bench.stop()
  }

  @Test("beside a controller: what nobody hosts is known by the management API")
  func unhosted() async throws {
    let bench = try await ShareBench.startRemote()
    let token = try await bench.account("ann@example.com")
    let home = try await bench.enable(token)
    let shares = [try await bench.privateShare(token, home.id), try await bench.privateShare(token, home.id)]
    let services = try await bench.desk.network.read { reader in try shares.map { try reader.named(ShareRow.self, $0)?.serviceId ?? "" } }
    let overlay = try await Overlay(identity: IdentityFile(parsing: Array(home.cfg.utf8)))
    let listener = try await overlay.listen(shares[0])
    #expect(try await bench.desk.network.unhosted(services + ["nosuchservice"]) == [services[1], "nosuchservice"])
    await listener.close()
    await overlay.close()
    await bench.stop()
  }

  @Test("a share that was taken back while its machine was away comes back under its name and token; one that was deleted ends with an error")
  func comesBack() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let session = try Self.session(sharer)
    let (diary, desk) = (Diary(), bench.desk)
    var options = ShareOptions(.public, backend: .web, target: "site")
    options.names = [.init(name: "photos")]
    let running = Self.share(session, options, .directory(try Self.site(bench, "photos")), bench, diary)
    try await Network.wait("it is shared") { !diary.all.isEmpty }
    let url = "http://photos.share.localhost:\(bench.frontendPort)"
    let row = try #require(try await desk.network.read { try $0.all(ShareRow.self) }.first)
    #expect(diary.all == ["shared \(row.token) \(url)"] && row.leased == true)
    #expect(Self.page(url) == "photos")
    // As the service does it.
    try await desk.network.write(author: "test") { change in
      guard let row = try change.store.named(ShareRow.self, row.token) else { return }
      try ShareDesk.remove(row, change)
    }
    desk.leases.end(row.token, of: row.accountId)
    try await desk.refresh(row.token)
    try await diary.wait(for: "again \(row.token) \(url)")
    try await Network.wait("the page is back") { Self.page(url) == "photos" }
    #expect(try await desk.network.read { try $0.all(ShareRow.self).map(\.token) } == [row.token])
    try await session.deleteShare(row.token)
    await #expect(throws: ShareError.shareDeleted(token: row.token)) { try await running.value }
    #expect(diary.all.filter { $0.hasPrefix("again") }.count == 1 && diary.all.last == "ending")

    // Stopped, it leaves nothing; and a target where nothing listens is told of, and shared all the same.
    let silent = try BackendTarget.recognise("127.0.0.1:1")
    let second = Self.share(session, ShareOptions(.private, backend: .proxy), silent, bench, diary)
    try await diary.wait(for: "silent http://127.0.0.1:1")
    #expect(try await desk.network.read { try $0.all(ShareRow.self).count } == 1)
    second.cancel()
    try await second.value
    #expect(try await desk.network.read { try $0.all(ShareRow.self).isEmpty })
    #expect(try await BackendTarget.recognise("\(bench.apiPort)").isSilent() == false)
    await session.close()
    await bench.stop()
  }

  @Test("an access outlives its share: its port stays, and leads to the next share of that token, of whatever kind")
  func accessComesBack() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let reader = try await Sharer.enable(bench, "bob@example.com")
    let (session, away) = (try Self.session(sharer), try Self.session(reader))
    let (site, shares, accesses) = (try Self.site(bench, "first"), Diary(), Diary())
    var options = ShareOptions(.private, backend: .web, target: "site")
    options.token = "my-site"
    options.isOpen = true
    var running = Self.share(session, options, .directory(site), bench, shares)
    try await shares.wait(for: "shared my-site ")
    let accessing = Self.access(away, "my-site", bench, accesses)
    try await Network.wait("the access is ready") { !accesses.all.isEmpty }
    let port = try #require(accesses.all.first?.split(separator: " ").last)
    let url = "http://127.0.0.1:\(port)/"
    #expect(Self.page(url) == "first")
    for (round, mode) in [ShareOptions.Backend.web, .tcpTunnel].enumerated() {
      running.cancel()
      try await running.value
      try await accesses.wait(for: "lost", count: round + 1)
      options.backend = mode
      let target = mode == .web ? BackendTarget.directory(site) : try BackendTarget.recognise("127.0.0.1:\(bench.apiPort)", for: mode)
      running = Self.share(session, options, target, bench, shares)
      try await accesses.wait(for: "back", count: round + 1)
      // The access may be there a moment before the host. Of the API behind the tunnel it is a page of its own.
      try await Network.wait("the page is back") {
        Self.page(url + (mode == .web ? "" : "health"))?.contains(mode == .web ? "first" : "healthy") ?? false
      }
    }
    let rows = try await bench.desk.network.read { try $0.all(ShareAccessRow.self) }
    #expect(rows.count == 1 && rows.first?.bindAddress.hasSuffix(":\(port)") == true)
    accessing.cancel()
    try await accessing.value
    #expect(try await bench.desk.network.read { try $0.all(ShareAccessRow.self).isEmpty })
    running.cancel()
    try await running.value
    await session.close()
    await away.close()
    await bench.stop()
  }

  @Test("an environment that was deleted at the service: shares, accesses and agents end and say so; disable forgets it, and enable comes back")
  func environmentGone() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let session = try Self.session(sharer)
    let enabled = try #require(session.environment.enabled)
    let gone = ShareError.environmentGone(endpoint: enabled.endpoint)
    let (shares, accesses) = (Diary(), Diary())
    var options = ShareOptions(.private, backend: .web, target: "site")
    options.token = "my-site"
    let sharing = Self.share(session, options, .directory(try Self.site(bench, "first")), bench, shares)
    try await shares.wait(for: "shared my-site ")
    let accessing = Self.access(session, "my-site", bench, accesses)
    try await Network.wait("the access is ready") { !accesses.all.isEmpty }
    // From another machine, or by an operator.
    let account = try #require(try await bench.desk.network.read { try $0.account(email: "ann@example.com") }).id
    try await bench.desk.disable(account, environment: enabled.identity)
    await #expect(throws: gone) { try await sharing.value }
    await #expect(throws: gone) { try await accessing.value }
    let agent = ShareAgent(
      session: try ShareSession(session.environment),
      configuration: try AgentConfiguration(StrictDocument(text: "shares:\n  - target: 8000\n", file: "agent.yml").root),
      logger: bench.network.logger)
    await #expect(throws: gone) { try await agent.run() }
    await #expect(throws: gone) { _ = try await session.create(options) }
    await session.close()

    var environment = try ShareEnvironment.load(directory: sharer.directory)
    #expect(try await ShareSession.disable(&environment) == false)
    #expect(try ShareEnvironment.load(directory: sharer.directory).enabled == nil)
    try await ShareSession.enable(&environment, token: enabled.token, endpoint: bench.endpoint, description: "again", host: "here")

    // Of a token that is another now nothing is forgotten, of an account that is gone everything.
    let newer = await bench.call("POST", "/api/v2/regenerateAccountToken", enabled.token, ["emailAddress": "ann@example.com"])
    #expect(newer.status == 200)
    var isRefused = false
    do { try await ShareSession.disable(&environment) } catch is ShareError { isRefused = true }
    #expect(isRefused && environment.enabled != nil)
    try await bench.desk.deleteAccount(email: "ann@example.com")
    #expect(try await ShareSession.disable(&environment) == false)
    await bench.stop()
  }

  @Test("how things of other machines are served, told from their text alone")
  func afar() {
    for (text, mode, target) in [
      ("8000", .proxy, "8000"), ("127.0.0.1:8000", .proxy, "127.0.0.1:8000"), ("localhost:3000/app", .proxy, "localhost:3000/app"),
      ("https://10.0.0.7", .proxy, "https://10.0.0.7"), ("[::1]:80", .proxy, "[::1]:80"), ("tcp://127.0.0.1:22", .tcpTunnel, "127.0.0.1:22"),
      ("udp://127.0.0.1:53", .udpTunnel, "127.0.0.1:53"), ("/srv/photos", .web, "/srv/photos"), ("./photos", .web, "./photos"),
      ("~/photos", .web, "~/photos"), ("photos", .web, "photos"), ("photos/2026", .web, "photos/2026"),
      ("/etc/site/Caddyfile", .caddy, "/etc/site/Caddyfile"),
    ] as [(String, ShareOptions.Backend, String)] {
      let serving = BackendTarget.afar(text)
      #expect(serving.mode == mode && serving.target == target, "\(text)")
    }
    // A tunnel's target is shown as people write it, whatever it was written with.
    for text in ["127.0.0.1:22", "tcp://127.0.0.1:22"] {
      #expect((try? BackendTarget.recognise(text, for: .tcpTunnel))?.description == "127.0.0.1:22", "\(text)")
    }
    #expect((try? BackendTarget.recognise("22", for: .tcpTunnel))?.description == "localhost:22")
    #expect((try? BackendTarget.recognise("udp://127.0.0.1:53"))?.description == "127.0.0.1:53")
    #expect((try? BackendTarget.recognise("8000"))?.description == "http://localhost:8000")
  }
}
