import Controller
import EdgeRouter
import Foundation
import JSON
import Model
import NIOCore
import NetworkFixture
import Swiftlet
import Testing

@Suite("Our SDK through a controller and a router", .timeLimit(.minutes(10)))
struct OverlayTests {
  @Test("enrolls, hosts, dials: 64 MiB go there and back byte for byte", arguments: [true, false])
  func large(encrypted: Bool) async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("echo", encrypted: encrypted)
    let host = try await bench.overlay("host")
    let client = try await bench.overlay("client")
    let serving = try await bench.echo(host, "echo")
    try await OverlayBench.roundTrip(try await OverlayBench.dial(client, "echo"), 64 << 20)
    serving.cancel()
    await client.close()
    await host.close()
    await bench.stop()
  }

  @Test("carries a hundred circuits at once")
  func hundred() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("echo")
    let host = try await bench.overlay("host")
    let client = try await bench.overlay("client")
    let serving = try await bench.echo(host, "echo")
    _ = try await OverlayBench.dial(client, "echo").close()
    try await withThrowingDiscardingTaskGroup { group in
      for index in 0..<100 {
        group.addTask {
          try await OverlayBench.roundTrip(try await client.dial("echo"), 100_000 + index, seed: UInt64(index + 1))
        }
      }
    }
    try await Network.wait("all circuits are gone") { await bench.network.router?.circuitCount == 0 }
    try await Network.wait("the controller forgot them too") { await bench.network.controller.circuitCount == 0 }
    serving.cancel()
    await bench.stop()
  }

  @Test("half close goes each way on its own")
  func halfClose() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("svc")
    let host = try await bench.overlay("host")
    let client = try await bench.overlay("client")
    let listener = try await host.listen("svc")
    let serving = Task {
      for try await stream in listener {
        // Speaks first and ends its own direction, then still listens.
        try await stream.write(ByteBuffer(string: "hello"))
        try await stream.finish()
        return try await OverlayBench.readAll(stream)
      }
      return ByteBuffer()
    }
    let stream = try await OverlayBench.dial(client, "svc")
    #expect(try await OverlayBench.readAll(stream) == ByteBuffer(string: "hello"))
    // The host's direction has ended; ours still works.
    try await stream.write(ByteBuffer(string: "still here"))
    try await stream.finish()
    #expect(try await serving.value == ByteBuffer(string: "still here"))
    await stream.close()
    await bench.stop()
  }

  @Test("a reader that pauses holds its writer back and loses nothing")
  func backPressure() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("svc")
    let host = try await bench.overlay("host")
    let client = try await bench.overlay("client")
    let listener = try await host.listen("svc")
    let sent = OverlayBench.pattern(48 << 20)
    let serving = Task {
      for try await stream in listener {
        try await stream.write(sent)
        try await stream.finish()
        return
      }
    }
    let stream = try await OverlayBench.dial(client, "svc")
    var got = try #require(try await stream.read())
    try await Task.sleep(for: .milliseconds(500))
    while var bytes = try await stream.read() { got.writeBuffer(&bytes) }
    #expect(got == sent)
    try await serving.value
    await stream.close()
    await bench.stop()
  }

  // MARK: Refusals

  @Test("refusals say what is missing")
  func refusals() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("dark", dial: ["#staff"], bind: ["#servers"])
    let stranger = try await bench.overlay("stranger")
    await #expect(throws: OverlayError.self) { _ = try await stranger.dial("dark") }
    await #expect(throws: OverlayError.self) { _ = try await stranger.dial("no such service") }
    let staff = try await bench.overlay("staff", roles: ["staff"])
    do {
      _ = try await staff.dial("dark")
      Issue.record("dialled a service that nobody hosts")
    } catch let error as OverlayError {
      guard case .dialRefused(let service, let text, _) = error else { throw error }
      #expect(service == "dark")
      #expect(text.contains("no terminators"))
    }
    do {
      _ = try await staff.listen("dark")
      Issue.record("hosts without a policy")
    } catch let error as OverlayError {
      guard case .notPermitted(_, let action) = error else { throw error }
      #expect(action == "Bind")
    }
    await bench.stop()
  }

  @Test("bad enrollment tokens are refused before anything is written")
  func badTokens() async throws {
    let bench = try await OverlayBench.start()
    let invitation = try await bench.network.invite("a")
    _ = try await IdentityFile.enroll(jwt: invitation.jwt)
    await #expect(throws: (any Error).self, "used twice") { _ = try await IdentityFile.enroll(jwt: invitation.jwt) }
    let other = try await OverlayBench.start()
    let foreign = try await other.network.invite("b")
    // The token of another network, told to be of this one.
    let parts = foreign.jwt.split(separator: ".").map(String.init)
    let mine = try await bench.network.invite("c").jwt.split(separator: ".").map(String.init)
    await #expect(throws: (any Error).self, "foreign signature") {
      _ = try await IdentityFile.enroll(jwt: [mine[0], mine[1], parts[2]].joined(separator: "."))
    }
    for garbage in ["", "a.b.c", "....", String(repeating: "x", count: 100_000)] {
      await #expect(throws: (any Error).self) { _ = try await IdentityFile.enroll(jwt: garbage) }
    }
    await other.stop()
    await bench.stop()
  }

  // MARK: Change and failure

  @Test("a circuit ends when the dial policy goes, and the next dial is refused")
  func policyRemoved() async throws {
    let bench = try await OverlayBench.start()
    let ids = try await bench.network.service("echo")
    let host = try await bench.overlay("host")
    let client = try await bench.overlay("client")
    let serving = try await bench.echo(host, "echo")
    let stream = try await OverlayBench.dial(client, "echo")
    try await stream.write(ByteBuffer(string: "x"))
    _ = try await stream.read()
    try await bench.network.api("DELETE", "/service-policies/\(ids.dialPolicy)")
    // The end, orderly or not, comes by itself.
    do { while try await stream.read() != nil {} } catch {}
    await #expect(throws: (any Error).self) { _ = try await client.dial("echo") }
    serving.cancel()
    await bench.stop()
  }

  @Test(
    "circuits in both directions end when the host's bind policy or identity goes", arguments: ["policy", "identity"])
  func hostLosesItsRight(what: String) async throws {
    let bench = try await OverlayBench.start()
    let ids = try await bench.network.service("echo", bind: ["#hosts"])
    let invitation = try await bench.network.invite("host", roles: ["hosts"])
    let host = try await Overlay(
      identity: try await IdentityFile.enroll(jwt: invitation.jwt), options: .init(logger: bench.network.logger))
    let client = try await bench.overlay("client")
    let serving = try await bench.echo(host, "echo")
    let stream = try await OverlayBench.dial(client, "echo")
    try await stream.write(ByteBuffer(string: "x"))
    _ = try await stream.read()
    try await bench.network.api(
      "DELETE", what == "policy" ? "/service-policies/\(ids.bindPolicy)" : "/identities/\(invitation.id)")
    do { while try await stream.read() != nil {} } catch {}
    try await Network.wait("no terminator is left") {
      try await bench.network.api("GET", "/services/\(ids.service)/terminators").arrayValue?.isEmpty == true
    }
    await #expect(throws: (any Error).self) { _ = try await client.dial("echo") }
    serving.cancel()
    await bench.stop()
  }

  @Test("an API session that an administrator ends takes its circuits along; the SDK logs in again")
  func sessionEnded() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("echo")
    let host = try await bench.overlay("host")
    let invitation = try await bench.network.invite("client")
    let client = try await Overlay(
      identity: try await IdentityFile.enroll(jwt: invitation.jwt), options: .init(logger: bench.network.logger))
    let serving = try await bench.echo(host, "echo")
    let stream = try await OverlayBench.dial(client, "echo")
    let sessions = try await bench.network.api("GET", "/api-sessions?limit=100")
    for session in sessions.arrayValue ?? [] where session["identityId"]?.stringValue == invitation.id {
      try await bench.network.api("DELETE", "/api-sessions/\(session["id"]?.stringValue ?? "")")
    }
    do { while try await stream.read() != nil {} } catch {}
    try await OverlayBench.roundTrip(try await OverlayBench.dial(client, "echo"), 100_000)
    serving.cancel()
    await bench.stop()
  }

  @Test("hosts register again by themselves after the router restarted")
  func routerRestarted() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("echo")
    let host = try await bench.overlay("host")
    let client = try await bench.overlay("client")
    let serving = try await bench.echo(host, "echo")
    let stream = try await OverlayBench.dial(client, "echo")
    await bench.network.stopRouter()
    do { while try await stream.read() != nil {} } catch {}
    try await bench.network.startRouter()
    try await OverlayBench.roundTrip(try await OverlayBench.dial(client, "echo"), 100_000)
    serving.cancel()
    await bench.stop()
  }

  @Test("circuits in flight keep running while the controller is away; afterwards all is as before")
  func controllerRestarted() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("echo")
    let host = try await bench.overlay("host")
    let client = try await bench.overlay("client")
    let serving = try await bench.echo(host, "echo")
    let stream = try await OverlayBench.dial(client, "echo")
    await bench.network.stopController()
    try await stream.write(ByteBuffer(string: "alone"))
    #expect(try await stream.read() == ByteBuffer(string: "alone"))
    try await bench.network.startController()
    let id = await bench.network.routerID
    try await Network.wait("the router is back") { await bench.network.controller.connectedRouters.contains(id) }
    try await OverlayBench.roundTrip(try await OverlayBench.dial(client, "echo"), 100_000)
    try await OverlayBench.roundTrip(stream, 1 << 20)
    serving.cancel()
    await bench.stop()
  }

  @Test("the server certificate is renewed between token and enrollment, and during a live dial")
  func renewal() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("echo")
    let host = try await bench.overlay("host")
    let client = try await bench.overlay("client")
    let serving = try await bench.echo(host, "echo")
    let invitation = try await bench.network.invite("late")
    let stream = try await OverlayBench.dial(client, "echo")
    try await bench.network.controller.renewCertificates()
    let late = try await Overlay(
      identity: try await IdentityFile.enroll(jwt: invitation.jwt), options: .init(logger: bench.network.logger))
    try await OverlayBench.roundTrip(try await OverlayBench.dial(late, "echo"), 100_000)
    try await OverlayBench.roundTrip(stream, 1 << 20)
    serving.cancel()
    await bench.stop()
  }

  @Test("changes of services come as a sequence: first what there is, then each change, and the end with the overlay")
  func serviceChanges() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("first")
    let invitation = try await bench.network.invite("reader")
    let reader = try await Overlay(
      identity: try await IdentityFile.enroll(jwt: invitation.jwt),
      options: .init(logger: bench.network.logger, pollInterval: .milliseconds(100)))
    var changes = await reader.serviceChanges().makeAsyncIterator()
    #expect(await changes.next()?.map(\.name) == ["first"])
    let ids = try await bench.network.service("second")
    var seen: [Overlay.ServiceInfo] = []
    // It may be told of the service before the policies of it.
    while !seen.contains(where: { $0.name == "second" && $0.canDial && $0.canHost }) {
      seen = try #require(await changes.next())
    }
    try await bench.network.api("DELETE", "/service-policies/\(ids.bindPolicy)")
    while seen.contains(where: { $0.name == "second" && $0.canHost }) { seen = try #require(await changes.next()) }
    #expect(seen.contains { $0.name == "second" && $0.canDial })
    await reader.close()
    while await changes.next() != nil {}
    await bench.stop()
  }

  @Test("a dialler or a host that goes away ends the other side's stream")
  func peersLeave() async throws {
    let bench = try await OverlayBench.start()
    try await bench.network.service("svc")
    let host = try await bench.overlay("host")
    let client = try await bench.overlay("client")
    let listener = try await host.listen("svc")
    var accepted = listener.makeAsyncIterator()
    let first = try await OverlayBench.dial(client, "svc")
    let firstHosted = try #require(try await accepted.next())
    await first.close()
    do { while try await firstHosted.read() != nil {} } catch {}
    let second = try await client.dial("svc")
    _ = try #require(try await accepted.next())
    await host.close()
    do { while try await second.read() != nil {} } catch {}
    await bench.stop()
  }
}
