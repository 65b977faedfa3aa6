import Foundation
import NetworkFixture
import Testing

@Suite("The Python SDK from PyPI, unchanged", .serialized, .timeLimit(.minutes(5)))
struct PythonInteropTests {
  @Test("enrolls, hosts and dials: 300 kB come back byte for byte")
  func echo() async throws {
    let sdk = try await PythonSDK.shared.value
    let network = try await Network.start()
    let host = try await sdk.enroll(network, "host")
    let client = try await sdk.enroll(network, "client")
    try await network.service("echo")
    let server = try sdk.start("host.py", [host, "echo"])
    defer { server.stop() }
    let hosting = try #require(try await server.event("hosting"))
    #expect(hosting.ok == true, "\(hosting.error ?? "")")
    let dialler = try sdk.start("dial.py", [client, "echo"])
    defer { dialler.stop() }
    let dialed = try #require(try await dialler.event("dialed"))
    #expect(dialed.ok == true, "\(dialed.error ?? "")")
    let echoed = try await dialler.event("echoed")
    #expect(echoed?.ok == true)
    #expect(echoed?.received == 300_000)
    await network.stop()
  }
}
