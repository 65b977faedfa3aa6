import NIOCore
import NIOEmbedded
import Testing
import Transport
import Wire

@Suite("Underlay: frames out of reads of any size")
struct UnderlayTests {
  /// Collects whole frames.
  final class Collector: FrameReceiver {
    var messages: [Message] = []
    var bursts = 0
    var isClosed = false
    var error: (any Error)?

    func receive(_ frames: inout ByteBuffer, from underlay: Underlay) {
      bursts += 1
      while let header = try? frames.withUnsafeReadableBytes({ try FrameHeader.parse($0, limits: underlay.limits) }),
        let frame = frames.readSlice(length: header.frameLength)
      {
        if let message = try? frame.withUnsafeReadableBytes({ try Message.parse($0, limits: underlay.limits) }) {
          messages.append(message)
        }
      }
    }
    func readBurstEnded(on underlay: Underlay) {}
    func writabilityChanged(on underlay: Underlay) {}
    func closed(_ underlay: Underlay, error: (any Error)?) {
      isClosed = true
      self.error = error
    }
  }

  private func make(limits: FrameLimits = .peer) throws -> (EmbeddedChannel, Collector) {
    let channel = EmbeddedChannel()
    let collector = Collector()
    let underlay = Underlay(channel: channel, peer: .anonymous(), limits: limits, receiver: collector)
    try channel.pipeline.syncOperations.addHandler(underlay)
    return (channel, collector)
  }

  private func frames(_ sizes: [Int]) -> (bytes: [UInt8], messages: [Message]) {
    var bytes: [UInt8] = []
    var messages: [Message] = []
    for (index, size) in sizes.enumerated() {
      var message = Message(
        contentType: .data, headers: Headers(), body: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ index) })
      message.sequence = Int32(index)
      message.headers.set(.connID, UInt32(index))
      messages.append(message)
      bytes += message.encoded()
    }
    return (bytes, messages)
  }

  @Test("every split of a stream gives the same frames", arguments: [1, 2, 3, 7, 19, 20, 21, 64, 1000, 4096, 100_000])
  func splits(step: Int) throws {
    let (bytes, expected) = frames([0, 1, 5, 100, 0, 3000, 17, 70_000, 2])
    let (channel, collector) = try make()
    var offset = 0
    while offset < bytes.count {
      let end = min(bytes.count, offset + step)
      try channel.writeInbound(ByteBuffer(bytes: bytes[offset..<end]))
      offset = end
    }
    #expect(collector.messages == expected)
    #expect(!collector.isClosed)
    _ = try? channel.finish()
  }

  @Test("frames that arrive together are one burst")
  func oneBurst() throws {
    let (bytes, expected) = frames([10, 20, 30])
    let (channel, collector) = try make()
    try channel.writeInbound(ByteBuffer(bytes: bytes))
    #expect(collector.bursts == 1)
    #expect(collector.messages == expected)
    _ = try? channel.finish()
  }

  @Test("a frame beyond the limit closes the underlay with the reason")
  func limit() throws {
    let (channel, collector) = try make(limits: .stranger)
    let header: [UInt8] = [3, 6, 9, 0x0c, 0, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0]
    _ = try? channel.writeInbound(ByteBuffer(bytes: header))
    #expect(collector.isClosed)
    #expect(collector.error is WireError)
    _ = try? channel.finish()
  }

  @Test("foreign bytes close the underlay, frames before them are delivered")
  func garbage() throws {
    let (bytes, expected) = frames([10])
    let (channel, collector) = try make()
    _ = try? channel.writeInbound(ByteBuffer(bytes: bytes + Array("GET / HTTP/1.1\r\nhost: x\r\n\r\n".utf8)))
    #expect(collector.messages == expected)
    _ = try? channel.writeInbound(ByteBuffer(bytes: [0, 0, 0, 0]))
    #expect(collector.isClosed)
    _ = try? channel.finish()
  }

  @Test("rewriting a burst in place does not copy it")
  func inPlace() {
    let buffer = ByteBuffer(bytes: [1, 2, 3, 4])
    let shared = buffer
    buffer.withBurstBytes { $0[0] = 9 }
    #expect(shared.getInteger(at: 0, as: UInt8.self) == 9)
  }
}
