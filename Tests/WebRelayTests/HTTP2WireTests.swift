import Foundation
import NIOCore
import NIOEmbedded
import NIOPosix
import Testing

@testable import WebRelay

@Suite("HTTP/2 below its library", .timeLimit(.minutes(5)))
struct HTTP2WireTests {
  private struct Frame: Equatable {
    var kind: UInt8
    var flags: UInt8
    var stream: UInt32 = 1
    var payload: [UInt8]

    var bytes: [UInt8] {
      var bytes = ByteBuffer()
      bytes.writeInteger(UInt32(payload.count) << 8 | UInt32(kind))
      bytes.writeInteger(flags)
      bytes.writeInteger(stream)
      bytes.writeBytes(payload)
      return Array(bytes.readableBytesView)
    }

    static func all(_ bytes: [UInt8]) -> [Frame] {
      var frames: [Frame] = []
      var at = 0
      while at + 9 <= bytes.count {
        let length = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
        let stream = bytes[(at + 5)..<(at + 9)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        frames.append(
          Frame(
            kind: bytes[at + 3], flags: bytes[at + 4], stream: stream,
            payload: Array(bytes[(at + 9)..<(at + 9 + length)])))
        at += 9 + length
      }
      return frames
    }
  }

  private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
  /// SETTINGS_MAX_FRAME_SIZE of 4 MiB, as the handler is to read it.
  private static let believed: [UInt8] = [0, 5, 0, 0x40, 0, 0]

  private func inbound(_ pieces: [[UInt8]]) throws -> [UInt8] {
    let channel = EmbeddedChannel()
    try channel.pipeline.syncOperations.addHandler(HTTP2Wire())
    var read: [UInt8] = []
    for piece in pieces {
      try channel.writeInbound(ByteBuffer(bytes: piece))
      while let bytes = try channel.readInbound(as: ByteBuffer.self) { read += Array(bytes.readableBytesView) }
    }
    return read
  }

  private func outbound(_ pieces: [[UInt8]], frameSize: UInt32? = nil) throws -> [UInt8] {
    let channel = EmbeddedChannel()
    try channel.pipeline.syncOperations.addHandler(HTTP2Wire())
    if let frameSize {
      let setting = [
        UInt8(0), 5, UInt8(frameSize >> 24), UInt8(frameSize >> 16 & 0xFF), UInt8(frameSize >> 8 & 0xFF),
        UInt8(frameSize & 0xFF),
      ]
      try channel.writeInbound(
        ByteBuffer(bytes: Self.preface + Frame(kind: 4, flags: 0, stream: 0, payload: setting).bytes))
    }
    var written: [UInt8] = []
    for piece in pieces { try channel.writeOutbound(ByteBuffer(bytes: piece)) }
    while let bytes = try channel.readOutbound(as: ByteBuffer.self) { written += Array(bytes.readableBytesView) }
    return written
  }

  @Test(
    "the handler reads that the peer takes large frames, whatever pieces its SETTINGS come in; all else is as it came")
  func settings() throws {
    let ping = Frame(kind: 6, flags: 0, stream: 0, payload: [1, 2, 3, 4, 5, 6, 7, 8])
    let window: [UInt8] = [0, 4, 0, 1, 0, 0]
    let cases: [([UInt8], [UInt8])] = [
      ([], Self.believed), (window, window + Self.believed), ([0, 5, 0, 0, 0x40, 0], Self.believed),
      ([0, 5, 0, 0x80, 0, 0], [0, 5, 0, 0x80, 0, 0]),
    ]
    for (said, read) in cases {
      let first = Frame(kind: 4, flags: 0, stream: 0, payload: said)
      let acknowledgement = Frame(kind: 4, flags: 1, stream: 0, payload: [])
      let again = Frame(kind: 4, flags: 0, stream: 0, payload: window)
      let came = Self.preface + first.bytes + ping.bytes + acknowledgement.bytes + again.bytes
      let expected =
        Self.preface + Frame(kind: 4, flags: 0, stream: 0, payload: read).bytes + ping.bytes + acknowledgement.bytes
        + again.bytes
      #expect(try inbound([came]) == expected)
      #expect(try inbound(came.map { [$0] }) == expected)
    }
  }

  @Test(
    "a head larger than the peer's frames is cut into HEADERS and CONTINUATION", arguments: [nil, 20_000] as [UInt32?])
  func heads(_ frameSize: UInt32?) throws {
    let most = Int(frameSize ?? 16_384)
    let payload = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 * 31 >> 3) }
    let head = Frame(kind: 1, flags: 0x5, stream: 3, payload: payload)
    let behind = Frame(kind: 0, flags: 0, stream: 5, payload: [1, 2, 3])
    let frames = Frame.all(try outbound([head.bytes, behind.bytes], frameSize: frameSize))
    #expect(frames.map(\.kind) == [1] + Array(repeating: 9, count: (50_000 - 1) / most) + [0])
    #expect(
      frames.first?.flags == 0x1 && frames.dropFirst().dropLast(2).allSatisfy { $0.flags == 0 }
        && frames.dropLast().last?.flags == 0x4)
    #expect(frames.dropLast().allSatisfy { $0.stream == 3 && $0.payload.count <= most } && frames.last == behind)
    #expect(frames.dropLast().flatMap(\.payload) == payload)
    let small = Frame(kind: 1, flags: 0x4, payload: Array(payload.prefix(most)))
    #expect(try outbound([small.bytes], frameSize: frameSize) == small.bytes)
  }

  @Test("a body larger than the peer's frames is cut, however it is written, and ends with its last piece")
  func bodies() throws {
    let payload = (0..<40_000).map { UInt8(truncatingIfNeeded: $0 * 31 >> 3) }
    let bytes = Frame(kind: 0, flags: 0x1, payload: payload).bytes
    let head = Array(bytes.prefix(9))
    for pieces in [[bytes], [head, Array(bytes[9...])], [head, Array(bytes[9..<20_000]), Array(bytes[20_000...])]] {
      let frames = Frame.all(try outbound(pieces))
      #expect(
        frames.map(\.kind) == [0, 0, 0] && frames.map(\.flags) == [0, 0, 1] && frames.flatMap(\.payload) == payload)
    }
  }

  @Test(
    "answers with more fields than a frame takes, and with octets that are not UTF-8, reach a browser's protocol and leave its connection whole"
  )
  func relayed() async throws {
    let fields = (0..<40).map { "X-\($0): \(String(repeating: "y", count: 3000))\r\n" }.joined()
    let answer = MessageParserTests.octets("HTTP/1.1 200 OK\r\n\(fields)X-Name: caf^E9\r\nContent-Length: 2\r\n\r\nok")
    let bench = try await RelayBench.start(raw: true) { _ in Answering(answer) }
    let target = Upstream(
      key: "h2", connect: try TCPConnector.make(host: "127.0.0.1", port: bench.upstream.localAddress?.port ?? 0))
    let pool = UpstreamPool()
    let server = try await ServerBootstrap(group: RelayBench.group)
      .childChannelInitializer { channel in
        HTTPRelay.configureHTTP2(
          channel, remoteAddress: "192.0.2.2", isTLS: true, pool: pool,
          judge: { head, info in info.loop.makeSucceededFuture(.relay(upstream: target, head: head)) })
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let text = try HTTP2Tests.curl("--include", "http://127.0.0.1:\(server.localAddress?.port ?? 0)/")
    #expect(text.hasPrefix("HTTP/2 200") && text.hasSuffix("ok") && text.contains("x-name: caf\u{E9}"))
    #expect(text.components(separatedBy: "\r\nx-").count == 42)
    try await server.close()
    try await bench.stop()
  }
}

/// Says the same to whatever comes.
private final class Answering: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  private let answer: [UInt8]

  init(_ answer: [UInt8]) { self.answer = answer }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    context.writeAndFlush(NIOAny(ByteBuffer(bytes: answer)), promise: nil)
  }
}
