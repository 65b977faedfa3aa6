package import NIOCore
import SealedStream
import Wire

/// Who gets what comes over a connection. All calls come on the connection's event loop.
package protocol OverlayConnectionDelegate: AnyObject {
  /// Everything a read burst brought, decrypted, as one buffer.
  func received(_ bytes: ByteBuffer)
  /// The peer sends no more; our direction stays open.
  func receivedEnd()
  /// Bytes can be written again.
  func becameWritable()
  /// No further call follows. - Parameter error: nil after an orderly end of both directions, or after our own `close`.
  func closed(_ error: OverlayError?)
}

/// One circuit as this end sees it: sealing and opening, halves and their end. Bound to its channel's event loop, no
/// locks, no async.
package final class OverlayConnection {
  private enum Sealing {
    case plain
    case sealed(Sealer)
  }

  private enum Opening {
    case plain
    /// The first body is the peer's stream header.
    case waiting(StreamKey)
    case sealed(Opener)
  }

  /// Plaintext bytes of one Data message: C SDKs take frames up to 32 KiB from a pool.
  package static let chunkSize = 31 * 1024
  /// Bytes that may wait for a delegate that does not read, before the channel stops reading too.
  private static let inboxLimit = 1024 * 1024
  /// Length of one header record with a u32: the conn id, and the flags where there are any.
  private static let record = 12

  package let eventLoop: any EventLoop
  package let connID: UInt32
  package private(set) weak var delegate: (any OverlayConnectionDelegate)?
  private var channel: RouterChannel?
  private var sealing = Sealing.plain
  private var opening = Opening.plain
  private var inbox = ByteBuffer()
  /// Lengths of the messages in the inbox, where their boundaries mean something.
  private var lengths: CircularBuffer<Int>?
  private var isReading = true
  private var endArrived = false
  private var endDelivered = false
  private var endSent = false
  private var pendingClose: OverlayError??
  private(set) var isDirty = false

  init(channel: RouterChannel, connID: UInt32) {
    self.channel = channel
    self.connID = connID
    eventLoop = channel.eventLoop
  }

  /// From here on each message of the peer is delivered by itself, and each `write` is one message, however long or
  /// short: datagrams travel so. What came before it counts as one.
  package func keepBoundaries() {
    lengths = []
    if inbox.readableBytes > 0 { lengths?.append(inbox.readableBytes) }
  }

  /// Sets who gets the bytes, and hands over what came already. The delegate is held weakly: it owns the connection.
  package func start(_ delegate: any OverlayConnectionDelegate) {
    self.delegate = delegate
    deliver()
  }

  /// Begins encryption: our stream header leaves at once, alone.
  func encrypt(_ keys: SessionKeys) {
    let sealer = Sealer(key: keys.tx)
    sealing = .sealed(sealer)
    opening = .waiting(keys.rx)
    guard let channel else { return }
    var frame = channel.allocator.buffer(capacity: FrameHeader.size + Self.record + Sealer.headerSize)
    writeHead(&frame, bodyLength: Sealer.headerSize, flags: [])
    frame.writeBytes(sealer.header)
    channel.write(frame)
    channel.flush()
  }

  // MARK: Out

  package var isOpen: Bool { channel != nil }
  /// Whether more should be written. Meaningful after a flush: TLS keeps what it was given until then.
  package var isWritable: Bool { channel?.isWritable ?? false }

  /// Queues bytes; `flush` sends them. Bytes after `finish` are dropped.
  package func write(_ bytes: ByteBuffer) {
    let keepsBoundaries = lengths != nil
    guard let channel, !endSent, bytes.readableBytes > 0 || keepsBoundaries else { return }
    let overhead: Int
    if case .sealed = sealing { overhead = Sealer.overhead } else { overhead = 0 }
    let size = keepsBoundaries ? max(bytes.readableBytes, 1) : Self.chunkSize
    let chunks = max((bytes.readableBytes + size - 1) / size, 1)
    // One buffer for all chunks: each buffer written becomes TLS records of its own.
    var frames = channel.allocator.buffer(
      capacity: bytes.readableBytes + chunks * (FrameHeader.size + Self.record + overhead))
    bytes.withUnsafeReadableBytes { source in
      var offset = 0
      for _ in 0..<chunks {
        let plain = UnsafeRawBufferPointer(rebasing: source[offset..<min(offset + size, source.count)])
        offset += plain.count
        writeHead(&frames, bodyLength: plain.count + overhead, flags: [])
        switch sealing {
        case .plain: frames.writeBytes(plain)
        case .sealed(let sealer):
          frames.writeWithUnsafeMutableBytes(minimumWritableBytes: plain.count + overhead) { target in
            // The space was asked for above, so sealing has no reason to fail.
            (try? sealer.seal(plain, into: target)) ?? 0
          }
        }
      }
    }
    channel.write(frames)
  }

  package func flush() { channel?.flush() }

  /// Ends our direction; the peer sees it after everything written before.
  package func finish() {
    guard let channel, !endSent else { return }
    endSent = true
    var frame = channel.allocator.buffer(capacity: FrameHeader.size + 2 * Self.record)
    writeHead(&frame, bodyLength: 0, flags: .fin)
    channel.write(frame)
    channel.flush()
  }

  /// Ends both directions. What was written before still arrives; what has not been read is dropped.
  package func close() {
    guard let channel else { return }
    self.channel = nil
    inbox = ByteBuffer()
    channel.remove(connID)
    channel.send(EdgeMessages.StateClosed(connID: connID, text: "").message())
    channel.resume(connID)
    let delegate = self.delegate
    self.delegate = nil
    delegate?.closed(nil)
  }

  /// Stops or resumes delivery. Bytes that come meanwhile wait; beyond a limit the whole channel stops reading.
  package func setReading(_ reading: Bool) {
    guard isReading != reading else { return }
    isReading = reading
    if reading { deliver() }
  }

  private func writeHead(_ buffer: inout ByteBuffer, bodyLength: Int, flags: EdgeFlags) {
    guard let channel else { return }
    let headersLength = flags.isEmpty ? Self.record : 2 * Self.record
    channel.writeFrameHead(&buffer, headersLength: headersLength, bodyLength: bodyLength)
    buffer.writeMultipleIntegers(UInt32(HeaderID.connID.rawValue), UInt32(4), connID, endianness: .little)
    if !flags.isEmpty {
      buffer.writeMultipleIntegers(UInt32(HeaderID.flags.rawValue), UInt32(4), flags.rawValue, endianness: .little)
    }
  }

  // MARK: In, from the channel

  /// The body of one Data message.
  func receive(_ body: UnsafeRawBufferPointer, flags: EdgeFlags) {
    guard channel != nil, !endArrived else { return }
    do throws(SealedStreamError) {
      if !body.isEmpty {
        try open(body, flags: flags)
      } else if !flags.contains(.fin), case .plain = opening {
        // A datagram of nothing.
        lengths?.append(0)
      }
    } catch {
      return fail(.encryptionBroken(error))
    }
    if flags.contains(.fin) { endArrived = true }
    isDirty = true
  }

  private func open(_ body: UnsafeRawBufferPointer, flags: EdgeFlags) throws(SealedStreamError) {
    let start = inbox.writerIndex
    switch opening {
    case .plain: inbox.writeBytes(body)
    case .waiting(let key):
      opening = .sealed(try Opener(key: key, header: Array(body)))
      return
    case .sealed(let opener):
      var failure: SealedStreamError?
      inbox.writeWithUnsafeMutableBytes(minimumWritableBytes: max(0, body.count - Sealer.overhead)) { target in
        do throws(SealedStreamError) { return try opener.open(body, into: target) } catch {
          failure = error
          return 0
        }
      }
      if let failure { throw failure }
    }
    let written = inbox.writerIndex - start
    guard flags.contains(.multipartMessage) else {
      if written > 0 || !flags.contains(.fin) { lengths?.append(written) }
      return
    }
    var failure: SealedStreamError?
    var length = 0
    var parts: [Int] = []
    let wantsParts = lengths != nil
    inbox.moveWriterIndex(to: start)
    inbox.withUnsafeMutableWritableBytes { bytes in
      let plaintext = UnsafeMutableRawBufferPointer(rebasing: bytes[..<written])
      do throws(SealedStreamError) {
        if wantsParts {
          parts = try PlaintextParts.ranges(of: UnsafeRawBufferPointer(plaintext)).map(\.count).filter { $0 > 0 }
        }
        length = try PlaintextParts.joinInPlace(plaintext)
      } catch { failure = error }
    }
    if let failure { throw failure }
    inbox.moveWriterIndex(forwardBy: length)
    lengths?.append(contentsOf: parts)
  }

  /// Hands over what a burst brought. - Returns: whether the channel may go on reading as far as this connection is
  /// concerned.
  @discardableResult
  func deliver() -> Bool {
    isDirty = false
    guard let delegate else { return inbox.readableBytes < Self.inboxLimit }
    if lengths != nil {
      while isReading, self.delegate != nil, let length = lengths?.popFirst() {
        if let message = inbox.readSlice(length: length) { delegate.received(message) }
      }
      if inbox.readableBytes == 0 { inbox = ByteBuffer() } else { inbox.discardReadBytes() }
      if inbox.readableBytes < Self.inboxLimit { channel?.resume(connID) }
    } else if isReading, inbox.readableBytes > 0 {
      let batch = inbox
      inbox = ByteBuffer()
      channel?.resume(connID)
      delegate.received(batch)
    }
    if inbox.readableBytes == 0 {
      if endArrived, !endDelivered {
        endDelivered = true
        delegate.receivedEnd()
      }
      if let error = pendingClose {
        pendingClose = nil
        self.delegate = nil
        delegate.closed(error)
      }
    }
    return inbox.readableBytes < Self.inboxLimit
  }

  func writabilityChanged() { delegate?.becameWritable() }

  /// The router ended the connection, or the channel is gone.
  func ended(_ error: OverlayError?) {
    channel = nil
    guard pendingClose == nil else { return }
    pendingClose = .some(endArrived ? nil : error)
    deliver()
  }

  private func fail(_ error: OverlayError) {
    guard let channel else { return }
    self.channel = nil
    channel.remove(connID)
    channel.send(EdgeMessages.StateClosed(connID: connID, text: "\(error)").message())
    channel.resume(connID)
    pendingClose = .some(error)
    deliver()
  }
}
