import Controller
import Foundation
import NIOCore
import NetworkFixture
import Swiftlet
import Testing

/// A network with identities of our own SDK on it.
struct OverlayBench: Sendable {
  let network: Network

  static func start() async throws -> OverlayBench { OverlayBench(network: try await Network.start()) }

  func stop() async { await network.stop() }

  /// A new identity, enrolled and logged in.
  func overlay(_ name: String, roles: [String] = []) async throws -> Overlay {
    let invitation = try await network.invite(name, roles: roles)
    let identity = try await Enrollment.enroll(jwt: invitation.jwt)
    return try await Overlay(identity: identity, options: .init(logger: network.logger))
  }

  /// Hosts a service whose connections send back what they get, until the peer ends.
  func echo(_ overlay: Overlay, _ service: String) async throws -> Task<Void, Never> {
    let listener = try await overlay.listen(service)
    return Task {
      await withTaskCancellationHandler {
        await withDiscardingTaskGroup { group in
          do {
            for try await stream in listener { group.addTask { await Self.echo(stream) } }
          } catch {}
        }
      } onCancel: {
        Task { await listener.close() }
      }
    }
  }

  static func echo(_ stream: OverlayStream) async {
    do {
      while let bytes = try await stream.read() { try await stream.write(bytes) }
      try await stream.finish()
    } catch {}
    await stream.close()
  }

  /// Dials until it works: hosts and routers take a moment to find each other.
  static func dial(_ overlay: Overlay, _ service: String) async throws -> OverlayStream {
    let deadline = ContinuousClock.now + .seconds(60)
    while true {
      do { return try await overlay.dial(service) } catch {
        guard ContinuousClock.now < deadline else { throw error }
        try await Task.sleep(for: .milliseconds(50))
      }
    }
  }

  /// Bytes that show reordering as well as loss.
  static func pattern(_ count: Int, seed: UInt64 = 1) -> ByteBuffer {
    var buffer = ByteBufferAllocator().buffer(capacity: count + 8)
    var state = seed &* 0x9E37_79B9_7F4A_7C15
    while buffer.readableBytes < count {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      buffer.writeInteger(state)
    }
    buffer.moveWriterIndex(to: count)
    return buffer
  }

  /// Everything until the peer's end.
  static func readAll(_ stream: OverlayStream) async throws -> ByteBuffer {
    var all = ByteBuffer()
    while var bytes = try await stream.read() { all.writeBuffer(&bytes) }
    return all
  }

  /// Sends, ends, and checks that the same comes back.
  static func roundTrip(_ stream: OverlayStream, _ count: Int, seed: UInt64 = 1) async throws {
    let sent = pattern(count, seed: seed)
    async let writing: Void = {
      try await stream.write(sent)
      try await stream.finish()
    }()
    let got = try await readAll(stream)
    try await writing
    #expect(got == sent, "\(got.readableBytes) of \(count) bytes came back, or others")
    await stream.close()
  }
}
