import Controller
import JSON
import Model
public import NIOCore
public import Swiftlet

/// A network with identities of our own SDK on it.
public struct OverlayBench: Sendable {
  public let network: Network

  public init(network: Network) { self.network = network }

  public static func start() async throws -> OverlayBench { OverlayBench(network: try await Network.start()) }

  public func stop() async { await network.stop() }

  /// A new identity, enrolled and logged in.
  public func overlay(_ name: String, roles: [String] = []) async throws -> Overlay {
    try await member(name, roles: roles).overlay
  }

  /// A new identity, enrolled and logged in, with its id.
  /// - Parameter authPolicy: id of the auth policy that it logs in by; nil is the default one.
  public func member(_ name: String, roles: [String] = [], authPolicy: String? = nil) async throws -> (
    id: String, overlay: Overlay
  ) {
    let invitation = try await network.invite(name, roles: roles)
    if let authPolicy {
      try await network.api("PATCH", "/identities/\(invitation.id)", ["authPolicyId": .string(authPolicy)])
    }
    let identity = try await IdentityFile.enroll(jwt: invitation.jwt)
    return (invitation.id, try await Overlay(identity: identity, options: .init(logger: network.logger)))
  }

  /// Hosts a service whose connections send back what they get, until the peer ends.
  public func echo(_ overlay: Overlay, _ service: String) async throws -> Task<Void, Never> {
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

  public static func echo(_ stream: OverlayStream) async {
    do {
      while let bytes = try await stream.read() { try await stream.write(bytes) }
      try await stream.finish()
    } catch {}
    await stream.close()
  }

  /// Dials until it works: hosts and routers take a moment to find each other.
  public static func dial(_ overlay: Overlay, _ service: String) async throws -> OverlayStream {
    let deadline = ContinuousClock.now + .seconds(60)
    while true {
      do { return try await overlay.dial(service) } catch {
        guard ContinuousClock.now < deadline else { throw error }
        try await Task.sleep(for: .milliseconds(50))
      }
    }
  }

  /// Bytes that show reordering as well as loss.
  public static func pattern(_ count: Int, seed: UInt64 = 1) -> ByteBuffer {
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
  public static func readAll(_ stream: OverlayStream) async throws -> ByteBuffer {
    var all = ByteBuffer()
    while var bytes = try await stream.read() { all.writeBuffer(&bytes) }
    return all
  }

  /// Sends, ends, and checks that the same comes back.
  public static func roundTrip(_ stream: OverlayStream, _ count: Int, seed: UInt64 = 1) async throws {
    let sent = pattern(count, seed: seed)
    async let writing: Void = {
      try await stream.write(sent)
      try await stream.finish()
    }()
    let got = try await readAll(stream)
    try await writing
    await stream.close()
    guard got == sent else { throw Network.Failure("\(got.readableBytes) of \(count) bytes came back, or others") }
  }
}
