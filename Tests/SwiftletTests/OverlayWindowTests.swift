import NIOCore
import Testing

@testable import Swiftlet

@Suite("Flow control from end to end")
struct OverlayWindowTests {
  @Test(
    "what one sends in pieces of any size is what the other takes; nobody sends more than there is room for; a reader that keeps up gets more room"
  )
  func carries() throws {
    var random = SystemRandomNumberGenerator()
    var (sender, reader) = (OverlayWindow(), OverlayWindow())
    var (sent, got) = (ByteBuffer(), ByteBuffer())
    var waiting = ByteBuffer()
    var most = 0
    for _ in 0..<500 {
      let part = ByteBuffer(
        repeating: UInt8.random(in: .min ... .max, using: &random), count: Int.random(in: 1...40_000, using: &random))
      sent.writeImmutableBuffer(part)
      waiting.writeImmutableBuffer(part)
      var frames = ByteBuffer()
      sender.send(&waiting, to: &frames)
      waiting.discardReadBytes()
      most = max(most, frames.readableBytes)
      while frames.readableBytes > 0,
        var piece = frames.readSlice(length: min(frames.readableBytes, Int.random(in: 1...9000)))
      {
        _ = try reader.receive(&piece)
      }
      if Bool.random(), var bytes = reader.take() { got.writeBuffer(&bytes) }
      while var grant = reader.grant() { _ = try sender.receive(&grant) }
    }
    while waiting.readableBytes > 0 || reader.hasData {
      if var bytes = reader.take() { got.writeBuffer(&bytes) }
      while var grant = reader.grant() { _ = try sender.receive(&grant) }
      var frames = ByteBuffer()
      sender.send(&waiting, to: &frames)
      _ = try reader.receive(&frames)
    }
    #expect(got == sent && most <= OverlayWindow.sizeLimit + 4)
    #expect(sender.credit > OverlayWindow.initialSize)
  }

  @Test("a reader that takes nothing is sent the first window and no more")
  func pauses() throws {
    var (sender, reader) = (OverlayWindow(), OverlayWindow())
    var data = ByteBuffer(repeating: 7, count: 4 << 20)
    var frames = ByteBuffer()
    sender.send(&data, to: &frames)
    sender.send(&data, to: &frames)
    #expect(frames.readableBytes == OverlayWindow.initialSize + 4)
    _ = try reader.receive(&frames)
    #expect(reader.grant() == nil && sender.credit == 0)
  }

  @Test("more data than there is room for, more room than there can be, and noise are violations, never crashes")
  func violations() {
    for word in [UInt32(OverlayWindow.initialSize + 1), .max >> 1, .max, 1 << 31 | UInt32(2 * OverlayWindow.sizeLimit)]
    {
      var window = OverlayWindow()
      var frame = ByteBuffer(integer: word)
      #expect(throws: OverlayWindow.Violation.self) { _ = try window.receive(&frame) }
    }
    for _ in 0..<20_000 {
      var window = OverlayWindow()
      for _ in 0..<4 {
        var noise = ByteBuffer(bytes: (0..<Int.random(in: 0...64)).map { _ in UInt8.random(in: 0...3) &* 64 })
        guard (try? window.receive(&noise)) != nil else { break }
        _ = window.take()
        _ = window.grant()
      }
    }
  }
}
