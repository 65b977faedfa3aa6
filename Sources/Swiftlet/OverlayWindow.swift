import NIOCore
import Synchronization

/// Flow control from end to end of one connection, between two programs that both know it: nobody sends more than the
/// other end's reader has room for, so a reader that pauses holds up nothing but its own connection. Without it all
/// that a router can do is to stop reading a whole channel, with everybody else's connections on it.
///
/// The dialler asks for it with the dial's application data, where it knows that the host understands. Both directions
/// are then a sequence of frames: four bytes, big-endian, whose first bit says whether the rest is a number of bytes
/// that may be sent, or the length of the data that follows. Data of no length is the last of its direction: the
/// connection's own end would take the way from what tells of room.
struct OverlayWindow {
  /// What a dial carries that asks for it.
  static let appData = Array("swiftlet-window:1".utf8)
  /// Bytes a sender may send before it hears from the reader; a reader that keeps up lets it grow.
  static let initialSize = 128 * 1024
  static let sizeLimit = 2 * 1024 * 1024

  /// Bytes the reader gets at once; what it does with them decides whether it gets more.
  private static let portion = 64 * 1024
  /// How much all windows of this process together may have grown, and have.
  private static let growthLimit = 256 * 1024 * 1024
  private static let growth = Atomic<Int>(0)

  private static let creditBit: UInt32 = 1 << 31

  /// More was sent than there was room for, or more room was given than there is.
  struct Violation: Error {}

  /// Bytes that may be sent.
  private(set) var credit = initialSize
  private var size = initialSize
  /// Bytes the peer may still send.
  private var room = initialSize
  /// Taken by the reader, and not told to the peer yet.
  private var taken = 0
  private var takenInThisSize = 0
  private var inbox = ByteBuffer()
  private var head = ByteBuffer()
  private var bodyLeft = 0

  var hasData: Bool { inbox.readableBytes > 0 }
  /// No more data comes.
  private(set) var isEnded = false

  // MARK: In

  /// Takes apart what came.
  /// - Returns: whether there is more credit than before.
  mutating func receive(_ bytes: inout ByteBuffer) throws(Violation) -> Bool {
    var gained = false
    while bytes.readableBytes > 0 {
      if bodyLeft > 0 {
        let count = min(bodyLeft, bytes.readableBytes)
        guard var part = bytes.readSlice(length: count) else { break }
        if inbox.readerIndex > 2 * Self.portion { inbox.discardReadBytes() }
        inbox.writeBuffer(&part)
        bodyLeft -= count
        continue
      }
      guard var part = bytes.readSlice(length: min(4 - head.readableBytes, bytes.readableBytes)) else { break }
      head.writeBuffer(&part)
      guard head.readableBytes == 4, let word = head.readInteger(as: UInt32.self) else { break }
      head.clear()
      let count = Int(word & ~Self.creditBit)
      if word & Self.creditBit != 0 {
        guard count <= 2 * Self.sizeLimit - credit else { throw Violation() }
        credit += count
        gained = gained || count > 0
      } else {
        guard count <= room, !isEnded else { throw Violation() }
        isEnded = count == 0
        room -= count
        bodyLeft = count
      }
    }
    return gained
  }

  /// What the reader gets now.
  mutating func take() -> ByteBuffer? {
    guard inbox.readableBytes > 0, let bytes = inbox.readSlice(length: min(inbox.readableBytes, Self.portion)) else {
      return nil
    }
    if inbox.readableBytes == 0 { inbox = ByteBuffer() }
    taken += bytes.readableBytes
    takenInThisSize += bytes.readableBytes
    return bytes
  }

  /// The frame that tells the peer of new room; nil while that is not worth one.
  mutating func grant() -> ByteBuffer? {
    if takenInThisSize >= 4 * size, inbox.readableBytes == 0, size < Self.sizeLimit {
      // It is the way that is long, not the reader slow.
      takenInThisSize = 0
      if Self.growth.add(size, ordering: .relaxed).newValue <= Self.growthLimit {
        taken += size
        size *= 2
      } else {
        Self.growth.subtract(size, ordering: .relaxed)
      }
    }
    guard taken >= size / 4 else { return nil }
    var frame = ByteBuffer()
    frame.writeInteger(UInt32(taken) | Self.creditBit)
    room += taken
    taken = 0
    return frame
  }

  /// At the end of the connection: others may grow now.
  mutating func release() {
    Self.growth.subtract(size - Self.initialSize, ordering: .relaxed)
    size = Self.initialSize
  }

  // MARK: Out

  /// Says that no more data comes.
  func end(_ frames: inout ByteBuffer) { frames.writeInteger(UInt32(0)) }

  /// Appends as much of the data to `frames` as there is credit for.
  mutating func send(_ data: inout ByteBuffer, to frames: inout ByteBuffer) {
    let count = min(data.readableBytes, credit)
    guard count > 0, var part = data.readSlice(length: count) else { return }
    credit -= count
    frames.writeInteger(UInt32(count))
    frames.writeBuffer(&part)
  }
}
