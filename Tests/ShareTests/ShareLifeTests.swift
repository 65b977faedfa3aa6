import Controller
import Foundation
import JSON
import Model
import NIOConcurrencyHelpers
import NIOCore
import NetworkFixture
import Store
import Swiftlet
import SwiftletShare
import Testing
import Transport

@testable import ShareAgent
@testable import ShareFrontend
@testable import ShareService

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

  private static func share(
    _ session: ShareSession, _ options: ShareOptions, _ target: BackendTarget, _ bench: ShareBench, _ diary: Diary
  )
    -> Task<Void, any Error>
  {
    let running = RunningShare(session: session, options: options, target: target, logger: bench.network.logger) {
      event in
      switch event {
      case .shared(let share): diary.write("shared \(share.token) \(share.urls.joined(separator: " "))")
      case .sharedAgain(let share): diary.write("again \(share.token) \(share.urls.joined(separator: " "))")
      case .targetSilent(let target): diary.write("silent \(target)")
      case .ending: diary.write("ending")
      }
    }
    return Task { try await running.run() }
  }

  private static func access(_ session: ShareSession, _ token: String, _ bench: ShareBench, _ diary: Diary) -> Task<
    Void, any Error
  > {
    let running = RunningAccess(
      session: session, token: token, host: "127.0.0.1", port: 0, logger: bench.network.logger
    ) { event in
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

  @Test(
    "what a killed host leaves behind is taken back; what is reserved, what never promised to be served, and what cannot be served now stays"
  )
  func takenBack() async throws {
    let ahead = NIOLockedValueBox<Int64>(0)
    let network = try await Network.start {
      $0.clock = { Timestamp.now().adding(seconds: ahead.withLockedValue { $0 }) }
    }
    let bench = try await ShareBench.start(on: network)
    let core = bench.core
    let (ann, bob) = (try await bench.account("ann@example.com"), try await bench.account("bob@example.com"))
    let home = try await bench.enable(ann)
    #expect(await bench.call("POST", "/api/v2/share/name", ann, ["name": "kept"]).status == 201)
    let names: JSONObject = ["nameSelections": [["name": "kept"], ["name": "docs", "ephemeral": true]]]
    let share = try await bench.publicShare(ann, home.id, names.merging(["leased": true]) { $1 }).token
    // A reservation of zrok's, a share of somebody's program, a reserved share of the first generation.
    let others = [
      try await bench.privateShare(ann, home.id, ["privateShareToken": "reservation"]),
      try await bench.publicShare(ann, home.id).token,
    ]
    let reserved: JSONObject = [
      "envZId": .string(home.id), "shareMode": "public", "frontendSelection": ["public"], "backendMode": "proxy",
      "authScheme": "none",
      "reserved": true, "uniqueName": "forever", "leased": true,
    ]
    #expect(await bench.call("POST", "/api/v1/share", ann, .object(reserved)).status == 201)
    func status(_ token: String, _ account: String) async -> Int {
      await bench.call("GET", "/api/v2/detail/share/" + token, account).status
    }

    let overlay = try await Overlay(identity: IdentityFile(parsing: Array(home.cfg.utf8)))
    let listener = try await overlay.listen(share)
    await core.takeBackUnserved()
    ahead.withLockedValue { $0 += ShareLeases.patience }
    await core.takeBackUnserved()
    #expect(await status(share, ann) == 200)
    await listener.close()
    await overlay.close()
    let service = try #require(try await core.network.read { try $0.named(ShareRow.self, share)?.serviceId })
    try await Network.wait("nobody hosts it") { try await core.network.hosting([service]).routers.isEmpty }
    await core.takeBackUnserved()
    ahead.withLockedValue { $0 += ShareLeases.patience - 30 }
    await core.takeBackUnserved()
    #expect(await status(share, ann) == 200)
    // Without a router nobody can host: that is not the hosts' doing.
    await network.stopRouter()
    try await Network.wait("the router is gone") { try await !core.network.hosting([service]).isPossible }
    ahead.withLockedValue { $0 += 1000 }
    await core.takeBackUnserved()
    try await network.startRouter()
    await core.takeBackUnserved()
    #expect(await status(share, ann) == 200)
    ahead.withLockedValue { $0 += ShareLeases.patience }
    await core.takeBackUnserved()
    // Its owner learns why; the others as of any share.
    #expect(await status(share, ann) == 410)
    #expect(await status(share, bob) == 404)
    #expect(core.directory.route("docs.share.localhost") == nil && core.directory.route("kept.share.localhost") == nil)
    #expect(
      await bench.call("GET", "/api/v2/share/names", ann).body.arrayValue?.compactMap { $0["name"]?.stringValue }
        .contains("kept") == true)
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
    let services = try await bench.core.network.read { reader in
      try shares.map { try reader.named(ShareRow.self, $0)?.serviceId ?? "" }
    }
    let overlay = try await Overlay(identity: IdentityFile(parsing: Array(home.cfg.utf8)))
    let listener = try await overlay.listen(shares[0])
    let router = await bench.network.routerID
    #expect(
      try await bench.core.network.hosting(services + ["nosuchservice"])
        == NetworkHosting(routers: [services[0]: [router]], isPossible: true, away: []))
    await listener.close()
    await overlay.close()
    try await Network.wait("nobody hosts it") { try await bench.core.network.hosting(services).routers.isEmpty }
    await bench.network.stopRouter()
    try await Network.wait("the router is gone") {
      try await bench.core.network.hosting(services) == NetworkHosting(routers: [:], isPossible: false, away: [router])
    }
    await bench.stop()
  }

  // MARK: What was taken back

  @Test(
    "names and tokens of what was taken back are held for their account, for some hours, and survive a restart of the service"
  )
  func held() async throws {
    let ahead = NIOLockedValueBox<Int64>(0)
    let network = try await Network.start {
      $0.clock = { Timestamp.now().adding(seconds: ahead.withLockedValue { $0 }) }
    }
    let first = try await ShareBench.start(on: network)
    let (ann, bob) = (try await first.account("ann@example.com"), try await first.account("bob@example.com"))
    let (home, away) = (try await first.enable(ann), try await first.enable(bob))
    let docs: JSONObject = ["leased": true, "nameSelections": [["name": "docs", "ephemeral": true]]]
    let notes: JSONObject = ["leased": true, "privateShareToken": "notes"]
    let site = try await first.publicShare(ann, home.id, docs).token
    #expect(try await first.privateShare(ann, home.id, notes) == "notes")
    for _ in 0..<2 {
      await first.core.takeBackUnserved()
      ahead.withLockedValue { $0 += ShareLeases.patience }
    }
    await first.core.takeBackUnserved()
    #expect(first.core.directory.route("docs.share.localhost") == nil)
    await first.stopService()

    let bench = try await ShareBench.start(on: network)
    func status(_ token: String, _ account: String) async -> Int {
      await bench.call("GET", "/api/v2/detail/share/" + token, account).status
    }
    func share(_ account: String, _ environment: String, _ more: JSONObject, mode: String) async -> Int {
      let body: JSONObject = [
        "envZId": .string(environment), "shareMode": .string(mode), "backendMode": "proxy", "authScheme": "none",
        "target": "x",
      ]
      return await bench.call("POST", "/api/v2/share", account, .object(body.merging(more) { $1 })).status
    }
    for token in [site, "notes"] {
      #expect(await status(token, ann) == 410)
      #expect(await status(token, bob) == 404)
    }
    // Under no way to a name does somebody else get it: neither as a share's, nor reserved, nor as a token, nor as the
    // first generation's token.
    #expect(await share(bob, away.id, docs, mode: "public") == 409)
    #expect(await bench.call("POST", "/api/v2/share/name", bob, ["name": "docs"]).status == 409)
    #expect(await share(bob, away.id, notes, mode: "private") == 409)
    let unique: JSONObject = [
      "envZId": .string(away.id), "shareMode": "public", "frontendSelection": ["public"], "backendMode": "proxy",
      "authScheme": "none",
      "reserved": true, "uniqueName": "docs",
    ]
    #expect(await bench.call("POST", "/api/v1/share", bob, .object(unique)).status == 409)
    // Its account gets it, and what that account ends itself is anybody's.
    let again = try await bench.publicShare(ann, home.id, docs)
    #expect(again.endpoints.contains { $0.contains("docs.share.localhost") })
    let account = try #require(try await bench.core.network.read { try $0.account(email: "ann@example.com") }).id
    try await bench.core.unshare(account, environment: home.id, token: again.token, reserved: nil)
    #expect(await status(again.token, ann) == 404)
    #expect(await share(bob, away.id, docs, mode: "public") == 201)
    #expect(await share(bob, away.id, notes, mode: "private") == 409)
    ahead.withLockedValue { $0 += ShareHold.duration }
    #expect(await status(site, ann) == 404)
    #expect(await share(bob, away.id, notes, mode: "private") == 201)
    try await bench.core.forgetHolds()
    #expect(try await bench.core.network.read { try $0.all(ShareHold.self).isEmpty })

    // Nobody holds any number of names.
    let many = try await bench.core.network.write(author: "test") { change -> Int in
      for number in 0..<ShareHold.limit + 10 {
        let row = Self.row("t\(number)", account: account)
        try ShareCore.remove(row, change, isTakenBack: true)
      }
      return try change.store.all(ShareHold.self).count
    }
    #expect(many == ShareHold.limit)
    // Nor does anybody come into what an account leaves that is gone.
    try await bench.core.deleteAccount(email: "ann@example.com")
    #expect(await share(bob, away.id, ["privateShareToken": "t70"], mode: "private") == 409)
    await bench.stop()
  }

  @Test(
    "the port of a share that was taken back leads to nobody else, as long as there are others; its account gets it again"
  )
  func heldPorts() async throws {
    let bench = try await ShareBench.start()
    var row = Self.row("t", account: "ann")
    (row.backendMode, row.publicPort) = (.tcpTunnel, 7001)
    let share = row
    let given = try await bench.core.network.write(author: "test") { change -> [Int?] in
      try ShareCore.remove(share, change, isTakenBack: true)
      let free = [7001, 7002]
      var given = try [
        change.store.port(of: free, .tcpTunnel, for: "bob"), change.store.port(of: free, .udpTunnel, for: "bob"),
        change.store.port(of: free, .tcpTunnel, for: "ann"), change.store.port(of: [7001], .tcpTunnel, for: "bob"),
        change.store.port(of: [], .tcpTunnel, for: "ann"),
      ]
      try change.store.release(ShareHold.place(ofPort: 7001, .tcpTunnel))
      given.append(try change.store.port(of: free, .tcpTunnel, for: "bob"))
      return given
    }
    #expect(given == [7002, 7001, 7001, 7001, nil, 7001])
    await bench.stop()
  }

  @Test(
    "a share whose token another machine of the account took meanwhile ends with an error, and leaves what that machine has alone"
  )
  func takenElsewhere() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let session = try Self.session(sharer)
    let enabled = try #require(session.environment.enabled)
    let other = try await bench.enable(enabled.token).id
    let diary = Diary()
    var options = ShareOptions(.private, backend: .web, target: "site")
    options.token = "my-site"
    let running = Self.share(session, options, .directory(try Self.site(bench, "first")), bench, diary)
    try await diary.wait(for: "shared my-site ")
    // As if it had been taken back and made by the other machine, all before this one was there again.
    try await bench.core.network.write(author: "test") { change in
      guard var row = try change.store.named(ShareRow.self, "my-site") else { return }
      try change.deleteServicePolicy(row.bindPolicyId)
      row.bindPolicyId = try change.createServicePolicy(
        name: "other-bind", type: .bind, identities: [other], service: row.serviceId, tags: [:])
      row.environmentId = other
      try change.store.put(row)
    }
    await #expect(throws: ShareError.shareElsewhere(token: "my-site")) { try await running.value }
    #expect(try await bench.core.network.read { try $0.named(ShareRow.self, "my-site")?.environmentId } == other)
    await session.close()
    await bench.stop()
  }

  private static func row(_ token: String, account: String = "a", service: String = "none") -> ShareRow {
    var row = ShareRow(
      id: token, token: token, accountId: account, environmentId: "e", mode: .public, backendMode: .proxy, target: "",
      permissionMode: .open,
      accessGrants: [], gate: ShareGate(), serviceId: service, configId: "none", bindPolicyId: "none",
      routerPolicyId: "none")
    row.leased = true
    return row
  }

  @Test(
    "that nobody offers a service tells of its host while the routers are there at which it was offered, and no router keeps it for ever"
  )
  func evidence() {
    let leases = ShareLeases()
    leases.note("t", Self.row("t", service: "s"))
    func isOverdue(_ second: Int64, at routers: Set<String> = [], isPossible: Bool = true, away: Set<String> = [])
      -> Bool
    {
      let hosting = NetworkHosting(routers: routers.isEmpty ? [:] : ["s": routers], isPossible: isPossible, away: away)
      return leases.overdue(hosting, now: Timestamp.epoch.adding(seconds: second)) == ["t"]
    }
    #expect(!isOverdue(0, at: ["honest"], away: ["third"]))
    // The controller began anew, and the router of a thief is the first that is there.
    #expect(
      !isOverdue(10, away: ["honest", "third"]) && !isOverdue(609, away: ["honest"]) && isOverdue(610, away: ["honest"])
    )
    #expect(!isOverdue(700, at: ["honest"]))
    // At its own routers nobody is; others do not matter.
    #expect(
      !isOverdue(710, away: ["thief", "third"]) && !isOverdue(799, away: ["thief"]) && isOverdue(800, away: ["thief"]))
    #expect(!isOverdue(900, isPossible: false) && !isOverdue(910) && isOverdue(1000))
    // Never seen anywhere: it may be at any router that is away.
    leases.note("t", nil)
    leases.note("t", Self.row("t", service: "s"))
    #expect(!isOverdue(2000, away: ["thief"]) && !isOverdue(2599, away: ["thief"]) && isOverdue(2600, away: ["thief"]))
    leases.note("t", nil)
    #expect(!isOverdue(9000) && leases.services.isEmpty)
  }

  @Test("one router that is connected is no evidence of hosts at another one that is away")
  func routerAway() async throws {
    let ahead = NIOLockedValueBox<Int64>(0)
    let network = try await Network.start {
      $0.clock = { Timestamp.now().adding(seconds: ahead.withLockedValue { $0 }) }
    }
    let bench = try await ShareBench.start(on: network)
    let ann = try await bench.account("ann@example.com")
    let home = try await bench.enable(ann)
    let share = try await bench.publicShare(ann, home.id, ["leased": true]).token
    func status() async -> Int { await bench.call("GET", "/api/v2/detail/share/" + share, ann).status }
    try await network.addRouter("thief")
    let honest = await network.routerID
    await network.stopRouter()
    try await Network.wait("the router is away") { try await bench.core.network.hosting([]).away == [honest] }
    await bench.core.takeBackUnserved()
    ahead.withLockedValue { $0 += ShareLeases.patienceWithRouters - 60 }
    await bench.core.takeBackUnserved()
    #expect(await status() == 200)
    ahead.withLockedValue { $0 += 60 }
    await bench.core.takeBackUnserved()
    #expect(await status() == 410)
    await bench.stop()
  }

  @Test("accesses have numbers that are not given again, and are found by them by their own account")
  func accessNumbers() async throws {
    let bench = try await ShareBench.start()
    let (ann, bob) = (try await bench.account("ann@example.com"), try await bench.account("bob@example.com"))
    let (home, away) = (try await bench.enable(ann), try await bench.enable(bob))
    let share = try await bench.privateShare(ann, home.id)
    let account = try #require(try await bench.core.network.read { try $0.account(email: "bob@example.com") }).id
    func access() async throws -> ShareAccessRow {
      let made = try await bench.core.createAccess(
        account, environment: away.id, share: share, bindAddress: "", description: "")
      return try #require(try await bench.core.network.read { try $0.named(ShareAccessRow.self, made.token) })
    }
    let (first, second) = (try await access(), try await access())
    try await bench.core.deleteAccess(account, environment: away.id, token: second.token, share: share)
    let third = try await access()
    #expect(first.number < second.number && second.number < third.number)
    #expect(
      await bench.call("GET", "/api/v2/detail/frontend/\(third.number)", bob).body["frontendToken"]?.stringValue
        == third.token)
    #expect(await bench.call("GET", "/api/v2/detail/frontend/\(third.number)", ann).status == 404)
    // An access waits for the next share of its token: that is no other account's, and one that was ended on purpose
    // was not taken back.
    let owner = try #require(try await bench.core.network.read { try $0.account(email: "ann@example.com") }).id
    try await bench.core.unshare(owner, environment: home.id, token: share, reserved: nil)
    #expect(await bench.call("GET", "/api/v2/detail/share/" + share, ann).status == 404)
    func order(_ environment: String) -> ShareOrder {
      ShareOrder(environment: environment, mode: .private, backendMode: .tcpTunnel, token: share)
    }
    await #expect(throws: ShareRefusal.self) { _ = try await bench.core.createShare(account, order(away.id)) }
    #expect(try await bench.core.createShare(owner, order(home.id)).token == share)
    await bench.stop()
  }

  @Test(
    "a share that was taken back while its machine was away comes back under its name and token; one that was deleted ends with an error"
  )
  func comesBack() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let session = try Self.session(sharer)
    let (diary, core) = (Diary(), bench.core)
    var options = ShareOptions(.public, backend: .web, target: "site")
    options.names = [.init(name: "photos")]
    let running = Self.share(session, options, .directory(try Self.site(bench, "photos")), bench, diary)
    try await Network.wait("it is shared") { !diary.all.isEmpty }
    let url = "http://photos.share.localhost:\(bench.frontendPort)"
    let row = try #require(try await core.network.read { try $0.all(ShareRow.self) }.first)
    #expect(diary.all == ["shared \(row.token) \(url)"] && row.leased == true)
    #expect(Self.page(url) == "photos")
    // As the service does it.
    try await core.network.write(author: "test") { change in
      guard let row = try change.store.named(ShareRow.self, row.token) else { return }
      try ShareCore.remove(row, change, isTakenBack: true)
    }
    try await core.refresh(row.token)
    try await diary.wait(for: "again \(row.token) \(url)")
    try await Network.wait("the page is back") { Self.page(url) == "photos" }
    #expect(try await core.network.read { try $0.all(ShareRow.self).map(\.token) } == [row.token])
    try await session.deleteShare(row.token)
    await #expect(throws: ShareError.shareDeleted(token: row.token)) { try await running.value }
    #expect(diary.all.filter { $0.hasPrefix("again") }.count == 1 && diary.all.last == "ending")

    // Stopped, it leaves nothing; and a target where nothing listens is told of, and shared all the same.
    let silent = try BackendTarget.recognise("127.0.0.1:1")
    let second = Self.share(session, ShareOptions(.private, backend: .proxy), silent, bench, diary)
    try await diary.wait(for: "silent http://127.0.0.1:1")
    #expect(try await core.network.read { try $0.all(ShareRow.self).count } == 1)
    second.cancel()
    try await second.value
    #expect(try await core.network.read { try $0.all(ShareRow.self).isEmpty })
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
      let target =
        mode == .web
        ? BackendTarget.directory(site) : try BackendTarget.recognise("127.0.0.1:\(bench.apiPort)", for: mode)
      running = Self.share(session, options, target, bench, shares)
      try await accesses.wait(for: "back", count: round + 1)
      // The access may be there a moment before the host. Of the API behind the tunnel it is a page of its own.
      try await Network.wait("the page is back") {
        Self.page(url + (mode == .web ? "" : "health"))?.contains(mode == .web ? "first" : "healthy") ?? false
      }
    }
    let rows = try await bench.core.network.read { try $0.all(ShareAccessRow.self) }
    #expect(rows.count == 1 && rows.first?.bindAddress.hasSuffix(":\(port)") == true)
    accessing.cancel()
    try await accessing.value
    #expect(try await bench.core.network.read { try $0.all(ShareAccessRow.self).isEmpty })
    running.cancel()
    try await running.value
    await session.close()
    await away.close()
    await bench.stop()
  }

  @Test(
    "an environment that was deleted at the service: shares, accesses and agents end and say so; disable forgets it, and enable comes back"
  )
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
    let account = try #require(try await bench.core.network.read { try $0.account(email: "ann@example.com") }).id
    try await bench.core.disable(account, environment: enabled.identity)
    await #expect(throws: gone) { try await sharing.value }
    await #expect(throws: gone) { try await accessing.value }
    let agent = Agent(
      session: try ShareSession(session.environment),
      configuration: try AgentConfiguration(
        StrictDocument(text: "shares:\n  - target: 8000\n", file: "agent.yml").root),
      logger: bench.network.logger)
    await #expect(throws: gone) { try await agent.run() }
    await #expect(throws: gone) { _ = try await session.create(options) }
    await session.close()

    var environment = try ShareEnvironment.load(directory: sharer.directory)
    #expect(try await ShareSession.disable(&environment) == false)
    #expect(try ShareEnvironment.load(directory: sharer.directory).enabled == nil)
    try await ShareSession.enable(
      &environment, token: enabled.token, endpoint: bench.endpoint, description: "again", host: "here")

    // Of a token that is another now nothing is forgotten, of an account that is gone everything.
    let newer = await bench.call(
      "POST", "/api/v2/regenerateAccountToken", enabled.token, ["emailAddress": "ann@example.com"])
    #expect(newer.status == 200)
    var isRefused = false
    do { try await ShareSession.disable(&environment) } catch is ShareError { isRefused = true }
    #expect(isRefused && environment.enabled != nil)
    try await bench.core.deleteAccount(email: "ann@example.com")
    #expect(try await ShareSession.disable(&environment) == false)
    await bench.stop()
  }

  @Test("how things of other machines are served, told from their text alone")
  func afar() {
    for (text, mode, target) in [
      ("8000", .proxy, "8000"), ("127.0.0.1:8000", .proxy, "127.0.0.1:8000"),
      ("localhost:3000/app", .proxy, "localhost:3000/app"),
      ("https://10.0.0.7", .proxy, "https://10.0.0.7"), ("[::1]:80", .proxy, "[::1]:80"),
      ("tcp://127.0.0.1:22", .tcpTunnel, "127.0.0.1:22"),
      ("udp://127.0.0.1:53", .udpTunnel, "127.0.0.1:53"), ("/srv/photos", .web, "/srv/photos"),
      ("./photos", .web, "./photos"),
      ("~/photos", .web, "~/photos"), ("photos", .web, "photos"), ("photos/2026", .web, "photos/2026"),
      ("/etc/site/Caddyfile", .caddy, "/etc/site/Caddyfile"),
    ] as [(String, ShareOptions.Backend, String)] {
      let serving = ShareOptions.Backend.afar(text)
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
