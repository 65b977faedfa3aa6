import SwiftletShare
import Testing
import Tunnel

@testable import ShareFrontend
@testable import ShareService

/// What an order comes to, without a store and without a network.
@Suite("What an order for a share comes to")
struct SharePlanTests {
  private static func configuration(_ configure: (inout ShareConfiguration) -> Void = { _ in }) -> ShareConfiguration {
    var configuration = ShareConfiguration(
      directory: "/nowhere", api: .init(host: "127.0.0.1", port: 0), frontend: .init(host: "127.0.0.1", port: 0),
      zone: "share.example")
    configure(&configuration)
    return configuration
  }

  private static func order(
    _ mode: ShareOptions.Mode, _ backend: ShareOptions.Backend = .proxy, _ change: (inout ShareOrder) -> Void = { _ in }
  ) -> ShareOrder {
    var order = ShareOrder(environment: "env", mode: mode, backendMode: backend)
    change(&order)
    return order
  }

  private static func status(_ order: ShareOrder, _ configuration: ShareConfiguration = SharePlanTests.configuration())
    -> Int?
  {
    do {
      _ = try SharePlan(order, configuration)
      return nil
    } catch { return (error as? ShareRefusal)?.status }
  }

  @Test("three kinds of places, in the words of both generations")
  func places() throws {
    let pool = Self.configuration { $0.udpPorts = 7000...7009 }
    for frontends in [nil, ["public"]] as [[String]?] {
      let hidden = try SharePlan(Self.order(.private, .tcpTunnel) { $0.frontends = frontends }, pool)
      #expect(hidden.place == .hidden && hidden.names.isEmpty)
      #expect(hidden.isFirstGeneration == (frontends != nil))
      let pooled = try SharePlan(Self.order(.public, .udpTunnel) { $0.frontends = frontends }, pool)
      #expect(pooled.place == .port(.udp, pool: 7000...7009) && pooled.names.isEmpty)
    }
    let selections = [("", "photos"), ("other", "photos")].map {
      ShareOrder.NameSelection(namespace: $0.0, name: $0.1)
    }
    let named = try SharePlan(Self.order(.public) { $0.names = selections }, pool)
    #expect(named.place == .names(selections) && named.names == ["public/photos", "other/photos"])
    let first = try SharePlan(Self.order(.public) { $0.frontends = ["public"] }, pool)
    #expect(first.place == .frontends(["public"]) && first.names.isEmpty)
  }

  @Test("what speaks no HTTP is public at a port of the operator's pool, where a frontend of this process has one")
  func ports() {
    let tunnel = Self.order(.public, .tcpTunnel)
    #expect(Self.status(tunnel) == 422)
    #expect(Self.status(tunnel, Self.configuration { $0.tcpPorts = 7000...7009 }) == nil)
    #expect(Self.status(tunnel, Self.configuration { $0.udpPorts = 7000...7009 }) == 422)
    let elsewhere = Self.configuration {
      $0.tcpPorts = 7000...7009
      $0.servesFrontend = false
    }
    #expect(Self.status(tunnel, elsewhere) == 422)
    let named = Self.order(.public, .tcpTunnel) { $0.names = [.init(namespace: "", name: "ssh")] }
    #expect(Self.status(named, Self.configuration { $0.tcpPorts = 7000...7009 }) == 422)
  }

  @Test("a token is made where none is wanted; the generations allow other ones")
  func tokens() throws {
    #expect(try SharePlan(Self.order(.private), Self.configuration()).token.utf8.count == 12)
    let wanted = Self.order(.private) { $0.token = "my-ssh" }
    #expect(try SharePlan(wanted, Self.configuration()).token == "my-ssh")
    #expect(Self.status(Self.order(.private) { ($0.token, $0.frontends) = ("my-ssh", []) }) == 422)
    #expect(Self.status(Self.order(.private) { $0.token = "Ssh" }) == 422)
  }

  @Test("passwords are for frontends; in clear they stand only where frontends of upstream need them")
  func passwords() throws {
    func order(_ mode: ShareOptions.Mode, _ user: String = "ann") -> ShareOrder {
      Self.order(mode) {
        $0.scheme = "basic"
        $0.basicUsers = [(user, "secret")]
      }
    }
    let plan = try SharePlan(order(.public), Self.configuration())
    #expect(plan.gate.scheme == "basic" && plan.gate.users.isEmpty)
    #expect(plan.basicUsers.map(\.username) == ["ann"] && plan.clearUsers.isEmpty)
    let upstream = Self.configuration { $0.upstreamFrontends = true }
    #expect(try SharePlan(order(.private), upstream).clearUsers.map(\.username) == ["ann"])
    #expect(Self.status(order(.private)) == 422)
    #expect(Self.status(order(.public, "a:b")) == 422)
    #expect(Self.status(Self.order(.public) { $0.scheme = "basic" }) == 422)
    #expect(Self.status(Self.order(.public) { $0.scheme = "magic" }) == 500)
  }

  @Test("a sign-in is at a provider that the service has, for visitors of public shares")
  func logins() throws {
    func order(_ mode: ShareOptions.Mode, _ change: (inout ShareOrder) -> Void = { _ in }) -> ShareOrder {
      Self.order(mode) {
        $0.scheme = "oauth"
        $0.provider = "corp"
        change(&$0)
      }
    }
    let origin = try #require(LoginConfiguration.Origin("https://login.share.example"))
    let configuration = Self.configuration {
      $0.login = LoginConfiguration(
        origin: origin,
        providers: [.init(name: "corp", kind: .github(url: "https://github.com"), clientID: "a", clientSecret: "b")])
    }
    #expect(try SharePlan(order(.public), configuration).gate.provider == "corp")
    #expect(Self.status(order(.public)) == 422)
    #expect(Self.status(order(.private), configuration) == 422)
    #expect(Self.status(order(.public) { $0.provider = "other" }, configuration) == 422)
    #expect(Self.status(order(.public) { $0.emailPatterns = ["[z-a]@example.com"] }, configuration) == 422)
    #expect(Self.status(order(.public) { $0.refreshInterval = "soon" }, configuration) == 422)
  }
}
