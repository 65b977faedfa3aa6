import Controller
import Foundation
import JSON
import Model
import NIOCore
import NetworkFixture
import Swiftlet
import Testing
import Tunnel

@Suite("Our SDK and tunnels with the Python SDK", .serialized, .timeLimit(.minutes(10)))
struct MixedInteropTests {
  private func overlay(_ network: Network, _ name: String) async throws -> Overlay {
    let invitation = try await network.invite(name)
    return try await Overlay(
      identity: try await IdentityFile.enroll(jwt: invitation.jwt), options: .init(logger: network.logger))
  }

  @Test("curl reaches a site that Python hosts, through our proxy")
  func curlThroughProxy() async throws {
    let sdk = try await PythonSDK.shared.value
    let network = try await Network.start()
    try await network.service("site")
    let server = try sdk.start("host.py", [try await sdk.enroll(network, "host"), "site", "--http"])
    defer { server.stop() }
    #expect(try await server.event("hosting")?.ok == true)
    let client = try await overlay(network, "client")
    let proxy = ProxyTunnel(overlay: client, service: "site", host: "127.0.0.1", port: 0, logger: network.logger)
    let port = try #require(try await proxy.start().port)
    let running = Task { try? await proxy.run() }
    let page = try await PythonSDK.run(
      "/usr/bin/env", ["curl", "--silent", "--show-error", "--max-time", "30", "http://127.0.0.1:\(port)/"])
    #expect(page.contains("hello from python"))
    running.cancel()
    await running.value
    await client.close()
    await network.stop()
  }

  @Test("Python reaches a page that our listener serves")
  func pythonToListener() async throws {
    let sdk = try await PythonSDK.shared.value
    let network = try await Network.start()
    try await network.service("demo")
    let host = try await overlay(network, "host")
    let site = DemoSite(overlay: host, service: "demo", logger: network.logger)
    let serving = Task { try? await site.run() }
    try await Network.wait("the page is hosted") {
      try await network.api("GET", "/terminators").arrayValue?.isEmpty == false
    }
    let dialler = try sdk.start("dial.py", [try await sdk.enroll(network, "client"), "demo", "--http"])
    defer { dialler.stop() }
    let answered = try #require(try await dialler.event("answered"))
    #expect(answered.status == 200)
    #expect(answered.body?.contains("The network says you are <b>client</b>") == true)
    serving.cancel()
    await serving.value
    await network.stop()
  }

  @Test("Python dials a listener of ours, half a megabyte each way", arguments: [true, false])
  func pythonToEcho(encrypted: Bool) async throws {
    let sdk = try await PythonSDK.shared.value
    let network = try await Network.start()
    try await network.service("echo", encrypted: encrypted)
    let host = try await overlay(network, "host")
    let listener = try await host.listen("echo")
    let serving = Task {
      for try await stream in listener {
        while let bytes = try await stream.read() { try await stream.write(bytes) }
        try await stream.finish()
        await stream.close()
      }
    }
    let dialler = try sdk.start("dial.py", [try await sdk.enroll(network, "client"), "echo", "--bytes", "500000"])
    defer { dialler.stop() }
    #expect(try await dialler.event("echoed")?.ok == true)
    await listener.close()
    _ = try? await serving.value
    await network.stop()
  }

  @Test("we dial an echo that Python hosts, a megabyte each way", arguments: [true, false])
  func dialPython(encrypted: Bool) async throws {
    let sdk = try await PythonSDK.shared.value
    let network = try await Network.start()
    try await network.service("echo", encrypted: encrypted)
    let server = try sdk.start("host.py", [try await sdk.enroll(network, "host"), "echo", "--echo"])
    defer { server.stop() }
    #expect(try await server.event("hosting")?.ok == true)
    let client = try await overlay(network, "client")
    let stream = try await client.dial("echo")
    let sent = ByteBuffer(bytes: (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) })
    async let writing: Void = stream.write(sent)
    var got = ByteBuffer()
    while got.readableBytes < sent.readableBytes, var bytes = try await stream.read() { got.writeBuffer(&bytes) }
    try await writing
    #expect(got == sent)
    await stream.close()
    await network.stop()
  }
}
