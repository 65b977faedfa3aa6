import EdgeRouter
import Foundation
import NIOCore
import Testing
import Transport

@Suite("Configuration of a router")
struct RouterConfigurationTests {
  private func load(_ text: String) throws -> RouterConfiguration {
    let path = NSTemporaryDirectory() + "router-\(UUID().uuidString).yml"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return try RouterConfiguration.load(path: path)
  }

  private func problem(_ text: String) -> String? {
    do { _ = try load(text) } catch { return "\(error)" }
    return nil
  }

  private static let base = """
    v: 3
    identity:
      cert: a
      server_cert: b
      key: c
      ca: d
    ctrl:
      endpoint: tls:localhost:1280
    listeners:
      - binding: edge
        address: tls:0.0.0.0:3022
        options:
          advertise: example.org:3022

    """

  @Test("how long others wait for a reader, and how much waits, can be set")
  func circuits() throws {
    let usual = try load(Self.base)
    #expect(usual.circuitQueue == 1 << 20 && usual.circuitGrace == .seconds(30))
    func with(_ options: String) -> String {
      Self.base.replacing("advertise: example.org:3022\n", with: "advertise: example.org:3022\n" + options)
    }
    let set = try load(with("      circuitQueue: 262144\n      circuitGrace: 1m\n"))
    #expect(set.circuitQueue == 262_144 && set.circuitGrace == .seconds(60))
    #expect(problem(with("      circuitGrace: 10ms\n"))?.contains("circuitGrace: at least 1s") == true)
    #expect(problem(with("      circuitQueue: 10\n"))?.contains("circuitQueue") == true)
  }

  @Test("the keys of OpenZiti are read")
  func complete() throws {
    let configuration = try load(
      Self.base + """
        link:
          dialers:
            - binding: transport
        edge:
          heartbeatIntervalSeconds: 30
          csr:
            organization: Test
            sans:
              dns: [localhost]
              ip: 127.0.0.1
        """)
    #expect(configuration.controllers == [PeerAddress(host: "localhost", port: 1280)])
    #expect(
      configuration.listener.port == 3022
        && configuration.listener.advertised == PeerAddress(host: "example.org", port: 3022))
    #expect(configuration.request.names == ["localhost", "127.0.0.1", "example.org"])
    #expect(configuration.identity.serverCertificate == "b")
  }

  @Test("IPv6 addresses are read and told in brackets, and certified without")
  func version6() throws {
    let text = Self.base.replacing("tls:localhost:1280", with: "tls:[::1]:1280").replacing(
      "advertise: example.org:3022", with: "advertise: \"[2001:db8::1]:3022\"")
    let configuration = try load(text)
    #expect(configuration.controllers.map(\.description) == ["tls:[::1]:1280"])
    #expect(configuration.listener.advertised.url == "tls://[2001:db8::1]:3022")
    #expect(configuration.request.names.contains("2001:db8::1"))
  }

  @Test("a misspelt key is an error with its line and a guess")
  func misspelt() {
    #expect(
      problem(Self.base + "edges:\n  csr: {}\n")?.hasSuffix(":14: unknown key 'edges'; did you mean 'edge'?") == true)
    let nested = problem(Self.base.replacing("advertise:", with: "advertize:"))
    #expect(nested?.contains("listeners[0].options.advertise is missing") == true)
  }

  @Test("values are checked with their line")
  func values() {
    #expect(
      problem(Self.base.replacing("tls:localhost:1280", with: "localhost"))?.contains(":8: ctrl.endpoint:") == true)
    #expect(
      problem(Self.base.replacing("binding: edge", with: "binding: tunnel"))?.contains(
        "only the binding edge is available") == true)
    #expect(
      problem(Self.base + "link:\n  listeners:\n    - bind: x\n")?.contains("links between routers are not available")
        == true)
    #expect(problem("identity: 3")?.contains(":1: identity: expected keys with values below it") == true)
    #expect(problem("a: [")?.contains("not readable as YAML") == true)
  }
}

@Suite("Strict reading of YAML")
struct StrictDocumentTests {
  @Test("typed values")
  func typed() throws {
    let document = try StrictDocument(text: "a: 1m30s\nb: yes\nc: 1_000\nd: [x, y]\ne: z\nf:\n", file: "t")
    #expect(try document.root.duration("a")?.nanoseconds == 90_000_000_000)
    #expect(try document.root.bool("b") == true)
    #expect(try document.root.int("c") == 1000)
    #expect(try document.root.list("d") == ["x", "y"])
    #expect(try document.root.list("e") == ["z"])
    #expect(try document.root.string("f") == nil)
    try document.finish()
    #expect(throws: ConfigurationError.self) { try document.root.int("a") }
    #expect(throws: ConfigurationError.self) { try document.root.duration("e") }
    #expect(throws: ConfigurationError.self) { try document.root.int("c", in: 0...10) }
  }

  @Test("all unread keys are reported at once")
  func unread() throws {
    let document = try StrictDocument(text: "one: 1\nsection:\n  twoo: 2\n  other: 3\n", file: "t")
    let section = try document.root.section("section")
    _ = try section?.string("two")
    do throws(ConfigurationError) {
      try document.finish()
      Issue.record("nothing reported")
    } catch {
      #expect(error.problems.map(\.line) == [1, 3, 4])
      #expect(error.problems[1].text == "unknown key 'twoo' in section; did you mean 'two'?")
    }
  }
}
