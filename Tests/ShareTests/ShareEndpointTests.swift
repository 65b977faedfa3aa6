import Foundation
import JSON
import Model
import NIOCore
import NIOPosix
import NetworkFixture
import Testing

@testable import ShareFrontend
@testable import ShareService
@testable import SwiftletShare

@Suite("Share services as people write them", .timeLimit(.minutes(5)))
struct ShareEndpointTests {
  private static func temporary() -> String { NSTemporaryDirectory() + "swiftlet-endpoint-\(UUID().uuidString)" }

  @Test("enable understands host:port without a scheme, and a scheme in any case")
  func understood() async throws {
    let bench = try await ShareBench.start()
    let token = try await bench.service.account(email: "ann@example.com", password: "Password-9A").token
    for (text, endpoint) in [
      ("127.0.0.1:\(bench.apiPort)", bench.endpoint),
      ("localhost:\(bench.apiPort)/", "http://localhost:\(bench.apiPort)"),
      ("HTTP://127.0.0.1:\(bench.apiPort)//", bench.endpoint),
    ] {
      var environment = try ShareEnvironment.load(directory: Self.temporary())
      try await ShareSession.enable(&environment, token: token, endpoint: text, description: "d", host: "h")
      #expect(environment.enabled?.endpoint == endpoint)
      try await ShareSession.disable(&environment)
      try? FileManager.default.removeItem(atPath: environment.directory)
    }
    let environment = try ShareEnvironment.load(directory: Self.temporary())
    let administrator = try ShareAdministrator(
      endpoint: "127.0.0.1:\(bench.apiPort)", secret: ShareBench.adminSecret, environment: environment)
    #expect(try await administrator.call("list frontends", "GET", "/frontends").arrayValue != nil)
    await bench.stop()
  }

  @Test("a service that speaks TLS is asked in TLS, and what is wrong with it is told in words")
  func encrypted() async throws {
    let bench = try await ShareBench.start { $0.api.identity = try? ShareBench.certificate() }
    var environment = try ShareEnvironment.load(directory: Self.temporary())
    for endpoint in ["127.0.0.1:\(bench.apiPort)", "http://127.0.0.1:\(bench.apiPort)"] {
      do {
        try await ShareSession.enable(&environment, token: "token", endpoint: endpoint, description: "d", host: "h")
        Issue.record("it is enabled")
      } catch {
        let told = "\(error)"
        #expect(!told.contains("OPENSSL") && !told.contains(".cc:") && !told.contains("NIOSSL"), "\(told)")
        if endpoint.hasPrefix("127") { #expect(told.contains("https://127.0.0.1:\(bench.apiPort)"), "\(told)") }
      }
    }
    await bench.stop()
  }

  @Test("only what cannot lead to another machine counts as this one")
  func loopback() {
    for host in ["localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "::1"] {
      #expect(ShareEndpoint.isLoopback(host), "\(host)")
    }
    for host in ["127.example.com", "share.localhost", "localhost.example.com", "128.0.0.1", "::2"] {
      #expect(!ShareEndpoint.isLoopback(host), "\(host)")
    }
  }

  @Test("plain HTTP on another machine has to be written, and what is no endpoint is called that")
  func elsewhere() async throws {
    let addresses = try System.enumerateDevices().compactMap { $0.address?.ipAddress }
    if let outside = addresses.first(where: { !$0.hasPrefix("127.") && !$0.contains(":") }) {
      let bench = try await ShareBench.start { $0.api.host = "0.0.0.0" }
      let place = "\(outside):\(bench.apiPort)"
      await #expect(throws: ShareError.plainEndpoint(place)) { try await ShareEndpoint.complete(place) }
      #expect("\(ShareError.plainEndpoint(place))".hasSuffix("if that may be, write http://\(place)"))
      await bench.stop()
    }
    #expect(try await ShareEndpoint.complete("https://share.example.com/zrok") == "https://share.example.com/zrok")
    await #expect(throws: ShareError.badEndpoint("a b")) { try await ShareEndpoint.complete("a b") }
    #expect(throws: ShareError.badEndpoint("ftp://a")) { try ShareClient(endpoint: "ftp://a", token: "") }
  }
}
