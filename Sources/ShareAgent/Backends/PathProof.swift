import NIOCore
import PKI
import Swiftlet

/// A nonce sent through the real data path: dialled like any connection to a share, over router and encryption, and
/// answered by whoever hosts it, without a word to the server behind. "Active" is said of a share only after its
/// answer.
enum PathProof {
  private static let mark = Array("swiftlet-proof:1:".utf8)
  static let nonceSize = 16

  static func appData(_ nonce: [UInt8]) -> [UInt8] { mark + nonce }

  /// The nonce that a dialler wants to have back; nil for everyone else.
  static func nonce(_ appData: [UInt8]?) -> [UInt8]? {
    guard let appData, appData.count == mark.count + nonceSize, appData.starts(with: mark) else { return nil }
    return Array(appData.dropFirst(mark.count))
  }

  /// Answers on a hosted channel.
  final class Responder: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let nonce: [UInt8]

    init(_ nonce: [UInt8]) { self.nonce = nonce }

    func channelActive(context: ChannelHandlerContext) {
      context.writeAndFlush(NIOAny(ByteBuffer(bytes: nonce)), promise: nil)
      context.close(mode: .output, promise: nil)
      context.fireChannelActive()
    }
  }

  /// Dials a share and waits for the nonce.
  /// - Throws: `OverlayError`, or `ProofFailure` when the answer is another one.
  static func run(_ share: String, overlay: Overlay) async throws {
    let nonce = RandomSource.bytes(nonceSize)
    let stream = try await overlay.dial(share, options: .init(timeout: .seconds(8), appData: appData(nonce)))
    let answer = await Result { try await read(stream) }
    await stream.close()
    guard try answer.get() == nonce else { throw ProofFailure() }
  }

  private static func read(_ stream: OverlayStream) async throws -> [UInt8] {
    try await withThrowingTaskGroup(of: [UInt8].self) { group in
      group.addTask {
        var all: [UInt8] = []
        while all.count < nonceSize, let bytes = try await stream.read() { all += bytes.readableBytesView }
        return all
      }
      group.addTask {
        try await Task.sleep(for: .seconds(8))
        throw ProofFailure()
      }
      defer { group.cancelAll() }
      return try await group.next() ?? []
    }
  }
}

/// The share was reached, but by something that does not answer as its host would.
struct ProofFailure: Error, CustomStringConvertible {
  var description: String { "the host did not send the nonce back" }
}

extension Result where Failure == any Error {
  fileprivate init(_ body: () async throws -> Success) async {
    do { self = .success(try await body()) } catch { self = .failure(error) }
  }
}
