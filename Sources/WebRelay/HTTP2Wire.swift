import NIOCore

/// Stands between the HTTP/2 handler and the network, and does by the heads of frames (RFC 9113, 4.1) what that handler
/// leaves to others.
///
/// It ends a connection that was told GOAWAY: the handler says that to a peer that breaks the protocol, and such a peer
/// may go on sending for as long as it likes.
///
/// It cuts frames to what the peer takes. The handler writes the head of an answer as one frame, and gives up the whole
/// connection where that is larger than the peer's frames may be, which is 16 KiB for nearly all of them. So it is told
/// that the peer takes large ones, in the peer's own SETTINGS, and what it writes beyond the truth becomes HEADERS and
/// CONTINUATION (6.10), or several frames of DATA.
///
///     length (24) | type (8) | flags (8) | stream (32) | payload
final class HTTP2Wire: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = IOData
  typealias OutboundOut = IOData

  private enum Kind {
    static let data: UInt8 = 0
    static let headers: UInt8 = 1
    static let settings: UInt8 = 4
    static let goAway: UInt8 = 7
    static let continuation: UInt8 = 9
  }

  private enum Flag {
    static let endStream: UInt8 = 0x1
    static let acknowledges: UInt8 = 0x1
    static let endHeaders: UInt8 = 0x4
  }

  private struct Head {
    static let size = 9
    var length: Int
    var kind: UInt8
    var flags: UInt8
    var stream: UInt32

    init(_ length: Int, _ kind: UInt8, _ flags: UInt8, _ stream: UInt32) {
      self.length = length
      self.kind = kind
      self.flags = flags
      self.stream = stream
    }

    init?(_ bytes: ByteBuffer, at index: Int) {
      guard bytes.writerIndex - index >= Self.size, let first = bytes.getInteger(at: index, as: UInt32.self),
        let flags = bytes.getInteger(at: index + 4, as: UInt8.self),
        let stream = bytes.getInteger(at: index + 5, as: UInt32.self)
      else { return nil }
      self.init(Int(first >> 8), UInt8(truncatingIfNeeded: first), flags, stream)
    }

    var buffer: ByteBuffer {
      var buffer = ByteBufferAllocator().buffer(capacity: Self.size)
      buffer.writeInteger(UInt32(length) << 8 | UInt32(kind))
      buffer.writeInteger(flags)
      buffer.writeInteger(stream)
      return buffer
    }
  }

  /// SETTINGS_MAX_FRAME_SIZE, and what it may be (6.5.2).
  private static let frameSize: UInt16 = 5
  private static let frameSizes: ClosedRange<UInt32> = 16_384...16_777_215
  /// As the handler believes it: heads of answers are smaller (`MessageLimits.answers`), though an octet may become two
  /// in UTF-8, and each of them up to 30 bits in HPACK's code.
  private static let believed: UInt32 = 4 << 20
  private static let preface = 24

  /// What the peer takes in one frame.
  private var most = 16_384
  /// Bytes that come and are no frame's head.
  private var passing = HTTP2Wire.preface
  /// Part of a frame's head, or of SETTINGS.
  private var held = ByteBuffer()
  private var isFirstSettings = true
  /// Bytes of the frame that is written, still to come.
  private var left = 0
  /// The frame that is written is cut; its first piece has gone out or not.
  private var cut: (head: Head, isBegun: Bool)?
  private var pieceLeft = 0
  private var isEnding = false

  // MARK: In

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    if held.readableBytes > 0 {
      held.writeBuffer(&bytes)
      bytes = held
      held = ByteBuffer()
    }
    var (start, index) = (bytes.readerIndex, bytes.readerIndex)
    func pass() {
      guard index > start, let slice = bytes.getSlice(at: start, length: index - start) else { return }
      context.fireChannelRead(wrapInboundOut(slice))
      start = index
    }
    while true {
      let step = min(passing, bytes.writerIndex - index)
      passing -= step
      index += step
      guard passing == 0, let head = Head(bytes, at: index) else { break }
      guard head.kind == Kind.settings, head.flags & Flag.acknowledges == 0, head.length <= Self.frameSizes.lowerBound
      else {
        passing = Head.size + head.length
        continue
      }
      guard let frame = bytes.getSlice(at: index, length: Head.size + head.length) else { break }
      pass()
      context.fireChannelRead(wrapInboundOut(believing(frame, head)))
      index += frame.readableBytes
      start = index
    }
    pass()
    if index < bytes.writerIndex { held = bytes.getSlice(at: index, length: bytes.writerIndex - index) ?? ByteBuffer() }
  }

  /// SETTINGS as the handler reads them.
  private func believing(_ settings: ByteBuffer, _ head: Head) -> ByteBuffer {
    var frame = settings
    var isSaid = false
    for at in stride(from: frame.readerIndex + Head.size, to: frame.writerIndex - 5, by: 6) {
      guard frame.getInteger(at: at, as: UInt16.self) == Self.frameSize,
        let size = frame.getInteger(at: at + 2, as: UInt32.self),
        Self.frameSizes.contains(size)
      else { continue }
      isSaid = true
      most = Int(size)
      frame.setInteger(max(size, Self.believed), at: at + 2)
    }
    if isFirstSettings, !isSaid, head.length % 6 == 0, head.length + 6 <= Self.frameSizes.lowerBound {
      frame.setBuffer(Head(head.length + 6, head.kind, head.flags, head.stream).buffer, at: frame.readerIndex)
      frame.writeInteger(Self.frameSize)
      frame.writeInteger(Self.believed)
    }
    isFirstSettings = false
    return frame
  }

  // MARK: Out

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard case .byteBuffer(let bytes) = unwrapOutboundIn(data) else { return context.write(data, promise: promise) }
    guard cut != nil || !fits(bytes) else { return context.write(data, promise: promise) }
    var pieces = self.pieces(bytes)
    guard let last = pieces.popLast() else {
      // In turn behind what was written before.
      return context.write(wrapOutboundOut(.byteBuffer(ByteBuffer())), promise: promise)
    }
    for piece in pieces { context.write(wrapOutboundOut(.byteBuffer(piece)), promise: nil) }
    context.write(wrapOutboundOut(.byteBuffer(last)), promise: promise)
  }

  func flush(context: ChannelHandlerContext) {
    context.flush()
    guard isEnding else { return }
    isEnding = false
    // What was written goes out before the end of TLS does.
    context.close(promise: nil)
  }

  /// Whether all of it may go out as it is; if so, it is counted as written.
  private func fits(_ bytes: ByteBuffer) -> Bool {
    var (index, rest) = (bytes.readerIndex, left)
    while true {
      let step = min(rest, bytes.writerIndex - index)
      index += step
      rest -= step
      // The handler writes a head in one piece.
      guard rest == 0, let head = Head(bytes, at: index) else { break }
      if head.kind == Kind.goAway { isEnding = true }
      guard head.length <= most || !(head.kind == Kind.headers || head.kind == Kind.data) else { return false }
      index += Head.size
      rest = head.length
    }
    left = rest
    return true
  }

  private func pieces(_ bytes: ByteBuffer) -> [ByteBuffer] {
    var bytes = bytes
    var pieces: [ByteBuffer] = []
    while bytes.readableBytes > 0 {
      if left == 0 {
        guard let head = Head(bytes, at: bytes.readerIndex) else {
          pieces.append(bytes)
          break
        }
        if head.kind == Kind.goAway { isEnding = true }
        left = head.length
        if head.length > most, head.kind == Kind.headers || head.kind == Kind.data {
          cut = (head, false)
          bytes.moveReaderIndex(forwardBy: Head.size)
        } else if let slice = bytes.readSlice(length: Head.size) {
          pieces.append(slice)
        }
        continue
      }
      var step = min(left, bytes.readableBytes)
      if let (head, isBegun) = cut {
        if pieceLeft == 0 {
          pieceLeft = min(most, left)
          pieces.append(Self.piece(of: head, isFirst: !isBegun, isLast: pieceLeft == left, pieceLeft).buffer)
          cut = (head, true)
        }
        step = min(step, pieceLeft)
        pieceLeft -= step
      }
      if let slice = bytes.readSlice(length: step) { pieces.append(slice) }
      left -= step
      if left == 0 { cut = nil }
    }
    return pieces
  }

  /// The end of the fields is told by the last piece; that of the stream by the last piece of a body, but by the first
  /// one of fields.
  private static func piece(of head: Head, isFirst: Bool, isLast: Bool, _ length: Int) -> Head {
    guard head.kind == Kind.headers else {
      return Head(length, head.kind, isLast ? head.flags : head.flags & ~Flag.endStream, head.stream)
    }
    let end = isLast ? head.flags & Flag.endHeaders : 0
    return isFirst
      ? Head(length, head.kind, (head.flags & ~Flag.endHeaders) | end, head.stream)
      : Head(length, Kind.continuation, end, head.stream)
  }
}
