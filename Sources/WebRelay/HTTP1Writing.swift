import NIOCore
import NIOHTTP1

extension ByteBuffer: OctetSink {
  mutating func take(_ octets: UnsafeRawBufferPointer) { _ = writeBytes(octets) }
  mutating func take(_ text: StaticString) { _ = writeStaticString(text) }
}

/// Puts the messages of one direction of a connection on the wire, framed as their heads say.
struct HTTP1Writing {
  /// Bodies up to this are copied into one buffer with the frame around them; longer ones are written as they are.
  private static let copyLimit = 2048
  private static let chunkEnd = ByteBuffer(staticString: "\r\n")

  private var isChunked = false

  mutating func head(_ head: HTTPRequestHead, _ allocator: ByteBufferAllocator) -> ByteBuffer {
    var buffer = allocator.buffer(capacity: head.uri.utf8.count + 32 + Self.octets(head.headers))
    MessageText.write(requestLine: head.method.rawValue, head.uri, to: &buffer)
    Self.write(head.headers, to: &buffer)
    isChunked = Self.isChunked(head.headers)
    return buffer
  }

  /// - Parameter hasBody: false for the answer to HEAD, whatever its fields say.
  mutating func head(_ head: HTTPResponseHead, hasBody: Bool, _ allocator: ByteBufferAllocator) -> ByteBuffer {
    var buffer = allocator.buffer(capacity: 64 + Self.octets(head.headers))
    MessageText.write(
      statusLine: Int(head.status.code), head.status.reasonPhrase, minor: head.version.minor, to: &buffer)
    Self.write(head.headers, to: &buffer)
    isChunked = hasBody && head.version.minor > 0 && head.status.mayHaveResponseBody && Self.isChunked(head.headers)
    return buffer
  }

  /// - Parameter write: called once for each piece that goes out, in turn, with the promise for the last one.
  func body(
    _ data: IOData, _ allocator: ByteBufferAllocator, _ promise: EventLoopPromise<Void>?,
    _ write: (IOData, EventLoopPromise<Void>?) -> Void
  ) {
    let count = data.readableBytes
    // An empty chunk would be the last one.
    guard isChunked, count > 0 else { return write(data, promise) }
    let isShort = count <= Self.copyLimit
    var frame = allocator.buffer(capacity: isShort ? count + 12 : 12)
    frame.writeString(String(count, radix: 16))
    frame.writeStaticString("\r\n")
    if isShort, case .byteBuffer(let bytes) = data {
      frame.writeImmutableBuffer(bytes)
      frame.writeStaticString("\r\n")
      return write(.byteBuffer(frame), promise)
    }
    write(.byteBuffer(frame), nil)
    write(data, nil)
    write(.byteBuffer(Self.chunkEnd), promise)
  }

  /// nil where nothing is written, but for whom the promise tells.
  mutating func end(_ trailers: HTTPHeaders?, _ allocator: ByteBufferAllocator) -> ByteBuffer? {
    guard isChunked else { return nil }
    isChunked = false
    var buffer = allocator.buffer(capacity: 8 + (trailers.map { Self.octets($0) } ?? 0))
    buffer.writeStaticString("0\r\n")
    Self.write(trailers ?? [:], to: &buffer)
    return buffer
  }

  private static func write(_ fields: HTTPHeaders, to buffer: inout ByteBuffer) {
    for (name, value) in fields { MessageText.write(field: name, value, to: &buffer) }
    buffer.writeStaticString("\r\n")
  }

  /// As many as the fields take.
  private static func octets(_ fields: HTTPHeaders) -> Int {
    fields.reduce(2) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
  }

  private static func isChunked(_ fields: HTTPHeaders) -> Bool {
    fields.first(name: "transfer-encoding").map { Octet.isNamed($0, "chunked") } ?? false
  }
}
