import Controller
import Foundation
import JSON
import Logging
import Model
import NIOConcurrencyHelpers
import NIOCore
import NetworkFixture
import Store
import Swiftlet
import SwiftletShare
import Testing

@testable import ShareFrontend
@testable import ShareService

@Suite(
  "A share service with a database of its own, the network behind the management API", .serialized,
  .timeLimit(.minutes(10)))
struct RemoteNetworkTests {
  /// The process ends at one of its calls: that call and all later ones go nowhere.
  private final class MortalGateway: NetworkGateway {
    struct Killed: Error {}
    enum Moment: CaseIterable {
      case before
      /// The controller did it, and nobody heard.
      case after
    }

    private let inner: ManagementGateway
    private let left: NIOLockedValueBox<Int>
    private let moment: Moment
    private let dead = NIOLockedValueBox(false)

    init(_ inner: ManagementGateway, dying moment: Moment, atChange count: Int) {
      self.inner = inner
      self.moment = moment
      left = NIOLockedValueBox(count)
    }

    var isDead: Bool { dead.withLockedValue { $0 } }

    func call(_ method: String, _ path: String, _ body: JSONValue?) async throws -> (status: Int, envelope: JSONValue) {
      try await die(at: method != "GET") { try await self.inner.call(method, path, body) }
    }

    func enroll(_ jwt: String) async throws -> IdentityFile {
      try await die(at: true) { try await self.inner.enroll(jwt) }
    }

    private func die<R: Sendable>(at counts: Bool, _ body: @Sendable () async throws -> R) async throws -> R {
      guard !isDead else { throw Killed() }
      let now =
        counts
        && left.withLockedValue { left in
          left -= 1
          return left < 0
        }
      guard now else { return try await body() }
      dead.withLockedValue { $0 = true }
      if moment == .after { _ = try await body() }
      throw Killed()
    }
  }

  private static func core(_ network: Network, _ directory: String, _ gateway: any NetworkGateway) async throws
    -> ShareCore
  {
    let configuration = ShareConfiguration(
      directory: directory, api: .init(host: "127.0.0.1", port: 0), frontend: .init(host: "127.0.0.1", port: 0),
      zone: "share.localhost")
    let store = try await Store.open(path: directory + "/share.db", now: .now())
    return try ShareCore(
      network: RemoteNetwork(store: store, gateway: gateway, logger: network.logger), configuration: configuration,
      logger: network.logger)
  }

  /// What people do, from the first start to the last farewell. Every call of it changes the network.
  private static func live(_ core: ShareCore) async throws {
    _ = try await core.open()
    _ = try await core.createAccount(email: "ann@example.com", password: "Secret-123")
    let account = try #require(try await core.network.read { try $0.account(email: "ann@example.com") }).id
    let environment = try await core.enable(account, description: "one", host: "here", address: "127.0.0.1").identityID
    let made = try await core.createShare(
      account, ShareOrder(environment: environment, mode: .private, backendMode: .tcpTunnel))
    let published = try await core.createShare(
      account, ShareOrder(environment: environment, mode: .public, backendMode: .proxy))
    let access = try await core.createAccess(
      account, environment: environment, share: made.token, bindAddress: "", description: "")
    try await core.deleteAccess(account, environment: environment, token: access.token, share: made.token)
    try await core.unshare(account, environment: environment, token: published.token, reserved: nil)
    try await core.disable(account, environment: environment)
  }

  /// Ids of entities, by kind.
  private typealias Inventory = [String: Set<String>]

  /// What the rows speak of.
  private static func known(_ core: ShareCore) async throws -> Inventory {
    try await core.network.read { reader in
      let shares = try reader.all(ShareRow.self)
      return [
        "identities": Set(
          try reader.all(ShareEnvironmentRow.self).map(\.id) + reader.all(ShareFrontendRow.self).map(\.zId)),
        "services": Set(shares.map(\.serviceId)), "configs": Set(shares.map(\.configId)),
        "service-policies": Set(
          try shares.flatMap { [$0.bindPolicyId] + [$0.dialPolicyId].compactMap { $0 } }
            + reader.all(ShareAccessRow.self).map(\.dialPolicyId)),
        "service-edge-router-policies": Set(shares.map(\.routerPolicyId)),
      ]
    }
  }

  /// What the service has made and not deleted.
  private static func existing(_ network: Network) async throws -> Inventory {
    try await network.provisioning.read { reader in
      func ids<E: Entity>(_ type: E.Type) throws -> Set<String> {
        Set(try reader.all(type).filter { $0.tags["zrok"] != nil }.map(\.id))
      }
      return [
        "identities": try ids(Identity.self), "services": try ids(EdgeService.self), "configs": try ids(Config.self),
        "service-policies": try ids(ServicePolicy.self),
        "service-edge-router-policies": try ids(ServiceEdgeRouterPolicy.self),
      ]
    }
  }

  @Test(
    "killed at every call, before and after the controller heard it: the next start leaves nothing behind and misses nothing",
    arguments: [true, false])
  func killedAtEveryStep(before: Bool) async throws {
    let network = try await Network.start()
    let management = ManagementGateway(try await ShareBench.remoteController(network))
    var step = 0
    var wasKilled = true
    while wasKilled {
      let directory = network.directory + "/share-\(step)"
      let mortal = MortalGateway(management, dying: before ? .before : .after, atChange: step)
      // The login, which changes nothing, is not counted.
      _ = try? await Self.live(Self.core(network, directory, mortal))
      wasKilled = mortal.isDead
      let next = try await Self.core(network, directory, management)
      _ = try await next.open()
      #expect(try await next.network.read { try $0.all(ShareJournalEntry.self) }.isEmpty, "step \(step)")
      let (known, existing) = (try await Self.known(next), try await Self.existing(network))
      #expect(known == existing, "step \(step)")
      // Nothing is in the way of a new beginning.
      if let account = try await next.network.read({ try $0.account(email: "ann@example.com") }) {
        try await next.deleteAccount(email: account.email)
      }
      let accounts = try await next.network.read { try $0.all(ShareAccount.self) }
      #expect(accounts.isEmpty)
      let left = try await Self.existing(network).values.reduce(0) { $0 + $1.count }
      #expect(left == 1, "step \(step): the public frontend's identity alone is left")
      try await network.provisioning.write(author: "test") { change in
        try change.deleteAll(tagged: ["zrok": "swiftlet"])
        for identity in try change.store.all(Identity.self) where identity.tags["zrok"] != nil {
          try change.deleteIdentity(identity.id)
        }
      }
      step += 1
    }
    // First start 4 calls, environment 3, shares 4 and 5, access 1 and 1, farewells 5 and 6: so many deaths were died,
    // at least.
    #expect(step > 25)
    await network.stop()
  }

  @Test(
    "a controller that is away: what is taken from someone is gone at once, and told when it answers again; nothing can be given meanwhile"
  )
  func controllerAway() async throws {
    let network = try await Network.start()
    let management = ManagementGateway(try await ShareBench.remoteController(network))
    let core = try await Self.core(network, network.directory + "/share", management)
    _ = try await core.open()
    _ = try await core.createAccount(email: "ann@example.com", password: "Secret-123")
    let account = try #require(try await core.network.read { try $0.account(email: "ann@example.com") }).id
    let environment = try await core.enable(account, description: "one", host: "here", address: "127.0.0.1").identityID
    let share = try await core.createShare(
      account, ShareOrder(environment: environment, mode: .public, backendMode: .proxy))
    #expect(core.directory.route(share.token + ".share.localhost") != nil)
    await network.stopController()
    await #expect(throws: ShareRefusal.self) {
      try await core.unshare(account, environment: environment, token: share.token, reserved: nil)
    }
    #expect(core.directory.route(share.token + ".share.localhost") == nil)
    await #expect(throws: ShareRefusal.self) {
      _ = try await core.createShare(
        account, ShareOrder(environment: environment, mode: .private, backendMode: .tcpTunnel))
    }
    try await network.startController()
    try await Network.wait("the journal is settled") {
      try? await core.network.settle()
      return try await core.network.read { try $0.all(ShareJournalEntry.self) }.isEmpty
    }
    #expect(try await Self.known(core) == Self.existing(network))
    await network.stop()
  }

  /// Answers lists of terminators and routers, and keeps what it was asked.
  private final class ListingGateway: NetworkGateway {
    let paths = NIOLockedValueBox<[String]>([])
    /// How many terminators a service has.
    private let count: @Sendable (String) -> Int

    init(_ count: @escaping @Sendable (String) -> Int) { self.count = count }

    func call(_ method: String, _ path: String, _ body: JSONValue?) async throws -> (status: Int, envelope: JSONValue) {
      paths.withLockedValue { $0.append(path) }
      guard path.hasPrefix("/terminators?") else {
        return (200, ["data": [["id": "r", "isVerified": true, "isOnline": true]]])
      }
      let all = services(in: path).flatMap { service in
        Array(repeating: ["serviceId": .string(service), "routerId": "r"] as JSONValue, count: count(service))
      }
      return (200, ["data": .array(Array(all.prefix(500)))])
    }

    func services(in path: String) -> [String] {
      let filter = path.components(separatedBy: "filter=").last?.removingPercentEncoding ?? ""
      return filter.split(separator: "\"").map(String.init).filter { $0.hasPrefix("s") && !$0.hasPrefix("service") }
    }

    func enroll(_ jwt: String) async throws -> IdentityFile { throw ShareRefusal(500) }
  }

  @Test("who hosts is asked for fifty services at a time, and one with any number of hosts does not hide the others")
  func hosting() async throws {
    let store = try await Store.inMemory()
    let gateway = ListingGateway { $0 == "s3" ? 100_000 : $0.hasSuffix("7") ? 2 : 0 }
    let network = RemoteNetwork(store: store, gateway: gateway, logger: Logger(label: "test"))
    let services = (0..<120).map { "s\($0)" }
    let hosting = try await network.hosting(services)
    #expect(
      Set(hosting.routers.keys) == Set(["s3"]).union(services.filter { $0.hasSuffix("7") }) && hosting.isPossible
        && hosting.away.isEmpty)
    let asked = gateway.paths.withLockedValue { $0 }
    // Three parts, one of them twice, and the routers.
    #expect(asked.count == 5 && asked.allSatisfy { gateway.services(in: $0).count <= RemoteNetwork.askedAtATime })
  }
}
