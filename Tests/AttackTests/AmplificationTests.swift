import Controller
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NetworkFixture
import Swiftlet
import Testing
import Wire

@testable import EdgeRouter

/// A16 of field.md D.4: what dials in circles, or as fast as it can, is bounded by identity, ends with what began it,
/// and costs others nothing.
@Suite("Loops and floods of dials", .timeLimit(.minutes(5)))
struct AmplificationTests {
  /// Circuits that an identity may have open in these networks.
  private static let limit = 20

  private static func bench(dials: Int = IdentityLimits().dials) async throws -> OverlayBench {
    var limits = IdentityLimits()
    (limits.circuits, limits.dials) = (limit, dials)
    return OverlayBench(network: try await Network.start(identityLimits: limits))
  }

  /// Refusals that hosts got when they dialled on.
  private final class Refusals: Sendable {
    private let seen = NIOLockedValueBox<[String]>([])
    var all: [String] { seen.withLockedValue { $0 } }
    func add(_ error: any Error) {
      if case .dialRefused(_, let text, let error)? = error as? OverlayError, error?.retryHint == .tooBusy {
        seen.withLockedValue { $0.append(text) }
      } else {
        Issue.record("refused for another reason: \(error)")
      }
    }
  }

  /// Hosts a service whose handler dials another one for each of its diallers, and carries the bytes on.
  private static func forward(_ overlay: Overlay, _ service: String, to next: String, _ refusals: Refusals) async throws
    -> Task<Void, Never>
  {
    let listener = try await overlay.listen(service)
    return Task {
      await withTaskCancellationHandler {
        await withDiscardingTaskGroup { group in
          do {
            for try await stream in listener { group.addTask { await carryOn(stream, overlay, next, refusals) } }
          } catch {}
        }
      } onCancel: {
        Task { await listener.close() }
      }
    }
  }

  private static func carryOn(_ stream: OverlayStream, _ overlay: Overlay, _ next: String, _ refusals: Refusals) async {
    var onward: OverlayStream?
    do { onward = try await overlay.dial(next) } catch { refusals.add(error) }
    do {
      while let bytes = try await stream.read() { try await onward?.write(bytes) }
    } catch {}
    await onward?.close()
    await stream.close()
  }

  /// What an identity has of the router, and the connection ids of its channels that are in use.
  private static func remains(_ id: String, _ bench: OverlayBench) async throws -> (
    circuits: Int, dials: Int, slots: Int
  ) {
    guard let core = await bench.network.router?.core else { return (-1, -1, -1) }
    let handles = core.state.withLockedValue { $0.connections.of(identity: id) }
    var slots = 0
    for handle in handles { slots += try await handle.loop.submit { handle.connection?.slots.count ?? 0 }.get() }
    return (handles.first?.share.has(.circuit) ?? 0, handles.first?.share.has(.dial) ?? 0, slots)
  }

  private static func expectNothingLeft(_ bench: OverlayBench, _ hosts: [String]) async throws {
    try await Network.wait("no circuit is left at the router") { await bench.network.router?.circuitCount == 0 }
    try await Network.wait("nor at the controller") { await bench.network.controller.circuitCount == 0 }
    for host in hosts {
      // The listener alone keeps its connection id.
      try await Network.wait("nor a place or a slot of a host") { try await remains(host, bench) == (0, 0, 1) }
    }
    #expect(await bench.network.router?.core.waitingBytes.now == 0)
  }

  @Test("a service that dials itself for each of its diallers ends at its limit, and with its first stream")
  func selfDialling() async throws {
    let bench = try await Self.bench()
    for name in ["loop", "other"] { try await bench.network.service(name) }
    let host = try await bench.member("ouroboros")
    let refusals = Refusals()
    let serving = try await Self.forward(host.overlay, "loop", to: "loop", refusals)
    let echo = try await bench.echo(try await bench.overlay("echo"), "other")
    let (alice, carol) = (try await bench.overlay("alice"), try await bench.overlay("carol"))
    for _ in 0..<2 {
      let refused = refusals.all.count
      let first = try await OverlayBench.dial(alice, "loop")
      try await Network.wait("the host has all that it may have") { refusals.all.count > refused }
      #expect(await bench.network.router?.circuitCount == Self.limit + 1)
      #expect(try await Self.remains(host.id, bench).circuits == Self.limit)
      // Others dial meanwhile, this host among them.
      try await OverlayBench.roundTrip(try await carol.dial("other"), 10_000)
      let seen = refusals.all.count
      let another = try await carol.dial("loop")
      try await Network.wait("and no more") { refusals.all.count > seen }
      await another.close()
      await first.close()
      try await Self.expectNothingLeft(bench, [host.id])
    }
    #expect(
      refusals.all.allSatisfy { $0 == "this identity has \(Self.limit) circuits open at this router; close some" })
    serving.cancel()
    echo.cancel()
    await bench.stop()
  }

  @Test("two services that dial each other end at the limit of one, and with their first stream")
  func mutualDialling() async throws {
    let bench = try await Self.bench()
    for name in ["ping", "pong", "other"] { try await bench.network.service(name) }
    let (ping, pong) = (try await bench.member("ping"), try await bench.member("pong"))
    let refusals = Refusals()
    let serving = [
      try await Self.forward(ping.overlay, "ping", to: "pong", refusals),
      try await Self.forward(pong.overlay, "pong", to: "ping", refusals),
    ]
    let echo = try await bench.echo(try await bench.overlay("echo"), "other")
    let (alice, carol) = (try await bench.overlay("alice"), try await bench.overlay("carol"))
    let first = try await OverlayBench.dial(alice, "ping")
    try await Network.wait("a host has all that it may have") { !refusals.all.isEmpty }
    #expect(await bench.network.router?.circuitCount == 2 * Self.limit + 1)
    try await OverlayBench.roundTrip(try await carol.dial("other"), 10_000)
    await first.close()
    try await Self.expectNothingLeft(bench, [ping.id, pong.id])
    for task in serving + [echo] { task.cancel() }
    await bench.stop()
  }

  @Test(
    "an identity that dials as fast as it can is held to its limits while another one's dials go through, and leaves nothing"
  )
  func flood() async throws {
    let bench = try await Self.bench(dials: 8)
    for name in ["mine", "other"] { try await bench.network.service(name) }
    let (host, mallory) = (try await bench.member("host"), try await bench.member("mallory"))
    let echoes = [
      try await bench.echo(host.overlay, "mine"), try await bench.echo(try await bench.overlay("echo"), "other"),
    ]
    let carol = try await bench.overlay("carol")
    await (try await OverlayBench.dial(mallory.overlay, "mine")).close()
    await (try await OverlayBench.dial(carol, "other")).close()
    let counts = NIOLockedValueBox((opened: 0, refused: 0, most: 0))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<64 {
        group.addTask {
          for _ in 0..<20 {
            do {
              let stream = try await mallory.overlay.dial("mine")
              counts.withLockedValue { $0.opened += 1 }
              await stream.close()
            } catch OverlayError.dialRefused(_, _, let error) where error?.retryHint == .tooBusy {
              counts.withLockedValue { $0.refused += 1 }
            }
          }
        }
      }
      group.addTask {
        for _ in 0..<20 {
          try await OverlayBench.roundTrip(try await carol.dial("other"), 1000)
          let most = try await Self.remains(mallory.id, bench).circuits
          counts.withLockedValue { $0.most = max($0.most, most) }
        }
      }
      try await group.waitForAll()
    }
    let seen = counts.withLockedValue { $0 }
    #expect(seen.opened > 0 && seen.refused > 0 && seen.opened + seen.refused == 64 * 20)
    #expect(seen.most <= Self.limit + 1, "one more for the moment of a refusal")
    try await Self.expectNothingLeft(bench, [host.id])
    for task in echoes { task.cancel() }
    await bench.stop()
  }
}
