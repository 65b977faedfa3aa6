import Foundation
import Testing
import Transport

@testable import Controller

@Suite("Configuration of a controller")
struct ControllerConfigurationTests {
  private static let base = """
    db: ./net/controller.db
    edge:
      api:
        address: ctrl.example.org:1280
    web:
      - name: all
        bindPoints:
          - interface: 0.0.0.0:1280
            address: ctrl.example.org:1280
        apis:
          - binding: edge-client

    """

  private func load(_ text: String) throws -> ControllerConfiguration {
    try ControllerConfiguration(StrictDocument(text: text, file: "c.yml"))
  }

  private func problem(_ text: String) -> String {
    do { _ = try load(text) } catch { return "\(error)" }
    return ""
  }

  @Test("the annotated example is valid")
  func example() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let configuration = try ControllerConfiguration.load(
      path: root.appendingPathComponent("Examples/controller.yml").path)
    #expect(configuration.listeners == [.init(host: "0.0.0.0", port: 1280)])
    #expect(configuration.advertised == .init(host: "localhost", port: 1280))
    #expect(configuration.trustDomain == "example.swiftlet")
    #expect(configuration.sessionTimeout == 1800)
    #expect(configuration.identityEnrollmentDuration == 180 * 60)
  }

  @Test("keys of the reference are read; a control listener of its own is another port")
  func keys() throws {
    let configuration = try load(
      Self.base + """
        v: 3
        events: {}
        network:
          routeTimeoutSeconds: 20
          createCircuitRetries: 3
        ctrl:
          listener: tls:0.0.0.0:6262
          options:
            advertiseAddress: tls:ctrl.example.org:6262
        """)
    #expect(configuration.databasePath == "./net/controller.db")
    #expect(configuration.dataDirectory.hasSuffix("net"))
    #expect(configuration.listeners.map(\.port) == [1280, 6262])
    #expect(configuration.routeTimeout == 20_000)
    #expect(configuration.circuitAttempts == 3)
    #expect(configuration.supplied == nil)
  }

  @Test("IPv6 addresses stand wherever an address does, and are told in tokens and URLs as others read them")
  func version6() throws {
    let text = Self.base.replacing("address: ctrl.example.org:1280\nweb", with: "address: \"[2001:db8::7]:1280\"\nweb")
      .replacing(
        "0.0.0.0:1280", with: "\"[::]:1280\"")
    let configuration = try load(text + "ctrl:\n  listener: tls:[::]:6262\ntrustedProxies: ['::1']\n")
    #expect(configuration.advertised == HostPort(host: "2001:db8::7", port: 1280))
    #expect(configuration.listeners == [HostPort(host: "::", port: 1280), HostPort(host: "::", port: 6262)])
    #expect(configuration.strangerLimits.trustedProxies == ["::1"])
  }

  @Test("an operator's certificates come whole or not at all")
  func supplied() throws {
    let identity = "identity: {cert: a, server_cert: b, key: c, ca: d}\n"
    #expect(problem(Self.base + identity).contains("signingCert"))
    let signing = Self.base.replacing("edge:\n", with: "edge:\n  enrollment:\n    signingCert: {cert: e, key: f}\n")
    #expect(problem(signing).contains("identity"))
    let configuration = try load(signing + identity)
    #expect(configuration.supplied?.serverChain == "b")
    #expect(configuration.supplied?.serverKey == "c")
    #expect(configuration.supplied?.signingKey == "f")
  }

  @Test("what is wrong is told with its line and a guess")
  func problems() {
    #expect(
      problem(Self.base + "trustdomain: x\n") == "c.yml:12: unknown key 'trustdomain'; did you mean 'trustDomain'?")
    #expect(problem(Self.base.replacing("db: ./net/controller.db\n", with: "")).contains("db is missing"))
    #expect(problem(Self.base + "cluster: {dataDir: x}\n").contains("c.yml:12: cluster: several controllers"))
    #expect(problem(Self.base.replacing("edge-client", with: "fabric")).contains("fabric is not available"))
    #expect(
      problem(Self.base.replacing("address: ctrl.example.org:1280\nweb", with: "address: nonsense\nweb")).contains(
        "expected host:port"))
    #expect(
      problem(Self.base.replacing("./net", with: "${SWIFTLET_NO_SUCH_VARIABLE}")).contains(
        "has no variable SWIFTLET_NO_SUCH_VARIABLE"))
    #expect(problem("a: [").contains("not readable as YAML"))
  }
}
